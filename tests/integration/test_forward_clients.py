"""Clients that exist, and one made after Fluentd, against the forward source; ``cat`` as a process."""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest
from fluent import handler, sender
from fluent.asyncsender import FluentSender as AsyncSender

from logflow.batch import Batch, DeliveryKey
from logflow.config.options import BufferOptions
from logflow.engine.api import Engine
from logflow.sources.forward import ForwardSource
from logflow.testing import Collector, make_context, run_source
from logflow.testing.forwarding import RawClient


@pytest.fixture
async def emit() -> Collector:
    return Collector()


@pytest.fixture
async def source(tmp_path: Path, emit: Collector, engine: Engine) -> AsyncIterator[ForwardSource]:
    """A source on TCP and a unix socket, with each engine."""
    config = ForwardSource.Config(type="forward", listen="127.0.0.1:0", unix=tmp_path / "fluent.sock")
    source = ForwardSource(config, make_context(tmp_path, engine=engine.name))
    async with run_source(source, emit):
        yield source


async def test_fluent_logger(source, emit):
    """Events of the sender arrive one by one, with seconds or nanoseconds, values of any kind kept."""

    def send() -> None:
        with sender.FluentSender("app", host="127.0.0.1", port=source.port) as client:
            for number in range(200):
                assert client.emit_with_time("web", 1_700_000_000 + number, {"n": number})
        with sender.FluentSender(
            "app", host="127.0.0.1", port=source.port, nanosecond_precision=True
        ) as client:
            time = sender.EventTime.from_unix_nano(1_700_000_000_123_456_789)
            assert client.emit_with_time(None, time, {"ü": ["x", None, 1.5, {"y": True}]})

    await asyncio.to_thread(send)
    await emit.wait_for(201)
    by_tag = {batch.tag for batch in emit.batches}
    assert by_tag == {"app.web", "app"}
    events = [tuple(event) for batch in emit.batches if batch.tag == "app.web" for event in batch.events()]
    assert events == [((1_700_000_000 + number) * 10**9, {"n": number}) for number in range(200)]
    (last,) = [event for batch in emit.batches if batch.tag == "app" for event in batch.events()]
    assert tuple(last) == (1_700_000_000_123_456_789, {"ü": ["x", None, 1.5, {"y": True}]})


async def test_fluent_loggers_logging_handler_over_a_unix_socket(source, emit, tmp_path):
    def send() -> None:
        fluent = handler.FluentHandler("py", host=f"unix://{tmp_path}/fluent.sock")
        fluent.setFormatter(handler.FluentRecordFormatter({"level": "%(levelname)s"}))
        fluent.handle(logging.makeLogRecord({"levelname": "WARNING", "msg": {"message": "hello"}}))
        fluent.close()

    await asyncio.to_thread(send)
    await emit.wait_for(1)
    assert emit.records() == [{"level": "WARNING", "message": "hello"}]


async def test_fluent_loggers_asynchronous_sender(source, emit):
    def send() -> None:
        client = AsyncSender("app", host="127.0.0.1", port=source.port)
        for number in range(500):
            client.emit(None, {"n": number})
        client.close()

    await asyncio.to_thread(send)
    await emit.wait_for(500)
    assert [record["n"] for record in emit.records()] == list(range(500))


async def test_a_docker_daemon(source, emit):
    """Message mode with integer time and strings only; with acks, its ids are base64 of 24 bytes."""
    line = {"container_id": "f" * 64, "container_name": "/web", "source": "stdout", "log": "hello"}
    client = await RawClient.connect(source.port)
    await client.send(msgpack.packb(["docker", 1_700_000_000, line, None]))
    chunk = base64.b64encode(bytes(24)).decode()
    await client.send(msgpack.packb(["docker", 1_700_000_000, line, {"chunk": chunk}]))
    assert await client.receive() == {b"ack": chunk.encode()}
    assert emit.records() == [line, line]
    await client.close()


async def test_fluent_bit_with_metadata_in_forward_and_packed_mode(source, emit):
    """Since 5.0 it sends ``[[time, metadata], record]``; its gzip is one member."""
    time = msgpack.ExtType(0, struct.pack(">II", 1_700_000_000, 5))
    entries = [[[time, {"otlp": "x"}], {"log": f"line {number}"}] for number in range(3)]
    packed = b"".join(msgpack.packb(entry) for entry in entries)
    option = {"size": 3, "chunk": "c3VtIG9mIHRoZSBkYXRh", "fluent_signal": 0}
    client = await RawClient.connect(source.port)
    await client.send(msgpack.packb(["bit", entries]))
    await client.send(msgpack.packb(["bit", packed, option]))
    await client.send(msgpack.packb(["bit", gzip.compress(packed), {**option, "compressed": "gzip"}]))
    assert [await client.receive(), await client.receive()] == [{b"ack": b"c3VtIG9mIHRoZSBkYXRh"}] * 2
    assert emit.records() == [{"log": f"line {number}"} for number in range(3)] * 3
    assert {int(time) for time, _ in emit.events()} == {1_700_000_000 * 10**9 + 5}
    await client.close()


