"""The output elasticsearch against a store with the documented semantics of its bulk interface."""

from __future__ import annotations

import json
import os

import pytest

from logflow.batch import Batch, Chunk, PartialDelivery
from logflow.errors import ComponentError, DeliveryError, PermanentError
from logflow.outputs.elasticsearch import ElasticsearchOutput, index_name
from logflow.testing import FakeClock, make_context
from tools.stores.bulk import BulkStore, start

T0 = 1_700_000_000_000_000_000
DAY = 86_400_000_000_000


def chunk(*records, tag="app", times=None):
    batch = Batch.from_events(tag, zip(times or [T0] * len(records), records, strict=True))
    return Chunk(os.urandom(16), tag, (batch.entries,), batch.count)


@pytest.fixture
async def store():
    store = BulkStore()
    runner, store.port = await start(store)
    yield store
    await runner.cleanup()


@pytest.fixture
async def make(store, tmp_path):
    outputs = []

    async def make(clock=None, **options):
        config = ElasticsearchOutput.Config(endpoints=[f"http://127.0.0.1:{store.port}"], **options)
        context = make_context(tmp_path, kind="output", clock=clock or FakeClock())
        outputs.append(ElasticsearchOutput(config, context))
        await outputs[-1].open()
        return outputs[-1]

    yield make
    for output in outputs:
        await output.close()


def stored(store, index="logs-2023.11.14"):
    return list(store.docs.get(index, {}).values())


async def test_a_request_carries_documents_of_many_tags_and_days(store, make):
    output = await make(index="Logs-{tag[0]}-%Y.%m.%d")
    chunks = [chunk({"n": 1}, {"n": 2}, times=[T0, T0 + DAY]), chunk({"n": 3}, tag="web.x")]
    assert list(await output.write_group(chunks)) == [None, None]
    assert len(store.requests) == 1
    assert {index: [doc["n"] for doc in docs.values()] for index, docs in store.docs.items()} == {
        "logs-app-2023.11.14": [1], "logs-app-2023.11.15": [2], "logs-web-2023.11.14": [3],
    }  # fmt: skip
    ids = [name for docs in store.docs.values() for name in docs]
    assert ids == [f"{chunks[0].id.hex()}-0", f"{chunks[0].id.hex()}-1", f"{chunks[1].id.hex()}-0"]
    assert stored(store, "logs-app-2023.11.14") == [
        {"@timestamp": "2023-11-14T22:13:20.000000000Z", "@tag": "app", "n": 1}
    ]


async def test_what_was_stored_without_an_answer_is_not_stored_again(store, make):
    output = await make()
    one = chunk({"n": 1}, {"n": 2})
    store.faults = ["cut_after"]
    with pytest.raises(DeliveryError, match="no answer"):
        await output.write(one)
    await output.write(one)
    assert store.counts["repeats"] == 2
    assert [doc["n"] for doc in stored(store)] == [1, 2]


async def test_only_what_was_not_taken_goes_out_again_under_the_same_ids(store, make):
    output = await make()
    store.faults = ["busy_items"]
    whole = chunk(*({"n": n} for n in range(7)))
    with pytest.raises(PartialDelivery) as partial:
        await output.write(whole)
    rest = partial.value.rest
    assert partial.value.rejected == ()
    assert "429 es_rejected_execution_exception" in str(partial.value)
    assert [record["n"] for _, record in rest.events()] == [1, 4]
    await output.write(rest)
    assert list(store.docs["logs-2023.11.14"]) == [f"{whole.id.hex()}-{n}" for n in (0, 2, 3, 5, 6, 1, 4)]
    await output.write(whole)  # as after a restart
    assert len(stored(store)) == 7


async def test_a_conflict_of_one_field_costs_its_document_only(store, make):
    output = await make()
    records = [{"n": n} for n in range(10_000)]
    records[5000] = {"n": {"not": "a number"}}
    with pytest.raises(PartialDelivery) as partial:
        await output.write(chunk(*records))
    ((letter, why),) = partial.value.rejected
    assert partial.value.rest is None
    assert [record for _, record in letter.events()] == [records[5000]]
    assert why.endswith(
        "answered 400 document_parsing_exception: failed to parse field [n] of type [long] for a document"
    )
    assert len(stored(store)) == 9999


