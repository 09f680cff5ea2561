"""Numbers of events, by what expressions give for them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from logflow.engine._python.groups import each_value
from logflow.engine.keyed import Measure, Series, Tallied
from logflow.expressions import Event
from logflow.expressions.values import Value
from logflow.packing import pack_value


@dataclass(slots=True)
class _Series:
    buckets: list[int]
    events: int = 0
    sum: float = 0.0
    last: float = 0.0


class PythonTally:
    """See :class:`logflow.engine.keyed.Tally`."""

    def __init__(self, measures: Sequence[Measure]) -> None:
        self._measures = measures

    def apply(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> list[Tallied]:
        """Count events, for each measure."""
        return [_count(measure, entries, Event({}, tag, 0, source, now_ns)) for measure in self._measures]


def _count(measure: Measure, entries: bytes, event: Event) -> Tallied:
    found: dict[bytes, _Series] = {}
    skipped = 0
    guards = [one for one in (measure.condition, measure.value) if one is not None]
    for _, _, values in each_value([*guards, *measure.labels], entries, event):
        if measure.condition is not None and not values.pop(0):
            continue
        value = 1.0 if measure.value is None else _number(values.pop(0), signed=measure.signed)
        if value is None:
            skipped += 1
            continue
        key = pack_value(values)
        series = found.get(key)
        if series is None:
            series = found[key] = _Series([0] * (len(measure.bounds) + 1) if measure.bounds else [])
        series.events += 1
        series.sum += value
        series.last = value
        if measure.bounds:
            series.buckets[bisect_left(measure.bounds, value)] += 1
    return Tallied(
        [Series(key, one.events, one.sum, one.last, one.buckets) for key, one in found.items()], skipped
    )


def _number(value: Value, *, signed: bool) -> float | None:
    if not isinstance(value, int | float) or not math.isfinite(value) or (value < 0 and not signed):
        return None
    return float(value)
