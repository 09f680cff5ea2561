"""Datagrams that wait to be handed on, and connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

_MOST_WAITING = 8 << 20
"""Most bytes of datagrams that wait; a sender of datagrams cannot be slowed."""
_OVERHEAD = 128
"""What a datagram takes besides its text."""


class Datagrams(asyncio.DatagramProtocol):
    """Keeps datagrams until they are taken."""

    def __init__(self, dropped: Callable[[], None]) -> None:
        """``dropped`` is called for each datagram for which there is no room."""
        self.come = asyncio.Event()
        self._waiting: dict[str, list[bytes]] = {}
        self._size = 0
        self._dropped = dropped

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Keep a datagram, if there is room."""
        if self._size + len(data) + _OVERHEAD > _MOST_WAITING:
            self._dropped()
            return
        self._size += len(data) + _OVERHEAD
        # A unix socket's peer has no name, or a path.
        peer = f"{addr[0]}:{addr[1]}" if isinstance(addr, tuple) else "unix"
        self._waiting.setdefault(peer, []).append(data)
        self.come.set()

    def take(self) -> dict[str, list[bytes]]:
        """Take what has come, by peer."""
        taken, self._waiting, self._size = self._waiting, {}, 0
        self.come.clear()
        return taken


class Deadline:
    """How long a read may take: a message that has begun must come whole in time."""

    def __init__(self, idle_s: float, message_s: float, now_s: float) -> None:
        self._idle_s = idle_s
        self._message_s = message_s
        self._begun_s = now_s
        self._open = False

    def after(self, held: int, now_s: float, *, whole: bool) -> None:
        """Something was read: ``held`` bytes of a message are there, and whether another one was whole."""
        if whole or not self._open:
            self._begun_s = now_s
        self._open = held > 0

    def left_s(self, now_s: float) -> float:
        """Seconds from now."""
        return self._begun_s + (self._message_s if self._open else self._idle_s) - now_s
