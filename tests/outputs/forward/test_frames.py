"""The size of frames, and servers that refuse large ones."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgpack
import pytest

from logflow.errors import ChunkTooLarge, DeliveryError
from logflow.testing import FakeClock
from logflow.testing.forwarding import Received, ack, cut, scripted_server
from tests.outputs.forward.bench import make_chunk, where


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
