"""What others send as entries, brought to canonical form.

There is a short way and an exact way. The short way finds the ends of entries in C; it answers only
when nothing is unusual. The exact way reads header by header.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import pairwise, repeat
from math import isfinite
from typing import NamedTuple

import msgspec

from logflow.engine._python.entries import MAP_HEADS, are_canonical, bounds_in_short
from logflow.engine._python.records import splice_packed
from logflow.engine._python.walk import Short, head, skip, skip_flat
from logflow.engine.api import MAX_GROUP_BYTES, MAX_REFUSED, Normalized
from logflow.errors import LimitExceeded, MalformedData
from logflow.event import MAX_TIME_NS, NANOSECOND, EventTime
from logflow.jsontext import MAX_DEPTH
from logflow.packing import ENTRY_HEADER

_decode_number = msgspec.msgpack.Decoder(int | float).decode
_WITH_METADATA = b"\x92\x92\xd7\x00"
_MARKS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfe")
"""Seconds that may mean something else than a time: now, the start of a group, its end."""
_UNUSUAL = tuple(ENTRY_HEADER + mark for mark in _MARKS)
_GROUP_START, _GROUP_END = _MARKS[1] + bytes(4), _MARKS[2] + bytes(4)
_SECONDS = float((1 << 32) - 2)
"""What an EventTime can carry without being taken for the mark of a group."""
_MOST_GROWTH = 9
"""Bytes by which an entry grows at most: from one byte of time to an EventTime."""
_UNITS = ((1e3, NANOSECOND // 1000), (1e6, 1000), (1e9, 1))


def normalize(data: bytes, now_ns: int, limit: int | None, group: bytes | None) -> Normalized:
    """See :meth:`logflow.engine.api.Engine.normalize`."""
    if not group and (found := bounds_in_short(data)) is not None:
        if limit is not None and len(data) > limit:
            found = found[: bisect_left(found, limit) + 1]
        starts = found[:-1]
        consumed = found[-1]
        if are_canonical(data, found) and not any(map(data.startswith, repeat(_UNUSUAL), starts)):
            return Normalized(data[:consumed], len(starts), consumed)
        if limit is None or len(data) + _MOST_GROWTH * len(starts) <= limit:
            try:
                parts = [part for start, end in pairwise(found) for part in _in_short(data, start, end)]
            except (_SkippedError, MalformedData, Short):
                pass
            else:
                return Normalized(b"".join(parts), len(starts), consumed)
    return _Normalizer(data, now_ns, group).run(len(data) * 1000 + 1 if limit is None else limit)


class _SkippedError(Exception):
    """An event is left out, for a reason; or, in the short way, it needs the exact one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Event(NamedTuple):
    """An event whose structure is right, as positions."""

    time: int
    time_end: int
    metadata: tuple[int, int] | None
    record: int
    end: int


