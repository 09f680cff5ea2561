"""Routes that copy, split and filter per output, as a configuration says it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from logflow.batch import Batch, DeliveryKey, Origin, Span
from logflow.config.models import Settings
from logflow.pipeline.build import Pipeline, build
from logflow.pipeline.router import SourceEmit

MODIFY = {"type": "modify", "set": {"seen": "yes"}}
DROP_DEBUG = {"type": "grep", "exclude": {"level": "^debug$"}, "name": "no-debug"}


def make(tmp_path: Path, routes: list[dict[str, Any]], **more: Any) -> Pipeline:
    outputs = {name: {"type": "null", **more.pop(name, {})} for name in ("archive", "pager")}
    return build(
        Settings.model_validate({
            "data_dir": str(tmp_path),
            "sources": {"s": {"type": "generate", "tag": "x"}},
            "routes": routes,
            "outputs": outputs,
            **more,
        })
    )  # fmt: skip


def batch(*levels: str, tag: str = "app") -> Batch:
    return Batch.from_events(tag, [(1, {"level": level}) for level in levels], Span("a", 0, 10))


async def take(pipeline: Pipeline, output: str) -> list[dict[str, Any]]:
    """Deliver what waits at an output."""
    buffer = pipeline.flushers[output].buffer
    records: list[dict[str, Any]] = []
    while buffer.waiting.events:
        chunk = await asyncio.wait_for(buffer.take(), 5)
        records += [record for _, record in chunk.events()]
        await buffer.commit(chunk)
    return records


async def test_continue_sends_a_copy_on_as_it_was(tmp_path: Path) -> None:
    """The filters of the route change nothing for the routes below; each route has its account."""
    pipeline = make(tmp_path, [
        {"match": "app", "continue": True, "filters": [MODIFY, DROP_DEBUG], "outputs": ["pager"]},
        {"match": "**", "outputs": ["archive"]},
    ])  # fmt: skip
    receipt = await SourceEmit(pipeline.router)(batch("debug", "error"))
    assert await take(pipeline, "archive") == [{"level": "debug"}, {"level": "error"}]
    assert not receipt.done
    assert await take(pipeline, "pager") == [{"level": "error", "seen": "yes"}]
    assert receipt.done
    assert pipeline.ledger.account("app", "pager").dropped == {"filter:no-debug": 1}
    assert pipeline.ledger.account("**", "archive").delivered == 2
    assert pipeline.ledger.balanced


async def test_one_output_by_two_routes_gets_both_and_takes_neither_for_a_repeat(tmp_path: Path) -> None:
    """That it has accepted the one of a span does not mean that it has the other."""
    routes = [
        {"match": "app", "continue": True, "filters": [MODIFY], "outputs": ["archive"]},
        {"match": "**", "outputs": ["archive"]},
    ]
    pipeline = make(tmp_path, routes)
    receipt = await SourceEmit(pipeline.router)(batch("error"))
    records = await take(pipeline, "archive")
    assert sorted(map(len, records)) == [1, 2]
    assert receipt.done
    repeat = await SourceEmit(pipeline.router)(batch("error"))
    assert repeat.done
    assert await take(pipeline, "archive") == []
    assert pipeline.ledger.balanced


async def test_filters_of_an_output_are_for_it_alone(tmp_path: Path) -> None:
    """Whatever route leads there; what they drop is in the books of that output."""
    pipeline = make(
        tmp_path,
        [{"match": "app", "outputs": ["archive", "pager"]}, {"match": "**", "outputs": ["pager"]}],
        pager={"filters": [DROP_DEBUG, MODIFY]},
    )
    emit = SourceEmit(pipeline.router)
    await emit(batch("debug", "error"))
    await emit(batch("warn", tag="db"))
    assert await take(pipeline, "archive") == [{"level": "debug"}, {"level": "error"}]
    assert await take(pipeline, "pager") == [
        {"level": "error", "seen": "yes"},
        {"level": "warn", "seen": "yes"},
    ]
    assert pipeline.ledger.account("app", "pager").dropped == {"filter:no-debug": 1}
    assert not pipeline.ledger.account("app", "archive").dropped
    assert pipeline.ledger.balanced


async def test_named_chains_stand_for_their_filters(tmp_path: Path) -> None:
    """In routes and in outputs, among others."""
    pipeline = make(
        tmp_path,
        [{"match": "**", "filters": [{"use": "clean"}, DROP_DEBUG], "outputs": ["archive"]}],
        filters={"clean": [MODIFY]},
    )
    assert [step.context.name for step in pipeline.filters] == ["modify", "no-debug"]
    await SourceEmit(pipeline.router)(batch("debug", "error"))
    assert await take(pipeline, "archive") == [{"level": "error", "seen": "yes"}]


def test_keys_that_begin_with_x_are_the_users(tmp_path: Path) -> None:
    """A place for YAML anchors."""
    make(tmp_path, [{"match": "**", "outputs": ["archive"]}], **{"x-common": {"anything": 1}})


async def test_one_warning_for_each_tag_that_no_route_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And no more than a hundred of them, as tags come from outside."""
    pipeline = make(tmp_path, [{"match": "other", "outputs": ["archive"]}])
    emit = SourceEmit(pipeline.router)
    for _ in range(2):
        assert (await emit(batch("error"))).done
    assert caplog.messages == ["No route takes events of the tag app: they are dropped."]
    for number in range(200):
        await emit(batch("error", tag=f"t.{number}"))
    assert len(caplog.messages) == 101
    assert pipeline.ledger.account("(none)", "(none)").dropped == {"unrouted": 202}


