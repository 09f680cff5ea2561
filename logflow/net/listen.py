"""The sockets that a source listens on: TCP (with TLS if asked), UDP beside it, and a unix socket.

They listen from :meth:`Listeners.open` on, so that nobody is refused while the service starts, and are
served from :meth:`Listeners.serve` on.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from logflow.net.acceptor import Acceptor
from logflow.net.tls import Tls

_BACKLOG = 512
_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

_listening: dict[tuple[Any, ...], socket.socket] = {}
"""What this process listens on, by kind and address."""

_taken: ContextVar[set[tuple[Any, ...]] | None] = ContextVar("taken", default=None)


@contextmanager
def handing_over() -> Iterator[None]:
    """Within the block, whoever opens an address that this process listens on shares the socket.

    So a source takes over from the one before it, and nobody is refused in between. Each socket is handed
    over once: two sources that are to listen on one address are a mistake, now as ever.
    """
    token = _taken.set(set())
    try:
        yield
    finally:
        _taken.reset(token)


def is_handing_over() -> bool:
    """Whether there may be another source that still serves the same address."""
    return _taken.get() is not None


def _share(key: tuple[Any, ...]) -> socket.socket | None:
    """Another descriptor of a socket that is handed over, if there is one."""
    taken, there = _taken.get(), _listening.get(key)
    if taken is None or there is None or key in taken or there.fileno() < 0:
        return None
    taken.add(key)
    return there.dup()


class Listeners:
    """All listening sockets of one source."""

    def __init__(
        self,
        address: tuple[str, int] | None,
        unix: Path | None = None,
        tls: Tls | None = None,
        *,
        datagrams: Callable[[], asyncio.DatagramProtocol] | None = None,
        unix_datagrams: tuple[Path, Callable[[], asyncio.DatagramProtocol]] | None = None,
        complain: Callable[[str, str], None] | None = None,
    ) -> None:
        """Describe them; nothing is opened yet.

        Args:
            address: host and port for TCP; port 0 has the system choose, and ``::`` takes IPv4 too.
            unix: path of a unix socket.
            tls: encrypt TCP.
            datagrams: makes what takes UDP datagrams on the TCP port as well.
            unix_datagrams: path of a unix socket for datagrams, and what makes what takes them.
            complain: logs a sentence about what keeps us from accepting.
        """
        self._address = address
        self._unix = unix
        self._tls = tls
        self._datagrams = datagrams
        self._unix_datagrams = unix_datagrams
        self._complain = complain
        self._sockets: list[socket.socket] = []
        self._servers: list[Acceptor] = []
        self._endpoints: list[asyncio.DatagramTransport] = []
        self._noted: list[tuple[tuple[Any, ...], socket.socket]] = []

    @property
    def port(self) -> int:
        """The TCP port in use.

        Raises:
            LookupError: there is none.
        """
        for listener in self._sockets:
            if listener.family != socket.AF_UNIX:
                return int(listener.getsockname()[1])
        raise LookupError("there is no TCP socket")

    async def open(self) -> None:
        """Bind and listen.

        Raises:
            OSError: one of the addresses cannot be used; its ``filename`` says which. None is open.
        """
        try:
            if self._address is not None:
                with _named("{}:{}".format(*self._address)):
                    await self._open_tcp(*self._address)
            if self._unix is not None:
                with _named(str(self._unix)):
                    listener = _share(("unix", self._unix)) or _open_unix(self._unix)
                self._sockets.append(listener)
                self._note(("unix", self._unix), listener)
            if self._unix_datagrams is not None:
                with _named(str(self._unix_datagrams[0])):
                    await self._open_unix_datagrams(*self._unix_datagrams)
        except OSError:
            self.close()
            raise

    async def serve(self, accept: Callable[[], asyncio.BaseProtocol]) -> None:
        """Accept connections, those that came since :meth:`open` among them; once is enough.

        Args:
            accept: makes the protocol of each connection.
        """
        for listener in [] if self._servers else self._sockets:
            tls = None if listener.family == socket.AF_UNIX else self._tls
            self._servers.append(Acceptor(listener, accept, tls, self._complain))

    def close(self) -> None:
        """Close them all; connections stay. Safe twice."""
        for endpoint in self._endpoints:
            endpoint.close()
        for server in self._servers:
            server.close()
        for key, listener in self._noted:
            if _listening.get(key) is listener:  # nobody has taken it over
                del _listening[key]
                if key[0] in {"unix", "unix datagrams"}:
                    key[1].unlink(missing_ok=True)
        for listener in self._sockets:
            listener.close()
        self._endpoints, self._servers, self._sockets, self._noted = [], [], [], []

    async def _open_tcp(self, host: str, port: int) -> None:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        missing: OSError | None = None
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            try:
                # What the system says of IPv4 in IPv6 is not the same everywhere: :: means both.
                both = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
                listener = _share(("tcp", *address[:2])) or socket.create_server(
                    address[:2], family=family, backlog=_BACKLOG, dualstack_ipv6=both
                )
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY:
                    raise
                missing = error  # a name may stand for IPv6 as well on a machine that has none
                continue
            self._sockets.append(listener)
            self._note(("tcp", *address[:2]), listener)
            if self._datagrams is not None:
                await self._open_udp(self._datagrams, listener, dualstack=both)
        if missing is not None and not self._sockets:
            raise missing

    async def _open_udp(
        self, make: Callable[[], asyncio.DatagramProtocol], listener: socket.socket, *, dualstack: bool
    ) -> None:
        key = ("udp", *listener.getsockname()[:2])
        udp = _share(key) or _udp_beside(listener, dualstack=dualstack)
        self._note(key, udp)
        endpoint, _ = await asyncio.get_running_loop().create_datagram_endpoint(make, sock=udp)
        self._endpoints.append(endpoint)

    async def _open_unix_datagrams(self, path: Path, make: Callable[[], asyncio.DatagramProtocol]) -> None:
        key = ("unix datagrams", path)
        taker = _share(key) or _open_unix(path, socket.SOCK_DGRAM)
        taker.setblocking(False)  # noqa: FBT003
        self._note(key, taker)
        endpoint, _ = await asyncio.get_running_loop().create_datagram_endpoint(make, sock=taker)
        self._endpoints.append(endpoint)

    def _note(self, key: tuple[Any, ...], listener: socket.socket) -> None:
        _listening[key] = listener
        self._noted.append((key, listener))


def _udp_beside(listener: socket.socket, *, dualstack: bool) -> socket.socket:
    """Bind a UDP socket to the address of a TCP one."""
    udp = socket.socket(listener.family, socket.SOCK_DGRAM)
    try:
        if listener.family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dualstack)
        udp.bind(listener.getsockname())
        udp.setblocking(False)  # noqa: FBT003
    except OSError:
        udp.close()
        raise
    return udp


@contextmanager
def _named(address: str) -> Iterator[None]:
    """Put the address into the errors of a block."""
    try:
        yield
    except OSError as error:
        error.filename = address
        raise


def _open_unix(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Bind a unix socket; what a dead process left there is removed."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX, kind) as probe:
            try:
                probe.connect(os.fspath(path))
            except OSError:
                path.unlink()
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        listener.bind(os.fspath(path))
        if kind == socket.SOCK_STREAM:
            listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
