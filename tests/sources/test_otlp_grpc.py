"""The source otlp over gRPC: what is answered when."""

from __future__ import annotations

import asyncio
import contextlib
import gzip

import pytest
from multidict import CIMultiDict
from yarl import URL

from logflow.config.tls import ClientTls
from logflow.event import NANOSECOND
from logflow.net.grpc.client import GrpcTransport
from logflow.net.http_client import HttpClientConfig, Post
from logflow.net.http_client.exchange import NoAnswerError, NotSentError
from logflow.protobuf import LOGS_EXPORT, delimited, integer
from logflow.sources.otlp import OtlpSource
from logflow.telemetry.metrics import Metrics
from logflow.testing import Collector, make_context, run_source
from logflow.testing.forwarding import make_certificates

T0 = 1_700_000_000 * NANOSECOND


def export(*messages, service=b"shop"):
    resource = delimited(1, delimited(1, b"service.name") + delimited(2, delimited(1, service)))
    records = b"".join(
        delimited(
            2, b"\x09" + (T0 + n).to_bytes(8, "little") + integer(2, 17) + delimited(5, delimited(1, text))
        )
        for n, text in enumerate(messages)
    )
    return delimited(1, delimited(1, resource) + delimited(2, records))


@pytest.fixture
async def serve(tmp_path):
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, settle=True, client_tls=None, compress="none", **options):
            collector, metrics = Collector(settle=settle), Metrics()
            config = OtlpSource.Config(type="otlp", protocol="grpc", listen="127.0.0.1:0", **options)
            source = OtlpSource(config, make_context(tmp_path, metrics=metrics))
            await stack.enter_async_context(run_source(source, collector))
            url = f"{'https' if client_tls else 'http'}://127.0.0.1:{source.port}"
            client = HttpClientConfig(
                type="x", endpoints=[url], timeout=5.0, compress=compress, tls=client_tls or ClientTls()
            )
            transport = GrpcTransport(client, 1 << 16)
            await transport.open()
            stack.push_async_callback(transport.close)

            async def call(message, path=LOGS_EXPORT, **headers):
                given = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
                return await transport.ask(URL(url + path), Post(b"k", [message], "x"), given, url)

            return call, collector, source

        yield start


def tagged(collector):
    return [(batch.tag, int(time), record) for batch in collector.batches for time, record in batch.events()]


async def test_records_become_events(serve):
    call, collector, _ = await serve(tag="otlp.{service.name}")
    answer = await call(export(b"one", b"two"))
    assert (answer.status, answer.body) == (200, b"")
    common = {"level": "error", "resource": {"service.name": "shop"}}
    assert tagged(collector) == [
        ("otlp.shop", T0, {"message": "one", **common}),
        ("otlp.shop", T0 + 1, {"message": "two", **common}),
    ]
    assert collector.batches[0].attributes == {"peer": "127.0.0.1"}


async def test_the_answer_waits_until_events_are_safe(serve):
    call, collector, _ = await serve(settle=False)
    waiting = asyncio.create_task(call(export(b"one")))
    while not collector.batches:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    collector.settle_all()
    assert (await waiting).status == 200


async def test_what_is_not_safe_in_time_is_to_come_again(serve):
    call, _, _ = await serve(settle=False, safe_timeout=0.05)
    answer = await call(export(b"one"))
    assert (answer.status, answer.headers) == (503, {"Retry-After": "1"})


async def test_without_room_clients_are_told_when_to_come_again(serve):
    call, collector, _ = await serve()
    collector.blocked = True
    answer = await call(export(b"one"))
    assert (answer.status, answer.headers) == (429, {"Retry-After": "1"})
    assert answer.reason == "(RESOURCE_EXHAUSTED) there is no room for more events now"


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
async def test_compressed_messages_are_read(serve, compress):
    from logflow.compression import compress as pack

    call, collector, _ = await serve(compress=compress)
    assert (await call(pack(export(b"one"), compress))).status == 200
    assert collector.count == 1


async def test_what_grows_too_large_is_refused(serve):
    call, collector, _ = await serve(compress="gzip", max_body=1024, max_in_flight=4096)
    answer = await call(gzip.compress(export(bytes(5000))))
    assert answer.status == 413
    assert "larger than 1024 bytes when decompressed" in answer.reason
    assert collector.batches == []


async def test_a_message_above_the_limit_is_refused_before_it_came(serve):
    call, collector, _ = await serve(max_body=1024, max_in_flight=4096)
    assert (await call(export(bytes(5_000_000)))).status == 413
    assert (await call(export(b"one"))).status == 200
    assert collector.count == 1


async def test_what_is_no_export_is_refused_for_good(serve, caplog):
    call, collector, _ = await serve()
    assert (await call(b"\xff\xff\xff")).status == 400
    assert "Refused the call '/opentelemetry.proto" in caplog.text
    assert (await call(export(b"one"), path="/x.Y/Z")).status == 404
    assert collector.batches == []


async def test_credentials_are_asked_for(serve):
    call, collector, _ = await serve(auth={"bearer": "t0ken"})
    assert (await call(export(b"one"))).status == 401
    assert (await call(export(b"one"), Authorization="Bearer t0ken")).status == 200
    assert collector.count == 1


async def test_tags_are_bounded(serve):
    call, collector, _ = await serve(tag="otlp.{service.name}", max_tags=2)
    for n in range(4):
        await call(export(b"x", service=b"s%d" % n))
    assert len({batch.tag for batch in collector.batches}) == 3


async def test_tls_and_certificates_of_clients(serve, tmp_path):
    files = make_certificates(tmp_path)
    server = {"cert_file": files.server, "key_file": files.server_key, "client_ca_file": files.ca}
    known = ClientTls(ca_file=files.ca, cert_file=files.client, key_file=files.client_key)
    call, collector, _ = await serve(client_tls=known, tls=server)
    assert (await call(export(b"one"))).status == 200
    assert collector.count == 1
    call, collector, _ = await serve(client_tls=ClientTls(ca_file=files.ca), tls=server)
    with pytest.raises((NotSentError, NoAnswerError)):
        await call(export(b"one"))
    call, collector, _ = await serve(client_tls=ClientTls(), tls=server)
    with pytest.raises(NotSentError):
        await call(export(b"one"))
    assert collector.count == 0


async def test_a_stop_answers_what_waits(serve, tmp_path):
    collector = Collector(settle=False)
    config = OtlpSource.Config(type="otlp", protocol="grpc", listen="127.0.0.1:0")
    source = OtlpSource(config, make_context(tmp_path))
    async with run_source(source, collector):
        url = f"http://127.0.0.1:{source.port}"
        transport = GrpcTransport(HttpClientConfig(type="x", endpoints=[url]), 1 << 16)
        waiting = asyncio.create_task(
            transport.ask(URL(url + LOGS_EXPORT), Post(b"k", [export(b"one")], "x"), CIMultiDict(), url)
        )
        while not collector.batches:
            await asyncio.sleep(0.01)
    assert (await waiting).status == 503
    await transport.close()
