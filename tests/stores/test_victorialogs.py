"""Outputs against VictoriaLogs, which takes seven protocols. It answers 200 to much, so rows are counted."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.parse
import urllib.request

import pytest

from logflow import registry
from logflow.batch import Batch, Chunk
from logflow.testing import make_context
from logflow.timestamps import parse_rfc3339

T0 = 1_790_000_000_000_000_000


def ask(url, query):
    data = urllib.parse.urlencode({"query": query, "limit": 10_000}).encode()
    with urllib.request.urlopen(f"{url}/select/logsql/query", data, timeout=30) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


async def rows(url, query, at_least=1):
    """What is found, once there is enough of it: rows can be seen about a second after they came."""
    for _ in range(100):
        found = await asyncio.to_thread(ask, url, query)
        if len(found) >= at_least:
            return found
        await asyncio.sleep(0.1)
    return found


CASES = {
    "elasticsearch": ("/insert/elasticsearch?_time_field=@timestamp&_msg_field=message", {}),
    "loki": ("/insert", {"structured_metadata": {"trace": "trace"}}),
    "loki-json": ("/insert", {"encoding": "json", "compress": "gzip"}),
    "otlp": ("/insert/opentelemetry", {}),
    "datadog": ("/insert/datadog", {"api_key": "any", "ddtags": "env:test"}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", ["native", "python"])
async def test_every_event_arrives_with_its_time_and_fields(victorialogs, tmp_path, case, engine):
    path, options = CASES[case]
    name = case.partition("-")[0]
    mark = os.urandom(4).hex()
    component = registry.load("output", name)
    config = component.Config(endpoints=[victorialogs + path], **options)
    output = component(config, make_context(tmp_path, kind="output", engine=engine))
    await output.open()
    # It takes numbers and maps from Datadog's clients only as text.
    plain = {} if name == "datadog" else {"n": 5, "nested": {"a": "é\n"}}
    records = [{"message": f"hello {mark}", "trace": f"t{n}", **plain} for n in range(50)]
    chunks = [
        Chunk(os.urandom(16), f"app.{tag}", (batch.entries,), batch.count)
        for tag in range(20)
        for batch in [Batch.from_events("", ((T0 + n, record) for n, record in enumerate(records)))]
    ]
    assert list(await output.write_group(chunks)) == [None] * 20
    found = await rows(victorialogs, f'"hello {mark}" or message:"hello {mark}"', 1000)
    assert len(found) == 1000
    times = {parse_rfc3339(row["_time"].encode()) for row in found}
    if name != "datadog":  # its `@timestamp` is known to Datadog only
        assert times == {T0 + n for n in range(50)}
    if name == "elasticsearch":
        assert {row["@tag"] for row in found} == {f"app.{tag}" for tag in range(20)}
    if case == "loki":
        assert {row["trace"] for row in found} == {f"t{n}" for n in range(50)}
        assert {row["tag"] for row in found} == {f"app.{tag}" for tag in range(20)}
    if name == "otlp":
        assert {row["service.name"] for row in found} == {f"app.{tag}" for tag in range(20)}
        assert len({row["log.record.uid"] for row in found}) == 1000
    await output.close()
