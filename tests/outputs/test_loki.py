"""The output loki: what it sends, by the definitions of the push interface."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from logflow.batch import PartialDelivery
from logflow.outputs.loki import LokiOutput
from logflow.protobuf import fields
from logflow.snappy import unpack

T0 = 1_700_000_000_000_000_000


def many(message, number):
    return [value for found, value in fields(message) if found == number]


def one(message, number):
    (value,) = many(message, number)
    return value


def pushed(body):
    """Read a PushRequest: (labels, [(time, line, metadata)])."""
    found = []
    for stream in many(memoryview(unpack(body, 1 << 24)), 1):
        lines = []
        for entry in many(stream, 2):
            parts = dict(fields(one(entry, 1)))
            pairs = {bytes(one(pair, 1)): bytes(one(pair, 2)) for pair in many(entry, 3)}
            lines.append((parts[1] * 10**9 + parts[2], bytes(one(entry, 2)).decode(), pairs))
        found.append((bytes(one(stream, 1)).decode(), lines))
    return found


async def test_events_of_one_set_of_labels_are_one_stream_whatever_their_chunk(
    make_store, make_chunk, receiver
):
    output = await make_store("loki", labels={"app": "{tag[0]}", "level": "{level}"})
    chunks = [
        make_chunk({"level": "info", "n": 1}, {"level": "warn"}, tag="web.1"),
        make_chunk({"level": "info", "n": 2}, tag="web.2", times=[T0 + 5]),
    ]
    assert list(await output.write_group(chunks)) == [None, None]
    (request,) = receiver.requests
    assert request.path == "/loki/api/v1/push"
    assert request.headers["Content-Type"] == "application/x-protobuf"
    assert pushed(request.body) == [
        ('{app="web", level="info"}',
         [(T0, '{"level":"info","n":1}', {}), (T0 + 5, '{"level":"info","n":2}', {})]),
        ('{app="web", level="warn"}', [(T0, '{"level":"warn"}', {})]),
    ]  # fmt: skip


async def test_a_line_can_be_the_message_with_metadata_beside_it(make_store, make_chunk, receiver):
    output = await make_store(
        "loki", line="message", structured_metadata={"trace": "trace_id", "pod": "k8s.pod"}, tenant="t-{tag}"
    )
    records = ({"message": "hi", "trace_id": 7, "k8s": {"pod": "x"}}, {"a": 1})
    await output.write(make_chunk(*records))
    assert receiver.requests[0].headers["X-Scope-OrgID"] == "t-app"
    ((labels, lines),) = pushed(receiver.requests[0].body)
    assert labels == '{tag="app"}'
    assert lines == [(T0, "hi", {b"trace": b"7", b"pod": b"x"}), (T0, '{"a":1}', {})]


async def test_json_says_the_same(make_store, make_chunk, receiver):
    output = await make_store("loki", encoding="json", compress="gzip", structured_metadata={"n": "n"})
    await output.write(make_chunk({"n": 1}, {"message": 'a"b'}))
    assert json.loads(receiver.requests[0].body) == {"streams": [{
        "stream": {"tag": "app"},
        "values": [[str(T0), '{"n":1}', {"n": "1"}], [str(T0), '{"message":"a\\"b"}', {}]],
    }]}  # fmt: skip


async def test_the_number_of_streams_is_bounded(make_store, make_chunk, receiver):
    output = await make_store("loki", labels={"tag": "{tag}", "user": "{user}"}, max_streams=2)
    await output.write(make_chunk(*({"user": n} for n in range(5))))
    found = pushed(receiver.requests[0].body)
    assert [labels for labels, _ in found] == [
        '{tag="app", user="0"}', '{tag="app", user="1"}', '{tag="app", user="_others"}',
    ]  # fmt: skip
    assert len(found[2][1]) == 3
    await output.context.clock.advance(3600)
    await output.write(make_chunk({"user": "new"}))
    assert pushed(receiver.requests[1].body)[0][0] == '{tag="app", user="new"}', "an idle stream made room"


async def test_tenants_do_not_share_requests(make_store, make_chunk, receiver):
    output = await make_store("loki", tenant="{tag[0]}")
    await output.write_group(
        [make_chunk({}, tag="a.1"), make_chunk({}, tag="b.1"), make_chunk({}, tag="a.2")]
    )
    assert [request.headers["X-Scope-OrgID"] for request in receiver.requests] == ["a", "b"]


async def test_a_line_that_is_too_old_costs_no_other_and_repeats_are_equal(make_store, make_chunk, receiver):
    def refuse_old(request):
        old = any("old" in line for _, lines in pushed(request.body) for _, line, _ in lines)
        return (400, "entry too far behind") if old else (204, "")

    receiver.otherwise = refuse_old
    output = await make_store("loki")
    with pytest.raises(PartialDelivery) as partial:
        await output.write(make_chunk(*({"n": n} for n in range(8)), {"old": 1}))
    ((letter, why),) = partial.value.rejected
    assert letter.count == 1
    assert "entry too far behind" in why


@pytest.mark.parametrize(
    "options", [{"labels": {"a-b": "x"}}, {"compress": "gzip"}, {"labels": {}}, {"labels": {"a": "{"}}]
)
def test_what_cannot_be_sent_is_said_at_once(options):
    with pytest.raises(ValidationError):
        LokiOutput.Config(endpoints=["http://127.0.0.1:1"], **options)
