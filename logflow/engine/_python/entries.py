"""Canonical entries: checking them, counting them, and making them of what others send."""

from __future__ import annotations

import struct
from decimal import Decimal
from math import isfinite

import msgspec

from logflow.engine._python.walk import Short, head, skip
from logflow.engine.api import Normalized
from logflow.errors import MalformedData
from logflow.event import NANOSECOND, EventTime
from logflow.packing import ENTRY_HEADER

HEADER_SIZE = 11
"""Bytes of an entry before its record."""

_decode_number = msgspec.msgpack.Decoder(int | float).decode
_EXT = struct.Struct(">II")


def offsets(entries: bytes) -> list[int]:
    """Byte offset of every canonical entry.

    Raises:
        MalformedData: they are not canonical, or not whole.
    """
    starts: list[int] = []
    at = 0
    try:
        while at < len(entries):
            starts.append(at)
            at = _canonical_end(entries, at)
    except Short as short:
        raise MalformedData("the packed entries end in the middle of one") from short
    return starts


def _canonical_end(entries: bytes, at: int) -> int:
    if not entries.startswith(ENTRY_HEADER, at):
        raise MalformedData(f"the bytes at {at} are not a canonical entry")
    record = at + HEADER_SIZE
    if head(entries, record)[0] != "map":
        raise MalformedData(f"the entry at {at} holds no map")
    return skip(entries, record)


def time_ns(entries: bytes, at: int) -> int:
    """Time of the canonical entry at ``at``."""
    seconds: int
    nanoseconds: int
    seconds, nanoseconds = _EXT.unpack_from(entries, at + 3)
    return seconds * NANOSECOND + nanoseconds


def normalize(data: bytes) -> Normalized:
    """See :meth:`logflow.engine.api.Engine.normalize`."""
    parts: list[bytes] = []
    canonical = True
    at, events = 0, 0
    try:
        while at < len(data):
            if data.startswith(ENTRY_HEADER, at) and head(data, at + HEADER_SIZE)[0] == "map":
                end = skip(data, at + HEADER_SIZE)
                parts.append(data[at:end])
            else:
                entry, end = _normal_entry(data, at)
                parts.append(entry)
                canonical = False
            at = end
            events += 1
    except Short as short:
        raise MalformedData("the entries end in the middle of one") from short
    return Normalized(data if canonical else b"".join(parts), events)


def _normal_entry(data: bytes, at: int) -> tuple[bytes, int]:
    """Bring the entry at ``at`` to canonical form; return it with its end in ``data``."""
    kind, count, inside = head(data, at)
    if kind != "array" or count != 2:
        raise MalformedData(f"the entry at {at} is not an array of time and record")
    kind, count, first = head(data, inside)
    if kind == "array":
        if count != 2:
            raise MalformedData(f"the entry at {at} begins with an array that is not time and metadata")
        time, end = _time(data, first)
        record = skip(data, end)
    else:
        time, record = _time(data, inside)
    if head(data, record)[0] != "map":
        raise MalformedData(f"the record of the entry at {at} is not a map")
    end = skip(data, record)
    return b"".join((ENTRY_HEADER, time, data[record:end])), end


def _time(data: bytes, at: int) -> tuple[bytes, int]:
    """Read a time in any form; return the 8 bytes of an EventTime and its end."""
    kind, size, content = head(data, at)
    end = content + size
    if kind not in {"ext", "number"}:
        raise MalformedData(f"the time at {at} is a {kind}")
    if end > len(data):
        raise Short(end)
    if kind == "ext":
        if size != 9 or data[content] != 0:
            raise MalformedData(f"the time at {at} is an ext that is not an EventTime")
        return data[content + 1 : end], end
    number = _decode_number(data[at:end])
    if isinstance(number, int):
        return EventTime(number * NANOSECOND).to_ext(), end
    if not isfinite(number):
        raise MalformedData(f"the time at {at} is not finite")
    return EventTime(int(Decimal(repr(number)) * NANOSECOND)).to_ext(), end