class Fluentd:
    """Sends as Fluentd's out_forward does, and sends again when no ack came.

    A connection per chunk; the first write is a single byte; the payload is a str32; an id is the
    base64 of 16 bytes with a newline; gzip is several members, stamped with the time of compression.
    """

    def __init__(self, port: int, *, gzipped: bool) -> None:
        self._port = port
        self._gzipped = gzipped
        self._attempts = 0

    async def send(self, chunk_id: bytes, events: list[tuple[int, dict]], *, lose_ack: bool) -> None:
        entries = [msgpack.packb(list(event)) for event in events]
        option = {"size": len(events), "compressed": "text", "chunk": base64.encodebytes(chunk_id).decode()}
        if self._gzipped:
            self._attempts += 1
            entries = [gzip.compress(entry, mtime=self._attempts) for entry in entries]
            option["compressed"] = "gzip"
        payload = b"".join(entries)
        head = b"\x93\xa3app\xdb" + len(payload).to_bytes(4, "big")
        client = await RawClient.connect(self._port)
        await client.send(head[:1])
        await asyncio.sleep(0)
        await client.send(head[1:] + payload + msgpack.packb(option))
        answer = await client.receive()
        if not lose_ack:
            assert answer == {b"ack": option["chunk"].encode()}
        await client.close()


@pytest.mark.parametrize("gzipped", [False, True])
async def test_a_chunk_that_fluentd_sends_again_is_recognised(source, emit, gzipped):
    fluentd = Fluentd(source.port, gzipped=gzipped)
    events = [(1_700_000_000 + number, {"n": number, b"raw": b"\xff"}) for number in range(5)]
    for number in range(3):
        chunk_id = bytes([number]) * 16
        await fluentd.send(chunk_id, events, lose_ack=True)
        await fluentd.send(chunk_id, events, lose_ack=False)
    origins = [batch.origin for batch in emit.batches]
    assert len(origins) == 6
    assert len(set(origins)) == 3
    assert all(isinstance(origin, DeliveryKey) for origin in origins)


async def test_equal_payloads_of_one_tag_and_different_ids_are_different(source, emit):
    fluentd = Fluentd(source.port, gzipped=False)
    for number in range(2):
        await fluentd.send(bytes([number]) * 16, [(1, {"a": 1})], lose_ack=False)
    assert emit.batches[0].origin != emit.batches[1].origin


@pytest.mark.slow
async def test_cat_as_a_process(source, emit):
    lines = b"".join(b'{"n": %d}\n' % number for number in range(20_000))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "logflow", "cat", "--tag", "x", f"127.0.0.1:{source.port}",
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, stderr = await process.communicate(lines)
    assert (process.returncode, stderr) == (0, b"")
    assert [record["n"] for record in emit.records()] == list(range(20_000))


async def test_a_lost_ack_doubles_nothing_behind_a_buffer(tmp_path):
    """Source and memory buffer together: what comes twice is delivered once, and acknowledged twice."""
    from logflow.buffers.memory import MemoryBuffer
    from logflow.clock import SystemClock
    from logflow.receipt import Receipt
    from logflow.storage.checkpoints import Checkpoints
    from logflow.telemetry.ledger import Account

    account = Account("**", "out")
    buffer = MemoryBuffer("out", BufferOptions(), Checkpoints(None), SystemClock())

    class ToBuffer(Collector):
        async def __call__(self, batch: Batch) -> Receipt:
            receipt = Receipt(1)
            account.enter(batch.count)
            await buffer.put(batch, account, receipt)
            return receipt

    config = ForwardSource.Config(type="forward", listen="127.0.0.1:0")
    source = ForwardSource(config, make_context(tmp_path))
    async with run_source(source, ToBuffer()):
        fluentd = Fluentd(source.port, gzipped=False)
        sends = [
            asyncio.create_task(fluentd.send(b"x" * 16, [(1, {"a": 1})], lose_ack=False)) for _ in range(3)
        ]
        await buffer.commit(await buffer.take())
        await asyncio.gather(*sends)
        await fluentd.send(b"x" * 16, [(1, {"a": 1})], lose_ack=False)
    assert (account.delivered, account.dropped["duplicate"]) == (1, 3)
    assert account.balanced
