"""The filter ``throttle``."""

from __future__ import annotations

import re
from itertools import count

import pytest
from pydantic import ValidationError

from logflow.batch import Batch, Span
from logflow.filters.throttle import ThrottleFilter
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock, make_context


class Bench:
    def __init__(self, directory, engine, **options):
        self.clock, self.metrics = FakeClock(), Metrics()
        self.spans = (Span("file", 9 * number, 9 * number + 9) for number in count())
        context = make_context(
            directory, "per-pod", kind="filter", engine=engine.name, clock=self.clock, metrics=self.metrics
        )
        self.step = ThrottleFilter(ThrottleFilter.Config(**options), context)

    def send(self, *pods, text=""):
        """How many events of each pod pass, or which numbers they have."""
        events = [(n, {"n": n, "pod": pod, "text": text}) for n, pod in enumerate(pods)]
        kept = self.step.apply(Batch.from_events("app", events, next(self.spans)))
        return [] if kept is None else [record["n"] for _, record in kept.events()]

    def told(self, *, at_the_end=False):
        made = self.step.summaries(None if at_the_end else self.clock.monotonic())
        return [record for batch in made for _, record in batch.events()]

    @property
    def forgotten(self):
        return sum(cell.value for cell in self.metrics.counters())


@pytest.fixture
def bench(tmp_path, engine):
    return lambda **options: Bench(tmp_path, engine, **options)


async def test_each_key_has_its_own_rate_and_the_first_events_pass(bench):
    it = bench(events=2, per="1s", key="pod")
    assert it.send("a", "a", "b", "a", "b", "b") == [0, 1, 2, 4]
    assert it.send("a", "c") == [1]
    await it.clock.advance(0.5)
    assert it.send("a", "a", "b") == [0, 2]


async def test_after_a_quiet_time_a_burst_passes_and_no_more(bench):
    it = bench(events=1, per="1s", burst=3)
    assert it.send(*"abcde") == [0, 1, 2]
    await it.clock.advance(100)
    assert it.send(*"abcde") == [0, 1, 2]
    await it.clock.advance(2)
    assert it.send(*"abcde") == [0, 1]


async def test_what_all_passes_is_not_copied(bench):
    it = bench(events=10)
    batch = Batch.from_events("app", [(0, {})])
    assert it.step.apply(batch) is batch


async def test_by_bytes_an_event_larger_than_the_rate_passes_and_is_owed(bench):
    it = bench(bytes="1KiB", per="1s")
    assert it.send("a", "a", text="x" * 3000) == [0]
    await it.clock.advance(1)
    assert it.send("a") == []
    await it.clock.advance(2)
    assert it.send("a") == [0]


async def test_keys_are_bounded_and_what_is_forgotten_too_early_is_counted(bench):
    it = bench(events=1, per="1s", key="pod", max_keys=2)
    assert it.send("a", "b", "c", "a") == [0, 1, 2]
    assert it.forgotten == 1
    await it.clock.advance(10)
    assert it.send("d", "e", "f") == [0, 1, 2]
    assert it.forgotten == 2, "only d had not all of its tokens back"


async def test_a_key_of_10_mb_costs_no_memory(bench):
    it = bench(events=1, key="text")
    assert it.send("a", "a", text="x" * 10_000_000) == [0]
    assert sum(map(len, it.step._buckets)) < 100


async def test_keys_are_told_apart_by_type_and_a_missing_one_is_one(bench):
    it = bench(events=1, key="pod")
    assert it.send(1, "1", None, None, 2**64 - 1, 2**64 - 1, {"a": 1}) == [0, 1, 2, 4, 6]


async def test_one_event_tells_what_was_left_out_in_each_window(bench):
    it = bench(events=1, key="pod", summary="10s")
    it.send("a", "a", "a", "b", "b")
    assert it.told() == []
    await it.clock.advance(10)
    assert it.told() == [
        {
            "message": "The filter per-pod left out 3 events.",
            "filter": "per-pod",
            "left_out": 3,
            "keys": [{"key": "a", "left_out": 2}, {"key": "b", "left_out": 1}],
        }
    ]
    await it.clock.advance(10)
    assert it.told() == []
    it.send("a", "a")
    assert [record["left_out"] for record in it.told(at_the_end=True)] == [1]


async def test_without_summary_nothing_is_told(bench):
    it = bench(events=1)
    it.send("a", "a")
    assert not it.step.tells
    assert it.told(at_the_end=True) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "set one of events and bytes"),
        ({"events": 1, "bytes": 1}, "set one of events and bytes"),
        ({"events": 0}, "greater than or equal to 1"),
        ({"events": 1, "per": "0s"}, "must be more than 0"),
        ({"events": 1, "burst": 0}, "must be more than 0"),
        ({"events": 1, "key": "lenght(a)"}, "did you mean 'len'"),
    ],
)
def test_a_mistake_in_the_configuration_is_explained(options, problem):
    with pytest.raises(ValidationError, match=re.escape(problem)):
        ThrottleFilter.Config(**options)
