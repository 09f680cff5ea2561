"""The output clickhouse, by the documentation of its HTTP interface."""

from __future__ import annotations

import json

import pytest
from yarl import URL

from logflow.batch import PartialDelivery
from logflow.errors import DeliveryError


async def test_a_chunk_is_an_insert_with_its_id_as_token(make_store, make_chunk, receiver):
    output = await make_store(
        "clickhouse", database="lo`gs", table="app_{tag[0]}", settings={"insert_quorum": "2"}
    )
    one = make_chunk({"n": 1}, {"n": 2})
    await output.write(one)
    (request,) = receiver.requests
    query = URL(request.path, encoded=True).query
    assert query["query"] == "INSERT INTO `lo\\`gs`.`app_app` FORMAT JSONEachRow"
    assert query["insert_deduplication_token"] == one.id.hex()
    assert (query["async_insert"], query["insert_quorum"]) == ("0", "2")
    assert [json.loads(line) for line in request.body.splitlines()] == [
        {"@timestamp": "2023-11-14T22:13:20.000000000Z", "@tag": "app", "n": n} for n in (1, 2)
    ]


async def test_a_record_may_go_into_one_column(make_store, make_chunk, receiver):
    output = await make_store("clickhouse", record_column="record", time_key="time", tag_key="tag")
    await output.write(make_chunk({"n": 1}))
    assert json.loads(receiver.requests[0].body) == {
        "tag": "app", "time": "1700000000.000000000", "record": {"n": 1},
    }  # fmt: skip


async def test_a_bad_row_is_found_and_every_part_has_a_token_that_stays(make_store, make_chunk, receiver):
    receiver.otherwise = lambda request: (400, "Code: 27") if b"bad" in request.body else (200, "")
    output = await make_store("clickhouse")
    one = make_chunk({"n": 1}, {"n": "bad"}, {"n": 3}, {"n": 4})
    with pytest.raises(PartialDelivery) as partial:
        await output.write(one)
    assert [part.count for part, _ in partial.value.rejected] == [1]
    with pytest.raises(PartialDelivery):
        await output.write(one)
    tokens = [URL(r.path, encoded=True).query["insert_deduplication_token"] for r in receiver.requests]
    half = len(tokens) // 2
    assert tokens[:half] == tokens[half:]
    assert len(set(tokens[:half])) == half


async def test_a_missing_table_is_held(make_store, make_chunk, receiver):
    receiver.otherwise = (404, "Code: 60. DB::Exception: Table default.logs does not exist")
    with pytest.raises(DeliveryError, match="does not exist"):
        await (await make_store("clickhouse")).write(make_chunk({"n": 1}))
