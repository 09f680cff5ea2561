"""Events in groups, by what expressions give for them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

from logflow.engine._python.entries import HEADER_SIZE, bounds, time_ns
from logflow.engine._python.fields import put, take_apart
from logflow.engine._python.plain import plain_records
from logflow.engine.keyed import Admitted, Groups
from logflow.errors import MalformedData
from logflow.expressions import Event, Expression
from logflow.expressions.values import Value
from logflow.packing import pack_value
from logflow.paths import parse_path


def each_value(
    expressions: Sequence[Expression], entries: bytes, event: Event
) -> Iterator[tuple[int, int, list[Value]]]:
    """Yield where each entry begins and ends, and what the expressions give for it."""
    evaluates = [expression.evaluate for expression in expressions]
    reads_time = any("time" in expression.needs for expression in expressions)
    found = bounds(entries)
    for (start, end), record in zip(pairwise(found), plain_records(entries, found), strict=True):
        event.record = record
        if reads_time:
            event.time_ns = time_ns(entries, start)
        yield start, end, [evaluate(event) for evaluate in evaluates]


class PythonGrouping:
    """See :class:`logflow.engine.keyed.Grouping`."""

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._expressions = expressions

    def apply(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> Groups:
        """Put events into groups."""
        event = Event({}, tag, 0, source, now_ns)
        numbers: dict[bytes, int] = {}
        counts: list[int] = []
        sizes: list[int] = []
        ids: list[int] = []
        for start, end, values in each_value(self._expressions, entries, event):
            number = numbers.setdefault(pack_value(values), len(numbers))
            if number == len(counts):
                counts.append(0)
                sizes.append(0)
            counts[number] += 1
            sizes[number] += end - start
            ids.append(number)
        return Groups(list(numbers), counts, sizes, struct.pack(f"<{len(ids)}I", *ids))


def admit(entries: bytes, ids: bytes, allowed: Sequence[int], by: Literal["events", "bytes"]) -> Admitted:
    """See :meth:`logflow.engine.api.Engine.admit`."""
    taken, refused = [0] * len(allowed), [0] * len(allowed)
    kept: list[bytes] = []
    spans = list(pairwise(bounds(entries)))
    for (start, end), number in zip(spans, _numbers(ids, len(spans), len(allowed)), strict=True):
        if taken[number] < allowed[number]:
            taken[number] += end - start if by == "bytes" else 1
            kept.append(entries[start:end])
        else:
            refused[number] += 1
    whole = len(kept) == len(spans)
    return Admitted(entries if whole else b"".join(kept), len(kept), taken, refused)


class PythonPlacement:
    """See :class:`logflow.engine.keyed.Placement`."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = [parse_path(path) for path in paths]

    def apply(self, entries: bytes, ids: bytes, values: Sequence[Sequence[bytes]]) -> bytes:
        """Return the entries with the values of each event's group."""
        parts: list[bytes] = []
        spans = list(pairwise(bounds(entries)))
        for (start, end), number in zip(spans, _numbers(ids, len(spans), len(values)), strict=True):
            if not any(values[number]):
                parts.append(entries[start:end])
                continue
            fields = take_apart(entries[start + HEADER_SIZE : end])
            for path, value in zip(self._paths, values[number], strict=True):
                if value:
                    put(fields, path, value)
            parts += (entries[start : start + HEADER_SIZE], fields.pack())
        return b"".join(parts)


def _numbers(ids: bytes, events: int, groups: int) -> tuple[int, ...]:
    numbers = struct.unpack(f"<{len(ids) // 4}I", ids[: len(ids) // 4 * 4])[:events]
    if len(numbers) < events or max(numbers, default=-1) >= groups:
        raise MalformedData("there are fewer groups than entries")
    return numbers
