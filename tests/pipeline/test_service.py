"""A whole pipeline in one process: start, drain, reload, failures at the start."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest

from logflow import registry
from logflow.admin import AdminServer
from logflow.admin.status import status
from logflow.batch import Batch, Chunk, Span
from logflow.component import Emit, Output, Source
from logflow.config.models import Settings
from logflow.config.options import OutputConfig, SourceConfig
from logflow.errors import ComponentError, ConfigError, DeliveryError
from logflow.pipeline.build import build
from logflow.pipeline.runner import Runner
from logflow.pipeline.service import serve
from logflow.pipeline.signals import held_back
from logflow.receipt import Receipt
from logflow.testing.processes import free_ports


class CountConfig(SourceConfig):
    events: int = 3
    forever: bool = False
    fail_first: bool = False
    fail_open: bool = False
    takes_signals: bool = False
    status: int | None = None
    spans: bool = False


class CountSource(Source):
    """Emits numbered events, one a batch."""

    Config = CountConfig
    receipts: ClassVar[list[Receipt]] = []
    drained: ClassVar[int] = 0
    runs: ClassVar[int] = 0
    signals: ClassVar[list[int]] = []

    def on_signal(self, number: int) -> bool:
        self.signals.append(number)
        return self.config.takes_signals

    async def open(self) -> None:
        if self.config.fail_open:
            raise ComponentError("cannot listen on 127.0.0.1:1: it is taken; free it")

    async def run(self, emit: Emit) -> None:
        CountSource.runs += 1
        if self.config.fail_first and CountSource.runs == 1:
            raise RuntimeError("a bug")
        for number in range(self.config.events):
            origin = Span("numbers", number, number + 1) if self.config.spans else None
            self.receipts.append(await emit(Batch.from_events("count", [(1, {"n": number})], origin)))
        if self.config.forever:
            await asyncio.Event().wait()
        self.exit_status = self.config.status

    async def drain(self) -> None:
        CountSource.drained += 1


class KeepConfig(OutputConfig):
    broken: bool = False
    stateful: bool = False


class KeepOutput(Output):
    """Keeps what it is given."""

    Config = KeepConfig
    chunks: ClassVar[list[Chunk]] = []
    closed: ClassVar[int] = 0

    async def write(self, chunk: Chunk) -> None:
        if self.config.broken:
            raise DeliveryError("the destination is down")
        self.chunks.append(chunk)

    async def close(self) -> None:
        KeepOutput.closed += 1


@pytest.fixture(autouse=True)
def _components(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = {"count": CountSource, "keep": KeepOutput}
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: classes.get(name) or load(kind, name))
    CountSource.receipts, CountSource.drained, CountSource.runs = [], 0, 0
    CountSource.signals = []
    KeepOutput.chunks, KeepOutput.closed = [], 0


def make_settings(tmp_path: Path, **overrides: Any) -> Settings:
    source = {"type": "count", **overrides.pop("source", {})}
    output = {"type": "keep", "retry": {"initial": "10ms"}, **overrides.pop("output", {})}
    return Settings.model_validate({
        "data_dir": str(tmp_path / "data"),
        "admin": {"listen": None},
        "sources": {"numbers": source},
        "routes": [{"match": "**", "outputs": ["kept"]}],
        "outputs": {"kept": output},
        **overrides,
    })  # fmt: skip


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_ends_when_every_source_has_ended(tmp_path: Path) -> None:
    """Finite input: everything is delivered, then it returns 0 and all is closed."""
    assert await serve(make_settings(tmp_path)) == 0
    assert sum(chunk.count for chunk in KeepOutput.chunks) == 3
    assert all(receipt.done for receipt in CountSource.receipts)
    assert CountSource.drained == 1
    assert KeepOutput.closed >= 1


async def test_sigterm_drains_and_returns_zero(tmp_path: Path) -> None:
    """SIGTERM stops the source, delivers what waits, and ends with status 0."""
    task = asyncio.create_task(serve(make_settings(tmp_path, source={"forever": True})))
    await eventually(lambda: len(CountSource.receipts) == 3)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(task, 10) == 0
    assert sum(chunk.count for chunk in KeepOutput.chunks) == 3


async def test_sigterm_ends_a_start_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The recovery of hundreds of thousands of tags, say; everything is closed, and nothing was lost."""
    opening = asyncio.Event()

    async def take_long(*_: Any) -> None:
        opening.set()
        await asyncio.Event().wait()

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(Runner, "open_buffer", take_long)
    task = asyncio.create_task(serve(make_settings(tmp_path)))
    await opening.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(task, 10) == 0
    assert CountSource.runs == 0
    assert KeepOutput.closed >= 1
    assert "Stopped before everything was open" in caplog.text


