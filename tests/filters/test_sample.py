"""The filter ``sample``: the same events again are decided about in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logflow.batch import Batch, Span
from logflow.filters.sample import SampleFilter
from logflow.testing import make_context

EVENTS: list[tuple[int, dict[str, Any]]] = [
    (number, {"n": number, "trace": f"t{number // 10}", "level": "error" if number % 50 == 0 else "info"})
    for number in range(2000)
]


def kept(tmp_path: Path, batch: Batch, **options: Any) -> list[int]:
    result = SampleFilter(SampleFilter.Config(**options), make_context(tmp_path)).apply(batch)
    return [] if result is None else [record["n"] for _, record in result.events()]


def test_about_the_share_is_kept(tmp_path: Path, engine: Any) -> None:
    batch = Batch.from_events("app", EVENTS)
    step = SampleFilter(SampleFilter.Config(rate=0.1), make_context(tmp_path, engine=engine.name))
    result = step.apply(batch)
    assert result is not None
    assert 150 <= result.count <= 250
    assert kept(tmp_path, batch, rate=1) == list(range(2000))
    assert kept(tmp_path, batch, rate=1e-30) == []


def test_what_is_read_again_is_decided_again_as_before(tmp_path: Path) -> None:
    """However the stream is cut into batches then; another stream is decided otherwise."""
    batch = Batch.from_events("app", EVENTS, Span("file-1", 0, 9))
    whole = kept(tmp_path, batch, rate=0.3)
    parts = [
        number
        for start in range(0, 2000, 300)
        for number in kept(
            tmp_path,
            Batch.from_events("app", EVENTS[start : start + 300], Span("file-1", start, 9)),
            rate=0.3,
        )
    ]
    assert parts == whole
    assert kept(tmp_path, batch.with_origin(Span("file-2", 0, 9)), rate=0.3) != whole


def test_events_of_one_key_stay_together_whatever_their_stream(tmp_path: Path) -> None:
    batch = Batch.from_events("app", EVENTS, Span("file-1", 0, 9))
    numbers = kept(tmp_path, batch, rate=0.2, key="trace")
    traces = {number // 10 for number in numbers}
    assert numbers == [number for number in range(2000) if number // 10 in traces]
    assert 20 <= len(traces) <= 60
    assert kept(tmp_path, batch.with_origin(Span("file-2", 0, 9)), rate=0.2, key="trace") == numbers


def test_events_without_the_key_are_judged_by_themselves(tmp_path: Path) -> None:
    batch = Batch.from_events("app", EVENTS)
    numbers = kept(tmp_path, batch, rate=0.2, key="trace if n >= 1000 else None")
    assert 120 <= len([number for number in numbers if number < 1000]) <= 280
    assert len([number for number in numbers if number >= 1000]) % 10 == 0


def test_some_events_are_always_kept(tmp_path: Path) -> None:
    numbers = kept(
        tmp_path, Batch.from_events("app", EVENTS), rate=0.01, key="trace", always="level == 'error'"
    )
    assert set(range(0, 2000, 50)) <= set(numbers)
    assert len(numbers) < 200


@pytest.mark.parametrize("rate", [0, -1, 1.1])
def test_a_share_lies_between_nothing_and_all(rate: float) -> None:
    with pytest.raises(ValidationError, match="rate"):
        SampleFilter.Config(rate=rate)
