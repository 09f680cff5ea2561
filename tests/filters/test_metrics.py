"""The filter ``metrics``."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from logflow.admin.prometheus import render
from logflow.batch import Batch
from logflow.config.loader import load
from logflow.errors import ComponentError
from logflow.filters.metrics import MetricsFilter
from logflow.pipeline.build import build, draft
from logflow.telemetry.measured import Definition
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock, make_context


class Bench:
    def __init__(self, directory, engine, max_series=1000, **metrics):
        self.clock, self.counters = FakeClock(), Metrics()
        context = make_context(
            directory, "test", kind="filter", engine=engine.name, clock=self.clock, metrics=self.counters
        )
        self.step = MetricsFilter(MetricsFilter.Config(metrics=metrics, max_series=max_series), context)

    def send(self, *records):
        batch = Batch.from_events("app", list(enumerate(records)))
        assert self.step.apply(batch) is batch

    @property
    def samples(self):
        return [
            (labels, value, buckets)
            for family in self.step._families
            for labels, value, buckets in family.samples()
        ]

    @property
    def counts(self):
        return {cell.name: cell.value for cell in self.counters.counters() if cell.value}


@pytest.fixture
def bench(tmp_path, engine):
    return lambda **options: Bench(tmp_path, engine, **options)


def test_events_are_counted_by_labels(bench):
    it = bench(requests={"labels": {"status": "status", "path": "split(path, '/')[1]"}, "where": "status"})
    it.send({"status": 200, "path": "/a/1"}, {"status": 200, "path": "/a/2"}, {"status": 500}, {})
    it.send({"status": "200", "path": "/a"})
    assert it.samples == [(("200", "a"), 3, []), (("500", ""), 1, [])]


def test_values_are_added_up_kept_or_put_into_buckets(bench):
    it = bench(
        sent_bytes={"value": "size"},
        depth={"kind": "gauge", "value": "depth"},
        seconds={"kind": "histogram", "value": "ms / 1000", "buckets": [0.1, 1]},
    )
    it.send({"size": 10, "depth": -3, "ms": 100}, {"size": 5, "depth": 7, "ms": 101}, {"size": -1})
    it.send({"size": "9", "ms": 5000})
    assert it.samples == [
        ((), 15, []),
        ((), 7, []),
        ((), 5.201, [("0.1", 1), ("1.0", 2), ("+Inf", 3)]),
    ]
    assert it.counts == {"metrics_values_skipped": 5}


async def test_labels_are_bounded_and_what_is_beyond_is_counted_as_other(bench):
    it = bench(max_series=2, events={"labels": {"user": "user", "x": "1"}})
    it.send(*({"user": f"u{n}"} for n in range(5)), {"user": "u0"})
    assert it.samples == [(("u0", "1"), 2, []), (("u1", "1"), 1, []), (("other", "other"), 3, [])]
    assert it.counts == {"metrics_events_other": 3}
    await it.clock.advance(590)
    it.send({"user": "u0"})
    await it.clock.advance(20)
    it.send({"user": "u9"})
    assert it.samples == [(("u0", "1"), 3, []), (("u9", "1"), 1, [])]


def test_a_label_of_10_mb_costs_200_characters(bench):
    it = bench(events={"labels": {"user": "user"}})
    it.send({"user": "x" * 10_000_000}, {"user": 2**64 - 1}, {"user": {"a": [None]}})
    assert [labels for labels, _, _ in it.samples] == [("x" * 200,), (str(2**64 - 1),), ('{"a":[null]}',)]
    assert max(map(len, it.step._families[0]._known)) < 1000


PIPELINE = """
sources: {{in: {{type: generate, tag: app}}}}
routes:
  - match: "**"
    filters:
      - {{type: metrics, metrics: {{requests: {{labels: {{status: status}}}}}}}}
      - {{type: metrics, metrics: {second}}}
    outputs: [out]
