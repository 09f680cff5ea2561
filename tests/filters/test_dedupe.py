"""The filter ``dedupe``."""

from __future__ import annotations

import re
from itertools import count

import pytest
from pydantic import ValidationError

from logflow.batch import Batch, Span
from logflow.filters.dedupe import DedupeFilter
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock, make_context


class Bench:
    def __init__(self, directory, engine, **options):
        self.clock, self.metrics = FakeClock(), Metrics()
        self.spans = (Span("file", 9 * number, 9 * number + 9) for number in count())
        context = make_context(
            directory, "test", kind="filter", engine=engine.name, clock=self.clock, metrics=self.metrics
        )
        self.step = DedupeFilter(DedupeFilter.Config(**{"fields": ["message"], **options}), context)

    def send(self, *records, tag="app"):
        kept = self.step.apply(Batch.from_events(tag, list(enumerate(records)), next(self.spans)))
        return [] if kept is None else [record for _, record in kept.events()]

    def told(self, *, at_the_end=False):
        made = self.step.summaries(None if at_the_end else self.clock.monotonic())
        return [(batch.tag, time, record) for batch in made for time, record in batch.events()]

    @property
    def forgotten(self):
        return sum(cell.value for cell in self.metrics.counters())


@pytest.fixture
def bench(tmp_path, engine):
    return lambda **options: Bench(tmp_path, engine, **options)


def message(text, **fields):
    return {"message": text, **fields}


async def test_the_same_fields_within_the_time_are_left_out(bench):
    it = bench(fields=["message", "level"], within="5s")
    first = [message("a", n=1), message("b", n=2), message("a", level="error")]
    assert it.send(*first, message("a", n=3)) == first
    await it.clock.advance(4.9)
    assert it.send(message("b")) == []
    await it.clock.advance(0.2)
    assert it.send(message("a", n=4), message("a")) == [message("a", n=4)]


def test_a_batch_without_repeats_is_not_copied(bench):
    it = bench()
    batch = Batch.from_events("app", [(0, message("a")), (1, message("b"))])
    assert it.step.apply(batch) is batch


def test_events_without_any_of_the_fields_always_pass(bench):
    it = bench(fields=["message", "code"])
    assert it.send({"n": 1}, {"n": 2}, {"message": None}, {"code": 0}, {"code": 0}) == [
        {"n": 1}, {"n": 2}, {"message": None}, {"code": 0},
    ]  # fmt: skip


async def test_one_event_says_how_often_it_was_repeated(bench):
    it = bench(within="5s", summary=True)
    it.send(message("a", n=1), message("a", n=2), message("a", n=3), message("b"))
    assert it.told() == []
    await it.clock.advance(5)
    assert it.told() == [("app", it.clock.time_ns(), message("a", n=2, repeated=2))]
    assert it.told() == []
    it.send(message("c"), message("c"), tag="other")
    assert [(tag, record) for tag, _, record in it.told(at_the_end=True)] == [
        ("other", message("c", repeated=1))
    ]


def test_what_is_remembered_is_bounded_and_what_is_forgotten_is_counted(bench):
    it = bench(max_events=2)
    assert len(it.send(*map(message, "abca"))) == 4
    assert it.forgotten == 2


def test_text_of_10_mb_and_integers_of_64_bits_are_compared_as_a_whole(bench):
    it = bench()
    long = "x" * 10_000_000
    assert len(it.send(message(long + "a"), message(long + "b"), message(long + "a"))) == 2
    assert len(it.send(message(2**64 - 1), message(2**64 - 2), message(2.0**64), message(2**64 - 1))) == 3


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"fields": []}, "at least 1 item"),
        ({"fields": ["a b"]}, "column 3: invalid syntax"),
        ({"within": "0s"}, "within must be more than 0s"),
        ({"within": "2d"}, "at most 24h"),
    ],
)
def test_a_mistake_in_the_configuration_is_explained(options, problem):
    with pytest.raises(ValidationError, match=re.escape(problem)):
        DedupeFilter.Config(**{"fields": ["a"], **options})
