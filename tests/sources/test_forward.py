"""The forward source, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import pytest

from logflow.batch import DeliveryKey
from logflow.errors import ComponentError
from logflow.forward.handshake import ClientHandshake, ClientSecrets
from logflow.sources.forward import ForwardSource
from logflow.telemetry.metrics import Metrics
from logflow.testing import Collector, FakeClock, make_context, run_source
from logflow.testing.forwarding import RawClient, fluentd_request, make_certificates

EVENTS = [(1, {"a": 1}), (2, {"a": 2})]


@dataclass
class Running:
    """A source that runs, and what it emits into."""

    source: ForwardSource
    emit: Collector
    metrics: Metrics
    task: asyncio.Task[None]

    @property
    def port(self) -> int:
        return self.source.port

    async def connect(self, **options: Any) -> RawClient:
        return await RawClient.connect(self.port, **options)

    def counted(self, name: str) -> int:
        return sum(cell.value for cell in self.metrics.counters() if cell.name == name)


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    @asynccontextmanager
    async def run(
        emit: Collector | None = None, clock: FakeClock | None = None, **options: Any
    ) -> AsyncIterator[Running]:
        metrics = Metrics()
        context = make_context(tmp_path, metrics=metrics, clock=clock)
        if "unix" not in options:
            options = {"listen": "127.0.0.1:0", **options}
        source = ForwardSource(ForwardSource.Config.model_validate({"type": "forward", **options}), context)
        emit = emit or Collector()
        async with run_source(source, emit) as task:
            yield Running(source, emit, metrics, task)

    return run


async def connected(running: Running, count: int) -> None:
    while len(running.source._shared.receivers) < count:
        await asyncio.sleep(0.005)


# -- requests and acks ------------------------------------------------------------------------------


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
        await connected(running, 1)
        (receiver,) = running.source._shared.receivers
        while receiver._transport.is_reading():
            await asyncio.sleep(0.005)
        assert sum(slab.size for slab, _ in receiver._slabs) <= 5 * 64 * 1024
        await emit.unblock()
        await emit.wait_for(200)
        await client.close()


async def test_large_frames_of_many_clients_wait_for_their_turn(start):
    """Their memory is bounded over all connections; a client that is cut gives its place up."""
    emit = Collector()
    emit.blocked = True
    request = fluentd_request("app", [(1, {"x": "y" * 400_000})])
    async with start(emit, memory_limit=2_000_000) as running:
        clients = [await running.connect() for _ in range(6)]
        for client in clients:
            client.writer.write(request)
        await connected(running, 6)
        gate = running.source._shared.gate
        while len(gate._waiting) < 4:
            await asyncio.sleep(0.005)
        assert gate.held <= 2_000_000
        waiting = [r for r in running.source._shared.receivers if r._pass and not r._pass.admitted]
        waiting[0]._transport.abort()
        while len(gate._waiting) > 3:
            await asyncio.sleep(0.005)
        await emit.unblock()
        await emit.wait_for(5)
        while gate.held:
            await asyncio.sleep(0.005)
        for client in clients:
            client.cut()


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


# -- what is refused --------------------------------------------------------------------------------


async def refused(running: Running, data: bytes) -> None:
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
        (msgpack.packb(["t", 1, "no map"]), "."),
        (
            msgpack.packb(["t", gzip.compress(bytes(5 << 20)), {"compressed": "gzip", "chunk": "c"}]),
            "larger",
        ),
        (b"\x92\xa1t\x91" + b"\x92\x01" + b"\x81\xa1a" * 1000 + b"\x80", "nest"),
    ],
    ids=["4 GB", "huge array", "http", "elements", "tag", "record", "bomb", "deep"],
)
async def test_what_is_wrong_is_refused_counted_and_logged_once(start, caplog, data, reason):
    async with start(max_frame="1MiB") as running:
        await refused(running, data)
        assert running.counted("frames_rejected") == 1
        assert [batch.tag for batch in running.emit.batches] == ["other"]
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert reason in lines[0]


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


# -- time -------------------------------------------------------------------------------------------


async def test_a_client_that_says_nothing_for_an_hour_is_disconnected(start):
    clock = FakeClock()
    async with start(clock=clock) as running:
        client = await running.connect()
        await connected(running, 1)
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
        await connected(running, 1)
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
        await connected(running, 1)
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


# -- the handshake ----------------------------------------------------------------------------------


async def greet(client: RawClient, secrets: ClientSecrets) -> None:
    handshake = ClientHandshake(secrets)
    await client.send(handshake.receive(msgpack.packb(await client.receive())))
    handshake.receive(msgpack.packb(await client.receive()))
    assert handshake.done


GUARDED = {
    "shared_key": "key",
    "users": [{"username": "ann", "password": "pass"}],
    "self_hostname": "aggregator",
}


async def test_a_client_that_knows_the_key_is_served(start):
    async with start(**GUARDED) as running:
        client = await running.connect()
        await greet(client, ClientSecrets("agent", b"key", "ann", "pass"))
        await client.send(fluentd_request("app", EVENTS, b"x"))
        assert await client.receive() == {b"ack": b"eA==\n"}
        await client.close()


async def test_a_client_that_does_not_know_the_key_gets_the_reason_and_is_closed(start, caplog):
    async with start(**GUARDED) as running:
        client = await running.connect()
        handshake = ClientHandshake(ClientSecrets("agent", b"wrong", "ann", "pass"))
        await client.send(handshake.receive(msgpack.packb(await client.receive())))
        assert (await client.receive())[:3] == [b"PONG", False, b"shared_key mismatch"]
        assert await client.closed()
        assert running.counted("handshakes_refused") == 1
        await client.close()
    assert "shared_key mismatch" in caplog.text
    assert "wrong" not in caplog.text


async def test_data_instead_of_the_handshake_is_refused(start):
    async with start(**GUARDED) as running:
        client = await running.connect()
        await client.receive()
        await client.send(fluentd_request("app", EVENTS, b"x"))
        assert await client.closed()
        assert running.emit.batches == []
        await client.close()


async def test_a_handshake_that_drips_is_ended(start, caplog):
    clock = FakeClock()
    async with start(clock=clock, **GUARDED) as running:
        client = await running.connect()
        await client.receive()
        for _ in range(3):
            await client.send(b"\x96")
            await asyncio.sleep(0.005)
            await clock.advance(30)
        assert "handshake" in caplog.text
        client.cut()


async def test_a_heartbeat_that_connects_and_closes_is_no_error(start, caplog):
    async with start(**GUARDED) as running:
        client = await running.connect()
        await client.close()
        await asyncio.sleep(0.01)
        assert running.counted("frames_rejected") == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# -- where it listens -------------------------------------------------------------------------------


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


async def test_tls_is_spoken_and_client_certificates_are_asked_for(start, tmp_path, caplog):
    files = make_certificates(tmp_path)
    tls = {"cert_file": str(files.server), "key_file": str(files.server_key), "client_ca_file": str(files.ca)}
    context = ssl.create_default_context(cafile=str(files.ca))
    async with start(tls=tls) as running:
        stranger = await running.connect(ssl=context)
        assert await stranger.closed()
        stranger.cut()
        context.load_cert_chain(files.client, files.client_key)
        client = await running.connect(ssl=context)
        large = [(number, {"x": "y" * 1000}) for number in range(300)]
        await client.send(fluentd_request("app", large, b"x"))
        assert await client.receive() == {b"ack": b"eA==\n"}
        plain = await running.connect()
        await plain.send(fluentd_request("app", EVENTS, b"x"))
        with pytest.raises(EOFError):
            await plain.receive()
        plain.cut()
        await client.close()
    assert running.emit.count == 300
    assert running.counted("tls_handshakes_failed") == 2
    assert "The TLS handshake with 127.0.0.1 failed: peer did not return a certificate." in caplog.text
    assert "The TLS handshake with 127.0.0.1 failed: wrong version number." in caplog.text


# -- stopping ---------------------------------------------------------------------------------------


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
        await connected(running, 1)
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


def test_secrets_are_not_shown():
    config = ForwardSource.Config.model_validate({"type": "forward", **GUARDED})
    assert "key'" not in repr(config)
    assert "'pass'" not in repr(config)
