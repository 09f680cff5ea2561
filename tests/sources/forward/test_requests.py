"""Requests and acks: what is taken, what is answered, and what is held up."""

from __future__ import annotations

import asyncio
import gzip

import msgpack
import pytest

from logflow.batch import DeliveryKey
from logflow.testing import Collector, FakeClock
from logflow.testing.forwarding import fluentd_request

EVENTS = [(1, {"a": 1}), (2, {"a": 2})]


async def test_a_request_with_an_id_is_acknowledged_byte_for_byte(start):
    async with start() as running:
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS, b"0123456789abcdef"))
        assert await client.receive() == {b"ack": b"MDEyMzQ1Njc4OWFiY2RlZg==\n"}
        assert [batch.tag for batch in running.emit.batches] == ["app"]
        assert running.emit.records() == [{"a": 1}, {"a": 2}]
        assert isinstance(running.emit.batches[0].origin, DeliveryKey)
        await client.close()


async def test_without_an_id_nothing_is_answered(start):
    async with start() as running:
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS) + b"\xc0" + fluentd_request("app", EVENTS, b"x"))
        assert await client.receive() == {b"ack": b"eA==\n"}
        await client.close()


async def test_an_ack_waits_for_the_receipt_and_other_requests_are_read_meanwhile(start):
    emit = Collector(settle=False)
    async with start(emit) as running:
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS, b"a") + fluentd_request("app", EVENTS, b"b"))
        await emit.wait_for(4)
        answer = asyncio.create_task(client.receive())
        emit.receipts[1].settle()
        await asyncio.sleep(0.02)
        assert not answer.done(), "answers keep the order of the requests"
        emit.receipts[0].settle()
        assert [await answer, await client.receive()] == [{b"ack": b"YQ==\n"}, {b"ack": b"Yg==\n"}]
        await client.close()


async def test_the_number_of_open_requests_is_bounded(start, monkeypatch):
    monkeypatch.setattr("logflow.forward.acks.MOST_OPEN", 3)
    emit = Collector(settle=False)
    async with start(emit) as running:
        client = await running.connect()
        await client.send(b"".join(fluentd_request("app", EVENTS, b"%d" % number) for number in range(5)))
        await emit.wait_for(6)
        await asyncio.sleep(0.02)
        assert len(emit.batches) == 3
        emit.settle_all()
        await emit.wait_for(10)
        await client.close()


async def test_an_empty_request_is_acknowledged_without_a_batch(start):
    async with start() as running:
        client = await running.connect()
        await client.send(fluentd_request("app", [], b"x"))
        assert await client.receive() == {b"ack": b"eA==\n"}
        assert running.emit.batches == []
        await client.close()


async def test_a_resend_after_a_lost_ack_has_the_same_key(start):
    """A client like Fluentd: the connection is cut between store and ack; it sends again on another."""
    emit = Collector(settle=False)
    async with start(emit) as running:
        for _ in range(2):
            client = await running.connect()
            await client.send(fluentd_request("app", EVENTS, b"0123456789abcdef"))
            await emit.wait_for(len(emit.batches) * 2 + 2)
            client.cut()
        first, second = emit.batches
        assert first.origin == second.origin
        emit.settle_all()


async def test_messages_become_one_batch(start):
    async with start() as running:
        client = await running.connect()
        await client.send(b"".join(msgpack.packb(["app", second, {"n": second}]) for second in range(500)))
        await running.emit.wait_for(500)
        assert len(running.emit.batches) <= 3
        assert [record["n"] for record in running.emit.records()] == list(range(500))
        await client.close()


async def test_a_first_read_of_a_single_byte_is_no_problem(start):
    async with start() as running:
        client = await running.connect()
        request = fluentd_request("app", EVENTS, b"x")
        for piece in (request[:1], request[1:7], request[7:]):
            await client.send(piece)
            await asyncio.sleep(0.005)
        assert await client.receive() == {b"ack": b"eA==\n"}
        await client.close()


@pytest.mark.parametrize("compressed", [False, True])
async def test_large_requests_are_opened_off_the_event_loop_and_stay_in_order(start, compressed):
    async with start() as running:
        client = await running.connect()
        small = fluentd_request("app", [(9, {"n": 1})], b"small")
        large = [(number, {"n": 0, "x": "y" * 1000}) for number in range(1500)]
        payload = b"".join(msgpack.packb(list(event)) for event in large)
        option = {"chunk": "large", "compressed": "gzip" if compressed else "text"}
        request = msgpack.packb(["app", gzip.compress(payload) if compressed else payload, option])
        await client.send(request + small)
        assert [await client.receive(), await client.receive()] == [
            {b"ack": b"large"},
            {b"ack": b"c21hbGw=\n"},
        ]
        assert [batch.count for batch in running.emit.batches] == [1500, 1]
        await client.close()


