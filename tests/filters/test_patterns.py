"""The filter ``patterns``."""

from __future__ import annotations

import asyncio
import re

import pytest
from pydantic import ValidationError

from logflow.batch import Batch
from logflow.filters.patterns import PatternsFilter
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock, make_context


class Bench:
    def __init__(self, directory, engine, **options):
        self.clock, self.metrics = FakeClock(), Metrics()
        context = make_context(
            directory, "test", kind="filter", engine=engine.name, clock=self.clock, metrics=self.metrics
        )
        self.step = PatternsFilter(PatternsFilter.Config(**options), context)

    async def __aenter__(self):
        await self.step.open()
        return self

    async def __aexit__(self, *_):
        await self.step.close()

    def send(self, *messages, field="message"):
        batch = self.step.apply(
            Batch.from_events("app", list(enumerate({field: message} for message in messages)))
        )
        return [record for _, record in batch.events()]

    @property
    def counts(self):
        return {cell.name: cell.value for cell in self.metrics.counters()}


@pytest.fixture
def bench(tmp_path, engine):
    return lambda **options: Bench(tmp_path, engine, **options)


async def test_each_message_gets_its_template_and_the_same_id(bench):
    async with bench() as it:
        first, second, other, none = it.send(
            "user ann logged in from 10.0.0.1", "user bob logged in from 10.0.0.9", "disk full", None
        )
        assert first["pattern"] == second["pattern"] == "user <*> logged in from <*>"
        assert first["pattern_id"] == second["pattern_id"] != other["pattern_id"]
        assert re.fullmatch("[0-9a-f]{16}", first["pattern_id"])
        assert none == {"message": None}
        assert it.counts == {"patterns_found": 2, "patterns_forgotten": 0}


async def test_another_field_is_looked_at_and_fields_have_other_names(bench):
    async with bench(message="lower(log)", id_field=None, pattern_field="log.template") as it:
        assert it.send("Disk FULL", field="log") == [{"log": "Disk FULL"}], "log is no map"
    async with bench(message="log.text", id_field=None, pattern_field="log.template") as it:
        assert it.send({"text": "took 5 ms"}, field="log") == [
            {"log": {"text": "took 5 ms", "template": "took <*> ms"}}
        ]


async def test_templates_keep_their_ids_over_a_restart(bench):
    async with bench() as it:
        [before, _] = it.send("user ann logged in", "user bob logged in")
    async with bench() as it:
        [after] = it.send("user eve logged in")
        assert (after["pattern_id"], after["pattern"]) == (before["pattern_id"], "user <*> logged in")
        assert it.counts["patterns_found"] == 0


async def test_what_was_found_is_kept_now_and_then_as_a_kill_may_come(bench, tmp_path):
    async with bench() as it:
        it.send("disk full")
        assert not (tmp_path / "patterns").exists()
        await it.clock.advance(60)
        for _ in range(200):
            if (tmp_path / "patterns").exists():
                break
            await asyncio.sleep(0.01)
        assert (tmp_path / "patterns").stat().st_size > 0


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-1] + b"\xc1"]
)
async def test_a_damaged_file_is_set_aside_and_said(bench, tmp_path, caplog, damage):
    async with bench() as it:
        it.send("disk full")
    path = tmp_path / "patterns"
    path.write_bytes(damage(path.read_bytes()))
    async with bench() as it:
        assert it.send("disk full")[0]["pattern"] == "disk full"
        assert "cannot be used" in caplog.text
        assert (tmp_path / "patterns.damaged").exists()


async def test_a_directory_that_cannot_be_written_costs_the_file_alone(bench, tmp_path, caplog):
    async with bench() as it:
        it.send("disk full")
        (tmp_path / "patterns.new").mkdir()
    assert "cannot be kept" in caplog.text


async def test_what_is_known_is_bounded(bench):
    async with bench(max_patterns=5) as it:
        it.send(*(f"{chr(97 + n)} x" for n in range(20)))
        assert it.counts == {"patterns_found": 20, "patterns_forgotten": 15}
        assert len(it.send("x" * 10_000_000)[0]["pattern"]) == 2048


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"id_field": None, "pattern_field": None}, "set id_field, pattern_field or both"),
        ({"similarity": 0}, "greater than 0"),
        ({"max_patterns": 100_000}, "less than or equal to 10000"),
    ],
)
def test_a_mistake_in_the_configuration_is_explained(options, problem):
    with pytest.raises(ValidationError, match=re.escape(problem)):
        PatternsFilter.Config(**options)