async def test_unrouted_error_acknowledges_nothing(tmp_path: Path) -> None:
    """The source sees that there is no room, and waits."""
    pipeline = make(tmp_path, [{"match": "other", "outputs": ["archive"]}], unrouted="error")
    emit = SourceEmit(pipeline.router)
    assert emit.full("app")
    assert not emit.full("other")
    waiting = asyncio.ensure_future(emit(batch("error")))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert +emit.blocked_on == {"(none)": 1}
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert pipeline.ledger.balanced


async def test_unrouted_may_be_an_output(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It takes what no route does, without a warning."""
    pipeline = make(tmp_path, [{"match": "other", "outputs": ["pager"]}], unrouted="archive")
    await SourceEmit(pipeline.router)(batch("error"))
    assert await take(pipeline, "archive") == [{"level": "error"}]
    assert not caplog.messages
    assert pipeline.ledger.account("(none)", "archive").delivered == 1


class Level:
    """A condition: events of one level."""

    def __init__(self, level: str) -> None:
        self.level = level

    def split(self, batch: Batch) -> tuple[Batch, Batch]:
        events = list(batch.events())
        return (
            batch.with_events(event for event in events if event[1]["level"] == self.level),
            batch.with_events(event for event in events if event[1]["level"] != self.level),
        )


@pytest.mark.parametrize("onward", [False, True])
async def test_where_splits_a_batch_and_the_rest_goes_on(tmp_path: Path, *, onward: bool) -> None:
    """Routing by content; what a route has taken is not unrouted, though no other takes it."""
    pipeline = make(tmp_path, [
        {"match": "app", "outputs": ["pager"], "continue": onward},
        {"match": "db", "outputs": ["archive"]},
    ])  # fmt: skip
    pipeline.router.routes[0].where = Level("error")
    receipt = await SourceEmit(pipeline.router)(batch("debug", "error", "error"))
    assert await take(pipeline, "pager") == [{"level": "error"}, {"level": "error"}]
    assert receipt.done
    assert pipeline.ledger.account("(none)", "(none)").dropped == {"unrouted": 1}
    assert pipeline.ledger.balanced


@pytest.mark.parametrize("origin", [Span("a", 0, 10), DeliveryKey(b"k" * 16), None])
async def test_parts_of_a_batch_that_meet_at_an_output_are_no_repeats(tmp_path: Path, origin: Origin) -> None:
    """Of a delivery by a peer too: the parts have one key, and a resend of the whole is still a repeat."""
    pipeline = make(tmp_path, [
        {"match": "**", "continue": True, "outputs": ["archive"]},
        {"match": "**", "where": "level == 'error'", "outputs": ["pager"]},
        {"match": "**", "outputs": ["pager"]},
    ])  # fmt: skip
    emit = SourceEmit(pipeline.router)
    whole = batch("debug", "error", "info").with_origin(origin)
    await emit(whole)
    assert sorted(record["level"] for record in await take(pipeline, "pager")) == ["debug", "error", "info"]
    assert len(await take(pipeline, "archive")) == 3
    await emit(whole)
    assert len(await take(pipeline, "pager")) == (0 if origin else 3)
