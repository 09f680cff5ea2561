"""The forward output, against servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard
from pydantic import ValidationError

from logflow.batch import Batch, Chunk
from logflow.errors import ChunkTooLarge, DeliveryError, PermanentError, Undecided
from logflow.outputs.forward import ForwardOutput
from logflow.sources.forward import ForwardSource
from logflow.telemetry.metrics import Metrics
from logflow.testing import Collector, FakeClock, make_context, run_source
from logflow.testing.forwarding import (
    Received,
    ScriptedServer,
    ack,
    cut,
    ignore,
    make_certificates,
    scripted_server,
)

ENTRIES = Batch.from_events("app", [(1_000_000_007, {"a": 1}), (2_000_000_000, {"a": 2})]).entries


def make_chunk(number: int = 0, tag: str = "app", *parts: bytes) -> Chunk:
    return Chunk(number.to_bytes(16, "big"), tag, parts or (ENTRIES,), 2)


def where(server: ScriptedServer, **options: Any) -> dict[str, Any]:
    return {"address": f"127.0.0.1:{server.port}", **options}


class Opened(ForwardOutput):
    """The output, with its counters."""

    metrics: Metrics

    def counted(self, name: str) -> int:
        return sum(cell.value for cell in self.metrics.counters() if cell.name == name)

    def server(self, server: ScriptedServer) -> Any:
        return next(s for s in self._servers if s.options.endpoint.port == server.port)


Open = Callable[..., AbstractAsyncContextManager[Opened]]
Pair = tuple[Opened, ScriptedServer, ScriptedServer]
OpenPair = Callable[..., AbstractAsyncContextManager[Pair]]


@pytest.fixture
def open_output(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(*servers: dict[str, Any], clock: Any = None, **options: Any) -> AsyncIterator[Opened]:
        metrics = Metrics()
        context = make_context(tmp_path, "central", kind="output", metrics=metrics, clock=clock)
        config = {"type": "forward", "heartbeat": "none", "servers": list(servers), **options}
        output = Opened(ForwardOutput.Config.model_validate(config), context)
        output.metrics = metrics
        await output.open()
        try:
            yield output
        finally:
            await output.close()

    return opened


@pytest.fixture
def open_pair(open_output: Open) -> OpenPair:
    """An output with two servers: that which the tag ``app`` goes to, and the other."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Pair]:
        async with (
            scripted_server() as one,
            scripted_server() as two,
            open_output(where(one), where(two), **options) as output,
        ):
            choice = output._candidates(make_chunk())[0].options.endpoint.port
            yield (output, one, two) if choice == one.port else (output, two, one)

    return opened


# -- what is sent -----------------------------------------------------------------------------------


async def test_a_chunk_is_sent_as_one_packed_request_with_its_id(open_output):
    async with scripted_server() as server, open_output(where(server)) as output:
        chunk = make_chunk(7, "app", ENTRIES, ENTRIES)
        await output.write(chunk)
        (request,) = server.requests
        assert (request.tag, request.payload) == ("app", ENTRIES * 2)
        assert request.option == {
            "size": 2,
            "compressed": "text",
            "chunk": base64.b64encode(chunk.id).decode(),
            "logflow": 1,
        }


async def test_a_large_chunk_of_large_and_small_parts_arrives_whole(open_output):
    parts = [bytes([number]) * (1 if number % 3 else 700_000) for number in range(1, 20)]
    async with scripted_server() as server, open_output(where(server), max_frame="64MiB") as output:
        await output.write(make_chunk(1, "app", *parts))
        assert server.requests[0].payload == b"".join(parts)


@pytest.mark.parametrize(("how", "undo"), [("gzip", gzip.decompress), ("zstd", zstandard.decompress)])
@pytest.mark.parametrize("copies", [1, 3000])
async def test_payloads_can_be_compressed(open_output, how, undo, copies):
    async with scripted_server() as server, open_output(where(server), compress=how) as output:
        await output.write(make_chunk(1, "app", *[ENTRIES] * copies))
        assert server.requests[0].option["compressed"] == how
        assert undo(server.requests[0].payload) == ENTRIES * copies


async def test_without_acks_no_id_is_sent_and_none_is_waited_for(open_output):
    async with scripted_server(ignore) as server, open_output(where(server), require_ack=False) as output:
        await output.write(make_chunk())
        await server.wait_for(requests=1)
        assert server.requests[0].option == {"size": 2, "compressed": "text"}


async def test_connections_are_kept_and_used_again(open_output):
    async with scripted_server() as server, open_output(where(server)) as output:
        for number in range(3):
            await output.write(make_chunk(number))
        assert server.connections == 1
        await asyncio.gather(*(output.write(make_chunk(number)) for number in range(4)))
        assert server.connections == 4, "one for each chunk under way at once"


async def test_connections_can_be_made_for_each_chunk(open_output):
    async with scripted_server() as server, open_output(where(server), keepalive=0) as output:
        for number in range(3):
            await output.write(make_chunk(number))
        assert server.connections == 3