def _in_short(data: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    """Bring a whole entry to canonical form, if nothing about it is unusual."""
    if data.startswith(_WITH_METADATA, start) and data[start + 12] == 0x80 and data[start + 13] in MAP_HEADS:
        time, record = data[start + 4 : start + 12], start + 13  # as Fluent Bit sends it
    else:
        event = _read_event(data, start)
        meaning, mended = _read_time(data, event, 0)
        if mended:
            raise _SkippedError(mended)
        time, record = meaning, event.record
    if time.startswith(_MARKS):
        raise _SkippedError("mark")
    return ENTRY_HEADER + time, data[record:end]


class _Normalizer:
    """The exact way."""

    def __init__(self, data: bytes, now_ns: int, group: bytes | None) -> None:
        self._data = data
        self._now_ns = now_ns
        self._wanted = group is not None
        self._group = group or b""
        self._parts: list[bytes] = []
        self._size = 0
        self._skipped: Counter[str] = Counter()
        self._mended: Counter[str] = Counter()
        self._refused: list[tuple[str, int, int]] = []

    def run(self, limit: int) -> Normalized:
        at, data = 0, self._data
        while at < len(data) and self._size < limit:
            try:
                end = skip_flat(data, at)
            except Short:
                break
            try:
                self._take(_read_event(data, at))
            except _SkippedError as skipped:
                self._skipped[skipped.reason] += 1
                if len(self._refused) < MAX_REFUSED:
                    self._refused.append((skipped.reason, at, end))
            at = end
        entries = b"".join(self._parts)
        return Normalized(
            data if entries == data else entries, len(self._parts), at,
            dict(self._skipped), dict(self._mended), self._group, tuple(self._refused),
        )  # fmt: skip

    def _take(self, event: _Event) -> None:
        data = self._data
        time, mended = _read_time(data, event, self._now_ns)
        if time == _GROUP_START:
            body = data[event.record : event.end]
            self._mended["group_too_large"] += len(body) > MAX_GROUP_BYTES
            self._group = body if self._wanted and len(body) <= MAX_GROUP_BYTES else b""
        elif time == _GROUP_END:
            self._group = b""
        else:
            if mended:
                self._mended[mended] += 1
            entry = b"".join((ENTRY_HEADER, time, data[event.record : event.end]))
            fields = dict[str, bytes]()
            for name, value in self._fields(event, mended):
                fields.setdefault(name, value)
            if fields:
                entry = splice_packed(entry, fields)
            self._parts.append(entry)
            self._size += len(entry)
        self._mended += Counter()  # drops zeros

    def _fields(self, event: _Event, mended: str) -> Iterator[tuple[str, bytes]]:
        if mended in {"time_scaled", "time_clamped"}:
            yield "time_as_sent", self._data[event.time : event.time_end]
        if self._group:
            yield from _group_fields(self._group)


def _group_fields(group: bytes) -> Iterator[tuple[str, bytes]]:
    """The fields of a packed map whose keys are texts."""
    _, pairs, at = head(group, 0)
    for _ in range(pairs):
        kind, _, content = head(group, at)
        value = skip(group, at)
        end = skip(group, value)
        if kind == "text":
            with suppress(UnicodeDecodeError):
                yield group[content:value].decode(), group[value:end]
        at = end


def _read_event(data: bytes, at: int) -> _Event:
    """Read the structure of a whole event.

    Raises:
        _SkippedError: it is no event.
    """
    try:
        kind, count, inside = head(data, at)
        if kind != "array" or count != 2:
            raise _SkippedError("not_an_event")
        time = inside
        kind, count, first = head(data, inside)
        if kind == "array":
            if count != 2:
                raise _SkippedError("not_an_event")
            time = first
        if head(data, time)[0] not in {"nil", "number", "ext"}:
            raise _SkippedError("bad_time")
        time_end = record = skip(data, time)
        metadata = None
        if time != inside:
            record = skip(data, time_end, MAX_DEPTH - 1)
            metadata = (time_end, record)
        if head(data, record)[0] != "map":
            raise _SkippedError("bad_record")
        return _Event(time, time_end, metadata, record, skip(data, record))
    except LimitExceeded:
        raise _SkippedError("too_deep") from None


def _read_time(data: bytes, event: _Event, now_ns: int) -> tuple[bytes, str]:
    """Read a time in any form: 8 bytes, those of a group's mark included, and what was put right.

    Raises:
        _SkippedError: it is no time.
    """
    kind, size, content = head(data, event.time)
    if kind == "ext":
        if size != 9 or data[content] != 0:
            raise _SkippedError("bad_time")
        time = data[content + 1 : event.time_end]
        return (time, "") if time != bytes(8) else (EventTime(now_ns).to_ext(), "time_missing")
    number = 0 if kind == "nil" else _decode_number(data[event.time : event.time_end])
    if event.metadata is not None and isinstance(number, int) and number in (-1, -2):
        return (_GROUP_START if number == -1 else _GROUP_END), ""
    if not number:
        return EventTime(now_ns).to_ext(), "time_missing"
    if not isfinite(number):
        raise _SkippedError("bad_time")
    time_ns, mended = _scale(number)
    return EventTime(time_ns).to_ext(), mended


def _scale(number: float) -> tuple[int, str]:
    """Nanoseconds of a number of seconds, or of the smaller unit that makes it a time since 2001."""
    if 0 <= float(number) < _SECONDS:
        return _times(number, NANOSECOND), ""
    for unit, nanoseconds in _UNITS:
        if 1e9 * unit <= float(number) < _SECONDS * unit:
            return _times(number, nanoseconds), "time_scaled"
    # Not 0, which the next receiver would take for now.
    return (1 if number < 0 else MAX_TIME_NS), "time_clamped"


def _times(number: float, factor: int) -> int:
    return number * factor if isinstance(number, int) else int(Decimal(repr(number)) * factor)
