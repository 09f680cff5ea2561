"""Datagrams that come to a UDP address or a unix socket, and wait there to be taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from logflow.component import Context
from logflow.net.complaints import Complaints
from logflow.net.listen import Listeners

_MOST_WAITING = 8 << 20
"""Most bytes of datagrams that wait; a sender of datagrams cannot be slowed."""
_OVERHEAD = 128
"""What a datagram takes besides its text."""


class Datagrams(asyncio.DatagramProtocol):
    """Keeps datagrams until they are taken, as many as there is room for."""

    def __init__(self) -> None:
        self._come = asyncio.Event()
        self._waiting: dict[str, list[bytes]] = {}
        self._size = 0
        self._overflowed = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Keep a datagram, if there is room."""
        self._come.set()
        if self._size + len(data) + _OVERHEAD > _MOST_WAITING:
            self._overflowed += 1
            return
        self._size += len(data) + _OVERHEAD
        # A unix socket's peer has no name, or a path.
        peer = f"{addr[0]}:{addr[1]}" if isinstance(addr, tuple) else "unix"
        self._waiting.setdefault(peer, []).append(data)

    def take(self, overflowed: Callable[[int], None]) -> Sequence[tuple[str, list[bytes]]]:
        """Take what has come, by peer; ``overflowed`` is told how many datagrams had no room."""
        taken, self._waiting, self._size = list(self._waiting.items()), {}, 0
        missed, self._overflowed = self._overflowed, 0
        self._come.clear()
        if missed:
            overflowed(missed)
        return taken

    async def receive(self, overflowed: Callable[[int], None]) -> AsyncIterator[tuple[str, list[bytes]]]:
        """Take what comes, for ever."""
        while True:
            await self._come.wait()
            for peer, datagrams in self.take(overflowed):
                yield peer, datagrams


class DatagramListener:
    """Listens for datagrams. Those that come faster than they are taken wait, up to 8 MiB of them."""

    def __init__(
        self, context: Context, address: tuple[str, int] | None = None, *, unix: Path | None = None
    ) -> None:
        """Describe it; nothing is opened yet.

        Args:
            context: the component's context.
            address: host and port for UDP; port 0 has the system choose, and ``::`` takes IPv4 too.
            unix: path of a unix socket for datagrams.
        """
        self._datagrams = Datagrams()
        self._listeners = Listeners(
            context, address, None, Complaints(context), streams=False,
            datagrams=lambda: self._datagrams,
            unix_datagrams=(unix, lambda: self._datagrams) if unix else None,
        )  # fmt: skip

    @property
    def port(self) -> int:
        """The UDP port in use, once opened."""
        return self._listeners.port

    async def open(self) -> None:
        """Bind; what comes from now on waits for :meth:`receive`.

        Raises:
            ComponentError: an address cannot be used; the text says which.
        """
        await self._listeners.open()

    def receive(self, overflowed: Callable[[int], None]) -> AsyncIterator[tuple[str, list[bytes]]]:
        """Take datagrams, for ever: with each turn those that came from one peer (``host:port``, ``unix``).

        Args:
            overflowed: told how many datagrams had no room; account for them with ``emit.dropped``.
        """
        return self._datagrams.receive(overflowed)

    def close(self) -> None:
        """Close the sockets. Safe twice, and without :meth:`open`."""
        self._listeners.close()