async def test_a_connection_kept_too_long_is_not_used(open_output):
    clock = FakeClock()
    async with scripted_server() as server, open_output(where(server), clock=clock) as output:
        await output.write(make_chunk(1))
        await clock.advance(61)
        await output.write(make_chunk(2))
        assert server.connections == 2


async def test_a_connection_that_the_server_closed_meanwhile_costs_nothing(open_output):
    """Also when the close is only noticed with the chunk on its way: the same server is asked once more."""
    async with scripted_server() as server, open_output(where(server)) as output:
        await output.write(make_chunk(1))

        def cut_once(request: Received, writer: asyncio.StreamWriter) -> None:
            server.answer = ack
            cut(request, writer)

        server.answer = cut_once
        await output.write(make_chunk(2))
        assert [request.option["chunk"] for request in server.requests[1:]] == [
            base64.b64encode(make_chunk(2).id).decode()
        ] * 2
        assert output.counted("acks_missing") == 0


async def test_a_chunk_too_large_for_the_protocol_is_rejected_for_good(open_output, monkeypatch):
    monkeypatch.setattr("logflow.forward.frames.MAX_PAYLOAD_BYTES", 10)
    async with scripted_server() as server, open_output(where(server)) as output:
        with pytest.raises(PermanentError):
            await output.write(make_chunk())


# -- fail-over --------------------------------------------------------------------------------------


async def test_another_server_is_used_at_once_when_one_cannot_be_reached(open_pair, caplog):
    async with open_pair() as (output, first, second):
        await first.stop()
        await output.write(make_chunk(1))
        assert len(second.requests) == 1
        assert not output.server(first).up
        assert output.counted("failovers") == 1
        assert "thought to be down" in caplog.text
        await output.write(make_chunk(2))
        assert output.counted("failovers") == 1, "the one that is down is not tried again"


async def test_a_server_comes_back_and_gets_its_tags_back(open_pair):
    clock = FakeClock()
    async with open_pair(clock=clock, heartbeat="tcp") as (output, first, second):
        await first.stop()
        await output.write(make_chunk(1))
        await first.start()
        up = output.server(first)
        for _ in range(30):
            await clock.advance(1)
            await asyncio.sleep(0.005)
            if up.up:
                break
        assert clock.monotonic() >= 10, "it must have been fine for recover_wait"
        await output.write(make_chunk(2))
        assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_heartbeats_find_a_dead_server_before_a_chunk_does(open_output):
    clock = FakeClock()
    async with (
        scripted_server() as server,
        open_output(where(server), clock=clock, heartbeat="tcp") as output,
    ):
        await clock.advance(1)
        await server.wait_for(connections=1)
        assert output.server(server).up
        await server.stop()
        for _ in range(1000):
            await clock.advance(1)
            await asyncio.sleep(0.005)
            if not output.server(server).up:
                break
        assert not output.server(server).up


async def test_without_heartbeats_time_brings_a_server_back(open_pair):
    clock = FakeClock()
    async with open_pair(clock=clock) as (output, first, _):
        await first.stop()
        await output.write(make_chunk(1))
        await first.start()
        await clock.advance(10)
        await output.write(make_chunk(2))
        assert len(first.requests) == 1


async def test_a_standby_server_is_used_only_when_no_other_is_up(open_output):
    async with (
        scripted_server() as one,
        scripted_server() as two,
        scripted_server() as spare,
        open_output(where(one), where(two), where(spare, standby=True, weight=5000)) as output,
    ):
        for number in range(20):
            await output.write(make_chunk(number, f"tag-{number}"))
        assert not spare.requests
        await one.stop()
        await two.stop()
        await output.write(make_chunk(99))
        assert len(spare.requests) == 1


async def test_when_all_are_down_each_is_named(open_pair):
    async with open_pair() as (output, first, second):
        await first.stop()
        await second.stop()
        for _ in range(2):
            with pytest.raises(DeliveryError) as failure:
                await output.write(make_chunk())
            assert str(first.port) in str(failure.value)
            assert str(second.port) in str(failure.value)
        await second.start()
        await output.write(make_chunk())
        assert output.server(second).up, "a chunk that was taken is proof enough"


async def test_tags_are_spread_by_weight_and_stay_where_they_are(open_output):
    async with (
        scripted_server() as one,
        scripted_server() as two,
        open_output(where(one, weight=30), where(two, weight=90)) as output,
    ):
        tags = [f"tag-{number}" for number in range(120)]
        for turn in range(2):
            for number, tag in enumerate(tags):
                await output.write(make_chunk(turn * 1000 + number, tag))
        homes = [{request.tag for request in server.requests} for server in (one, two)]
        assert not homes[0] & homes[1]
        assert 15 <= len(homes[0]) <= 45


async def test_chunks_of_one_tag_can_be_spread(open_pair):
    async with open_pair(balance="chunk") as (output, first, second):
        for number in range(40):
            await output.write(make_chunk(number))
        assert min(len(first.requests), len(second.requests)) >= 8


