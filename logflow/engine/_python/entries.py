"""Canonical entries: checking and counting them.

There is a short way and an exact way. The short way finds the ends of entries in C; it answers only
when nothing can be wrong. The exact way reads header by header, and finds the first fault.
"""

from __future__ import annotations

import struct
from itertools import pairwise, repeat

import msgpack

from logflow.engine._python.walk import Short, containers, head, skip
from logflow.errors import MalformedData
from logflow.event import NANOSECOND
from logflow.jsontext import MAX_DEPTH
from logflow.packing import ENTRY_HEADER

HEADER_SIZE = 11
"""Bytes of an entry before its record."""

_EXT = struct.Struct(">II")
MAP_HEADS = bytes([*range(0x80, 0x90), 0xDE, 0xDF])
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
    found = bounds_in_short(entries)
    if found is not None and are_canonical(entries, found):
        return found
    found = [0]
    try:
        while found[-1] < len(entries):
            found.append(_canonical_end(entries, found[-1]))
    except Short as short:
        raise MalformedData("the packed entries end in the middle of one") from short
    return found


def bounds_in_short(data: bytes) -> list[int] | None:
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


def are_canonical(entries: bytes, found: list[int]) -> bool:
    starts = found[:-1]
    return all(map(entries.startswith, repeat(ENTRY_HEADER), starts)) and not bytes(
        [entries[start + HEADER_SIZE] for start in starts]
    ).translate(None, MAP_HEADS)


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
