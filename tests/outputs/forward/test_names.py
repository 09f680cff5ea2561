"""The forward output with servers that a name in the DNS stands for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logflow.batch import Batch, Chunk
from logflow.errors import ComponentError, DeliveryError, Undecided
from logflow.forward.balancer import preference
from logflow.outputs.forward import ForwardOutput
from logflow.storage.checkpoints import Checkpoints
from logflow.testing import FakeClock, make_context
from logflow.testing.forwarding import ScriptedServer, ack, cut, scripted_server

ENTRIES = Batch.from_events("app", [(1, {"a": 1})]).entries
HOST = "agg.logs.svc"


def make_chunk(number: int = 0, tag: str = "app") -> Chunk:
    return Chunk(number.to_bytes(16, "big"), tag, (ENTRIES,), 1)


class Dns:
    """A resolver whose answer can be changed, and that can fail or hang."""

    def __init__(self) -> None:
        self.answer: dict[str, str | None] = {}
        self.error: Exception | None = None
        self.hangs = threading.Event()
        self.hangs.set()
        self.asked = 0

    def __call__(self, host: str) -> list[tuple[str, str | None]]:
        assert host == HOST
        self.asked += 1
        self.hangs.wait(20)
        if self.error is not None:
            raise self.error
        return list(self.answer.items())


class Bench:
    def __init__(self, directory: Path, dns: Dns, port: int) -> None:
        self.clock, self.dns, self.port = FakeClock(), dns, port
        self.checkpoints = Checkpoints(directory / "checkpoints")
        self.checkpoints.open()
        self.directory = directory

    @asynccontextmanager
    async def output(self, **options: Any) -> AsyncIterator[ForwardOutput]:
        context = make_context(self.directory, "central", kind="output", clock=self.clock)
        context = replace(context, checkpoints=self.checkpoints)
        config = {
            "type": "forward",
            "heartbeat": "none",
            "servers": [{"dns": f"{HOST}:{self.port}"}],
            **options,
        }
        output = ForwardOutput(ForwardOutput.Config.model_validate(config), context)
        output._resolve = self.dns  # type: ignore[method-assign]
        await output.open()
        try:
            yield output
        finally:
            await output.close()

    async def look_again(self, until: Callable[[], bool]) -> None:
        """Let the time of a refresh pass, and the resolver's thread answer."""
        await self.clock.advance(31)
        async with asyncio.timeout(10):
            while not until():
                await asyncio.sleep(0.005)