# -- groups -----------------------------------------------------------------------------------------


async def test_a_group_goes_out_together_over_one_connection(open_output):
    async with scripted_server() as server, open_output(where(server)) as output:
        chunks = [make_chunk(number, f"app.{number}") for number in range(5)]
        assert await output.write_group(chunks) == [None] * 5
        assert await output.write_group(chunks[:2]) == [None] * 2
        assert [request.tag for request in server.requests[:5]] == [chunk.tag for chunk in chunks]
        assert server.connections == 1


async def test_a_group_is_divided_among_the_servers_of_its_tags(open_pair):
    async with open_pair() as (output, first, second):
        chunks = [make_chunk(number, f"app.{number}") for number in range(20)]
        assert await output.write_group(chunks) == [None] * 20
        assert {request.tag for request in first.requests} | {request.tag for request in second.requests} == {
            chunk.tag for chunk in chunks
        }
        assert len(first.requests) + len(second.requests) == 20
        assert first.requests
        assert second.requests


async def test_each_chunk_of_a_group_has_its_own_result(open_output):
    """One without an ack is in doubt, one that is too large is to be cut; the others are delivered."""
    clock = FakeClock()
    async with (
        scripted_server() as server,
        scripted_server() as other,
        open_output(where(server), where(other, standby=True), clock=clock, max_frame="1MiB") as output,
    ):
        server.answer = lambda request, writer: None if request.tag == "stuck" else ack(request, writer)
        large = make_chunk(3, "large", bytes(1 << 20), ENTRIES)
        group = [make_chunk(1, "one"), make_chunk(2, "stuck"), large, make_chunk(4, "two")]
        task = asyncio.create_task(output.write_group(group))
        await server.wait_for(requests=3)
        await settle()
        await pass_time(clock, 2.0)
        results = await asyncio.wait_for(task, 5)
        assert [type(result) for result in results] == [type(None), Undecided, ChunkTooLarge, type(None)]
        assert not other.requests


async def test_when_a_kept_connection_is_gone_a_group_goes_out_over_a_new_one(open_output):
    async with scripted_server() as server, open_output(where(server)) as output:
        await output.write(make_chunk(0))
        await server.stop()
        await server.start()
        assert await output.write_group([make_chunk(1, "a"), make_chunk(2, "b")]) == [None] * 2
        assert server.connections == 2


async def test_a_group_goes_to_the_next_server_when_one_cannot_be_reached(open_pair):
    async with open_pair() as (output, first, second):
        await first.stop()
        chunks = [make_chunk(number, f"app.{number}") for number in range(20)]
        assert await output.write_group(chunks) == [None] * 20
        assert len(second.requests) == 20


async def test_a_frame_that_waits_for_those_before_it_on_a_slow_line_is_not_overdue(open_pair):
    """What is written of the group counts for all of it."""
    clock = FakeClock()
    async with open_pair(clock=clock, balance="tag") as (output, first, second):
        acked: list[tuple[Received, asyncio.StreamWriter]] = []
        first.answer = lambda request, writer: acked.append((request, writer))
        requests = [await output._request(make_chunk(number)) for number in range(2)]
        server = output.server(first)
        task = asyncio.create_task(server.deliver(requests))
        await first.wait_for(requests=2)
        connection = next(iter(server._busy))
        for _ in range(20):
            connection.written += 1  # a piece after the other goes out
            await pass_time(clock, 0.75)
        assert server.state == "up"
        for answer in acked:
            ack(*answer)
        assert await asyncio.wait_for(task, 5) == [None, None]
        assert not second.requests


# -- acks that do not come --------------------------------------------------------------------------


async def test_a_chunk_that_a_server_may_have_goes_to_that_server_again(open_pair):
    """It recognises the id; the other would store the chunk a second time."""
    clock = FakeClock()
    async with open_pair(clock=clock) as (output, first, second):
        first.answer = cut
        chunk = make_chunk(1)
        with pytest.raises(DeliveryError):
            await output.write(chunk)
        assert not output.server(first).up
        assert output.counted("acks_missing") == 1
        await output.write(make_chunk(2))
        assert len(second.requests) == 1, "other chunks do not wait"
        await first.stop()
        with pytest.raises(DeliveryError):
            await output.write(chunk)
        await first.start()
        first.answer = ack
        await output.write(chunk)
        assert [r.option for r in first.requests] == [first.requests[0].option] * 2, "the same id and options"
        assert len(second.requests) == 1


