"""The ``generate`` source: numbered synthetic lines, for tests and for sizing."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
from pydantic import Field

from logflow import packing
from logflow.batch import Batch
from logflow.component import Context, Emit, Source
from logflow.config.fields import NonEmpty, Size
from logflow.config.options import SourceConfig
from logflow.event import EventTime

_TICK_S = 0.02
_MOST_EVENTS = 1000
"""Events of one batch at most, which is also the size of batches when the rate is not limited."""

_LETTERS = b"abcdefghijklmnopqrstuvwxyz "
_SEQ_KEY = b"\xa3seq"
_encode = msgspec.msgpack.Encoder().encode


class GenerateSource(Source):
    """Makes events at a steady rate; one that fell behind catches up."""

    class Config(SourceConfig):
        """Events `{seq, host, message}` and more fields, numbered from 0."""

        tag: NonEmpty = Field("generate", description="Tag of the events.")
        rate: float = Field(1000.0, ge=0, description="Events per second; 0: as many as the outputs take.")
        count: int | None = Field(
            None, ge=1, description="Number of events after which it ends; never unless set."
        )
        size: Size = Field(100, ge=0, le=1 << 20, description="Length of the field `message`.")
        record: dict[str, Any] = Field(default_factory=dict, description="Fields to add to each event.")

    config: GenerateSource.Config

    def __init__(self, config: GenerateSource.Config, context: Context) -> None:
        super().__init__(config, context)
        message = (_LETTERS * (config.size // len(_LETTERS) + 1))[: config.size].decode()
        record = {"host": socket.gethostname(), "message": message, **config.record}
        record.pop("seq", None)
        # A record differs from the next in its number alone: pack the rest once.
        packed = packing.pack_record({"seq": 0, **record})
        number_at = packed.index(_SEQ_KEY) + len(_SEQ_KEY)
        self._before, self._after = packed[:number_at], packed[number_at + 1 :]
        self._made = 0

    async def run(self, emit: Emit) -> None:
        """Make events until there are ``count`` or it is cancelled."""
        clock, rate = self.context.clock, self.config.rate
        started_s, before = clock.monotonic(), self._made
        while (left := self._left()) > 0:
            await emit.ready(self.config.tag)
            due = before + int((clock.monotonic() - started_s) * rate) - self._made if rate else _MOST_EVENTS
            if due > 0:
                await emit(self._batch(min(due, left, _MOST_EVENTS)))
            if rate and due <= _MOST_EVENTS:
                await clock.sleep(max(_TICK_S, 1 / rate))
            else:
                await asyncio.sleep(0)

    def _left(self) -> int:
        return _MOST_EVENTS if self.config.count is None else self.config.count - self._made

    def _batch(self, events: int) -> Batch:
        time_ns = EventTime(self.context.clock.time_ns())
        before = packing.ENTRY_HEADER + time_ns.to_ext() + self._before
        numbers = range(self._made, self._made + events)
        self._made += events
        entries = b"".join([before + _encode(number) + self._after for number in numbers])
        return Batch(self.config.tag, entries, events)
