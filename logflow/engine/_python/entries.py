"""Canonical entries: checking them, counting them, and making them of what others send.

There is a short way and an exact way. The short way finds the ends of entries in C; it answers only
when nothing can be wrong. The exact way reads header by header, and finds the first fault.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from itertools import pairwise, repeat
from math import isfinite

import msgpack
import msgspec

from logflow.engine._python.walk import Short, containers, head, skip
from logflow.engine.api import Normalized
from logflow.errors import MalformedData
from logflow.event import NANOSECOND, EventTime
from logflow.jsontext import MAX_DEPTH
from logflow.packing import ENTRY_HEADER

HEADER_SIZE = 11
"""Bytes of an entry before its record."""

_decode_number = msgspec.msgpack.Decoder(int | float).decode
_EXT = struct.Struct(">II")
_MAP_HEADS = bytes([*range(0x80, 0x90), 0xDE, 0xDF])
_WITH_METADATA = b"\x92\x92\xd7\x00"
_GROUP = 32


def offsets(entries: bytes) -> list[int]:
    """Byte offset of every canonical entry.

    Raises:
        MalformedData: they are not canonical, or not whole.
    """
    return bounds(entries)[:-1]


def bounds(entries: bytes) -> list[int]:
    """Byte offset of every canonical entry, and the end of the last one.

    Raises:
        MalformedData: they are not canonical, or not whole.
    """
    found = _bounds_in_short(entries)
    if found is not None and _are_canonical(entries, found):
        return found
    found = [0]
    try:
        while found[-1] < len(entries):
            found.append(_canonical_end(entries, found[-1]))
    except Short as short:
        raise MalformedData("the packed entries end in the middle of one") from short
    return found


def _bounds_in_short(data: bytes) -> list[int] | None:
    """Find where values begin and end; ``None`` if one is not whole, or not an entry, or may be deep."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1))
    unpacker.feed(data)
    skip_value, tell = unpacker.skip, unpacker.tell
    found, at, size = [0], 0, len(data)
    try:
        while at < size:
            skip_value()
            at = tell()
            found.append(at)
    except (ValueError, msgpack.UnpackException):
        return None
    for first in range(0, len(found) - 1, _GROUP):
        last = min(first + _GROUP, len(found) - 1)
        # An entry has two at least: itself and its record.
        if containers(data[found[first] : found[last]]) - 2 * (last - first) >= MAX_DEPTH and any(
            containers(data[start:end]) > MAX_DEPTH for start, end in pairwise(found[first : last + 1])
        ):
            return None
    return found


def _are_canonical(entries: bytes, found: list[int]) -> bool:
    starts = found[:-1]
    return all(map(entries.startswith, repeat(ENTRY_HEADER), starts)) and not bytes(
        [entries[start + HEADER_SIZE] for start in starts]
    ).translate(None, _MAP_HEADS)


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
    found = _bounds_in_short(data)
    if found is not None:
        if _are_canonical(data, found):
            return Normalized(data, len(found) - 1)
        try:
            parts = [part for start, end in pairwise(found) for part in _normal_parts(data, start, end)]
            return Normalized(b"".join(parts), len(found) - 1)
        except MalformedData:
            pass  # the exact way finds the first fault
    return _normalize_exactly(data)


def _normalize_exactly(data: bytes) -> Normalized:
    parts: list[bytes] = []
    at = 0
    try:
        while at < len(data):
            entry, at = _normal_entry(data, at)
            parts.append(entry)
    except Short as short:
        raise MalformedData("the entries end in the middle of one") from short
    entries = b"".join(parts)
    return Normalized(data if entries == data else entries, len(parts))


def _normal_parts(data: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    """Bring a whole entry to canonical form."""
    if data.startswith(_WITH_METADATA, start) and data[start + 12] == 0x80 and data[start + 13] in _MAP_HEADS:
        return data[start + 1 : start + 12], data[start + 13 : end]  # as Fluent Bit sends it
    return _normal_entry(data, start, end)[0], b""


def _normal_entry(data: bytes, at: int, end: int | None = None) -> tuple[bytes, int]:
    """Bring the entry at ``at`` to canonical form; return it with its end, which may be known already."""
    kind, count, inside = head(data, at)
    if kind != "array" or count != 2:
        raise MalformedData(f"the entry at {at} is not an array of time and record")
    kind, count, first = head(data, inside)
    if kind == "array":
        if count != 2:
            raise MalformedData(f"the entry at {at} begins with an array that is not time and metadata")
        time, metadata = _time(data, first)
        record = skip(data, metadata)
    else:
        time, record = _time(data, inside)
    if head(data, record)[0] != "map":
        raise MalformedData(f"the record of the entry at {at} is not a map")
    end = skip(data, record) if end is None else end
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
