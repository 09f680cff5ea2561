"""A server and hostile clients, a client and hostile servers: over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from logflow.errors import MalformedData
from logflow.net.grpc.client import GrpcTransport
from logflow.net.grpc.server import GrpcServer, Reply
from logflow.net.grpc.wire import Code
from logflow.net.http_client import HttpClientConfig, Post
from logflow.net.http_client.exchange import NoAnswerError, NotSentError


class Rig:
    """A server that keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.encodings: list[str] = []
        self.errors: list[str] = []
        self.malformed = 0
        self.held: asyncio.Event | None = None
        self.cancelled = 0
        self.refuse: Reply | None = None
        self.server = GrpcServer(self.handle, idle_s=5.0, malformed=self.count, fault=self.fault)
        self.port = 0

    def fault(self, error: Exception, what: str, _peer: str) -> None:
        self.errors.append(f"{what}: {error}")

    def count(self, amount: int = 1) -> None:
        self.malformed += amount

    async def handle(self, call):
        if self.refuse is not None:
            return self.refuse
        try:
            message = b"".join([piece async for piece in call.pieces()])
        except MalformedData as error:
            self.errors.append(str(error))
            return Reply(Code.INVALID_ARGUMENT, str(error))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.messages.append(message)
        self.encodings.append(call.encoding)
        if self.held is not None:
            await self.held.wait()
        return Reply(body=b"taken")


@pytest.fixture
async def rig():
    rig = Rig()
    listening = await asyncio.get_running_loop().create_server(rig.server, "127.0.0.1", 0)
    rig.port = listening.sockets[0].getsockname()[1]
    yield rig
    listening.close()
    await rig.server.shutdown(1.0)
    assert not rig.server.connections


@contextlib.asynccontextmanager
async def client(port, **options):
    url = f"http://127.0.0.1:{port}"
    config = HttpClientConfig(**{"type": "x", "endpoints": [url], "timeout": 5.0, **options})
    transport = GrpcTransport(config, 1 << 16)
    await transport.open()

    async def call(*slices):
        post = Post(b"k", list(slices), "any")
        return await transport.ask(URL(f"{url}/s.S/M"), post, CIMultiDict({"X-Key": "v"}), url)

    yield call
    await transport.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("size", [0, 1, 70_000, 5_000_000])
async def test_messages_of_all_sizes_arrive_whole(rig, size):
    message = os.urandom(size)
    async with client(rig.port) as call:
        answers = await asyncio.gather(*(call(message[: size // 2], message[size // 2 :]) for _ in range(3)))
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"taken")] * 3
    assert rig.messages == [message] * 3
    assert rig.encodings == ["identity"] * 3


async def test_a_compressed_message_says_how(rig):
    async with client(rig.port, compress="gzip") as call:
        await call(b"z")
    assert rig.encodings == ["gzip"]


async def test_calls_share_a_connection_and_more_than_it_may_have_wait(rig):
    rig.held = asyncio.Event()
    async with client(rig.port, concurrency=150) as call:
        calls = [asyncio.create_task(call(b"x")) for _ in range(130)]
        while len(rig.messages) < 100:
            await asyncio.sleep(0.01)
        assert len(rig.server.connections) == 1
        await asyncio.sleep(0.05)
        assert len(rig.messages) == 100
        rig.held.set()
        assert {answer.status for answer in await asyncio.gather(*calls)} == {200}
    assert len(rig.messages) == 130


async def test_a_refusal_before_the_message_is_there_is_heard(rig):
    rig.refuse = Reply(Code.RESOURCE_EXHAUSTED, "no röom", retry_s=1.5)
    async with client(rig.port) as call:
        answer = await call(bytes(20_000_000))
    assert (answer.status, answer.reason) == (429, "(RESOURCE_EXHAUSTED) no röom")
    assert answer.headers == {"Retry-After": "2"}


async def test_a_call_without_an_answer_in_time_is_taken_back(rig):
    rig.held = asyncio.Event()
    async with client(rig.port, timeout=0.3) as call:
        with pytest.raises(NoAnswerError) as caught:
            await call(b"x")
        assert isinstance(caught.value.__cause__, TimeoutError)
        rig.held.set()
        assert (await call(b"y")).status == 200  # on a new connection


async def test_a_server_that_stops_answers_what_it_has_and_takes_no_more(rig):
    rig.held = asyncio.Event()
    async with client(rig.port) as call:
        first = asyncio.create_task(call(b"x"))
        while not rig.messages:
            await asyncio.sleep(0.01)
        rig.server.pre_shutdown()
        await asyncio.sleep(0.05)
        second = asyncio.create_task(call(b"y"))  # the client has heard: it makes a new connection
        while len(rig.messages) < 2:
            await asyncio.sleep(0.01)
        rig.held.set()
        assert [(await found).status for found in (first, second)] == [200, 200]


async def test_nobody_there_means_not_sent(rig):
    async with client(1) as call:
        with pytest.raises(NotSentError):
            await call(b"x")


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100), b"", os.urandom(4000), bytes(4000)]
)
async def test_a_server_of_something_else_is_no_answer(said):
    async def serve(reader, writer):
        await reader.read(100)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with client(server.sockets[0].getsockname()[1]) as call:
        with pytest.raises((NoAnswerError, NotSentError)):
            await call(b"x")
    server.close()


