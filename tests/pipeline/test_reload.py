"""Reloads: what is the same goes on, what changed is replaced, and an error on the way changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest

from logflow import registry
from logflow.batch import Batch, Chunk, Span
from logflow.component import Emit, Output, RecordFilter, Source
from logflow.config.models import Settings
from logflow.config.options import FilterConfig, OutputConfig, SourceConfig
from logflow.errors import ComponentError, DeliveryError
from logflow.event import EventTime, Record
from logflow.pipeline.build import build
from logflow.pipeline.reload import reload
from logflow.pipeline.runner import Runner
from logflow.testing.processes import free_ports


class LinesConfig(SourceConfig):
    tag: str = "app"
    note: str = ""


class Lines(Source):
    """Reads the numbers of an endless file, and saves its position as a source should."""

    Config = LinesConfig
    keeps_state = True
    runs: ClassVar[int] = 0

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.pending: list[tuple[int, Any]] = []

    async def run(self, emit: Emit) -> None:
        Lines.runs += 1
        checkpoints = self.context.checkpoints
        offset = checkpoints.streams("lines").get("file", {"offset": 0})["offset"]
        self.pending = []
        while True:
            await emit.ready(self.config.tag)
            end = min([offset + 3, *(edge for edge in checkpoints.boundaries("file") if edge > offset)])
            batch = Batch.from_events(
                self.config.tag,
                [(1, {"n": number}) for number in range(offset, end)],
                Span("file", offset, end),
            )
            self.pending.append((end, await emit(batch)))
            offset = end
            self.save()
            await asyncio.sleep(0.001)

    def save(self) -> None:
        while self.pending and self.pending[0][1].done:
            self.context.checkpoints.save("lines", "file", {"offset": self.pending.pop(0)[0]})

    async def drain(self) -> None:
        self.save()


class KeepConfig(OutputConfig):
    note: str = ""
    fail_open: bool = False


class Keep(Output):
    """Remembers what it was given; a chunk twice is one chunk."""

    Config = KeepConfig
    chunks: ClassVar[dict[str, dict[bytes, Chunk]]] = {}
    opened: ClassVar[int] = 0
    closed: ClassVar[int] = 0
    down: ClassVar[bool] = False

    async def open(self) -> None:
        Keep.opened += 1

    async def write(self, chunk: Chunk) -> None:
        await asyncio.sleep(0.002)
        if self.down:
            raise DeliveryError("it is down")
        self.chunks.setdefault(self.context.name, {})[chunk.id] = chunk

    async def close(self) -> None:
        Keep.closed += 1

    @classmethod
    def numbers(cls) -> list[int]:
        found = [
            record["n"]
            for chunks in cls.chunks.values()
            for chunk in chunks.values()
            for _, record in chunk.events()
        ]
        return sorted(found)


class NoteConfig(FilterConfig):
    fail_open: bool = False


class Note(RecordFilter):
    """Passes everything."""

    Config = NoteConfig
    open_now: ClassVar[int] = 0

    async def open(self) -> None:
        if self.config.fail_open:
            raise ComponentError("the table is not there")
        Note.open_now += 1
        self.is_open = True

    async def close(self) -> None:
        Note.open_now -= getattr(self, "is_open", False)
        self.is_open = False

    def filter(self, time: EventTime, record: Record) -> Record | None:
        return record


@pytest.fixture(autouse=True)
def _components(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = {"lines": Lines, "keep": Keep, "note": Note}
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: classes.get(name) or load(kind, name))
    Lines.runs = Keep.opened = Keep.closed = Note.open_now = 0
    Keep.chunks, Keep.down = {}, False


def settings(tmp_path: Path, **overrides: Any) -> Settings:
    return Settings.model_validate({
        "data_dir": str(tmp_path / "data"),
        "admin": {"listen": None},
        "sources": {"lines": {"type": "lines"}},
        "routes": [{"match": "**", "outputs": ["kept"]}],
        "outputs": {"kept": keep()},
        "shutdown_timeout": "5s",
        **overrides,
    })  # fmt: skip


def keep(**options: Any) -> dict[str, Any]:
    return {"type": "keep", "retry": {"initial": "1ms", "max": "5ms"}, **options}


@asynccontextmanager
async def running(first: Settings) -> AsyncIterator[Runner]:
    runner = Runner(build(first))
    task = asyncio.create_task(runner.run())
    async with asyncio.timeout(60):
        while not runner.running:
            await asyncio.sleep(0.001)
            if task.done():
                task.result()
        yield runner
        runner.stop()
        await task
    assert runner.pipeline.ledger.balanced


def whole(numbers: list[int]) -> bool:
    """Whether every number from 0 on is there once."""
    return numbers == list(range(len(numbers)))


async def test_what_is_the_same_goes_on_as_it_is(tmp_path: Path) -> None:
    """Neither the source is started again nor the output opened; the books and counters go on."""
    async with running(settings(tmp_path)) as runner:
        before = dict(runner.pipeline.sources), dict(runner.pipeline.flushers)
        account = runner.pipeline.ledger.account("**", "kept")
        while not (delivered := account.delivered):
            await asyncio.sleep(0.001)
        await reload(runner, settings(tmp_path, routes=[
            {"match": "**", "filters": [{"type": "note"}], "outputs": ["kept"]}
        ]))  # fmt: skip
        assert (runner.pipeline.sources, runner.pipeline.flushers) == before
        assert runner.pipeline.ledger.account("**", "kept") is account
        assert account.delivered >= delivered
        assert Note.open_now == 1
    assert Note.open_now == 0
    assert (Lines.runs, Keep.opened) == (1, 1)
    assert whole(Keep.numbers())


@pytest.mark.parametrize(
    "change",
    [
        {"sources": {"lines": {"type": "lines", "note": "new"}}},
        {"outputs": {"kept": keep(note="new")}},
        {"outputs": {"kept": keep(buffer={"limit": "1MiB", "chunk_limit": "1KiB"})}},
        {"outputs": {"kept": keep(), "more": keep()}, "routes": [{"match": "**", "outputs": ["more"]}]},
        {"outputs": {"more": keep()}, "routes": [{"match": "**", "outputs": ["more"]}]},
    ],
)
async def test_what_changed_is_replaced_and_nothing_is_lost_or_doubled(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """A source, an output, its buffer's options, the routes; and back again."""
    async with running(settings(tmp_path)) as runner:
        ledger, read = runner.pipeline.ledger, 0
        for each in (change, {}, change):
            await asyncio.sleep(0.01)
            await reload(runner, settings(tmp_path, **each))
            accounts = ledger.accounts()
            assert runner.pipeline.ledger is ledger
            assert (read := sum(account.read for account in accounts)) >= read, "the books go on"
    assert whole(Keep.numbers())
    assert read
    assert Keep.closed >= Keep.opened