async def test_a_second_sigterm_does_not_wait(tmp_path: Path) -> None:
    """When nothing can be delivered, a second signal ends the drain; what was in memory is lost."""
    settings = make_settings(tmp_path, source={"forever": True}, output={"broken": True})
    task = asyncio.create_task(serve(settings))
    await eventually(lambda: len(CountSource.receipts) == 3)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)
    assert not task.done()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(task, 10) == 1


async def test_what_is_lost_at_a_stop_is_in_the_ledger_and_the_exit_status(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A source that cannot ask again, a memory buffer, an output that fails until shutdown_timeout."""
    pipeline = build(make_settings(tmp_path, output={"broken": True}, shutdown_timeout="50ms"))
    assert await asyncio.wait_for(Runner(pipeline).run(), 10) == 1
    account = pipeline.ledger.account("**", "kept")
    assert account.dropped == {"stopped": 3}
    assert account.balanced
    assert "3 events that wait for output kept are lost" in caplog.text


@pytest.mark.parametrize(
    ("buffer", "spans", "said"),
    [
        ("disk", False, "3 events stay on disk and are delivered after the next start."),
        (
            "memory",
            True,
            "3 events were not delivered; they were not acknowledged, and are read or sent again.",
        ),
    ],
)
async def test_a_stop_does_not_wait_for_outputs_that_fail_when_nothing_can_be_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, buffer: str, *, spans: bool, said: str
) -> None:
    """What is on disk or in log files is there after the next start; the exit status is 0."""
    settings = make_settings(
        tmp_path, source={"spans": spans}, shutdown_timeout="1h",
        output={"broken": True, "buffer": {"type": buffer}},
    )  # fmt: skip
    assert await asyncio.wait_for(serve(settings), 20) == 0
    assert said in caplog.text
    assert "lost" not in caplog.text


async def test_a_source_that_fails_is_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a source is one log line and a new start."""
    pipeline = build(make_settings(tmp_path, source={"fail_first": True}))
    pipeline.clock.sleep = lambda _: asyncio.sleep(0.001)  # type: ignore[method-assign]
    await Runner(pipeline).run()
    assert CountSource.runs == 2
    assert "RuntimeError: a bug" in caplog.text


async def test_the_back_off_of_a_source_falls_back_after_it_worked(tmp_path: Path) -> None:
    """Only failures in a row wait longer and longer."""
    pipeline = build(make_settings(tmp_path))
    runner, source = Runner(pipeline), pipeline.sources["numbers"]
    times = iter([1, 1, 1, 100, 1])  # how long each run lasts
    now_s, delays = 0.0, list[float]()

    async def run(_: Emit) -> None:
        nonlocal now_s
        if (lasted_s := next(times, None)) is None:
            return
        now_s += lasted_s
        raise RuntimeError("a bug")

    async def sleep(delay_s: float) -> None:
        delays.append(delay_s)

    source.run = run  # type: ignore[method-assign]
    pipeline.clock.sleep = sleep  # type: ignore[method-assign]
    pipeline.clock.monotonic = lambda: now_s  # type: ignore[method-assign]
    await runner._run_source("numbers", source)
    assert delays[0] < delays[1] < delays[2]
    assert delays[3] < delays[1]
    assert delays[3] < delays[4]


async def test_a_source_that_cannot_open_ends_the_start(tmp_path: Path) -> None:
    """The error reaches the user as it is; what was opened is closed."""
    with pytest.raises(ComponentError, match="free it"):
        await serve(make_settings(tmp_path, source={"fail_open": True}))
    assert KeepOutput.closed >= 1


async def test_two_processes_cannot_share_a_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is told what to do."""
    monkeypatch.setattr(KeepOutput, "keeps_state", True)
    settings = make_settings(tmp_path, source={"forever": True})
    first = asyncio.create_task(serve(settings))
    await eventually(lambda: len(CountSource.receipts) == 3)
    with pytest.raises(ComponentError, match="in use by another logflow"):
        await serve(settings)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_sighup_replaces_what_changed(tmp_path: Path) -> None:
    """A valid configuration takes over; nothing that waited is lost, and the books go on."""
    settings = make_settings(tmp_path, source={"forever": True})
    task = asyncio.create_task(serve(settings, lambda: make_settings(tmp_path, source={"events": 2})))
    await eventually(lambda: len(CountSource.receipts) == 3)
    os.kill(os.getpid(), signal.SIGHUP)
    assert await asyncio.wait_for(task, 10) == 0
    assert CountSource.runs == 2
    assert sum(chunk.count for chunk in KeepOutput.chunks) == 5


async def test_a_source_that_takes_signals_gets_every_one_and_sighup_loads_nothing(tmp_path: Path) -> None:
    """They are handed on at once; those that stop the service stop it all the same."""
    reloads: list[None] = []

    def reload() -> Settings:
        reloads.append(None)
        return make_settings(tmp_path)

    source = {"forever": True, "takes_signals": True}
    task = asyncio.create_task(serve(make_settings(tmp_path, source=source), reload))
    await eventually(lambda: len(CountSource.receipts) == 3)
    numbers = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGHUP, signal.SIGQUIT]
    for count, number in enumerate(numbers, 1):
        os.kill(os.getpid(), number)
        await eventually(lambda count=count: len(CountSource.signals) == count)  # type: ignore[misc]
    assert await asyncio.wait_for(task, 10) == 0
    assert CountSource.signals == numbers
    assert not reloads
    assert CountSource.runs == 1


async def test_signals_that_came_before_it_could_take_them_are_not_lost(tmp_path: Path) -> None:
    """SIGTERM while the process was starting ends it as a later one would."""
    with held_back():
        signal.raise_signal(signal.SIGTERM)  # to this thread: others of the test runner do not hold it back
        task = asyncio.create_task(serve(make_settings(tmp_path, source={"forever": True})))
        assert await asyncio.wait_for(task, 10) == 0


async def test_a_source_that_ends_with_a_status_ends_the_service_with_it(tmp_path: Path) -> None:
    """The application is the reason why the process is there: what else it reads does not keep it."""
    sources = {"app": {"type": "count", "status": 7}, "others": {"type": "count", "forever": True}}
    assert await asyncio.wait_for(serve(make_settings(tmp_path, sources=sources)), 10) == 7
    assert sum(chunk.count for chunk in KeepOutput.chunks) == 6


async def test_an_invalid_reload_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The old pipeline goes on, and the problems are logged."""

    def invalid() -> Settings:
        raise ConfigError(["agent.yaml:1: sources: missing"])

    task = asyncio.create_task(serve(make_settings(tmp_path, source={"forever": True}), invalid))
    await eventually(lambda: len(CountSource.receipts) == 3)
    os.kill(os.getpid(), signal.SIGHUP)
    await eventually(lambda: "agent.yaml:1: sources: missing" in caplog.text)
    assert not task.done()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(task, 10) == 0


async def test_the_admin_endpoint_tells_how_things_are(tmp_path: Path, unused_tcp_port: int) -> None:
    """Health, readiness, metrics and status, while an output is down."""
    settings = make_settings(
        tmp_path,
        source={"forever": True},
        output={"broken": True, "buffer": {"limit": 1024}},
        admin={"listen": f"127.0.0.1:{unused_tcp_port}"},
        shutdown_timeout=0,
    )
    task = asyncio.create_task(serve(settings, make_admin=AdminServer))
    await eventually(lambda: len(CountSource.receipts) == 1)
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(url + path) as response:
                return response.status, await response.text()

        await eventually(lambda: CountSource.runs == 1)
        async with asyncio.timeout(10):
            while "the destination is down" not in (await get("/api/status"))[1]:
                await asyncio.sleep(0.01)
        async with session.get(url + "/api/status") as response:
            told = await response.json()
        assert (await get("/healthz"))[0] == 200
        ready = await get("/readyz")
        metrics = (await get("/metrics"))[1]
        assert ready == (200, "ok\nwarning: output kept fails for some events: the destination is down\n")
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 10)
    assert told["sources"]["numbers"]["blocked_on"] == ["kept"]
    assert told["sources"]["numbers"]["blocked_for_s"]["kept"] > 0
    assert told["warnings"] == ["output kept fails for some events: the destination is down"]
    assert told["outputs"]["kept"]["problem"] == "the destination is down"
    assert told["balanced"]
    assert 'logflow_events_waiting{output="kept",route="**"}' in metrics
    assert 'logflow_output_failing{output="kept"} 1.0' in metrics


