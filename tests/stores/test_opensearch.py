"""The output elasticsearch against OpenSearch itself."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request

import pytest

from logflow.batch import Batch, Chunk, PartialDelivery
from logflow.errors import DeliveryError, PermanentError
from logflow.outputs.elasticsearch import ElasticsearchOutput
from logflow.testing import make_context

T0 = 1_700_000_000_000_000_000


def ask(url, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


async def asked(url, body=None, method=None):
    return await asyncio.to_thread(ask, url, body, method)


def chunk(records, tag="app", times=None):
    batch = Batch.from_events(tag, zip(times or [T0] * len(records), records, strict=True))
    return Chunk(os.urandom(16), tag, (batch.entries,), batch.count)


@pytest.fixture
async def make(opensearch, tmp_path):
    outputs = []

    async def make(**options):
        config = ElasticsearchOutput.Config(endpoints=[opensearch], **options)
        outputs.append(ElasticsearchOutput(config, make_context(tmp_path, kind="output")))
        await outputs[-1].open()
        return outputs[-1]

    yield make
    for output in outputs:
        await output.close()


async def count(opensearch, index):
    await asked(f"{opensearch}/{index}/_refresh")
    return (await asked(f"{opensearch}/{index}/_count"))["count"]


async def test_a_rejected_document_among_ten_thousand_and_no_doubles(opensearch, make):
    output = await make(index="conflict-{tag}")
    records = [{"n": n} for n in range(10_000)]
    records[5000] = {"n": {"not": "a number"}}
    whole = chunk(records)
    for _ in range(2):  # as if the answer to the first had never come
        with pytest.raises(PartialDelivery) as partial:
            await output.write(whole)
        ((letter, why),) = partial.value.rejected
        assert partial.value.rest is None
        assert [record for _, record in letter.events()] == [records[5000]]
        assert "mapper_parsing_exception: failed to parse field [n] of type [long]" in why
        assert await count(opensearch, "conflict-app") == 9999


async def test_many_tags_and_days_in_one_request(opensearch, make):
    output = await make(index="many-%Y.%m.%d", routing="{user}")
    day = 86_400_000_000_000
    chunks = [chunk([{"user": "ann"}, {"user": "bob"}], f"t{n}", [T0, T0 + day]) for n in range(50)]
    assert list(await output.write_group(chunks)) == [None] * 50
    assert await count(opensearch, "many-2023.11.14") == await count(opensearch, "many-2023.11.15") == 50


async def test_data_streams_take_their_documents_once(opensearch, make):
    body = {"index_patterns": ["stream-*"], "data_stream": {}, "priority": 500}
    output = await make(index="stream-{tag}", index_template={"name": "streams", "body": body})
    one = chunk([{"n": n} for n in range(100)])
    await output.write(one)
    await output.write(one)
    assert await count(opensearch, "stream-app") == 100
    streams = await asked(f"{opensearch}/_data_stream/stream-app")
    assert len(streams["data_streams"]) == 1


@pytest.mark.parametrize("record", [{"_id": "x"}, {"": 1}, {"a..b": 1}, {"s": "x" * 40_000}])
async def test_documents_that_the_store_forbids_cost_no_others(opensearch, make, record):
    mapping = {"properties": {"s": {"type": "keyword"}}}
    body = {"index_patterns": ["forbidden*"], "template": {"mappings": mapping}}
    output = await make(index="forbidden-{tag}", index_template={"name": "forbidden", "body": body})
    tag = os.urandom(4).hex()
    with pytest.raises(PartialDelivery) as partial:
        await output.write(chunk([{"n": 1}, record, {"n": 2}], tag))
    assert [part.count for part, _ in partial.value.rejected] == [1]
    assert await count(opensearch, f"forbidden-{tag}") == 2


async def test_a_missing_pipeline_and_a_missing_index_are_held(opensearch, make):
    output = await make(index="piped", pipeline="not-there")
    one = chunk([{"n": 1}])
    with pytest.raises(DeliveryError, match="pipeline with id"):
        await output.write(one)
    await asked(f"{opensearch}/_ingest/pipeline/not-there", {"processors": []}, "PUT")
    await output.write(one)
    setting = {"persistent": {"action.auto_create_index": "false"}}
    await asked(f"{opensearch}/_cluster/settings", setting, "PUT")
    try:
        held = await make(index="absent")
        with pytest.raises(DeliveryError, match="index_not_found_exception"):
            await held.write(one)
        gone = await make(index="absent", hold_for="0s")
        with pytest.raises(PermanentError, match="index_not_found_exception"):
            await gone.write(one)
    finally:
        setting = {"persistent": {"action.auto_create_index": None}}
        await asked(f"{opensearch}/_cluster/settings", setting, "PUT")


async def test_names_of_indices_are_mended_as_the_store_wants_them(opensearch, make):
    output = await make(index="{name}")
    records = [{"name": name} for name in ("A B", "-x", "..", "a/b", "é" * 200, '#:,|<>"?*\\', "")]
    assert await output.write_group([chunk(records)]) == [None]
