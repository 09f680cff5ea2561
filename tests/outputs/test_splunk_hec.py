"""The output splunk_hec, by the documentation of the HTTP Event Collector."""

from __future__ import annotations

import json

import pytest

from logflow.batch import PartialDelivery
from logflow.errors import DeliveryError, PermanentError


def objects(body):
    return [json.loads(line) for line in body.splitlines()]


async def test_events_stand_beside_what_splunk_wants_to_know(make_store, make_chunk, receiver):
    output = await make_store("splunk_hec", token="a-secret-token", host="{pod}", index="main")
    await output.write_group([make_chunk({"pod": "p1", "n": 1}, tag="a"), make_chunk({"n": 2}, tag="b")])
    (request,) = receiver.requests
    assert request.path == "/services/collector/event"
    assert request.headers["Authorization"] == "Splunk a-secret-token"
    same = {"sourcetype": "_json", "index": "main", "time": 1700000000.0}
    assert objects(request.body) == [
        {"host": "p1", "source": "a", **same, "event": {"pod": "p1", "n": 1}},
        {"host": "_", "source": "b", **same, "event": {"n": 2}},
    ]


async def test_what_stands_before_a_bad_event_is_not_sent_again(make_store, make_chunk, receiver):
    receiver.answers = [(400, '{"text":"Invalid data format","code":6,"invalid-event-number":3}')]
    output = await make_store("splunk_hec", token="token")
    chunks = [
        make_chunk({"n": 0}, {"n": 1}),
        make_chunk(*({"n": n} for n in range(2, 6)), tag="b"),
        make_chunk({"n": 6}, tag="c"),
    ]
    first, second, third = await output.write_group(chunks)
    assert first is None
    assert isinstance(second, PartialDelivery)
    assert [record["n"] for _, record in second.rest.events()] == [4, 5]
    assert [[r["n"] for _, r in part.events()] for part, _ in second.rejected] == [[3]]
    assert isinstance(third, DeliveryError)


async def test_a_wrong_index_is_held_and_other_refusals_are_final(make_store, make_chunk, receiver):
    output = await make_store("splunk_hec", token="token")
    receiver.answers = [
        (400, '{"text":"Incorrect index","code":7,"invalid-event-number":0}'),
        (400, "<html>"),
    ]
    with pytest.raises(DeliveryError, match="Incorrect index"):
        await output.write(make_chunk({"n": 0}))
    with pytest.raises(PermanentError, match="answered 400"):
        await output.write(make_chunk({"n": 0}))


async def test_a_wrong_token_is_held_and_not_shown(make_store, make_chunk, receiver):
    receiver.otherwise = (403, '{"text":"Invalid token a-secret-token","code":4}')
    output = await make_store("splunk_hec", token="a-secret-token")
    with pytest.raises(DeliveryError, match=r"answered 403 .*Invalid token \*+"):
        await output.write(make_chunk({"n": 0}))