@pytest.mark.parametrize("output", [{"buffer": {"type": "memory"}}, None])
async def test_a_buffer_that_no_output_uses_any_more_is_named(
    tmp_path: Path, output: dict[str, Any] | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Its output has a memory buffer now, or another name: nobody else would say that events wait there."""
    stuck = make_settings(
        tmp_path, output={"broken": True, "buffer": {"type": "disk"}}, shutdown_timeout="0s"
    )
    await serve(stuck)
    settings = make_settings(tmp_path, source={"forever": True, "events": 0}, output=output or {})
    if output is None:
        routes = [route.model_copy(update={"outputs": ["other"]}) for route in settings.routes]
        settings = settings.model_copy(
            update={"outputs": {"other": settings.outputs["kept"]}, "routes": routes}
        )
    pipeline = build(settings)
    runner = Runner(pipeline)
    running = asyncio.create_task(runner.run())
    await eventually(lambda: bool(pipeline.stranded))
    runner.stop()
    await asyncio.wait_for(running, 10)
    assert [(each.output, each.events) for each in pipeline.stranded] == [("kept", 3)]
    assert "logflow buffer move kept OUTPUT" in caplog.text
    account = pipeline.ledger.account("(stranded)", "kept")
    assert (account.read, account.waiting) == (3, 3)
    assert status(pipeline, running=True)["stranded"][0]["output"] == "kept"


async def test_a_reload_moves_the_admin_endpoint_or_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on where it is if the new address is taken, and no request is refused meanwhile."""
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    first, second = free_ports(2)
    ports = iter([taken.sockets[0].getsockname()[1], second])

    def at(port: int) -> Settings:
        return make_settings(tmp_path, source={"forever": True}, admin={"listen": f"127.0.0.1:{port}"})

    task = asyncio.create_task(serve(at(first), lambda: at(next(ports)), AdminServer))
    await eventually(lambda: len(CountSource.receipts) == 3)
    async with aiohttp.ClientSession() as session:

        async def healthy(port: int) -> bool:
            async with session.get(f"http://127.0.0.1:{port}/healthz") as response:
                return response.status == 200

        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: "admin.listen: cannot listen" in caplog.text)
        assert await healthy(first)
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(10):
            while True:
                with suppress(aiohttp.ClientError):
                    if await healthy(second):
                        break
                await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(task, 10) == 0
    assert CountSource.runs == 1
    taken.close()
