r"""Filter ``throttle``: lets so many events or bytes through in a time, for each value of a key.

Each key has a token bucket::

    tokens   burst ┤‾‾‾\                      /‾‾‾‾    grows by `events` (or `bytes`) in each `per`
                   │    \_______/\__/\______/
                 0 ┤                                an event passes while there is a whole token, and takes
                   └──────────────────────── t      what it is: one, or its bytes (the rest is owed)
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Any, Literal

import msgspec
from pydantic import Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import Duration, ExpressionField, Size
from logflow.config.options import FilterConfig
from logflow.filters.verdicts import Verdicts
from logflow.jsontext import json_text

_LONGEST_KEY = 64
"""Bytes of a packed key that are kept; of a longer one its hash."""
_NAMED_KEYS = 10
_SHOWN_KEY = 100

_decode = msgspec.msgpack.decode


@dataclass(slots=True)
class _Bucket:
    """What one key has left."""

    tokens: float
    at_s: float
    left_out: int = 0
    shown: Any = None
    """The key as summaries show it, once something was left out."""


class ThrottleFilter(Filter):
    """Drops what is too much, as counted by key; see the module's text."""

    only_drops = True

    class Config(FilterConfig):
        """Options of the filter ``throttle``."""

        type: Literal["throttle"] = "throttle"
        events: int | None = Field(None, ge=1, description="How many events pass in each `per`.")
        bytes: Size | None = Field(None, description="How many bytes of packed events pass in each `per`.")
        per: Duration = Field(1.0, description="The time in which so many pass.")
        burst: Size | None = Field(
            None, description="How many pass at once after a quiet time; as many as in one `per` unless set."
        )
        key: ExpressionField | None = Field(
            None,
            description="Each value of this expression is counted by itself; all events together unless set.",
            examples=["kubernetes.pod_name"],
        )
        max_keys: int = Field(
            10_000, ge=1, le=1_000_000,
            description="How many values are remembered. Beyond that, the one that was not seen for the "
            "longest time is forgotten and may burst again; this is counted.",
        )  # fmt: skip
        summary: Duration | None = Field(
            None,
            description="Tell in one event per this time how many events were left out, and of which keys; "
            "no such events unless set.",
            examples=["1m"],
        )

        @model_validator(mode="after")
        def _check_rate(self) -> ThrottleFilter.Config:
            if (self.events is None) == (self.bytes is None):
                raise ValueError("set one of events and bytes, such as events: 1000")
            if self.bytes == 0 or self.burst == 0 or self.per <= 0 or self.summary == 0:
                raise ValueError("bytes, burst, per and summary must be more than 0")
            return self

    def __init__(self, config: ThrottleFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self._by: Literal["events", "bytes"] = "events" if config.bytes is None else "bytes"
        amount = config.events or config.bytes or 0
        self._rate = amount / config.per
        self._burst = float(amount if config.burst is None else config.burst)
        self._grouping = context.engine.grouping([] if config.key is None else [config.key])
        self._buckets: OrderedDict[bytes, _Bucket] = OrderedDict()
        self._verdicts = Verdicts()
        self._forgotten = context.counter(
            "throttle_keys_forgotten", "Keys of a throttle that were forgotten, as max_keys were in use."
        )
        self.tells = config.summary is not None
        self._told_s = context.clock.monotonic()
        self._untold = 0
        self._last: Batch | None = None
        """The last batch of which something was left out since that was last told, without its events."""

    def apply(self, batch: Batch) -> Batch | None:
        """Let pass what there are tokens for."""
        return self._verdicts.apply(batch, self._judge)

    def _judge(self, batch: Batch) -> Batch | None:
        passed = self._admit(batch)
        self._forget()
        return passed

    def _admit(self, batch: Batch) -> Batch | None:
        engine, clock = self.context.engine, self.context.clock
        groups = self._grouping.apply(
            batch.entries, batch.tag, batch.attributes.get("source"), clock.time_ns()
        )
        now_s = clock.monotonic()
        buckets = [self._bucket(key, now_s) for key in groups.keys]
        sizes = groups.counts if self._by == "events" else groups.sizes
        if all(size <= bucket.tokens for size, bucket in zip(sizes, buckets, strict=True)):
            for size, bucket in zip(sizes, buckets, strict=True):
                bucket.tokens -= size
            return batch
        passed = engine.admit(
            batch.entries, groups.ids, [int(bucket.tokens) for bucket in buckets], by=self._by
        )
        for key, bucket, taken, refused in zip(
            groups.keys, buckets, passed.taken, passed.refused, strict=True
        ):
            bucket.tokens -= taken
            if refused and self.tells:
                bucket.left_out += refused
                bucket.shown = bucket.shown or _shown(key)
        self._untold += batch.count - passed.events
        self._last = batch.with_entries(b"", 0)
        return batch.with_entries(passed.entries, passed.events) if passed.events else None

    def _bucket(self, key: bytes, now_s: float) -> _Bucket:
        if len(key) > _LONGEST_KEY:
            key = hashlib.blake2b(key, digest_size=16).digest()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._burst, now_s)
            return bucket
        self._buckets.move_to_end(key)
        bucket.tokens = min(self._burst, bucket.tokens + (now_s - bucket.at_s) * self._rate)
        bucket.at_s = now_s
        return bucket

    def _forget(self) -> None:
        now_s = self.context.clock.monotonic()
        while len(self._buckets) > self.config.max_keys:
            _, oldest = self._buckets.popitem(last=False)
            if oldest.tokens + (now_s - oldest.at_s) * self._rate < self._burst:
                self._forgotten()

    def summaries(self, now_s: float | None) -> Sequence[Batch]:
        """Return an event about what was left out, once per ``summary``."""
        every_s = self.config.summary
        if self._last is None or every_s is None:
            return ()
        since_s = (self.context.clock.monotonic() if now_s is None else now_s) - self._told_s
        if now_s is not None and since_s < every_s:
            return ()
        self._told_s += since_s
        record = self._told()
        last, self._last, self._untold = self._last, None, 0
        return [last.with_events([(self.context.clock.time_ns(), record)])]

    def _told(self) -> dict[str, Any]:
        name = self.context.name
        events = "1 event" if self._untold == 1 else f"{self._untold} events"
        record: dict[str, Any] = {
            "message": f"The filter {name} left out {events}.",
            "filter": name,
            "left_out": self._untold,
        }
        buckets = [bucket for bucket in self._buckets.values() if bucket.left_out]
        if self.config.key is not None:
            worst = nlargest(_NAMED_KEYS, buckets, key=lambda bucket: bucket.left_out)
            record["keys"] = [{"key": bucket.shown, "left_out": bucket.left_out} for bucket in worst]
        for bucket in buckets:
            bucket.left_out = 0
        return record


def _shown(key: bytes) -> str:
    """The value of a key as text; nothing if there is none."""
    values: list[Any] = _decode(key)
    return json_text(values[0])[:_SHOWN_KEY] if values else ""