async def test_metrics_and_traces_are_acknowledged_and_counted_but_are_no_logs(start):
    async with start() as running:
        client = await running.connect()
        await client.send(msgpack.packb(["m", b"\x81\xa4meta\x01", {"chunk": "x", "fluent_signal": 1}]))
        assert await client.receive() == {b"ack": b"x"}
        assert running.emit.batches == []
        assert running.counted("frames_ignored") == 1
        await client.close()


async def test_a_client_that_has_said_everything_still_gets_its_acks(start):
    emit = Collector(settle=False)
    async with start(emit) as running:
        client = await running.connect()
        await client.send(fluentd_request("app", EVENTS, b"x"))
        client.writer.write_eof()
        await emit.wait_for(2)
        await asyncio.sleep(0.01)
        emit.settle_all()
        assert await client.receive() == {b"ack": b"eA==\n"}
        assert await client.closed()
        await client.close()


async def test_reading_pauses_while_nothing_is_taken(start):
    """The memory of a connection is bounded: the client is held up instead."""
    emit = Collector()
    emit.blocked = True
    async with start(emit) as running:
        client = await running.connect()
        client.writer.write(fluentd_request("app", [(1, {"x": "y" * 60_000})]) * 200)
        await running.wait_for_connections(1)
        (receiver,) = running.source._shared.receivers
        while receiver._transport.is_reading():
            await asyncio.sleep(0.005)
        assert sum(slab.size for slab in receiver._slabs) <= 5 * 64 * 1024
        await emit.unblock()
        await emit.wait_for(200)
        await client.close()


async def test_the_memory_of_many_clients_is_bounded_and_all_are_served(start):
    """What is announced does not count, what has come does; a client that is cut gives its place up."""
    emit = Collector()
    emit.blocked = True
    request = fluentd_request("app", [(1, {"x": "y" * 400_000})])
    async with start(emit, memory_limit="4MiB") as running:
        clients = [await running.connect() for _ in range(8)]
        for client in clients:
            client.writer.write(request)
        await running.wait_for_connections(8)
        reading = running.source._shared.reading
        while reading.waiting < 3:
            await asyncio.sleep(0.005)
        assert reading.held <= 2 << 20
        waiting = [r for r in running.source._shared.receivers if r._lease.waits]
        waiting[0]._transport.abort()
        await emit.unblock()
        await emit.wait_for(7)
        for client in clients:
            client.cut()
        while running.source._shared.receivers:
            await asyncio.sleep(0.005)
        assert (reading.held, reading.waiting, running.source._shared.opening.held) == (0, 0, 0)


async def test_clients_that_announce_much_and_send_little_hold_up_nobody(start, caplog):
    """A frame that comes slowly loses its memory to those who wait for it."""
    clock = FakeClock()
    large = fluentd_request("app", [(1, {"x": "y" * 700_000})], b"x")
    announced = b"\x93\xa3app\xc6\x00\x20\x00\x00"
    async with start(memory_limit="2MiB", max_frame="8MiB", clock=clock) as running:
        slow = [await running.connect() for _ in range(6)]
        for client in slow:
            await client.send(announced + bytes(200_000))
        await running.wait_for_connections(6)
        reading = running.source._shared.reading
        while not reading.waiting:
            await asyncio.sleep(0.005)
        sane = await running.connect()
        sent = asyncio.create_task(sane.send(large))
        answer = asyncio.create_task(sane.receive())
        while not answer.done():
            await clock.advance(0.5)
            await asyncio.sleep(0.02)
        assert answer.result() == {b"ack": b"eA==\n"}
        await sent
        assert running.counted("connections_timed_out") >= 1
        assert "others need the memory" in caplog.text
        for client in (*slow, sane):
            client.cut()
        while running.source._shared.receivers:
            await asyncio.sleep(0.005)
        assert reading.held == 0


async def test_a_client_that_does_not_read_its_acks_is_not_read_either(start, monkeypatch):
    async with start() as running:
        client = await running.connect(limit=10)
        client.writer.transport.pause_reading()
        await asyncio.sleep(0)
        (receiver,) = running.source._shared.receivers
        receiver.pause_writing()
        await client.send(fluentd_request("app", EVENTS, b"x"))
        await asyncio.sleep(0.02)
        assert running.emit.batches == []
        receiver.resume_writing()
        await running.emit.wait_for(2)
        client.cut()


async def test_a_client_that_speaks_json_is_answered_in_json(start):
    """As Go's fluent-logger with MarshalAsJSON."""
    async with start() as running:
        client = await running.connect()
        await client.send(b'["app",1700000000,{"n":1},{"chunk":"abc"}]["app",1700000001,{"n":2},null]')
        await running.emit.wait_for(2)
        assert running.emit.records() == [{"n": 1}, {"n": 2}]
        assert await asyncio.wait_for(client._read(), 20) == b'{"ack": "abc"}'
        await client.send(b'{"no":"array"}')
        assert await client.closed()
        assert running.counted("frames_rejected") == 1
        await client.close()