async def test_a_server_that_is_back_is_asked_at_once(open_pair):
    """While it refuses heartbeats nothing is tried, so that no back-off is waited out after its restart."""
    clock = FakeClock()
    async with open_pair(clock=clock, heartbeat="tcp", failover_after=60) as (output, first, second):
        first.answer = cut
        with pytest.raises(DeliveryError):
            await output.write(make_chunk(1))
        await first.stop()
        await output.server(first).beat()
        for _ in range(10):
            with pytest.raises(Undecided, match="refuses connections") as caught:
                await output.write(make_chunk(1))
            assert caught.value.delay_s < 1
        await first.start()
        first.answer = ack
        await output.server(first).beat()
        await output.write(make_chunk(1))
        assert (len(first.requests), len(second.requests)) == (2, 0)
        assert output.server(first).up


async def test_a_server_without_another_is_waited_for_and_asked_at_once(open_output):
    """However long it is away: a back-off that has grown meanwhile is not waited out either."""
    clock = FakeClock()
    async with (
        scripted_server() as server,
        open_output(where(server), heartbeat="tcp", failover_after=30, clock=clock) as output,
    ):
        server.answer = cut
        with pytest.raises(DeliveryError):
            await output.write(make_chunk(1))
        await server.stop()
        await output.server(server).beat()
        await clock.advance(1000)
        with pytest.raises(Undecided, match="refuses connections"):
            await output.write(make_chunk(1))
        await server.start()
        server.answer = ack
        await output.server(server).beat()
        await output.write(make_chunk(1))
        assert len(server.requests) == 2


async def test_the_doubt_about_a_server_that_stays_away_ends_at_failover_after(open_pair):
    clock = FakeClock()
    async with open_pair(clock=clock, heartbeat="tcp", failover_after=30) as (output, first, second):
        first.answer = cut
        with pytest.raises(DeliveryError):
            await output.write(make_chunk(1))
        await first.stop()
        await output.server(first).beat()
        with pytest.raises(Undecided):
            await output.write(make_chunk(1))
        await clock.advance(31)
        await output.write(make_chunk(1))
        assert len(second.requests) == 1


async def test_after_failover_after_the_chunk_goes_elsewhere(open_pair):
    clock = FakeClock()
    async with open_pair(clock=clock, failover_after=30) as (output, first, second):
        first.answer = cut
        chunk = make_chunk(1)
        for _ in range(3):
            with pytest.raises(DeliveryError):
                await output.write(chunk)
            await clock.advance(10)
        await output.write(chunk)
        assert (len(first.requests), len(second.requests)) == (3, 1)


async def pass_time(clock: FakeClock, seconds: float) -> None:
    """Let time pass in the steps in which missing acks are looked for."""
    for _ in range(round(seconds / 0.25)):
        await clock.advance(0.25)
        await asyncio.sleep(0)


async def begin(output: Opened, server: ScriptedServer, chunk: Chunk) -> asyncio.Task[None]:
    """Write a chunk as far as the server."""
    task = asyncio.create_task(output.write(chunk))
    await server.wait_for(requests=len(server.requests) + 1)
    return task


async def settle() -> None:
    """Let what was sent arrive."""
    for _ in range(20):
        await asyncio.sleep(0.001)


async def test_a_server_that_acknowledges_nothing_is_left_within_about_a_second(open_pair, caplog):
    """New chunks of any tag go elsewhere; the chunk itself waits beside the workers."""
    clock = FakeClock()
    async with open_pair(clock=clock, heartbeat="tcp") as (output, first, second):
        first.answer = ignore
        task = await begin(output, first, make_chunk(1))
        await pass_time(clock, 1.0)
        assert not task.done()
        await pass_time(clock, 0.5)
        with pytest.raises(Undecided, match="has not acknowledged a chunk for 1"):
            await task
        assert output.server(first).state == "suspect"
        assert "is suspect: it has acknowledged nothing for 1" in caplog.text
        await output.write(make_chunk(2))
        assert len(second.requests) == 1
        for _ in range(20):  # heartbeats reach it all the same, and prove nothing
            await pass_time(clock, 2)
            await settle()
        assert output.server(first).state == "suspect"
        assert len(first.requests) == 1, "it is asked, and not sent again"


async def test_all_chunks_on_their_way_to_a_server_that_hangs_are_released(open_pair):
    clock = FakeClock()
    async with open_pair(clock=clock) as (output, first, second):
        first.answer = ignore
        tasks = [await begin(output, first, make_chunk(number)) for number in range(20)]
        await pass_time(clock, 1.5)
        assert all(isinstance(task.exception(), Undecided) for task in tasks)
        assert not second.requests


async def test_a_late_ack_on_the_open_connection_settles_the_doubt(open_pair):
    clock = FakeClock()
    async with open_pair(clock=clock) as (output, first, second):
        held: list[tuple[Received, asyncio.StreamWriter]] = []
        first.answer = lambda request, writer: held.append((request, writer))
        task = await begin(output, first, make_chunk(1))
        await pass_time(clock, 30)
        assert isinstance(task.exception(), Undecided)
        with pytest.raises(Undecided):
            await output.write(make_chunk(1))
        first.answer = ack
        for request, writer in held:
            ack(request, writer)
        await settle()
        await output.write(make_chunk(1))
        assert (len(first.requests), len(second.requests), first.connections) == (1, 0, 1)
        assert output.server(first).up, "an ack is proof enough"
        await output.write(make_chunk(2))
        assert len(first.requests) == 2


