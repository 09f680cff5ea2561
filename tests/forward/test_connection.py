"""The client's side of one connection; what it does with servers is tested with the forward output."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.errors import DeliveryError
from logflow.forward.connection import PIECE_BYTES, ClientOptions, PendingFrame, connect, pieces
from logflow.forward.endpoint import ServerEndpoint
from logflow.forward.handshake import ClientSecrets
from logflow.testing.forwarding import scripted_server


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 7, 1000, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 3]), max_size=12)
)
def test_pieces_are_the_parts_and_of_a_good_size(sizes):
    parts = [bytes([number]) * size for number, size in enumerate(sizes)]
    cut = [bytes(piece) for piece in pieces(parts)]
    assert b"".join(cut) == b"".join(parts)
    assert all(0 < len(piece) <= PIECE_BYTES for piece in cut if sum(sizes))
    assert len(cut) <= 2 * sum(sizes) / PIECE_BYTES + 2


async def test_a_request_without_id_is_delivered_when_it_is_written():
    async with scripted_server() as server:
        connection = await connect(ServerEndpoint(port=server.port), ClientOptions())
        request = PendingFrame([b"\x93\xa1t\xc4\x00", b"\x80"], b"")
        await connection.send([request])
        assert request.maybe_received
        await server.wait_for(requests=1)
        connection.close()


async def test_a_connection_that_failed_takes_no_more():
    async with scripted_server() as server:
        connection = await connect(ServerEndpoint(port=server.port), ClientOptions())
        await server.wait_for(connections=1)
        await server.stop()
        assert connection.closed
        request = PendingFrame([b"x"], b"\xa1a")
        with pytest.raises(DeliveryError, match="closed"):
            await connection.send([request])
        assert not request.maybe_received, "nothing was sent"


async def test_a_server_that_hangs_up_during_the_handshake_may_have_another_key():
    listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    endpoint = ServerEndpoint(port=listener.sockets[0].getsockname()[1])
    with pytest.raises(DeliveryError, match="another shared_key"):
        await connect(endpoint, ClientOptions(secrets=ClientSecrets("me", b"key")))
    listener.close()
