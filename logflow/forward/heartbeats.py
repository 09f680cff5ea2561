"""UDP heartbeats, which Fluentd sends to the port that it forwards to."""

from __future__ import annotations

import asyncio
from typing import Any, cast

_HEARTBEAT = b"\x00"


class Heartbeats(asyncio.DatagramProtocol):
    """Answers the one byte that Fluentd sends, and nothing else: nobody can be flooded through us."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to answer through."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Answer a heartbeat."""
        if data == _HEARTBEAT:
            self._transport.sendto(_HEARTBEAT, addr)
