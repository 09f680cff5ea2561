"""The generate source."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from logflow.sources.generate import GenerateSource
from logflow.testing import Collector, FakeClock, make_context, run_source


def make(tmp_path: Path, clock: FakeClock, **options: object) -> GenerateSource:
    config = GenerateSource.Config(type="generate", **options)
    return GenerateSource(config, make_context(tmp_path, clock=clock, engine="python"))


async def test_events_are_numbered_padded_and_stamped_by_the_clock(tmp_path: Path) -> None:
    clock, collector = FakeClock(), Collector()
    source = make(
        tmp_path, clock, rate=0, count=300, size=50, record={"level": "info", "host": "h", "seq": "x"}
    )
    await source.run(collector)
    assert [record["seq"] for record in collector.records()] == list(range(300))
    time, record = collector.events()[-1]
    assert time == clock.time_ns()
    assert list(record) == ["seq", "host", "message", "level"]
    assert (record["host"], record["level"], len(record["message"])) == ("h", "info", 50)


async def test_many_fields_make_a_larger_map_header(tmp_path: Path) -> None:
    collector = Collector()
    await make(tmp_path, FakeClock(), rate=0, count=2, record={str(i): i for i in range(20)}).run(collector)
    assert [len(record) for record in collector.records()] == [23, 23]


async def test_the_rate_is_kept_and_made_up_for(tmp_path: Path) -> None:
    clock, collector = FakeClock(), Collector()
    async with run_source(make(tmp_path, clock, rate=100), collector):
        await clock.advance(1)
        assert 98 <= collector.count <= 100
        collector.blocked = True
        await clock.advance(1)
        await collector.unblock()
        await clock.advance(0.1)
        assert 208 <= collector.count <= 210


async def test_a_high_rate_is_cut_into_batches_of_bounded_size(tmp_path: Path) -> None:
    clock, collector = FakeClock(), Collector()
    async with run_source(make(tmp_path, clock, rate=1_000_000), collector):
        await clock.advance(0.02)
        await collector.wait_for(20_000)
        await asyncio.sleep(0)
        assert max(batch.count for batch in collector.batches) == 1000


def test_a_count_of_zero_is_refused() -> None:
    with pytest.raises(ValidationError):
        GenerateSource.Config(type="generate", count=0)