outputs: {{out: {{type: "null"}}}}
"""


@pytest.fixture
def settings(tmp_path):
    def settings(second):
        (tmp_path / "a.yaml").write_text(PIPELINE.format(second=second))
        return load([tmp_path / "a.yaml"], {}).settings

    return settings


async def test_what_was_counted_can_be_scraped_and_lives_over_a_reload(settings):
    first = settings("{seconds: {kind: histogram, help: How long., value: s, buckets: [1]}}")
    pipeline = build(first)
    batch = Batch.from_events("app", [(0, {"status": 200, "s": 0.5}), (0, {"status": 500, "s": 2})])
    for step in pipeline.filters:
        step.apply(batch)
    text = render(pipeline).decode()
    assert 'requests_total{status="200"} 1.0\n' in text
    assert "# HELP seconds How long.\n# TYPE seconds histogram\n" in text
    assert (
        'seconds_bucket{le="1.0"} 1.0\nseconds_bucket{le="+Inf"} 2.0\nseconds_count 2.0\nseconds_sum 2.5\n'
        in text
    )

    planned = draft(pipeline, settings("{seconds: {kind: gauge, value: s}}"))
    pipeline.router = planned.router
    for step in pipeline.filters:
        step.apply(batch)
    text = render(pipeline).decode()
    assert 'requests_total{status="200"} 2.0\n' in text
    assert "# TYPE seconds gauge\nseconds 2.0\n" in text
    assert "seconds_bucket" not in text


def test_two_filters_share_a_metric_that_is_the_same(settings):
    pipeline = build(settings("{requests: {labels: {status: code}}}"))
    for step in pipeline.filters:
        step.apply(Batch.from_events("app", [(0, {"status": 1, "code": 2})]))
    text = render(pipeline).decode()
    assert text.count("# TYPE requests_total counter") == 1
    assert 'requests_total{status="1"} 1.0\nrequests_total{status="2"} 1.0\n' in text


@pytest.mark.parametrize("second", ["{requests: {}}", "{requests_total: {kind: gauge, value: a}}"])
def test_two_filters_cannot_define_a_name_in_two_ways(settings, second):
    with pytest.raises(ComponentError, match="another filter defines requests_total otherwise"):
        build(settings(second))


def test_the_names_that_a_metric_takes():
    names = lambda kind, name: Definition(name, kind, "", ()).exposed  # noqa: E731
    assert names("counter", "a") == names("counter", "a_total") == ("a_total",)
    assert names("histogram", "a") == ("a", "a_bucket", "a_sum", "a_count")


@pytest.mark.parametrize(
    ("metrics", "problem"),
    [
        ({}, "at least 1 item"),
        ({"a": {}, "a_total": {}}, "a and a_total both give the name a_total"),
        ({"a-b": {}}, "should match pattern"),
        ({"logflow_x": {}}, "names that begin with logflow_ are logflow's own"),
        ({"a": {"labels": {"b-c": "x"}}}, "should match pattern"),
        ({"a": {"labels": {"__name__": "x"}}}, "should match pattern"),
        ({"a": {"labels": {f"l{n}": "x" for n in range(11)}}}, "at most 10 items"),
        ({"a": {"kind": "gauge"}}, "a gauge needs a value"),
        ({"a": {"buckets": [1]}}, "a counter has no buckets"),
        ({"a": {"kind": "histogram", "value": "x", "buckets": [2, 1]}}, "in increasing order"),
        ({"a": {"kind": "histogram", "value": "x", "buckets": []}}, "in increasing order"),
        ({"a": {"kind": "histogram", "value": "x", "labels": {"le": "x"}}}, "le of a histogram is its own"),
        ({"a": {"value": "lenght(x)"}}, "did you mean 'len'"),
    ],
)
def test_a_mistake_in_the_configuration_is_explained(metrics, problem):
    with pytest.raises(ValidationError, match=re.escape(problem)):
        MetricsFilter.Config(metrics=metrics)