class Raw:
    """A client that may do what it likes."""

    HEAD = (
        (":method", "POST"), (":scheme", "http"), (":path", "/s.S/M"), (":authority", "x"),
        ("te", "trailers"), ("content-type", "application/grpc"),
    )  # fmt: skip

    def __init__(self, reader, writer):
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.reader, self.writer = reader, writer
        self.h2.initiate_connection()
        self.events = []

    async def flush(self):
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    async def until(self, kind):
        while not any(isinstance(event, kind) for event in self.events):
            data = await asyncio.wait_for(self.reader.read(65536), 5.0)
            assert data, "the connection was closed"
            self.events += self.h2.receive_data(data)
            await self.flush()

    def headers(self):
        return {
            name: value for event in self.events if isinstance(event, ResponseReceived | TrailersReceived)
            for name, value in event.headers
        }  # fmt: skip


@pytest.fixture
async def raw(rig):
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    yield Raw(reader, writer)
    writer.close()


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "the message ends too early"), (b"\0\0\0\0\5abc", "the message ends too early"),
        (b"\7\0\0\0\0", "begins with 7"), (b"\0\0\0\0\1ab", "more than one message came"), (b"\0\0", "early"),
    ],
)  # fmt: skip
async def test_what_is_no_message_is_refused(rig, raw, message, why):
    raw.h2.send_headers(1, Raw.HEAD)
    raw.h2.send_data(1, message, end_stream=True)
    await raw.flush()
    await raw.until(StreamEnded)
    assert raw.headers()["grpc-status"] == "3"
    assert why in rig.errors[0]


async def test_what_is_not_grpc_gets_415(rig, raw):
    raw.h2.send_headers(1, [*Raw.HEAD[:5], ("content-type", "text/plain")], end_stream=True)
    await raw.flush()
    await raw.until(StreamEnded)
    assert raw.headers()[":status"] == "415"


async def test_the_clients_deadline_is_kept(rig, raw):
    rig.held = asyncio.Event()
    raw.h2.send_headers(1, [*Raw.HEAD, ("grpc-timeout", "50m")])
    raw.h2.send_data(1, b"\0\0\0\0\0", end_stream=True)
    await raw.flush()
    await raw.until(StreamEnded)
    assert raw.headers()["grpc-status"] == str(int(Code.DEADLINE_EXCEEDED))


async def test_calls_that_are_taken_back_again_and_again_end_the_connection(rig, raw):
    for _ in range(500):
        stream = raw.h2.get_next_available_stream_id()
        raw.h2.send_headers(stream, Raw.HEAD)
        raw.h2.reset_stream(stream)
    await raw.flush()
    await raw.until(ConnectionTerminated)
    assert raw.events[-1].error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert rig.malformed == 1


async def test_a_call_that_is_taken_back_is_dropped(rig, raw):
    raw.h2.send_headers(1, Raw.HEAD)
    await raw.flush()
    await asyncio.sleep(0.05)
    raw.h2.reset_stream(1, ErrorCodes.CANCEL)
    await raw.flush()
    while not rig.cancelled:
        await asyncio.sleep(0.01)


async def test_headers_without_end_are_not_held(rig, raw):
    with contextlib.suppress(ConnectionError):
        raw.h2.send_headers(1, [*Raw.HEAD, ("x", "y" * 20_000)])
        await raw.flush()
        await raw.until(ConnectionTerminated)
    assert rig.malformed == 1


async def test_what_nobody_reads_is_given_back_to_the_window(rig, raw):
    """Else calls that are refused early would stop those that come later on the same connection."""
    rig.refuse = Reply(Code.UNAVAILABLE)
    for _ in range(100):
        stream = raw.h2.get_next_available_stream_id()
        raw.h2.send_headers(stream, Raw.HEAD)
        await raw.flush()
        await asyncio.sleep(0)
        for _ in range(4):
            with contextlib.suppress(Exception):
                raw.h2.send_data(stream, bytes(16_000))
        await raw.flush()
        raw.events.clear()
        await raw.until(StreamEnded | StreamReset)
    assert raw.h2.outbound_flow_control_window > 1 << 20


async def test_a_connection_without_calls_ends(rig):
    rig.server.idle_s = 0.05
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    await asyncio.wait_for(reader.read(), 5.0)
    writer.close()
    assert not rig.server.connections


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=4), st.booleans())
def test_any_bytes_end_in_an_answer_or_a_closed_connection(parts, preface):
    async def run():
        rig = Rig()
        rig.server.idle_s = 0.2
        listening = await asyncio.get_running_loop().create_server(rig.server, "127.0.0.1", 0)
        problems = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" * preface + b"".join(parts))
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 5.0)
        writer.close()
        listening.close()
        await rig.server.shutdown(1.0)
        assert problems == []

    asyncio.run(run())