@pytest.mark.parametrize("record", [{"_id": "x"}, {"": 1}, {"a..b": 1}])
async def test_forbidden_field_names_cost_their_document_only(store, make, record):
    output = await make()
    with pytest.raises(PartialDelivery) as partial:
        await output.write(chunk({"n": 1}, record))
    assert len(partial.value.rejected) == 1
    assert len(stored(store)) == 1


@pytest.mark.parametrize("fault", ["html", "truncate"])
async def test_an_answer_that_is_none_is_no_delivery_and_repeats_are_harmless(store, make, fault):
    output = await make()
    store.faults = [fault]
    one = chunk({"n": 1})
    with pytest.raises(DeliveryError, match=r"cannot read the answer|is a page for people"):
        await output.write(one)
    await output.write(one)
    assert len(stored(store)) == 1


async def test_wrong_credentials_are_held_and_said(store, make):
    store.authorization = "ApiKey right"
    output = await make(api_key="wrong-key")
    with pytest.raises(DeliveryError, match=r"answered 401 .*look at endpoints, auth"):
        await output.write(chunk({"n": 1}))
    await (await make(api_key="right")).write(chunk({"n": 1}))
    assert len(stored(store)) == 1


async def test_a_missing_index_is_held_then_a_dead_letter(store, make):
    clock = FakeClock()
    store.auto_create = False
    output = await make(clock=clock, hold_for="10m")
    one = chunk({"n": 1})
    with pytest.raises(DeliveryError, match="no such index"):
        await output.write(one)
    await clock.advance(599)
    with pytest.raises(DeliveryError, match="no such index"):
        await output.write(one)
    await clock.advance(1)
    with pytest.raises(PermanentError, match="no such index"):
        await output.write(one)
    store.auto_create = True
    await output.write(chunk({"n": 1}))


async def test_a_missing_pipeline_is_held(store, make):
    output = await make(pipeline="mine", routing="{user}")
    one = chunk({"user": "ann"}, {"user": "bob"})
    with pytest.raises(DeliveryError, match="pipeline with id"):
        await output.write(one)
    store.pipelines.add("mine")
    await output.write(one)
    actions = [json.loads(line)["create"] for line in store.requests[-1].splitlines()[::2]]
    assert [(action["pipeline"], action["routing"]) for action in actions] == [
        ("mine", "ann"),
        ("mine", "bob"),
    ]


async def test_documents_above_the_limit_of_a_request_are_found(store, make):
    """A request that is too large is taken apart; what is too large alone is left to the host."""
    output = await make()
    store.max_bytes = 2000
    first, second = await output.write_group([chunk({"s": "x" * 5000}), chunk({"n": 1}, tag="b")])
    assert type(first).__name__ == "ChunkTooLarge"
    assert second is None


async def test_redirects_are_not_followed(store, make):
    output = await make()
    store.faults = ["redirect"]
    with pytest.raises(
        DeliveryError, match=r"redirects to 'http://elsewhere.example/_bulk' are not followed"
    ):
        await output.write(chunk({"n": 1}))


async def test_an_index_template_is_put_at_the_start(store, make):
    body = {
        "index_patterns": ["logs-*"],
        "data_stream": {},
        "template": {"settings": {"number_of_replicas": 0}},
    }
    await make(index_template={"name": "logs", "body": body})
    assert store.templates == {"logs": body}


async def test_a_template_that_is_refused_is_said(store, make):
    store.templates = None  # it answers 500 then
    with pytest.raises(ComponentError, match="the store refuses the index template 'a/b'"):
        await make(index_template={"name": "a/b", "body": {}}, answers={500: "reject"})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Logs-A:b c", "logs-a_b_c"), ("-_+x", "x"), ("..", "x_.."), ("", "x_"),
        ('a/b\\*?"<>|,#', "a_b_________"),
        ("é" * 200, "é" * 127),
    ],
)  # fmt: skip
def test_any_text_becomes_a_name_that_an_index_may_have(text, name):
    assert index_name(text) == name