async def test_many_reloads_under_load(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A hundred of them, everything changing at once: nothing is lost or doubled, and nobody complains."""
    caplog.set_level(logging.WARNING)
    async with running(settings(tmp_path)) as runner:
        for number in range(100):
            await reload(
                runner,
                settings(
                    tmp_path,
                    sources={"lines": {"type": "lines", "note": str(number // 3)}},
                    routes=[{"match": "**", "filters": [{"type": "note"}], "outputs": ["kept"]}],
                    outputs={"kept": keep(note=str(number // 2))},
                ),
            )
    assert whole(Keep.numbers())
    assert Keep.numbers()
    assert Note.open_now == 0
    assert not caplog.messages


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {
                "routes": [
                    {"match": "**", "filters": [{"type": "note", "fail_open": True}], "outputs": ["kept"]}
                ]
            },
            "the table is not there",
        ),
        ({"sources": {"web": {"type": "http", "listen": "TAKEN"}}}, "stop what listens there"),
        ({"data_dir": "/elsewhere"}, "data_dir cannot change while it runs"),
        ({"outputs": {"kept": {"type": "stdout", "path": 1}}}, None),
    ],
)
async def test_an_error_on_the_way_changes_nothing(
    tmp_path: Path, change: dict[str, Any], problem: str | None
) -> None:
    """Whatever was opened for the new pipeline is closed, and the old one goes on."""
    if problem is None:
        pytest.skip("refused when it is validated")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    taken = {
        key: {"listen": f"127.0.0.1:{port}"} if value == {"listen": "TAKEN"} else value
        for key, value in change.items()
    }
    if "web" in taken.get("sources", {}):
        taken["sources"] = {
            "lines": {"type": "lines"},
            "web": {"type": "http", "listen": f"127.0.0.1:{port}"},
        }
    async with running(settings(tmp_path)) as runner:
        pipeline = runner.pipeline
        before = pipeline.settings, pipeline.router, dict(pipeline.sources), dict(pipeline.flushers)
        with pytest.raises(ComponentError, match=problem):
            await reload(runner, settings(tmp_path, **taken))
        assert (pipeline.settings, pipeline.router, pipeline.sources, pipeline.flushers) == before
        seen = len(Keep.numbers())
        while len(Keep.numbers()) <= seen:
            await asyncio.sleep(0.001)
    server.close()
    assert (Lines.runs, Note.open_now) == (1, 0)
    assert whole(Keep.numbers())


async def test_a_source_that_listens_hands_its_socket_over(tmp_path: Path) -> None:
    """Clients are answered all the while, though the source is another one each time."""
    (port,) = free_ports(1)

    def web(number: int) -> Settings:
        source = {"type": "http", "listen": f"127.0.0.1:{port}", "max_connections": 100 + number}
        return settings(tmp_path, sources={"web": source})

    sent = 0
    async with running(web(0)) as runner, aiohttp.ClientSession() as session:
        done = asyncio.Event()

        async def send() -> None:
            nonlocal sent
            while not done.is_set():
                body = f'{{"n": {sent}}}'
                for attempt in range(2):  # a connection that idled when its source ended is made anew
                    try:
                        async with session.post(f"http://127.0.0.1:{port}/app", data=body) as response:
                            assert response.status == 200, await response.text()
                    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                        assert attempt == 0
                    else:
                        break
                sent += 1

        sender = asyncio.create_task(send())
        for number in range(1, 6):
            await asyncio.sleep(0.02)
            await reload(runner, web(number))
        done.set()
        await sender
    assert sent
    assert Keep.numbers() == list(range(sent))


async def test_an_output_that_is_gone_drops_what_it_did_not_take(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After shutdown_timeout; it is counted and said, and the sources go on."""
    Keep.down = True
    first = settings(tmp_path, shutdown_timeout="50ms")
    second = settings(
        tmp_path, shutdown_timeout="50ms", outputs={"void": {"type": "null"}},
        routes=[{"match": "**", "outputs": ["void"]}],
    )  # fmt: skip
    async with running(first) as runner:
        while not runner.pipeline.flushers["kept"].buffer.waiting.events:
            await asyncio.sleep(0.001)
        await reload(runner, second)
        dropped = runner.pipeline.ledger.account("**", "kept").dropped["output_removed"]
        assert dropped
        assert f"{dropped} events that it did not take are dropped" in caplog.text
