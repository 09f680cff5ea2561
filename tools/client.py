"""A client made by hand that sends numbered lines as Fluentd does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from logflow.testing.forwarding import RawClient, fluentd_request
from logflow.testing.oracle import Text, numbered_line

_RECONNECT_S = 0.02
_TEXT = Text.of("GET /orders/17 200 " + "x" * 120)


class Client:
    """Sends numbered lines as Fluentd does, and sends a chunk again until it is acknowledged.

    Attributes:
        sent: lines in acknowledged chunks.
        resends: how often a chunk was sent again.
    """

    SERIES = "client"

    def __init__(self, port: int, *, tag: str = "app.client", lines: int = 50) -> None:
        """Send chunks of ``lines`` lines to ``port``."""
        self.sent = self.resends = 0
        self._port = port
        self._tag = tag
        self._lines = lines
        self._chunks = 0
        self._connection: RawClient | None = None

    async def send(
        self, before_resend: Callable[[], None] = lambda: None, *, among: Sequence[tuple[Any, Any]] = ()
    ) -> None:
        """Send the next chunk; whenever its ack is lost, call ``before_resend`` and send it again.

        Args:
            before_resend: called whenever an ack was lost.
            among: events that are no events, put in the middle.
        """
        numbers = range(self.sent, self.sent + self._lines)
        self._chunks += 1
        chunk_id = self._chunks.to_bytes(16, "big")
        events: list[tuple[Any, Any]] = [
            (int(time.time()), json.loads(numbered_line(self.SERIES, n, time.time_ns(), _TEXT)))
            for n in numbers
        ]
        events[self._lines // 2 : self._lines // 2] = among
        await self.deliver(fluentd_request(self._tag, events, chunk_id), before_resend)
        self.sent += self._lines

    async def deliver(self, request: bytes, before_resend: Callable[[], None] = lambda: None) -> None:
        """Send a request that asks for an ack until there is one."""
        while not await self._try(request):
            self.resends += 1
            before_resend()

    async def _try(self, request: bytes) -> bool:
        try:
            if self._connection is None:
                self._connection = await RawClient.connect(self._port)
            await self._connection.send(request)
            answer = await self._connection.receive()
        except (OSError, EOFError):
            self.cut()
            await asyncio.sleep(_RECONNECT_S)
            return False
        return b"ack" in answer

    def cut(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.cut()
            self._connection = None


def packed_request(tag: str, lines: int, chunk: int, first: int = 0) -> bytes:
    """A large request of numbered lines, made without an object for each line."""
    head = numbered_line(Client.SERIES, 0, 1, _TEXT)
    record = msgpack.packb(json.loads(head))
    before, after = record.split(msgpack.packb("seq") + b"\0", 1)
    before = b"\x92" + msgpack.packb(1_700_000_000) + before + msgpack.packb("seq")
    entries = b"".join(before + msgpack.packb(n) + after for n in range(first, first + lines))
    option = {"size": lines, "chunk": f"{chunk:032x}"}
    request: bytes = b"\x93" + msgpack.packb(tag) + msgpack.packb(entries) + msgpack.packb(option)
    return request