async def test_the_doubt_about_a_server_that_lives_ends_at_failover_after(open_pair):
    """Its connection is closed first, so that a server that has not taken the chunk yet drops it."""
    clock = FakeClock()
    async with open_pair(clock=clock, failover_after=30, ack_timeout=60) as (output, first, second):
        first.answer = ignore
        task = await begin(output, first, make_chunk(1))
        await pass_time(clock, 33)  # a second of it is patience
        assert isinstance(task.exception(), Undecided)
        connections = first.open_connections
        await output.write(make_chunk(1))
        await settle()
        assert (len(first.requests), len(second.requests)) == (1, 1)
        assert first.open_connections < connections


async def test_when_nobody_acknowledges_chunks_stay_where_they_are(open_pair):
    """The tier may wait for what is behind it: sent to another server, all would be there twice later."""
    clock = FakeClock()
    waits = {"failover_after": 30, "ack_timeout": 600, "write_timeout": 700}
    async with open_pair(clock=clock, **waits) as (output, first, second):
        first.answer = second.answer = ignore
        tasks = [asyncio.create_task(output.write(make_chunk(n, f"tag-{n}"))) for n in range(20)]
        await first.wait_for(requests=1)
        await second.wait_for(requests=1)
        await settle()
        before = len(first.requests) + len(second.requests)
        assert before == 20
        for _ in range(12):
            await pass_time(clock, 10)
            for number, task in enumerate(tasks):
                if task.done():
                    with pytest.raises(Undecided):
                        await output.write(make_chunk(number, f"tag-{number}"))
        assert len(first.requests) + len(second.requests) == before


async def test_a_chunk_is_sent_to_the_same_server_again_after_ack_timeout(open_pair):
    clock = FakeClock()
    async with open_pair(clock=clock, ack_timeout=10, failover_after=60) as (output, first, second):
        first.answer = ignore
        task = await begin(output, first, make_chunk(1))
        await pass_time(clock, 11)
        assert isinstance(task.exception(), Undecided)
        first.answer = ack
        await output.write(make_chunk(1))
        assert (len(first.requests), len(second.requests)) == (2, 0)


async def test_a_server_that_acknowledges_slowly_but_steadily_is_not_suspect(open_pair):
    clock = FakeClock()
    async with open_pair(clock=clock) as (output, first, second):
        held: list[tuple[Received, asyncio.StreamWriter]] = []
        first.answer = lambda request, writer: held.append((request, writer))
        for number in range(30):
            task = await begin(output, first, make_chunk(number))
            await pass_time(clock, 0.75 if number < 20 else 2.0)
            ack(*held.pop())
            await asyncio.wait_for(task, 5)
        assert not second.requests


async def test_one_chunk_that_is_stuck_holds_no_worker_and_does_not_make_the_server_suspect(open_pair):
    """One of the routes behind the server may be blocked, while the others go on."""
    clock = FakeClock()
    async with open_pair(clock=clock) as (output, first, second):

        def all_but_one(request: Received, writer: asyncio.StreamWriter) -> None:
            if request.option["chunk"] != base64.b64encode(make_chunk(1).id).decode():
                ack(request, writer)

        first.answer = all_but_one
        task = await begin(output, first, make_chunk(1))
        for number in range(2, 20):
            await output.write(make_chunk(number))
            await pass_time(clock, 0.5)
        assert isinstance(task.exception(), Undecided)
        assert output.server(first).up
        assert not second.requests


async def test_a_server_that_does_not_read_is_left_with_what_it_has_not_been_sent(open_pair):
    """The frame did not fit into the sockets' buffers: another server can have it at once."""
    clock = FakeClock()
    async with open_pair(clock=clock, max_frame="100MiB") as (output, first, second):
        first.deaf = True
        task = asyncio.create_task(output.write(make_chunk(1, "app", *[bytes(1 << 20)] * 24)))
        await first.wait_for(connections=1)
        await settle()
        await pass_time(clock, 2)
        await asyncio.wait_for(task, 10)
        assert len(second.requests) == 1


async def test_a_write_that_is_cancelled_while_it_waits_leaves_the_chunk_in_doubt(open_pair):
    async with open_pair() as (output, first, second):
        held: list[tuple[Received, asyncio.StreamWriter]] = []
        first.answer = lambda request, writer: held.append((request, writer))
        chunk = make_chunk(1)
        task = await begin(output, first, chunk)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(Undecided):
            await output.write(chunk)
        ack(*held.pop())
        await settle()
        await output.write(chunk)
        assert (len(first.requests), len(second.requests)) == (1, 0)


