"""The source otlp with OpenTelemetry's own SDK for Python in front of it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from logflow.sources.otlp import OtlpSource
from logflow.testing import Collector, make_context, run_source

sdk = pytest.importorskip(
    "opentelemetry.sdk._logs", reason="needs opentelemetry-sdk and its OTLP exporter over HTTP"
)


def emit(url: str, number: int) -> None:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource

    provider = sdk.LoggerProvider(Resource.create({"service.name": "shop"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{url}/v1/logs")))
    log = logging.getLogger("shop.cart")
    log.addHandler(sdk.LoggingHandler(logger_provider=provider))
    for n in range(number):
        log.warning("item %d", n, extra={"n": n, "nested": {"a": [1, "x"]}})
    provider.shutdown()


@pytest.mark.filterwarnings("ignore")
async def test_records_of_the_sdk_arrive_whole(tmp_path):
    config = OtlpSource.Config(type="otlp", listen="127.0.0.1:0", tag="otlp.{service.name}")
    source = OtlpSource(config, make_context(tmp_path))
    collector = Collector()
    async with run_source(source, collector):
        await asyncio.to_thread(emit, f"http://127.0.0.1:{source.port}", 1000)
    assert {batch.tag for batch in collector.batches} == {"otlp.shop"}
    records = collector.records()
    assert [record["n"] for record in records] == list(range(1000))
    first = records[0]
    assert first["message"] == "item 0"
    assert first["level"].lower().startswith("warn")
    assert first["scope"] == "shop.cart"
    assert first["nested"] == {"a": [1, "x"]}
    assert first["resource"]["service.name"] == "shop"
