"""Expressions over packed entries: which events fulfil a condition, and what an expression gives for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress, pairwise

import xxhash

from logflow.engine._python.entries import HEADER_SIZE, bounds, time_ns
from logflow.engine._python.fields import put, take_apart
from logflow.engine._python.plain import plain_records
from logflow.errors import MalformedData
from logflow.event import EventTime
from logflow.expressions import Event, Expression
from logflow.expressions.values import Value
from logflow.packing import ENTRY_HEADER, pack_value
from logflow.paths import parse_path
from logflow.timestamps import TimeFormat


def _values(expression: Expression, entries: bytes, found: list[int], event: Event) -> Iterator[Value]:
    evaluate, reads_time = expression.evaluate, "time" in expression.needs
    for start, record in zip(found, plain_records(entries, found), strict=False):
        event.record = record
        if reads_time:
            event.time_ns = time_ns(entries, start)
        yield evaluate(event)


class PythonCondition:
    """See :class:`logflow.engine.changes.Condition`."""

    def __init__(self, expression: Expression) -> None:
        self._expression = expression

    def split(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> tuple[bytes, int, bytes]:
        """Return the entries that fulfil the condition, their number, and the others."""
        found, wanted = self._wanted(entries, tag, source, now_ns)
        if all(wanted):
            return entries, len(wanted), b""
        if not any(wanted):
            return b"", 0, entries
        pieces = [entries[start:end] for start, end in pairwise(found)]
        rest = compress(pieces, [not one for one in wanted])
        return b"".join(compress(pieces, wanted)), sum(wanted), b"".join(rest)

    def mark(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> bytes:
        """Return a byte for each entry."""
        return bytes(self._wanted(entries, tag, source, now_ns)[1])

    def keep(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> tuple[bytes, int]:
        """Return the entries that fulfil the condition, and their number."""
        found, wanted = self._wanted(entries, tag, source, now_ns)
        if all(wanted):
            return entries, len(wanted)
        kept = [entries[start:end] for start, end in compress(pairwise(found), wanted)]
        return b"".join(kept), len(kept)

    def _wanted(
        self, entries: bytes, tag: str, source: str | None, now_ns: int
    ) -> tuple[list[int], list[bool]]:
        found = bounds(entries)
        event = Event({}, tag, 0, source, now_ns)
        return found, [bool(value) for value in _values(self._expression, entries, found, event)]


class PythonComputation:
    """See :class:`logflow.engine.changes.Computation`."""

    def __init__(self, expression: Expression) -> None:
        self._expression = expression

    def values(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> list[bytes]:
        """Return what the expression gives for each event, packed."""
        event = Event({}, tag, 0, source, now_ns)
        return [pack_value(value) for value in _values(self._expression, entries, bounds(entries), event)]


class PythonAssignment:
    """See :class:`logflow.engine.changes.Assignment`."""

    def __init__(self, fields: Sequence[tuple[str, Expression]], time: Expression | None) -> None:
        self._fields = [(parse_path(path), expression.evaluate) for path, expression in fields]
        self._time = None if time is None else time.evaluate
        self._read_text, self._read_number = TimeFormat("iso8601"), TimeFormat("unix")

    def apply(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> bytes:
        """Return the entries with the fields of every record set."""
        found = bounds(entries)
        event = Event({}, tag, 0, source, now_ns)
        parts: list[bytes] = []
        for (start, end), record in zip(pairwise(found), plain_records(entries, found), strict=True):
            event.record, event.time_ns = record, time_ns(entries, start)
            values = [evaluate(event) for _, evaluate in self._fields]
            fields = take_apart(entries[start + HEADER_SIZE : end])
            for (path, _), value in zip(self._fields, values, strict=True):
                if value is not None:
                    put(fields, path, pack_value(value))
            parts += (self._head(entries[start : start + HEADER_SIZE], event), fields.pack())
        return b"".join(parts)

    def _head(self, head: bytes, event: Event) -> bytes:
        value = None if self._time is None else self._time(event)
        time = (self._read_text if isinstance(value, str) else self._read_number)(value)
        return head if time is None else ENTRY_HEADER + EventTime(time).to_ext()


def draw(entries: bytes, seed: int, most: int) -> bytes:
    """See :meth:`logflow.engine.api.Engine.draw`."""
    pieces = [entries[start:end] for start, end in pairwise(bounds(entries))]
    return bytes([xxhash.xxh3_64_intdigest(piece, seed) <= most for piece in pieces])


def divide(entries: bytes, marks: bytes) -> tuple[bytes, bytes]:
    """See :meth:`logflow.engine.api.Engine.divide`."""
    pieces = [entries[start:end] for start, end in pairwise(bounds(entries))]
    rest = compress(pieces, [not mark for mark in marks])
    return b"".join(compress(pieces, marks)), b"".join(rest)


def interleave(kept: bytes, rest: bytes, marks: bytes) -> bytes:
    """See :meth:`logflow.engine.api.Engine.interleave`."""
    pieces = [iter([part[start:end] for start, end in pairwise(bounds(part))]) for part in (rest, kept)]
    try:
        return b"".join([next(pieces[bool(mark)]) for mark in marks])
    except StopIteration:
        raise MalformedData("there are fewer entries than marks") from None
