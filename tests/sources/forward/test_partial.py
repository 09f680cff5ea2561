"""Messages in pieces, over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import pytest

from logflow.testing import Collector


def piece(ordinal: int, *, last: bool = False, chunk: str | None = None) -> bytes:
    """A frame as Docker's log driver sends it."""
    record = {
        "container_id": "c0ffee", "container_name": "/web", "source": "stdout", "log": f"{ordinal},",
        "partial_message": "true", "partial_id": "8f1c", "partial_ordinal": str(ordinal),
        "partial_last": "true" if last else "false",
    }  # fmt: skip
    option = [{"chunk": chunk}] if chunk else []
    return msgpack.packb(["c0ffee", 1_700_000_000 + ordinal, record, *option])


async def test_pieces_are_joined_over_connections(start: Any) -> None:
    async with start() as running:
        first, second = await running.connect(), await running.connect()
        await first.send(piece(1) + piece(2))
        await running.wait_for_connections(2)
        while not running.source._shared.partials._held:
            await asyncio.sleep(0.005)
        await second.send(piece(3, last=True))
        await running.emit.wait_for(1)
        assert running.emit.records() == [
            {"container_id": "c0ffee", "container_name": "/web", "source": "stdout", "log": "1,2,3,"}
        ]
        await first.close()
        await second.close()


async def test_answers_wait_until_the_message_is_safe(start: Any) -> None:
    emit = Collector(settle=False)
    async with start(emit) as running:
        client = await running.connect()
        await client.send(piece(1, chunk="a") + piece(2, last=True, chunk="b"))
        await emit.wait_for(1)
        assert emit.records()[0]["log"] == "1,2,"
        emit.settle_all()
        assert [await client.receive(), await client.receive()] == [{b"ack": b"a"}, {b"ack": b"b"}]
        await client.close()


@pytest.mark.slow
async def test_a_client_that_waits_for_each_answer_gets_it(start: Any) -> None:
    async with start() as running:
        client = await running.connect()
        for n in (1, 2, 3):
            await client.send(piece(n, last=n == 3, chunk=str(n)))
            assert await client.receive() == {b"ack": b"%d" % n}
        assert [record["partial_ordinal"] for record in running.emit.records()] == ["1", "2", "3"]
        await client.close()


async def test_pieces_stay_as_they_are_if_that_is_wanted(start: Any) -> None:
    async with start(join_partial=False) as running:
        client = await running.connect()
        await client.send(piece(1) + piece(2, last=True))
        await running.emit.wait_for(2)
        await client.close()


async def test_a_stop_loses_no_piece(start: Any) -> None:
    async with start() as running:
        client = await running.connect()
        await client.send(piece(1))
        while not running.source._shared.partials._held:
            await asyncio.sleep(0.005)
        client.cut()
    assert [record["log"] for record in running.emit.records()] == ["1,"]
