"""``where:`` on routes and filters: events that do not fulfil it go past, in their order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from logflow.batch import Batch, Span
from logflow.component import EventsFailed, Filter
from logflow.config.models import Settings
from logflow.config.options import FilterConfig
from logflow.expressions import compile_expression
from logflow.pipeline.build import Pipeline, build
from logflow.pipeline.conditions import Where
from logflow.pipeline.router import SourceEmit
from logflow.testing import make_context

MARK = {"type": "modify", "set": {"seen": "yes"}}


def make(tmp_path: Path, routes: list[dict[str, Any]]) -> Pipeline:
    return build(
        Settings.model_validate({
            "data_dir": str(tmp_path),
            "sources": {"s": {"type": "generate", "tag": "x"}},
            "routes": routes,
            "outputs": {name: {"type": "null"} for name in ("archive", "pager")},
        })
    )  # fmt: skip


async def send(pipeline: Pipeline, *numbers: int) -> dict[str, list[dict[str, Any]]]:
    events = [(1, {"n": number}) for number in numbers]
    await SourceEmit(pipeline.router)(Batch.from_events("app", events, Span("a", 0, 10)))
    found: dict[str, list[dict[str, Any]]] = {}
    for output, flusher in pipeline.flushers.items():
        found[output] = []
        while flusher.buffer.waiting.events:
            chunk = await asyncio.wait_for(flusher.buffer.take(), 5)
            found[output] += [record for _, record in chunk.events()]
            await flusher.buffer.commit(chunk)
    assert pipeline.ledger.balanced
    return found


async def test_events_that_do_not_fulfil_it_go_on_to_the_next_route(tmp_path: Path) -> None:
    routes = [
        {"match": "**", "where": "n >= 3", "outputs": ["pager"]},
        {"match": "**", "outputs": ["archive"]},
    ]
    found = await send(make(tmp_path, routes), 1, 5, 2, 3)
    assert found == {"pager": [{"n": 5}, {"n": 3}], "archive": [{"n": 1}, {"n": 2}]}


async def test_a_filter_with_it_changes_the_others_not_and_keeps_the_order(tmp_path: Path) -> None:
    routes = [{"match": "**", "filters": [MARK | {"where": "n % 2"}], "outputs": ["archive"]}]
    found = await send(make(tmp_path, routes), 1, 2, 3, 4)
    assert found["archive"] == [{"n": 1, "seen": "yes"}, {"n": 2}, {"n": 3, "seen": "yes"}, {"n": 4}]


async def test_a_filter_that_drops_drops_only_what_fulfils_it(tmp_path: Path) -> None:
    select = {"type": "select", "drop": "n > 2", "where": "n != 5", "name": "small"}
    pipeline = make(tmp_path, [{"match": "**", "filters": [select], "outputs": ["archive"]}])
    assert (await send(pipeline, 1, 5, 3, 2, 4))["archive"] == [{"n": 1}, {"n": 5}, {"n": 2}]
    assert pipeline.ledger.account("**", "archive").dropped == {"filter:small": 2}


class Dropping(Filter):
    """Drops events with an even number; fails for 13, and changes what it keeps for 12."""

    Config = FilterConfig
    only_drops = True
    calls = 0

    def apply(self, batch: Batch) -> Batch | None:
        self.calls += 1
        events = list(batch.events())
        if any(record["n"] == 13 for _, record in events):
            raise KeyError("n")
        kept = [event for event in events if event[1]["n"] % 2]
        if any(record["n"] == 12 for _, record in events):
            kept = [(1, {"n": 0})]
        return batch.with_events(kept) if kept else None


def drop_where(numbers: list[int], engine: str) -> tuple[list[int], int]:
    context = make_context(Path("/nonexistent"), kind="filter", engine=engine)
    step = Dropping(FilterConfig(type="x"), context)
    where = Where(compile_expression("n != 4"), context.engine, context.clock)
    kept = where.apply(step, Batch.from_events("app", [(1, {"n": number}) for number in numbers]))
    if kept is None:
        return [], step.calls
    records = [record["n"] for _, record in kept.events()]
    assert kept.count == len(records)
    return records, step.calls


@given(numbers=st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_a_filter_that_only_drops_is_asked_once_for_all_of_them(numbers: list[int]) -> None:
    records, calls = drop_where(numbers, "auto")
    assert records == [number for number in numbers if number == 4 or number % 2]
    assert calls <= 1


@pytest.mark.parametrize(("bad", "error"), [(13, "KeyError"), (12, "it changed events")])
def test_if_it_fails_or_changes_events_all_that_fulfil_the_condition_failed(bad: int, error: str) -> None:
    with pytest.raises(EventsFailed, match=error) as caught:
        drop_where([1, 4, bad, 3], "auto")
    failed, without = caught.value.failed, caught.value.without
    assert without is not None
    assert [record["n"] for _, record in failed.events()] == [1, bad, 3]
    assert [record["n"] for _, record in without.events()] == [4]


@pytest.mark.parametrize(
    ("on_error", "kept", "dropped"),
    [("keep", [1, 2, 3], {}), ("drop", [2], {"filter_error:bad": 2})],
)
async def test_a_filter_that_fails_costs_only_events_that_fulfil_it(
    tmp_path: Path, on_error: str, kept: list[int], dropped: dict[str, int]
) -> None:
    (tmp_path / "bad.py").write_text("def fail(record):\n    raise KeyError('x')\n")
    bad = {
        "type": "python",
        "path": f"{tmp_path / 'bad.py'}:fail",
        "where": "n != 2",
        "on_error": on_error,
        "name": "bad",
    }
    pipeline = make(tmp_path, [{"match": "**", "filters": [bad], "outputs": ["archive"]}])
    found = await send(pipeline, 1, 2, 3)
    assert [record["n"] for record in found["archive"]] == kept
    assert pipeline.ledger.account("**", "archive").dropped == dropped


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("now() > 5", "now() cannot decide about a route"),
        ("lenght(x)", "did you mean 'len'?"),
        ("a = 1", "write =="),
    ],
)
def test_a_mistake_in_it_is_found_when_it_is_loaded(tmp_path: Path, where: str, message: str) -> None:
    with pytest.raises(
        ValidationError, match=message.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")
    ):
        make(tmp_path, [{"match": "**", "where": where, "outputs": ["archive"]}])


async def test_an_event_with_a_new_tag_is_routed_anew(tmp_path: Path) -> None:
    step = {"type": "tag", "tag": "'odd' if n % 2 else None"}
    routes = [
        {"match": "app", "filters": [step], "outputs": ["archive"]},
        {"match": "odd", "outputs": ["pager"]},
    ]
    assert await send(make(tmp_path, routes), 1, 2, 3, 4) == {
        "pager": [{"n": 1}, {"n": 3}], "archive": [{"n": 2}, {"n": 4}],
    }  # fmt: skip


async def test_fields_are_computed(tmp_path: Path) -> None:
    step = {"type": "set", "fields": {"half": "n / 2", "kind": "'odd'"}, "where": "n % 2"}
    found = await send(make(tmp_path, [{"match": "**", "filters": [step], "outputs": ["archive"]}]), 1, 2)
    assert found["archive"] == [{"n": 1, "half": 0.5, "kind": "odd"}, {"n": 2}]
