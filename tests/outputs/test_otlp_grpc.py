"""The output otlp over gRPC: what each status means."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from logflow.batch import PartialDelivery
from logflow.compression import decompress
from logflow.errors import ChunkTooLarge, DeliveryError, PermanentError, RetryAfter
from logflow.net.grpc.server import GrpcServer, Reply
from logflow.net.grpc.wire import Code
from logflow.outputs.otlp import OtlpOutput
from logflow.protobuf import LOGS_EXPORT, delimited, integer


class Receiver:
    """A server that answers what it is told to, and in the end always the same."""

    def __init__(self):
        self.replies: list[Reply] = []
        self.otherwise = Reply()
        self.calls = []
        self.messages = []
        self.faults = []
        self.server = GrpcServer(
            self.handle,
            idle_s=60.0,
            malformed=lambda amount=1: None,
            fault=lambda error, *_: self.faults.append(error),
        )

    async def handle(self, call):
        message = b"".join([piece async for piece in call.pieces()])
        self.calls.append(call)
        self.messages.append(decompress(message, "gzip", 1 << 24) if call.encoding == "gzip" else message)
        return self.replies.pop(0) if self.replies else self.otherwise


@pytest.fixture
async def grpc(make_store):
    receiver = Receiver()
    listening = await asyncio.get_running_loop().create_server(receiver.server, "127.0.0.1", 0)

    async def make(**options):
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        return await make_store("otlp", protocol="grpc", endpoints=[url], **options)

    yield receiver, make
    listening.close()
    await receiver.server.shutdown(1.0)


async def test_an_export_is_called_with_what_http_would_send(grpc, make_chunk, make_store, receiver):
    taken, make = grpc
    output = await make(headers={"X-Key": "secret"}, auth={"bearer": "t0ken"})
    chunk = make_chunk({"message": "one"}, {"message": "two"})
    await output.write(chunk)
    (call,), (message,) = taken.calls, taken.messages
    receiver.otherwise = (200, "")
    await (await make_store("otlp", compress="none")).write(chunk)
    assert message == receiver.requests[0].body
    assert call.path == LOGS_EXPORT
    assert call.encoding == "gzip"
    assert call.headers["authorization"] == "Bearer t0ken"
    assert call.headers["x-key"] == "secret"
    assert call.headers["idempotency-key"] == chunk.id.hex()
    assert call.headers["grpc-timeout"] == "30000m"
    assert call.headers["te"] == "trailers"


@pytest.mark.parametrize(
    "status",
    [Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.ABORTED, Code.OUT_OF_RANGE, Code.UNAVAILABLE,
     Code.DATA_LOSS, Code.RESOURCE_EXHAUSTED, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED,
     Code.UNIMPLEMENTED],
)  # fmt: skip
async def test_what_may_pass_is_tried_again(grpc, make_chunk, status):
    receiver, make = grpc
    receiver.replies = [Reply(status, "why not")]
    output = await make()
    with pytest.raises(DeliveryError, match=rf"\({status.name}\) why not") as caught:
        await output.write(make_chunk({"n": 1}))
    assert not isinstance(caught.value, ChunkTooLarge)


@pytest.mark.parametrize("status", [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED])
async def test_a_pause_is_kept(grpc, make_chunk, status):
    receiver, make = grpc
    receiver.replies = [Reply(status, "busy", retry_s=7)]
    output = await make()
    with pytest.raises(RetryAfter) as caught:
        await output.write(make_chunk({"n": 1}))
    assert caught.value.delay_s == 7


@pytest.mark.parametrize(
    "status",
    [Code.INVALID_ARGUMENT, Code.INTERNAL, Code.UNKNOWN, Code.FAILED_PRECONDITION],
)
async def test_what_is_final_costs_the_bad_record_alone(grpc, make_chunk, status):
    receiver, make = grpc
    receiver.replies = [Reply(status, "bad"), Reply(), Reply(status, "bad")]
    output = await make()
    with pytest.raises(PartialDelivery) as caught:
        await output.write(make_chunk({"n": 1}, {"n": 2}))
    assert caught.value.rest is None
    assert [chunk.count for chunk, _ in caught.value.rejected] == [1]


@pytest.mark.parametrize(
    "message",
    ["grpc: received message larger than max (5 vs. 4)", "gRPC message exceeds maximum size 4194304: 9",
     "a body may have 8388608 bytes"],
)  # fmt: skip
async def test_a_message_that_is_too_large_is_halved(grpc, make_chunk, message):
    receiver, make = grpc
    receiver.replies = [Reply(Code.RESOURCE_EXHAUSTED, message)]
    with pytest.raises(ChunkTooLarge):
        await (await make()).write(make_chunk({"n": 1}, {"n": 2}))


async def test_a_partial_success_is_counted_and_said(grpc, make_chunk, caplog):
    receiver, make = grpc
    receiver.otherwise = Reply(body=delimited(1, integer(1, 1) + delimited(2, b"too old")))
    output = await make()
    await output.write(make_chunk({"n": 1}, {"n": 2}))
    assert "refused 1 of its records: too old" in caplog.text
    with pytest.raises(PermanentError, match="refused every record"):
        await output.write(make_chunk({"n": 1}))


@pytest.mark.parametrize(
    ("options", "why"),
    [({"endpoints": ["http://h:4317/v1/logs"]}, "gRPC knows no paths"),
     ({"endpoints": ["http://h:4317"], "proxy": "http://p:1"}, "goes through no proxy")],
)  # fmt: skip
def test_what_grpc_cannot_do_is_said(options, why):
    with pytest.raises(ValidationError, match=why):
        OtlpOutput.Config(protocol="grpc", **options)


def test_messages_stay_within_what_receivers_take_unless_told():
    config = OtlpOutput.Config(protocol="grpc", endpoints=["http://h:4317"], batch={"max_events": 5})
    assert (config.batch.max_bytes, config.batch.max_events, config.buffer.chunk_limit) == (
        2 << 20,
        5,
        2 << 20,
    )
    config = OtlpOutput.Config(protocol="grpc", endpoints=["http://h:4317"], batch={"max_bytes": "3MiB"})
    assert config.batch.max_bytes == 3 << 20
