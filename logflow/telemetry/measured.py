"""Metrics that users define: what their events are counted by, for ``/metrics``."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec

from logflow.engine.keyed import Series, Tallied
from logflow.jsontext import json_text

MetricKind: TypeAlias = Literal["counter", "gauge", "histogram"]

OTHER = "other"
"""Value of all labels of what is beyond the number of series."""

_LONGEST_LABEL = 200
_IDLE_S = 600.0
"""A series that did not change for so long gives way when there is no room for another one."""
_LOOK_AGAIN_S = 10.0

_decode = msgspec.msgpack.decode


@dataclass(frozen=True)
class Definition:
    """What a metric is.

    Attributes:
        name: its name in ``/metrics``; that of a counter gets ``_total``.
        labels: names of its labels.
        bounds: of a histogram, the upper bounds of its buckets.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()

    @property
    def exposed(self) -> tuple[str, ...]:
        """The names that stand in ``/metrics``."""
        match self.kind:
            case "counter":
                return (f"{self.name.removesuffix('_total')}_total",)
            case "gauge":
                return (self.name,)
            case "histogram":
                return (self.name, f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")


@dataclass(eq=False)
class Sample:
    """The numbers of one set of labels."""

    value: float = 0.0
    """Of a counter and a histogram the sum, of a gauge the last value."""
    buckets: list[int] = field(default_factory=list)
    changed_s: float = 0.0


class Family:
    """A metric with its series, of which there are at most ``most``. May be used from any thread."""

    def __init__(self, definition: Definition, most: int, monotonic: Callable[[], float]) -> None:
        self.definition = definition
        self._most = most
        self._monotonic = monotonic
        self._samples: dict[tuple[str, ...], Sample] = {}
        self._known: dict[bytes, Sample] = {}
        """Samples by the packed labels that lead to them: labels are rarely new."""
        self._looked_s = -_LOOK_AGAIN_S
        self._lock = threading.Lock()

    def take(self, tallied: Tallied) -> int:
        """Enter what was counted of a batch; returns for how many events there was no room but in "other"."""
        others = 0
        with self._lock:
            now_s = self._monotonic()
            for series in tallied.series:
                sample = self._known.get(series.key)
                if sample is None:
                    sample, is_other = self._find(series.key, now_s)
                    others += series.events if is_other else 0
                sample.changed_s = now_s
                self._enter(sample, series)
        return others

    def _enter(self, sample: Sample, series: Series) -> None:
        if self.definition.kind == "gauge":
            sample.value = series.last
        else:
            sample.value += series.sum
            sample.buckets = [a + b for a, b in zip(sample.buckets, series.buckets, strict=True)]

    def _find(self, key: bytes, now_s: float) -> tuple[Sample, bool]:
        labels = tuple(map(_label, _decode(key)))
        if labels not in self._samples and len(self._samples) >= self._most:
            self._forget_idle(now_s)
        if labels not in self._samples and len(self._samples) >= self._most:
            other = (OTHER,) * len(labels)
            return self._samples.setdefault(other, self._new()), True
        sample = self._samples.setdefault(labels, self._new())
        if len(self._known) >= 2 * self._most:
            self._known.clear()
        if len(key) <= _LONGEST_LABEL * (1 + len(labels)):
            self._known[key] = sample
        return sample, False

    def _forget_idle(self, now_s: float) -> None:
        if now_s - self._looked_s < _LOOK_AGAIN_S:
            return
        self._looked_s = now_s
        idle = [labels for labels, sample in self._samples.items() if now_s - sample.changed_s >= _IDLE_S]
        for labels in idle:
            del self._samples[labels]
        if idle:
            self._known.clear()

    def _new(self) -> Sample:
        bounds = self.definition.bounds
        return Sample(buckets=[0] * (len(bounds) + 1) if bounds else [])

    def samples(self) -> list[tuple[tuple[str, ...], float, list[tuple[str, int]]]]:
        """Every series: its labels, its value, and of a histogram the cumulative buckets by bound."""
        with self._lock:
            return [
                (labels, sample.value, list(self._cumulative(sample.buckets)))
                for labels, sample in self._samples.items()
            ]

    def _cumulative(self, buckets: Sequence[int]) -> Iterator[tuple[str, int]]:
        below = 0
        for bound, events in zip((*self.definition.bounds, math.inf), buckets, strict=False):
            below += events
            yield ("+Inf" if math.isinf(bound) else str(bound)), below


def _label(value: Any) -> str:
    return "" if value is None else json_text(value)[:_LONGEST_LABEL]
