"""The source otlp with OpenTelemetry's own SDK for Python in front of it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from logflow.sources.otlp import OtlpSource
from logflow.testing import Collector, make_context, run_source

sdk = pytest.importorskip("opentelemetry.sdk._logs", reason="needs opentelemetry-sdk and its OTLP exporters")


def exporter(protocol: str, port: int):
    if protocol == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as Grpc

        return Grpc(f"http://127.0.0.1:{port}", insecure=True, compression=Compression.Gzip)
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as Http

    return Http(f"http://127.0.0.1:{port}/v1/logs")


def emit(protocol: str, port: int, number: int) -> None:
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource

    provider = sdk.LoggerProvider(Resource.create({"service.name": "shop"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter(protocol, port)))
    log = logging.getLogger("shop.cart")
    log.handlers.clear()
    log.addHandler(sdk.LoggingHandler(logger_provider=provider))
    for n in range(number):
        log.warning("item %d", n, extra={"n": n, "nested": {"a": [1, "x"]}})
    provider.shutdown()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_records_of_the_sdk_arrive_whole(tmp_path, protocol):
    config = OtlpSource.Config(
        type="otlp", protocol=protocol, listen="127.0.0.1:0", tag="otlp.{service.name}"
    )
    source = OtlpSource(config, make_context(tmp_path))
    collector = Collector()
    async with run_source(source, collector):
        await asyncio.to_thread(emit, protocol, source.port, 1000)
    assert {batch.tag for batch in collector.batches} == {"otlp.shop"}
    records = collector.records()
    assert [record["n"] for record in records] == list(range(1000))
    first = records[0]
    assert first["message"] == "item 0"
    assert first["level"].lower().startswith("warn")
    assert first["scope"] == "shop.cart"
    assert first["nested"] == {"a": [1, "x"]}
    assert first["resource"]["service.name"] == "shop"
