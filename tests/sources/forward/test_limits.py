"""What is refused, and who is disconnected: one client never harms another."""

from __future__ import annotations

import asyncio
import gzip
import logging
from typing import Any

import msgpack
import pytest

from logflow.testing import Collector, FakeClock
from logflow.testing.forwarding import fluentd_request

EVENTS = [(1, {"a": 1}), (2, {"a": 2})]


async def refused(running: Any, data: bytes) -> None:
    """Send ``data`` and see the connection closed; another client is served all the same."""
    client = await running.connect()
    other = await running.connect()
    await client.send(data)
    assert await client.closed()
    await client.close()
    await other.send(fluentd_request("other", EVENTS, b"x"))
    assert await other.receive() == {b"ack": b"eA==\n"}
    await other.close()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x93\xa1t\xc6\xff\xff\xff\xff", "larger than the limit"),
        (b"\x92\xa1t\xdd\xff\xff\xff\xff" + b"\xff" * 100, "larger than the limit"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"),
        (msgpack.packb(["t", "x", "y", "z"]), "elements"),
        (msgpack.packb([1, 2, {}]), "tag"),
        (msgpack.packb(["t", b"hello"]), "not made of events"),
        (
            msgpack.packb(["t", gzip.compress(bytes(5 << 20)), {"compressed": "gzip", "chunk": "c"}]),
            "larger",
        ),
        (b"\x94\xa1t\x05\x80\x81\xa1o" + b"\x91" * 200 + b"\x90", "nest"),
    ],
    ids=["4 GB", "huge array", "http", "elements", "tag", "text", "bomb", "deep"],
)
async def test_what_is_wrong_is_refused_counted_and_logged_once(start, caplog, data, reason):
    async with start(max_frame="1MiB") as running:
        await refused(running, data)
        assert running.counted("frames_rejected") == 1
        assert [batch.tag for batch in running.emit.batches] == ["other"]
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert reason in lines[0]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (["12:00", {}], "bad_time"),
        ([5, None], "bad_record"),
        ([5, "text"], "bad_record"),
        ([5, []], "bad_record"),
        ([5, {}, 3], "not_an_event"),
    ],
)
@pytest.mark.parametrize("mode", ["forward", "packed", "gzip"])
async def test_one_bad_event_does_not_refuse_its_frame(start, caplog, bad, reason, mode):
    """The others are taken, it is accounted for, and the frame is acknowledged."""
    events = [[5, {"n": 1}], [None, {"n": 2}], bad, [0, {"n": 3}]]
    packed = b"".join(map(msgpack.packb, events))
    payload = {"forward": events, "packed": packed, "gzip": gzip.compress(packed)}[mode]
    option = {"chunk": "c", **({"compressed": "gzip"} if mode == "gzip" else {})}
    async with start() as running:
        client = await running.connect()
        await client.send(msgpack.packb(["app", payload, option]))
        assert await client.receive() == {b"ack": b"c"}
        assert [record["n"] for record in running.emit.records()] == [1, 2, 3]
        assert running.emit.drops == {reason: 1}
        [(why, letter)] = running.emit.letters
        assert why.endswith(f": {reason}")
        assert [record for _, record in letter.events()] == [{"refused": reason, "event": bad}]
        assert running.counted("times_missing") == 2
        assert running.counted("frames_rejected") == 0
        await client.close()
    assert f"1 ({reason})" in caplog.text


async def test_good_frames_before_a_bad_one_are_kept_and_acknowledged(start):
    emit = Collector(settle=False)
    async with start(emit) as running:
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS, b"x") + msgpack.packb(["app", 1, {}]) + b"\x93\x01")
        await emit.wait_for(3)
        await asyncio.sleep(0.01)
        emit.settle_all()
        assert await client.receive() == {b"ack": b"eA==\n"}
        assert await client.closed()
        assert running.counted("frames_rejected") == 1
        await client.close()


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_in_the_middle_of_a_frame_is_counted_and_loses_nothing_else(start, reset):
    async with start() as running:
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS) + fluentd_request("app", EVENTS)[:-3])
        await running.emit.wait_for(2)
        if reset:
            client.cut()
        else:
            await client.close()
        while running.source._shared.receivers:
            await asyncio.sleep(0.005)
        assert running.counted("frames_rejected") == 1
        assert running.emit.count == 2


async def test_a_flood_of_bad_clients_is_not_a_flood_of_log_lines(start, caplog):
    async with start(clock=FakeClock()) as running:
        for _ in range(30):
            client = await running.connect()
            await client.send(b"hello\n")
            assert await client.closed()
            await client.close()
        assert running.counted("frames_rejected") == 30
    assert len([record for record in caplog.records if "Refused" in record.getMessage()]) == 10


