"""Chunks that a server may have: they are asked for there, and hold nobody up."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace

import pytest

from logflow.errors import DeliveryError, Undecided
from logflow.testing import FakeClock
from logflow.testing.forwarding import Received, ack, cut, ignore, scripted_server
from tests.outputs.forward.bench import begin, make_chunk, pass_time, settle, where


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
