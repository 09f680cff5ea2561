"""Several chunks go out together, each with a result of its own."""

from __future__ import annotations

import asyncio

from logflow.errors import ChunkTooLarge, Undecided
from logflow.testing import FakeClock
from logflow.testing.forwarding import Received, ack, scripted_server
from tests.outputs.forward.bench import ENTRIES, make_chunk, pass_time, settle, where


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
