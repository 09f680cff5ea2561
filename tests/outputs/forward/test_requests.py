"""What is sent, over which connections."""

from __future__ import annotations

import asyncio
import base64
import gzip

import pytest
import zstandard

from logflow.errors import PermanentError
from logflow.testing import FakeClock
from logflow.testing.forwarding import Received, ack, cut, ignore, scripted_server
from tests.outputs.forward.bench import ENTRIES, make_chunk, where


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
