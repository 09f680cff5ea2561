"""The number of tags is bounded."""

from __future__ import annotations

from pathlib import Path

from logflow.batch import Batch
from logflow.net.tags import FALLBACK, Tags
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock, make_context


def batch(tag: str) -> Batch:
    return Batch.from_events(tag, [(1, {"n": 1})])


def test_one_too_many_goes_under_one_tag_and_keeps_its_own_as_a_field(tmp_path: Path) -> None:
    """It is counted, and those who were there before go on as they were."""
    metrics = Metrics()
    tags = Tags(2, make_context(tmp_path, metrics=metrics))
    assert [tags.limit(batch(tag)).tag for tag in ("a", "b", "c", "a", "d")] == [
        "a",
        "b",
        FALLBACK,
        "a",
        FALLBACK,
    ]
    assert {cell.name: cell.value for cell in metrics.counters()} == {"tags_overflowed": 2}
    assert [record for _, record in tags.limit(batch("c")).events()] == [{"n": 1, "tag": "c"}]


async def test_tags_that_do_not_come_any_more_make_room(tmp_path: Path) -> None:
    """Those that do come stay."""
    clock = FakeClock()
    tags = Tags(2, make_context(tmp_path, clock=clock))
    tags.limit(batch("a"))
    tags.limit(batch("b"))
    await clock.advance(3601.0)
    assert tags.limit(batch("b")).tag == "b"
    assert tags.limit(batch("c")).tag == FALLBACK
    await clock.advance(3601.0)
    assert tags.limit(batch("c")).tag == "c"
    assert tags.limit(batch("b")).tag == "b"