async def test_the_status_tells_how_each_server_is(open_pair):
    clock = FakeClock()
    async with open_pair(clock=clock) as (output, first, second):
        await output.write(make_chunk(1))
        first.answer = ignore
        task = await begin(output, first, make_chunk(2))
        await pass_time(clock, 1.5)
        assert isinstance(task.exception(), Undecided)
        await output.write(make_chunk(3))
        await second.stop()
        with pytest.raises(DeliveryError):
            await output.write(make_chunk(4))
        status = output.status()
        one, two = (status["servers"][output.server(server).name] for server in (first, second))
        assert (one["state"], one["chunks"], one["share"], one["unacknowledged"]) == ("suspect", 1, 0.5, 1)
        assert (two["state"], two["weight"]) == ("down", 60)
        assert "cannot connect" in two["last_error"]
        assert status["in_doubt"] >= 1


async def test_a_cut_before_the_end_of_the_chunk_leaves_no_doubt(open_output):
    """The server cannot have what was never sent: another takes it in the same write."""

    async def stop_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.transport.abort()

    listener = await asyncio.start_server(stop_reading, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with (
        scripted_server() as two,
        open_output(
            {"address": f"127.0.0.1:{port}", "weight": 10_000}, where(two, weight=1), max_frame="64MiB"
        ) as output,
    ):
        parts = [bytes(1 << 20)] * 24  # more than the sockets' buffers hold
        await output.write(make_chunk(1, "app", *parts))
        assert len(two.requests) == 1
    listener.close()


async def test_a_chunk_of_an_earlier_process_goes_to_its_first_choice_only(open_pair):
    """Cut, perhaps delivered, then killed: a server that is down now may have it."""
    clock = FakeClock()
    async with open_pair(clock=clock, failover_after="30s") as (output, first, second):
        chunk = replace(make_chunk(1), resumed=True)
        await first.stop()
        with pytest.raises(DeliveryError):
            await output.write(chunk)
        assert not second.requests
        await clock.advance(31)
        await output.write(chunk)
        assert len(second.requests) == 1


async def test_a_chunk_that_went_elsewhere_is_asked_for_there_after_a_restart(open_pair):
    """The server that was used instead of the first choice is noted before the chunk is sent."""
    async with open_pair() as (output, first, second):
        second.answer = cut
        await first.stop()
        with pytest.raises(DeliveryError):
            await output.write(make_chunk(1))
        noted = output.context.checkpoints.noted("central", make_chunk(1).id)
        assert noted == output.server(second).name
        await first.start()
        output._doubts.clear()  # as in a new process
        with pytest.raises(DeliveryError):
            await output.write(replace(make_chunk(1), resumed=True))
        assert not first.requests
        assert len(second.requests) == 2


async def test_what_was_noted_outlives_the_ack(open_pair):
    """The buffer forgets it, once it is known for good that the chunk was delivered."""
    async with open_pair() as (output, first, second):
        await first.stop()
        await output.write(make_chunk(1))
        noted = output.context.checkpoints.noted("central", make_chunk(1).id)
        assert noted == output.server(second).name


def other_ack(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(msgpack.packb({"ack": "something else"}))


def no_ack(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(msgpack.packb(["what", "is", "this"]))


def garbage(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\xc1")


def hello(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(msgpack.packb(["HELO", {"nonce": b"x"}]))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(other_ack, "another chunk"), (no_ack, "not an ack"), (garbage, "damaged"), (hello, "set shared_key")],
)
async def test_a_wrong_answer_is_no_delivery(open_output, answer, reason):
    async with scripted_server(answer) as server, open_output(where(server)) as output:
        with pytest.raises(DeliveryError, match=reason):
            await output.write(make_chunk())
        server.answer = ack
        await output.write(make_chunk())
        assert server.connections == 2


def twice(request: Received, writer: asyncio.StreamWriter) -> None:
    ack(request, writer)
    ack(request, writer)


def stray(request: Received, writer: asyncio.StreamWriter) -> None:
    ack(request, writer)
    writer.write(b"\0")


def stray_header(request: Received, writer: asyncio.StreamWriter) -> None:
    ack(request, writer)
    writer.write(b"\xdb\0\0")


@pytest.mark.parametrize("answer", [twice, stray, stray_header])
async def test_what_follows_an_ack_has_no_later_chunk_sent_twice(open_output, answer):
    async with scripted_server(answer) as server, open_output(where(server)) as output:
        for number in range(20):
            await output.write(make_chunk(number))
            await asyncio.sleep(0.001 * (number % 2))
        assert len(server.requests) == 20


@pytest.mark.parametrize("odd", [b"\0", b"\xdb\0\0", b"\x81", b"\xc1"])
async def test_odd_bytes_that_come_while_the_next_chunk_is_on_its_way_do_not_hide_its_ack(open_output, odd):
    """The ack may be written in any way that msgpack has."""
    async with scripted_server() as server, open_output(where(server)) as output:
        await output.write(make_chunk(1))

        async def late(request: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(odd)
            await settle()
            writer.write(b"\x81\xc4\x03ack" + msgpack.packb(request.option["chunk"].encode()))

        server.answer = late
        await output.write(make_chunk(2))
        server.answer = ack
        await output.write(make_chunk(3))
        assert len(server.requests) == 3
        assert server.connections == 2, "such a connection is not used again"


# -- the size of frames -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "limit"), [({}, 4 << 20), ({"compress": "zstd"}, 512 << 10), ({"max_frame": 1000}, 1000)]
)
async def test_a_chunk_above_max_frame_is_to_be_cut_first(open_output, options, limit):
    """Except for a single event, and for what an earlier process sent whole."""
    async with scripted_server() as server, open_output(where(server), **options) as output:
        large = make_chunk(1, "app", bytes(limit + 1))
        with pytest.raises(ChunkTooLarge) as caught:
            await output.write(large)
        assert caught.value.limit_hint == limit
        await output.write(replace(large, count=1))
        await output.write(replace(make_chunk(2, "app", bytes(limit + 1)), resumed=True))
        await output.write(make_chunk(3, "app", bytes(limit)))
        assert len(server.requests) == 3


async def test_frames_that_a_server_resets_time_and_again_are_halved_with_an_explanation(open_output, caplog):
    """As Fluent Bit does with what is above its buffer_max_size."""
    clock = FakeClock()

    def refuse_large(request: Received, writer: asyncio.StreamWriter) -> None:
        (cut if len(request.payload) > 100_000 else ack)(request, writer)

    async with (
        scripted_server(refuse_large) as server,
        open_output(where(server), clock=clock, compress="none") as output,
    ):
        large = make_chunk(1, "app", bytes(150_000))
        for _ in range(2):
            with pytest.raises(DeliveryError):
                await output.write(large)
            await output.write(make_chunk(9))
        with pytest.raises(ChunkTooLarge) as caught:
            await output.write(large)
        assert caught.value.limit_hint == 75_000
        assert "it may take none of this size" in caplog.text
        await output.write(make_chunk(2, "app", bytes(75_000)))


async def test_a_server_that_is_down_for_a_while_is_asked_again_with_the_whole(open_output):
    """Its proxy accepts and closes: it may have stored the chunk before, and the parts would be new to it."""
    async with scripted_server(cut) as server, open_output(where(server), clock=FakeClock()) as output:
        for _ in range(9):
            with pytest.raises(DeliveryError) as caught:
                await output.write(make_chunk(2, "app", bytes(150_000)))
            assert not isinstance(caught.value, ChunkTooLarge)
        server.answer = ack
        await output.write(make_chunk(2, "app", bytes(150_000)))


async def test_a_server_that_took_such_a_frame_before_is_asked_again_with_the_whole(open_output):
    """It was killed three times, perhaps: the parts would be new to it."""
    async with scripted_server() as server, open_output(where(server)) as output:
        await output.write(make_chunk(1, "app", bytes(150_000)))
        server.answer = cut
        for _ in range(6):
            with pytest.raises(DeliveryError) as caught:
                await output.write(make_chunk(2, "app", bytes(150_000)))
            assert not isinstance(caught.value, ChunkTooLarge)
        server.answer = ack
        await output.write(make_chunk(2, "app", bytes(150_000)))


async def test_an_ack_may_come_byte_by_byte(open_output):
    async def slowly(request: Received, writer: asyncio.StreamWriter) -> None:
        for byte in msgpack.packb({"ack": request.option["chunk"]}):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with scripted_server(slowly) as server, open_output(where(server)) as output:
        await output.write(make_chunk())
        assert len(server.requests) == 1


# -- to a logflow source ----------------------------------------------------------------------------


@asynccontextmanager
async def logflow_source(tmp_path: Path, emit: Collector, **options: Any) -> AsyncIterator[ForwardSource]:
    if "unix" not in options:
        options["listen"] = "127.0.0.1:0"
    config = ForwardSource.Config.model_validate({"type": "forward", **options})
    source = ForwardSource(config, make_context(tmp_path, "peers"))
    async with run_source(source, emit):
        yield source


async def test_a_resend_has_the_same_key_at_the_source(open_output, tmp_path):
    emit = Collector()
    async with logflow_source(tmp_path, emit) as source:
        for _ in range(2):
            async with open_output({"address": f"127.0.0.1:{source.port}"}) as output:
                await output.write(make_chunk(5))
    assert emit.batches[0] == emit.batches[1]
    assert emit.batches[0].entries == ENTRIES


async def test_over_a_unix_socket(open_output, tmp_path):
    emit = Collector()
    async with (
        logflow_source(tmp_path, emit, unix=str(tmp_path / "s.sock")),
        open_output({"address": f"unix:{tmp_path}/s.sock"}) as output,
    ):
        await output.write(make_chunk())
    assert emit.count == 2


async def test_with_the_handshake(open_output, tmp_path):
    emit = Collector()
    users = [{"username": "ann", "password": "secret"}]
    async with logflow_source(tmp_path, emit, shared_key="key", users=users) as source:
        address = f"127.0.0.1:{source.port}"
        async with open_output(
            {"address": address}, shared_key="key", username="ann", password="secret"
        ) as output:
            await output.write(make_chunk())
        async with open_output({"address": address, "shared_key": "wrong"}, username="ann") as output:
            with pytest.raises(DeliveryError, match="shared_key mismatch"):
                await output.write(make_chunk())
        async with open_output({"address": address}) as output:
            with pytest.raises(DeliveryError, match="set shared_key"):
                await output.write(make_chunk())
    assert emit.count == 2


@pytest.mark.parametrize(
    "secured",
    [
        {"shared_key": "key"},
        {"username": "ann", "password": "secret"},
        {"tls": {}},
        {"tls": {"verify": False}, "shared_key": "key"},
    ],
)
async def test_no_bare_heartbeats_where_a_handshake_is_expected(open_output, secured):
    """Who waits for one logs an error for every connection that is closed before."""
    clock = FakeClock()
    async with (
        scripted_server() as secure,
        open_output(where(secure), clock=clock, heartbeat="tcp", **secured) as output,
    ):
        await let_heartbeats_come(clock)
        assert secure.connections == 0
        assert (output.server(secure).state, output.status()["servers"][where(secure)["address"]]["phi"]) == (
            "up",
            0,
        )


async def test_heartbeats_are_left_out_only_for_the_servers_that_have_a_secret(open_output):
    clock = FakeClock()
    async with (
        scripted_server() as secure,
        scripted_server() as plain,
        open_output(where(secure, shared_key="key"), where(plain), clock=clock, heartbeat="tcp"),
    ):
        await let_heartbeats_come(clock)
        await plain.wait_for(connections=1)
        assert secure.connections == 0


async def let_heartbeats_come(clock: FakeClock) -> None:
    for _ in range(20):
        await clock.advance(1)
        await asyncio.sleep(0.002)


async def test_a_server_without_handshake_is_noticed(open_output, tmp_path):
    async with logflow_source(tmp_path, Collector()) as source:
        address = f"127.0.0.1:{source.port}"
        async with open_output({"address": address}, shared_key="key", connect_timeout=0.05) as output:
            with pytest.raises(DeliveryError, match="took longer"):
                await output.write(make_chunk())


async def test_with_tls_certificates_are_verified(open_output, tmp_path):
    files = make_certificates(tmp_path)
    emit = Collector()
    tls = {"cert_file": str(files.server), "key_file": str(files.server_key), "client_ca_file": str(files.ca)}
    own = {"cert_file": str(files.client), "key_file": str(files.client_key)}
    async with logflow_source(tmp_path, emit, tls=tls) as source:
        server = {"address": f"127.0.0.1:{source.port}"}
        large = make_chunk(1, "app", *[ENTRIES] * 30_000)
        async with open_output(server, tls={"ca_file": str(files.ca), **own}, heartbeat="tcp") as output:
            await output.write(large)
        async with open_output(
            server, tls={"ca_file": str(files.ca), "server_name": "localhost", **own}
        ) as output:
            await output.write(make_chunk(2))
        async with open_output(server, tls={"verify": False, **own}) as output:
            await output.write(make_chunk(3))
        assert emit.count == 30_000 * 2 + 4
        for wrong in ({}, {"ca_file": str(files.ca), "server_name": "elsewhere"}):
            async with open_output(server, tls={**wrong, **own}) as output:
                with pytest.raises(DeliveryError, match="certificate is not accepted"):
                    await output.write(make_chunk(4))
        async with open_output(server, tls={"ca_file": str(files.ca)}) as output:
            with pytest.raises(DeliveryError):
                await output.write(make_chunk(5))


# -- configuration and life -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"servers": []}, "at least 1"),
        ({"servers": [{"address": "a"}, {"address": "a:24224"}]}, "there twice"),
        ({"servers": [{"address": "a", "weight": 0}]}, "weight 0"),
        ({"servers": [{"address": "a"}], "ack_timeout": "10m"}, "write_timeout"),
        ({"servers": [{"address": "a b:c"}]}, "not an address"),
        ({"servers": [{"address": "a", "wieght": 1}]}, "Extra inputs"),
    ],
)
def test_mistakes_in_the_configuration_are_found(config, problem):
    with pytest.raises(ValidationError, match=problem):
        ForwardOutput.Config.model_validate({"type": "forward", **config})


def test_secrets_are_not_shown():
    config = ForwardOutput.Config.model_validate(
        {"type": "forward", "servers": [{"address": "a", "shared_key": "hidden1"}], "password": "hidden2"}
    )
    assert "hidden" not in repr(config)


async def test_close_is_safe_without_open_and_twice(tmp_path):
    config = ForwardOutput.Config.model_validate({"type": "forward", "servers": [{"address": "127.0.0.1:1"}]})
    output = ForwardOutput(config, make_context(tmp_path, kind="output"))
    await output.close()
    await output.open()
    await output.close()
    await output.close()