@pytest.fixture
async def servers() -> AsyncIterator[list[ScriptedServer]]:
    """Three servers with one port at three addresses."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(scripted_server(host="127.0.0.2"))
        others = [
            await stack.enter_async_context(scripted_server(host=f"127.0.0.{n}", port=first.port))
            for n in (3, 4)
        ]
        yield [first, *others]


@pytest.fixture
def bench(servers: list[ScriptedServer], tmp_path: Path) -> Bench:
    return Bench(tmp_path, Dns(), servers[0].port)


def names(output: ForwardOutput) -> set[str]:
    return set(output.status()["servers"])


async def test_every_address_is_a_server(bench: Bench, servers: list[ScriptedServer]) -> None:
    bench.dns.answer = {server.host: None for server in servers}
    async with bench.output() as output:
        assert names(output) == {f"127.0.0.{n}:{bench.port}" for n in (2, 3, 4)}
        for number in range(60):
            await output.write(make_chunk(number, f"app.{number}"))
    assert sum(len(server.requests) for server in servers) == 60
    assert all(server.requests for server in servers)


async def test_of_a_new_server_only_its_own_share_moves(bench: Bench, servers: list[ScriptedServer]) -> None:
    tags = [f"app.{number}".encode() for number in range(300)]
    bench.dns.answer = {"127.0.0.2": None, "127.0.0.3": None}
    async with bench.output() as output:
        before = {tag: preference(tag, output._servers)[0] for tag in tags}
        bench.dns.answer["127.0.0.4"] = None
        await bench.look_again(lambda: len(names(output)) == 3)
        after = {tag: preference(tag, output._servers)[0] for tag in tags}
    moved = [tag for tag in tags if before[tag] is not after[tag]]
    assert 60 < len(moved) < 140
    assert {after[tag].name for tag in moved} == {f"127.0.0.4:{bench.port}"}


async def test_a_server_that_is_gone_gets_nothing_new_and_no_chunk_is_lost(
    bench: Bench, servers: list[ScriptedServer]
) -> None:
    """An ack that it still owes counts."""
    release = asyncio.Event()
    acked: list[Any] = []

    async def later(request: Any, writer: Any) -> None:
        await release.wait()
        acked.append(request)
        ack(request, writer)

    servers[0].answer = later
    bench.dns.answer = {"127.0.0.2": None}
    async with bench.output() as output:
        writing = asyncio.create_task(output.write(make_chunk(1)))
        await servers[0].wait_for(connections=1)
        bench.dns.answer = {"127.0.0.3": None}
        await bench.look_again(lambda: names(output) == {f"127.0.0.3:{bench.port}"})
        await output.write(make_chunk(2))
        assert len(servers[1].requests) == 1
        with pytest.raises(Undecided):
            await writing
        release.set()
        while not acked:
            await asyncio.sleep(0.005)
        await output.write(make_chunk(1))
        assert len(servers[0].requests) == len(servers[1].requests) == 1
        await bench.clock.advance(5)
        assert servers[0].open_connections == 0


async def test_a_chunk_that_one_that_is_gone_may_have_waits_for_it(
    bench: Bench, servers: list[ScriptedServer]
) -> None:
    """Until ``failover_after``, as for any server; also if it is there again."""
    servers[0].answer = cut
    bench.dns.answer = {"127.0.0.2": None}
    async with bench.output(failover_after="100s") as output:
        with pytest.raises(DeliveryError):
            await output.write(make_chunk(1))
        bench.dns.answer = {"127.0.0.3": None}
        await bench.look_again(lambda: names(output) == {f"127.0.0.3:{bench.port}"})
        with pytest.raises(DeliveryError):
            await output.write(make_chunk(1))
        assert servers[1].requests == []
        await bench.clock.advance(100)
        await output.write(make_chunk(1))
        assert len(servers[1].requests) == 1


async def test_a_pod_that_comes_back_with_another_address_is_the_same_server(
    bench: Bench, servers: list[ScriptedServer]
) -> None:
    """By its own name: it gets its tags back, and chunks that it may have."""
    servers[0].answer = cut
    bench.dns.answer = {"127.0.0.2": f"agg-0.{HOST}.cluster.local"}
    async with bench.output() as output:
        name = f"agg-0.{HOST}.cluster.local:{bench.port}"
        assert names(output) == {name}
        with pytest.raises(DeliveryError):
            await output.write(make_chunk(1))
        await servers[0].stop()
        bench.dns.answer = {"127.0.0.3": f"agg-0.{HOST}.cluster.local", "127.0.0.4": f"agg-1.{HOST}"}
        await bench.look_again(lambda: len(names(output)) == 2)
        await output.write(make_chunk(1))
    assert len(servers[1].requests) == 1
    assert servers[2].requests == []


async def test_after_a_restart_the_server_that_may_have_a_chunk_is_asked(
    bench: Bench, servers: list[ScriptedServer]
) -> None:
    """Though the name does not stand for it any more."""
    servers[0].answer = cut
    bench.dns.answer = {"127.0.0.2": None}
    async with bench.output() as output:
        with pytest.raises(DeliveryError):
            await output.write(make_chunk(1))
    servers[0].answer = ack
    bench.dns.answer = {"127.0.0.3": None}
    async with bench.output() as output:
        await output.write(replace(make_chunk(1), resumed=True))
        await output.write(make_chunk(2))
    assert len(servers[0].requests) == 2
    assert len(servers[1].requests) == 1


@pytest.mark.parametrize("how", ["fails", "is empty", "hangs"])
async def test_a_resolver_that_does_not_answer_keeps_the_last_answer(
    bench: Bench, servers: list[ScriptedServer], caplog: pytest.LogCaptureFixture, how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It is said once, and asked again."""
    monkeypatch.setattr("logflow.forward.names._PATIENCE_S", 0.05)
    bench.dns.answer = {"127.0.0.2": None}
    async with bench.output() as output:
        if how == "fails":
            bench.dns.error = OSError("no such name")
        elif how == "is empty":
            bench.dns.answer = {}
        else:
            bench.dns.hangs.clear()
        for _ in range(3):
            await bench.look_again(lambda: "is used" in caplog.text)
            await asyncio.sleep(0.1)
        assert names(output) == {f"127.0.0.2:{bench.port}"}
        assert caplog.text.count("the last that is known is used") == 1
        assert bench.dns.asked == (2 if how == "hangs" else 4)
        bench.dns.error = None
        bench.dns.answer = {"127.0.0.3": None}
        bench.dns.hangs.set()
        await bench.look_again(lambda: names(output) == {f"127.0.0.3:{bench.port}"})


async def test_without_any_answer_it_does_not_open(bench: Bench, servers: list[ScriptedServer]) -> None:
    """The host tries that again; servers that have an address are used meanwhile."""
    bench.dns.error = OSError("no such name")
    with pytest.raises(ComponentError, match="no server is known, as agg"):
        async with bench.output():
            pass
    both = [{"dns": f"{HOST}:{bench.port}"}, {"address": f"127.0.0.2:{bench.port}"}]
    async with bench.output(servers=both) as output:
        await output.write(make_chunk(1))
        bench.dns.error, bench.dns.answer = None, {"127.0.0.3": None}
        await bench.look_again(lambda: len(names(output)) == 2)


async def test_a_name_with_many_addresses(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.dns.answer = {f"127.0.1.{n}": None for n in range(100)}
    async with bench.output() as output:
        assert len(names(output)) == 64
    assert "only the first 64 addresses are used" in caplog.text


async def test_connections_do_not_grow_older_than_they_may(
    bench: Bench, servers: list[ScriptedServer]
) -> None:
    bench.dns.answer = {"127.0.0.2": None}
    async with bench.output(max_connection_age="10s") as output:
        for number in range(3):
            await output.write(make_chunk(number))
        assert servers[0].connections == 1
        await bench.clock.advance(12)
        await output.write(make_chunk(9))
        assert servers[0].connections == 2
        assert servers[0].open_connections == 1


@pytest.mark.parametrize(
    "server",
    [{}, {"address": "a:1", "dns": "b:1"}, {"dns": "unix:/a"}, {"dns": "a:1", "name": "n"}, {"dns": "a:x"}],
)
def test_mistakes(server: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ForwardOutput.Config.model_validate({"type": "forward", "servers": [server]})


async def test_the_systems_resolver() -> None:
    """It knows this machine."""
    from logflow.forward.names import resolve

    assert "127.0.0.1" in dict(resolve("localhost"))
