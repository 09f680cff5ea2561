"""Entries to JSON Lines: a hundred or so at a time, one by one where they are not simple."""

from __future__ import annotations

import struct
from functools import lru_cache
from io import BytesIO
from itertools import chain
from typing import Any

import msgspec

from logflow.engine._python.entries import bounds
from logflow.engine._python.plain import SimpleRecord, plain_events
from logflow.event import NANOSECOND, EventTime
from logflow.packing import ENTRY_HEADER

_LOT_BYTES = 32 << 10
_LOT_ENTRIES = 128
_encoder = msgspec.json.Encoder()
_decode_lot = msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, SimpleRecord]]).decode


def to_ndjson(entries: bytes, tag: str, time_key: str | None, tag_key: str | None) -> bytes:
    """See :meth:`logflow.engine.api.Engine.to_ndjson`."""
    form = _Form(tag, time_key, tag_key)
    parts: list[bytes] = []
    start = 0
    while start < len(entries):
        # What looks like an entry's header most likely is one; if not, the lot cannot be decoded.
        end = entries.find(ENTRY_HEADER, start + _LOT_BYTES)
        lot = entries[start : end if end >= 0 else None]
        lines = form.lines(lot)
        if lines is None:
            return b"".join(chain(parts, form.lines_with_care(entries[start:])))
        parts.append(lines)
        start += len(lot)
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> bytes:
    return EventTime(seconds * NANOSECOND).isoformat()[:19].encode()


def _literal(text: str | None) -> bytes:
    """Return JSON text as it stands in a template."""
    return _encoder.encode(text).replace(b"%", b"%%")


class _Form:
    """How lines begin: with time and tag, with one of them, or with the record's own fields."""

    def __init__(self, tag: str, time_key: str | None, tag_key: str | None) -> None:
        self._tag, self._time_key, self._tag_key = tag, time_key, tag_key
        self._keys = [key for key in (time_key, tag_key) if key is not None]
        self._has_time = time_key is not None and time_key != tag_key
        time_field = [_literal(time_key) + b':"%b.%09dZ"'] if self._has_time else []
        tag_field = [] if tag_key is None else [_literal(tag_key) + b":" + _literal(tag)]
        self._template = b"{" + b",".join([*time_field, *tag_field]) + b",%b"

    def lines(self, lot: bytes) -> bytes | None:
        """Format entries together; ``None`` when they are not simple, or not whole."""
        count = lot.count(ENTRY_HEADER)
        try:
            pairs = _decode_lot(b"\xdd" + count.to_bytes(4, "big") + lot)
        except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
            return None
        times = b"".join([time for time, _ in pairs])
        if len(times) != 10 * count or times[::10] != b"\xd7" * count or times[1::10] != bytes(count):
            return None
        records = [record for _, record in pairs]
        # Most records have none of our keys themselves, and records of one program all have the same.
        own = frozenset(key for key in self._keys for record in records if key in record)
        if any(key not in record for key in own for record in records):
            return None
        if own:
            return self._without(own).join(times, records)
        return self.join(times, records)

    def _without(self, own: frozenset[str]) -> _Form:
        """Return the form for records that have these keys themselves."""
        time_key = None if self._time_key in own or not self._has_time else self._time_key
        return _Form(self._tag, time_key, None if self._tag_key in own else self._tag_key)

    def join(self, times: bytes, records: list[dict[str, Any]]) -> bytes | None:
        """Put the beginnings of lines and the records' fields together."""
        if not self._keys:
            return _encoder.encode_lines(records)
        numbers = struct.unpack(">" + "2xII" * len(records), times)
        if not all(records) or max(numbers[1::2], default=0) >= NANOSECOND:
            return None
        fields = [line[1:] for line in BytesIO(_encoder.encode_lines(records)).readlines()]
        template = self._template * len(records)
        if not self._has_time:
            return template % tuple(fields)
        seconds = map(_second, numbers[::2])
        return template % tuple(chain.from_iterable(zip(seconds, numbers[1::2], fields, strict=True)))

    def lines_with_care(self, entries: bytes) -> list[bytes]:
        """Format entries whatever they are: together where possible."""
        found = bounds(entries)
        parts: list[bytes] = []
        for first in range(0, len(found) - 1, _LOT_ENTRIES):
            last = min(first + _LOT_ENTRIES, len(found) - 1)
            lot = entries[found[first] : found[last]]
            lines = self.lines(lot)
            parts += self._lines_one_by_one(lot) if lines is None else (lines,)
        return parts

    def _lines_one_by_one(self, entries: bytes) -> list[bytes]:
        parts: list[bytes] = []
        for time, record in plain_events(entries):
            fields: dict[str, Any] = {}
            if self._has_time and self._time_key is not None and self._time_key not in record:
                fields[self._time_key] = EventTime(time).isoformat()
            if self._tag_key is not None and self._tag_key not in record:
                fields[self._tag_key] = self._tag
            parts += (_encoder.encode(fields | record), b"\n")
        return parts
