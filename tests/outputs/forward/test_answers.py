"""What a server answers instead of an ack, or beside it."""

from __future__ import annotations

import asyncio

import msgpack
import pytest

from logflow.errors import DeliveryError
from logflow.testing.forwarding import Received, ack, scripted_server
from tests.outputs.forward.bench import make_chunk, settle, where


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
