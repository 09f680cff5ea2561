"""Sockets on which systemd listens for us, so that nobody is refused while the service is restarted.

Source: sd_listen_fds(3). ``LISTEN_FDS`` tells how many there are, from descriptor 3 on, and ``LISTEN_PID``
for which process they are meant. A socket is used by the source that is to listen at its address.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_FIRST_FD = 3
_KINDS = {
    (False, socket.SOCK_STREAM): "tcp",
    (False, socket.SOCK_DGRAM): "udp",
    (True, socket.SOCK_STREAM): "unix",
    (True, socket.SOCK_DGRAM): "unix datagrams",
}
_EVERYWHERE = ("0.0.0.0", "::")


def activated(key: tuple[Any, ...]) -> socket.socket | None:
    """Another descriptor of the socket for a kind and address, if systemd listens there.

    The socket itself stays open, as a source may come back to it after a reload.
    """
    given = _given()
    if key[0] in {"tcp", "udp"} and key[1] in _EVERYWHERE:  # what systemd calls a bare port is [::]
        places = [key, *((key[0], host, key[2]) for host in _EVERYWHERE)]
    else:
        places = [key]
    return next((given[place].dup() for place in places if place in given), None)


def is_activated(key: tuple[Any, ...]) -> bool:
    """Whether systemd listens there, and goes on when we do not."""
    return key in _given()


def sockets_of(
    environment: Mapping[str, str], pid: int, first_fd: int = _FIRST_FD
) -> dict[tuple[Any, ...], socket.socket]:
    """The sockets that are meant for the process ``pid``, by kind and address."""
    if environment.get("LISTEN_PID") != str(pid) or not environment.get("LISTEN_FDS", "").isdecimal():
        return {}
    found: dict[tuple[Any, ...], socket.socket] = {}
    for fd in range(first_fd, first_fd + int(environment["LISTEN_FDS"])):
        try:
            os.set_inheritable(fd, False)  # noqa: FBT003
            given = socket.socket(fileno=fd)
        except OSError:  # it is something else, or not there
            continue
        given.setblocking(False)  # noqa: FBT003
        kind = _KINDS.get((given.family == socket.AF_UNIX, given.type))
        name = given.getsockname()
        if kind is None or (given.family == socket.AF_UNIX and not isinstance(name, str)):
            given.detach()
            continue
        found[(kind, Path(name)) if given.family == socket.AF_UNIX else (kind, *name[:2])] = given
    return found


@cache
def _given() -> dict[tuple[Any, ...], socket.socket]:
    return sockets_of(os.environ, os.getpid())
