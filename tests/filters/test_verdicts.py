"""A delivery that is sent again passes filters with state as it did before."""

from __future__ import annotations

import pytest

from logflow.batch import Batch, DeliveryKey, Span
from logflow.filters import verdicts
from logflow.filters.dedupe import DedupeFilter
from logflow.filters.throttle import ThrottleFilter
from logflow.filters.verdicts import Verdicts
from logflow.testing import FakeClock, make_context


def sent(origin, *messages, tag="app"):
    return Batch.from_events(tag, [(0, {"message": message}) for message in messages], origin)


def messages(batch):
    return [] if batch is None else [record["message"] for _, record in batch.events()]


@pytest.fixture(params=["dedupe", "throttle"])
def step(request, tmp_path, engine):
    """Both let ``a`` pass once, and ``b`` once."""
    context = make_context(tmp_path, kind="filter", engine=engine.name, clock=FakeClock())
    if request.param == "dedupe":
        return DedupeFilter(DedupeFilter.Config(fields=["message"]), context)
    return ThrottleFilter(ThrottleFilter.Config(events=1, per="1h", key="message"), context)


@pytest.mark.parametrize("origin", [DeliveryKey(b"k" * 16), Span("file", 0, 9)])
def test_what_could_not_be_stored_passes_when_it_is_sent_again(step, origin):
    for _ in range(3):
        assert messages(step.apply(sent(origin, "a", "a", "b"))) == ["a", "b"]
    assert messages(step.apply(sent(DeliveryKey(b"l" * 16), "a", "b", "c"))) == ["c"]
    assert messages(step.apply(sent(DeliveryKey(b"m" * 16), "a"))) == []
    assert messages(step.apply(sent(DeliveryKey(b"m" * 16), "a"))) == []
    assert messages(step.apply(sent(DeliveryKey(b"l" * 16), "a", "b", "c"))) == ["c"]


def test_events_without_an_origin_are_judged_each_time(step):
    assert messages(step.apply(sent(None, "a"))) == ["a"]
    assert messages(step.apply(sent(None, "a"))) == []


def test_one_delivery_under_two_tags_is_two(step):
    key = DeliveryKey(b"k" * 16)
    assert messages(step.apply(sent(key, "a", "b"))) == ["a", "b"]
    assert messages(step.apply(sent(key, "b", "c", tag="other")))[-1:] == ["c"]
    assert messages(step.apply(sent(key, "a", "b"))) == ["a", "b"]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(verdicts, "_MOST_BYTES", 10_000)
    remembered, judged = Verdicts(), []

    def judge(batch):
        judged.append(batch)
        return batch.with_entries(batch.entries, batch.count)

    for number in range(1000):
        remembered.apply(sent(Span("file", number, number + 1), "x" * 100), judge)
    remembered.apply(sent(Span("file", 999, 1000), "x" * 100), judge)
    assert len(judged) == 1000
    remembered.apply(sent(Span("file", 0, 1), "x" * 100), judge)
    assert len(judged) == 1001
    assert remembered._size <= 10_000
