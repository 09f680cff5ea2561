"""The output datadog, by the reference of its intake."""

from __future__ import annotations

import json

from logflow.errors import ChunkTooLarge


async def test_an_array_of_events_with_what_datadog_wants_to_know(make_store, make_chunk, receiver):
    receiver.otherwise = (202, "{}")
    output = await make_store("datadog", api_key="a-secret-key", hostname="h", ddtags="env:prod")
    chunks = [
        make_chunk({"message": "a", "service": "own"}, {"n": 2}, tag="x"),
        make_chunk({"n": 3}, tag="y"),
    ]
    assert list(await output.write_group(chunks)) == [None, None]
    (request,) = receiver.requests
    assert (request.path, request.headers["DD-API-KEY"]) == ("/api/v2/logs", "a-secret-key")
    time = "2023-11-14T22:13:20.000000000Z"
    more = {"ddsource": "logflow", "ddtags": "env:prod", "hostname": "h", "@timestamp": time}
    assert json.loads(request.body) == [
        {"message": "a", "service": "own", **more}, {"n": 2, "service": "x", **more},
        {"n": 3, "service": "y", **more},
    ]  # fmt: skip


async def test_no_request_has_more_events_than_the_intake_takes(make_store, make_chunk, receiver):
    output = await make_store("datadog", api_key="key")
    first, second = await output.write_group([make_chunk(*[{"n": 1}] * 1001), make_chunk({"n": 2}, tag="b")])
    assert isinstance(first, ChunkTooLarge)
    assert second is None
    assert len(receiver.requests) == 1
