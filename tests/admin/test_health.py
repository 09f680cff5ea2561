"""Readiness: what fails it, and what is only said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from logflow.admin.health import problems, warnings
from logflow.admin.prometheus import render
from logflow.admin.status import status
from logflow.batch import Batch, Chunk
from logflow.config.models import Settings
from logflow.errors import DeliveryError
from logflow.outputs.forward import ForwardOutput
from logflow.pipeline.build import Pipeline, build
from logflow.receipt import Receipt
from logflow.testing import FakeClock


def make_pipeline(tmp_path: Path, clock: FakeClock) -> Pipeline:
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "sources": {"numbers": {"type": "generate"}},
            "routes": [{"match": "**", "outputs": ["sink"]}],
            "outputs": {"sink": {"type": "null", "buffer": {"limit": 4000, "chunk_limit": 4000}}},
        }
    )
    pipeline = build(settings, clock)
    pipeline.flushers["sink"].status.opened = True
    return pipeline


def make_forwarding(tmp_path: Path, clock: FakeClock, **options: object) -> Pipeline:
    """A pipeline whose output has two servers; nobody is there."""
    servers = [{"address": "127.0.0.1:1"}, {"address": "127.0.0.1:2"}]
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "sources": {"numbers": {"type": "generate"}},
            "routes": [{"match": "**", "outputs": ["central"]}],
            "outputs": {"central": {"type": "forward", "servers": servers, **options}},
        }
    )
    pipeline = build(settings, clock)
    pipeline.flushers["central"].status.opened = True
    return pipeline


@pytest.mark.parametrize("engine", ["python", "native"])
async def test_a_field_that_no_event_has_is_seen_in_the_status(tmp_path: Path, engine: str) -> None:
    """A redaction whose path is mistyped does nothing: that must not stay unseen."""
    remove = {"type": "modify", "remove": ["user.password", "user.pasword"], "name": "hide"}
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "engine": engine,
            "sources": {"numbers": {"type": "generate"}},
            "routes": [
                {"match": "**", "filters": [remove, {"type": "limit", "depth": 9}], "outputs": ["sink"]}
            ],
            "outputs": {"sink": {"type": "null"}},
        }
    )
    pipeline = build(settings, FakeClock())
    events = [(n, {"user": {"password": "x"}}) for n in (1, 2)]
    await pipeline.emits["numbers"](Batch.from_events("t", [*events, (3, {})]))
    assert status(pipeline, running=True)["filters"] == [
        {
            "name": "hide", "type": "modify", "events": 3,
            "fields": {"user.password": 2, "user.pasword": 0},
        }
    ]  # fmt: skip


async def test_a_source_that_is_blocked_for_long_is_a_problem(tmp_path: Path) -> None:
    """At once it can be seen in the status, with the output and the time; after a minute readiness fails."""
    clock = FakeClock()
    pipeline = make_pipeline(tmp_path, clock)
    emit = pipeline.emits["numbers"]
    emit.blocked_on._monotonic = clock.monotonic
    flusher = pipeline.flushers["sink"]
    flusher.status.progress_s = 1e9  # the output itself is not the matter
    emit.blocked_on["sink"] += 1
    await clock.advance(59)
    told = status(pipeline, running=True)["sources"]["numbers"]
    assert (told["blocked_on"], told["blocked_for_s"]) == (["sink"], {"sink": 59.0})
    assert not list(problems(pipeline))
    await clock.advance(2)
    (problem,) = problems(pipeline)
    assert problem == "source numbers has waited for room in the buffer of output sink for 61 s"
    emit.blocked_on["sink"] -= 1
    assert not list(problems(pipeline))


async def test_a_put_that_does_not_fit_is_seen_although_the_buffer_is_not_full_by_its_size(
    tmp_path: Path,
) -> None:
    pipeline = make_pipeline(tmp_path, FakeClock())
    emit = pipeline.emits["numbers"]
    await emit(Batch.from_events("t", [(1, {"n": 1})]))
    waiting = asyncio.create_task(emit(Batch.from_events("t", [(1, {"n": 1})] * 200)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    told = status(pipeline, running=True)
    assert told["sources"]["numbers"]["blocked_on"] == ["sink"]
    assert told["outputs"]["sink"]["buffer"]["full"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert status(pipeline, running=True)["sources"]["numbers"]["blocked_on"] == []
    await pipeline.router.close()


async def test_dead_letters_tls_trouble_and_failing_filters_are_warnings(tmp_path: Path) -> None:
    """They do not fail readiness, but somebody should look."""
    pipeline = make_pipeline(tmp_path, FakeClock())
    assert not list(warnings(pipeline))
    await pipeline.dead_letters.put(Chunk(b"c" * 16, "t", (b"",), 0), "sink", "status 400")
    pipeline.metrics.counter("source", "peers", "tls_handshakes_failed", "...")(3)
    pipeline.metrics.counter("filter", "clean", "filter_errors", "...")(2)
    pipeline.flushers["sink"].status.failed(DeliveryError("no"), "did not take a chunk")
    assert list(warnings(pipeline)) == [
        "output sink fails for some events: no",
        "output sink has 1 dead letter; see logflow dead-letter list",
        "source peers: 3 TLS handshakes failed",
        "filter clean: 2 events for which a filter failed",
    ]
    assert not list(problems(pipeline))
    assert status(pipeline, running=True)["outputs"]["sink"]["dead_letters"]["kept"] == 1


async def test_servers_that_are_down_are_a_warning_and_a_problem_when_none_is_left(tmp_path: Path) -> None:
    """Nothing need wait for them: who asks wants to know before events come."""
    clock = FakeClock()
    pipeline = make_forwarding(tmp_path, clock, heartbeat="none", recover_wait="10s")
    output = pipeline.flushers["central"].output
    assert isinstance(output, ForwardOutput)
    await output.open()
    try:
        one, two = output._servers
        assert not [*problems(pipeline), *warnings(pipeline)]
        one._failed("it refuses connections")
        assert not list(problems(pipeline))
        assert list(warnings(pipeline)) == ["output central has servers that are down: 127.0.0.1:1"]
        await clock.advance(100)
        assert not list(warnings(pipeline))  # it is tried again
        one._failed("it refuses connections")
        two._failed("it refuses connections")
        assert list(warnings(pipeline)) == [
            "output central has servers that are down: 127.0.0.1:1, 127.0.0.1:2"
        ]
        await clock.advance(59)
        two._failed("it refuses connections")  # in between, time alone had it counted as up
        assert not list(problems(pipeline))
        await clock.advance(2)
        assert list(problems(pipeline)) == ["output central has had no server that works for 61 s"]
        one._health.delivered(clock.monotonic())
        assert not list(problems(pipeline))
    finally:
        await output.close()


async def test_metrics_tell_how_each_server_is(tmp_path: Path) -> None:
    clock = FakeClock()
    pipeline = make_forwarding(tmp_path, clock, heartbeat="tcp", heartbeat_interval="1s")
    output = pipeline.flushers["central"].output
    assert isinstance(output, ForwardOutput)
    await output.open()
    try:
        one, two = output._servers
        one.chunks = 7
        one._health.suspect("it has acknowledged nothing for 2.0 s")
        two._failed("it refuses connections")
        text = render(pipeline).decode()
    finally:
        await output.close()
    told = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("logflow_server_"))
    labels = ('output="central",server="127.0.0.1:1"', 'output="central",server="127.0.0.1:2"')
    for place, state in zip(labels, ("suspect", "down"), strict=True):
        for each in ("up", "suspect", "down"):
            assert told[f'logflow_server_state{{{place},state="{each}"}}'] == f"{float(each == state)}"
    assert told[f"logflow_server_chunks_total{{{labels[0]}}}"] == "7.0"
    assert float(told[f"logflow_server_phi{{{labels[0]}}}"]) >= 0


async def test_the_status_does_not_walk_over_all_tags(tmp_path: Path) -> None:
    """However many wait, it is asked for sums."""
    pipeline = make_pipeline(tmp_path, FakeClock())
    buffer = pipeline.flushers["sink"].buffer
    account = pipeline.ledger.account("**", "sink")
    account.enter(1)
    await buffer.put(Batch.from_events("t", [(1, {})]), account, Receipt(1))

    class Untouchable(dict[str, object]):
        def __iter__(self) -> object:  # type: ignore[override]
            raise AssertionError("walks over all queues")

        values = items = keys = __iter__  # type: ignore[assignment]

    buffer._queues = Untouchable(buffer._queues)  # type: ignore[attr-defined]
    assert status(pipeline, running=True)["outputs"]["sink"]["buffer"]["events"] == 1
