"""Filter ``metrics``: counters, gauges and histograms of events, at ``/metrics``."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import ExpressionField
from logflow.config.options import FilterConfig, Options
from logflow.engine.keyed import Measure
from logflow.telemetry.measured import Definition, Family, MetricKind

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Those of Prometheus' client libraries, for seconds."""

MetricName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$", max_length=200)]
LabelName = Annotated[
    str, StringConstraints(pattern=r"^([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*$", max_length=100)
]


class MetricOptions(Options):
    """One metric."""

    kind: MetricKind = Field(
        "counter",
        description="`counter` adds values up, `gauge` is the last value, `histogram` counts in buckets.",
    )
    help: str = Field("Counted by logflow.", description="What it is, for whoever reads `/metrics`.")
    labels: dict[LabelName, ExpressionField] = Field(
        {}, max_length=10, description="`{label: expression}`; a value that is None is an empty label.",
        examples=[{"status": "status"}],
    )  # fmt: skip
    value: ExpressionField | None = Field(
        None,
        description="What is counted; of a counter 1 for each event unless set. Events for which it is no "
        "finite number, or below 0 except for gauges, do not count here.",
        examples=["latency_ms / 1000"],
    )
    where: ExpressionField | None = Field(None, description="Only events for which this is true count.")
    buckets: list[float] | None = Field(
        None,
        max_length=50,
        description="Upper bounds of a histogram's buckets, increasing; 5 ms to 10 s unless set.",
    )

    @model_validator(mode="after")
    def _check_kind(self) -> MetricOptions:
        if self.kind != "counter" and self.value is None:
            raise ValueError(f"a {self.kind} needs a value, such as value: latency_ms / 1000")
        if self.buckets is not None:
            if self.kind != "histogram":
                raise ValueError(f"a {self.kind} has no buckets")
            ordered = sorted(set(self.buckets))
            if not ordered or ordered != self.buckets or not all(map(math.isfinite, ordered)):
                raise ValueError("buckets must be numbers in increasing order; the one above all is added")
        if self.kind == "histogram" and "le" in self.labels:
            raise ValueError("the label le of a histogram is its own")
        return self

    @property
    def bounds(self) -> tuple[float, ...]:
        """The upper bounds of the buckets; none if it is no histogram."""
        if self.kind != "histogram":
            return ()
        return DEFAULT_BUCKETS if self.buckets is None else tuple(self.buckets)


class MetricsFilter(Filter):
    """Counts events in passing; see the module's text."""

    one_to_one = True

    class Config(FilterConfig):
        """Options of the filter ``metrics``."""

        type: Literal["metrics"] = "metrics"
        metrics: dict[MetricName, MetricOptions] = Field(
            min_length=1,
            description="`{name: options}`; a counter's name gets `_total`. Filters may share a metric that "
            "is the same in all of them.",
            examples=[{"http_requests": {"labels": {"status": "status"}}}],
        )
        max_series: int = Field(
            1000, ge=1, le=100_000,
            description="Most sets of labels of each metric. If there are more, those that did not change "
            "for ten minutes give way; otherwise further ones are counted where all labels are `other`.",
        )  # fmt: skip

        @field_validator("metrics")
        @classmethod
        def _check_names(cls, value: dict[str, MetricOptions]) -> dict[str, MetricOptions]:
            own = next((name for name in value if name.startswith("logflow_")), None)
            if own is not None:
                raise ValueError(f"{own}: names that begin with logflow_ are logflow's own")
            taken: dict[str, str] = {}
            for name, one in value.items():
                for exposed in _definition(name, one).exposed:
                    if taken.setdefault(exposed, name) != name:
                        raise ValueError(f"{taken[exposed]} and {name} both give the name {exposed}")
            return value

    def __init__(self, config: MetricsFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        definitions = [_definition(name, one) for name, one in config.metrics.items()]
        self.defines = {name: one for one in definitions for name in one.exposed}
        self._families = [self._family(one) for one in definitions]
        self._tally = context.engine.tally([_measure(one) for one in config.metrics.values()])
        self._others = context.counter(
            "metrics_events_other", "Events counted under labels `other`, as there were max_series."
        )
        self._skipped = context.counter(
            "metrics_values_skipped", "Events whose value for a metric was no number that counts."
        )

    def _family(self, definition: Definition) -> Family:
        most, clock = self.config.max_series, self.context.clock
        return self.context.keep(
            ("metric", definition, most), lambda: Family(definition, most, clock.monotonic)
        )

    def apply(self, batch: Batch) -> Batch:
        """Count the events."""
        source = batch.attributes.get("source")
        found = self._tally.apply(batch.entries, batch.tag, source, self.context.clock.time_ns())
        for family, tallied in zip(self._families, found, strict=True):
            if others := family.take(tallied):
                self._others(others)
            if tallied.skipped:
                self._skipped(tallied.skipped)
        return batch


def _definition(name: str, one: MetricOptions) -> Definition:
    return Definition(name, one.kind, one.help, tuple(one.labels), one.bounds)


def _measure(one: MetricOptions) -> Measure:
    return Measure(tuple(one.labels.values()), one.value, one.where, one.bounds, signed=one.kind == "gauge")