async def test_an_unexpected_failure_closes_one_connection_only(start, caplog):
    class Failing(Collector):
        async def __call__(self, batch):
            if batch.tag == "bad":
                raise RuntimeError("a bug")
            return await super().__call__(batch)

    async with start(Failing()) as running:
        await refused(running, fluentd_request("bad", EVENTS, b"y"))
    assert "a bug" in caplog.text


async def test_too_many_connections_are_refused_and_room_comes_back(start):
    async with start(max_connections=2) as running:
        clients = [await running.connect() for _ in range(3)]
        assert await clients[2].closed()
        assert running.counted("connections_refused") == 1
        for client in clients:
            await client.close()
        while running.source._shared.receivers:
            await asyncio.sleep(0.005)
        again = await running.connect()
        await again.send(fluentd_request("app", EVENTS, b"x"))
        assert await again.receive()
        await again.close()


async def test_a_client_that_says_nothing_for_an_hour_is_disconnected(start):
    clock = FakeClock()
    async with start(clock=clock) as running:
        client = await running.connect()
        await running.wait_for_connections(1)
        await clock.advance(3500)
        await client.send(b"\xc0")
        while next(iter(running.source._shared.receivers))._active_s == 0:
            await asyncio.sleep(0.005)
        await clock.advance(3500)
        assert running.source._shared.receivers
        await clock.advance(200)
        assert await client.closed()
        assert running.counted("connections_timed_out") == 1
        assert running.counted("frames_rejected") == 0
        await client.close()


async def test_a_client_that_stops_in_the_middle_of_a_frame_is_disconnected(start, caplog):
    clock = FakeClock()
    async with start(clock=clock) as running:
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS)[:-1])
        await running.wait_for_connections(1)
        while not next(iter(running.source._shared.receivers))._reader.pending:
            await asyncio.sleep(0.005)
        await clock.advance(80)
        assert await client.closed()
        assert "in the middle of a frame" in caplog.text
        await client.close()


async def test_a_client_that_drips_is_disconnected(start, caplog):
    clock = FakeClock()
    async with start(clock=clock) as running:
        client = await running.connect()
        await running.wait_for_connections(1)
        (receiver,) = running.source._shared.receivers
        for sent, byte in enumerate(fluentd_request("app", EVENTS)[:30], 1):
            if not running.source._shared.receivers:
                break
            await client.send(bytes([byte]))
            while running.source._shared.receivers and receiver._reader.pending < sent:
                await asyncio.sleep(0.001)
            await clock.advance(30)
        assert "too slowly" in caplog.text
        client.cut()


async def test_a_client_that_waits_for_its_ack_is_not_idle(start):
    clock = FakeClock()
    emit = Collector(settle=False)
    async with start(emit, clock=clock) as running:
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS, b"x"))
        await emit.wait_for(2)
        await clock.advance(10_000)
        emit.settle_all()
        assert await client.receive() == {b"ack": b"eA==\n"}
        await client.close()


async def test_a_sane_client_is_served_in_the_midst_of_floods_of_tiny_frames(start):
    """What it sends comes next, and not after what others have sent before."""
    tiny = b"".join(msgpack.packb([f"tiny{number % 2}", number, {}]) for number in range(3000))
    async with start() as running:
        flooders = [await running.connect() for _ in range(30)]
        client = await running.connect()
        for flooder in flooders:
            flooder.writer.write(tiny)
        await running.emit.wait_for(100)
        await client.send(fluentd_request("sane", EVENTS, b"x"))
        assert await client.receive() == {b"ack": b"eA==\n"}
        tags = [batch.tag for batch in running.emit.batches]
        assert tags.index("sane") < 5000  # of 90,000
        for each in (*flooders, client):
            each.cut()


async def left_after_silence(running, clock, silent: int) -> int:
    """How many connections are left after 15 s of those that send nothing; one has sent a frame before."""
    clients = [await running.connect() for _ in range(silent + 1)]
    await running.wait_for_connections(silent + 1)
    await clients[0].send(fluentd_request("app", EVENTS, b"x"))
    await clients[0].receive()
    for _ in range(30):
        await clock.advance(0.5)
        await asyncio.sleep(0.001)
    left = len(running.source._shared.receivers)
    await clients[0].send(fluentd_request("app", EVENTS, b"x"))
    assert await clients[0].receive() == {b"ack": b"eA==\n"}, "who has sent something keeps its place"
    for client in clients:
        client.cut()
    return left


async def test_who_sends_nothing_makes_room_when_places_are_short(start):
    """Three of four places are taken: the silent ones lose theirs after ten seconds instead of an hour."""
    clock = FakeClock()
    async with start(clock=clock, max_connections=8) as running:
        assert await left_after_silence(running, clock, 6) == 1
        assert running.counted("connections_timed_out") == 6


async def test_who_sends_nothing_may_stay_while_there_is_room(start):
    clock = FakeClock()
    async with start(clock=clock, max_connections=16) as running:
        assert await left_after_silence(running, clock, 6) == 7
