"""The number of tags is bounded."""

from __future__ import annotations

from logflow.batch import Batch
from logflow.engine import load_engine
from logflow.forward.tags import FALLBACK, Tags
from logflow.telemetry.metrics import CounterCell


def batch(tag: str) -> Batch:
    return Batch.from_events(tag, [(1, {"n": 1})])


def test_one_too_many_goes_under_one_tag_and_keeps_its_own_as_a_field() -> None:
    """It is counted, and those who were there before go on as they were."""
    overflowed = CounterCell("overflowed", "", "source", "test")
    tags = Tags(2, load_engine("auto"), lambda: 0.0, overflowed)
    assert [tags.limit(batch(tag)).tag for tag in ("a", "b", "c", "a", "d")] == [
        "a",
        "b",
        FALLBACK,
        "a",
        FALLBACK,
    ]
    assert overflowed.value == 2
    assert [record for _, record in tags.limit(batch("c")).events()] == [{"n": 1, "tag": "c"}]


def test_tags_that_do_not_come_any_more_make_room() -> None:
    """Those that do come stay."""
    now_s = 0.0
    tags = Tags(2, load_engine("auto"), lambda: now_s, CounterCell("overflowed", "", "source", "test"))
    tags.limit(batch("a"))
    tags.limit(batch("b"))
    now_s = 3601.0
    assert tags.limit(batch("b")).tag == "b"
    assert tags.limit(batch("c")).tag == FALLBACK
    now_s = 7202.0
    assert tags.limit(batch("c")).tag == "c"
    assert tags.limit(batch("b")).tag == "b"
