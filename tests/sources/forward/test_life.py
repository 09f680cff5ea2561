"""Where the source listens, and how it stops and starts again."""

from __future__ import annotations

import asyncio
import socket

import pytest

from logflow.errors import ComponentError
from logflow.testing import Collector
from logflow.testing.forwarding import RawClient, fluentd_request

EVENTS = [(1, {"a": 1}), (2, {"a": 2})]


async def test_udp_heartbeats_are_answered_and_nothing_else(start):
    async with start() as running:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0)
            loop = asyncio.get_running_loop()
            for data in (b"hello", b"", b"\x00\x00", b"\x00"):
                await loop.sock_sendto(udp, data, ("127.0.0.1", running.port))
            async with asyncio.timeout(10):
                assert await loop.sock_recv(udp, 100) == b"\x00"
            await asyncio.sleep(0.01)
            with pytest.raises(BlockingIOError):
                udp.recv(100)


async def test_a_unix_socket_is_served_and_removed(start, tmp_path):
    path = tmp_path / "forward.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    async with start(unix=str(path)) as running:
        with pytest.raises(LookupError):
            _ = running.port
        client = await RawClient.connect(path)
        await client.send(fluentd_request("app", EVENTS, b"x"))
        assert await client.receive() == {b"ack": b"eA==\n"}
        await client.close()
    assert not path.exists()


async def test_an_address_in_use_is_one_clear_error(start, tmp_path):
    path = tmp_path / "forward.sock"
    async with start(unix=str(path), listen="127.0.0.1:0") as running:
        with pytest.raises(
            ComponentError, match=rf"cannot listen on 127.0.0.1:{running.port}: Address already in use"
        ):
            async with start(listen=f"127.0.0.1:{running.port}"):
                pass
        with pytest.raises(ComponentError, match=r"forward\.sock: Address already in use"):
            async with start(unix=str(path)):
                pass
        client = await RawClient.connect(path)
        await client.close()


async def test_after_the_stop_whole_frames_are_handled_and_acks_still_go_out(start):
    emit = Collector(settle=False)
    async with start(emit) as running:
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS, b"x"))
        await emit.wait_for(2)
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", client.writer.get_extra_info("peername")[1])
        emit.settle_all()
        assert await client.receive() == {b"ack": b"eA==\n"}
    assert await client.closed()
    await client.close()


async def test_a_frame_that_waits_for_room_when_the_source_stops_gets_no_ack(start, monkeypatch):
    monkeypatch.setattr("logflow.sources.forward._STOP_GRACE_S", 0.01)
    emit = Collector()
    emit.blocked = True
    async with start(emit) as running:
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS, b"x"))
        while not any(receiver._worker for receiver in running.source._shared.receivers):
            await asyncio.sleep(0.005)
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
    assert await client.closed()
    assert emit.batches == []
    await client.close()


@pytest.mark.parametrize("reset", [False, True])
async def test_a_request_whose_client_lost_patience_is_given_up(start, reset):
    """It will come again, maybe at another server: taking it here as well would double it."""
    emit = Collector()
    emit.blocked = True
    async with start(emit) as running:
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS, b"x") + fluentd_request("app", [(3, {"a": 3})]))
        await running.wait_for_connections(1)
        (receiver,) = running.source._shared.receivers
        while receiver._emitting is None:
            await asyncio.sleep(0.005)
        if reset:
            client.cut()
        else:
            await client.close()
        while receiver._transport is not None:
            await asyncio.sleep(0.005)
        await emit.unblock()
        await emit.wait_for(1)
        assert emit.records() == [{"a": 3}], "what has no id will not come again"
        while running.source._shared.receivers:
            await asyncio.sleep(0.005)


async def test_the_source_can_run_again(start):
    async with start(listen="127.0.0.1:0") as running:
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        again = asyncio.create_task(running.source.run(running.emit))
        while running.source._listeners is None or not running.source._listeners._servers:
            await asyncio.sleep(0.005)
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS, b"x"))
        assert await client.receive() == {b"ack": b"eA==\n"}
        await client.close()
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
