"""The process's numbers in Prometheus' text format.

prometheus_client does the formatting: it is the reference implementation of the exposition format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from logflow.telemetry.measured import Family

if TYPE_CHECKING:
    from logflow.pipeline.build import Pipeline

_STATES = ("up", "suspect", "down")
"""In which a server can be."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PipelineCollector(Collector):
    """Reads a pipeline's ledger, buffers and counters when it is scraped; nothing is kept twice."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._ledger()
        yield from self._outputs()
        yield from self._servers()
        yield from self._sources()
        yield from self._counters()
        yield from self._measured()

    def _ledger(self) -> Iterator[Metric]:
        labels = ["route", "output"]
        read = CounterMetricFamily("logflow_events_read", "Events that entered.", labels=labels)
        delivered = CounterMetricFamily(
            "logflow_events_delivered", "Events that were delivered.", labels=labels
        )
        waiting = GaugeMetricFamily("logflow_events_waiting", "Events on their way.", labels=labels)
        dropped = CounterMetricFamily(
            "logflow_events_dropped", "Events that went no further, by reason.", labels=[*labels, "reason"]
        )
        for account in self._pipeline.ledger.accounts():
            values = [account.route, account.output]
            read.add_metric(values, account.read)
            delivered.add_metric(values, account.delivered)
            waiting.add_metric(values, account.waiting)
            for reason, events in account.dropped.items():
                dropped.add_metric([*values, reason], events)
        yield from (read, delivered, waiting, dropped)

    def _outputs(self) -> Iterator[Metric]:
        def gauge(name: str, text: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"logflow_{name}", text, labels=["output"])

        size = gauge("buffer_bytes", "Bytes that wait in the buffer.")
        limit = gauge("buffer_limit_bytes", "Most bytes that may wait in the buffer.")
        oldest = gauge("buffer_oldest_seconds", "Age of the oldest waiting events.")
        failing = gauge("output_failing", "1 while deliveries fail.")
        letters = gauge("dead_letters", "Dead letters that are kept.")
        chunks = CounterMetricFamily("logflow_chunks_delivered", "Chunks delivered.", labels=["output"])
        retries = CounterMetricFamily("logflow_retries", "Deliveries tried again.", labels=["output"])
        for name, flusher in self._pipeline.flushers.items():
            waiting = flusher.buffer.waiting
            size.add_metric([name], waiting.size)
            limit.add_metric([name], waiting.limit)
            oldest.add_metric([name], waiting.oldest_s)
            failing.add_metric([name], flusher.status.failing_since_s is not None)
            letters.add_metric([name], self._pipeline.dead_letters.kept(name))
            chunks.add_metric([name], flusher.status.chunks)
            retries.add_metric([name], flusher.status.retries)
        yield from (size, limit, oldest, failing, letters, chunks, retries)

    def _servers(self) -> Iterator[Metric]:
        labels = ["output", "server"]
        state = GaugeMetricFamily(
            "logflow_server_state", "1 for the state that a server is in.", labels=[*labels, "state"]
        )
        phi = GaugeMetricFamily(
            "logflow_server_phi", "How suspicious a server's silence to heartbeats is.", labels=labels
        )
        chunks = CounterMetricFamily(
            "logflow_server_chunks", "Chunks that a server took since the output was opened.", labels=labels
        )
        for name, flusher in self._pipeline.flushers.items():
            for server, told in flusher.output.status().get("servers", {}).items():
                for each in _STATES:
                    state.add_metric([name, server, each], told["state"] == each)
                phi.add_metric([name, server], told["phi"])
                chunks.add_metric([name, server], told["chunks"])
        yield from (state, phi, chunks)

    def _sources(self) -> Iterator[Metric]:
        blocked = GaugeMetricFamily(
            "logflow_source_blocked", "How many readers of a source wait for an output's buffer.",
            labels=["source", "output"],
        )  # fmt: skip
        waited = GaugeMetricFamily(
            "logflow_source_blocked_seconds", "For how long a source has waited for an output's buffer.",
            labels=["source", "output"],
        )  # fmt: skip
        for name, emit in self._pipeline.emits.items():
            waits = emit.blocked_on.waits()
            for output, readers in emit.blocked_on.items():
                blocked.add_metric([name, output], readers)
                waited.add_metric([name, output], waits.get(output, 0.0))
        yield from (blocked, waited)

    def _counters(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily] = {}
        for cell in self._pipeline.metrics.counters():
            family = families.setdefault(
                cell.name,
                CounterMetricFamily(f"logflow_{cell.name}", cell.help, labels=["kind", "component"]),
            )
            family.add_metric([cell.kind, cell.component], cell.value)
        yield from families.values()

    def _measured(self) -> Iterator[Metric]:
        """What filters count. During a reload there may be two of a name; the newer one counts."""
        kept = list(self._pipeline.contexts.kept.values())
        families = {one.definition.name: one for one in kept if isinstance(one, Family)}
        yield from map(_measured, families.values())


def _measured(family: Family) -> Metric:
    definition = family.definition
    name, text, labels = definition.name, definition.help, definition.labels
    if definition.kind == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for values, total, buckets in family.samples():
            histogram.add_metric(values, buckets, total)
        return histogram
    metric = (CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily)(
        name, text, labels=labels
    )
    for values, value, _ in family.samples():
        metric.add_metric(values, value)
    return metric


def render(pipeline: Pipeline) -> bytes:
    """Write every metric of a pipeline in the text exposition format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PipelineCollector(pipeline))
    return generate_latest(registry)
