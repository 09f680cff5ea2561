"""The output otlp: what it sends, by the definitions of the protocol."""

from __future__ import annotations

import pytest

from logflow.errors import PermanentError
from logflow.protobuf import delimited, fields, integer

T0 = 1_700_000_000_000_000_000


def many(message, number):
    return [value for found, value in fields(memoryview(message)) if found == number]


def attributes(message, number):
    """Attributes that are text."""
    pairs = [dict(fields(pair)) for pair in many(message, number)]
    return {bytes(pair[1]).decode(): bytes(dict(fields(pair[2])).get(1, b"")).decode() for pair in pairs}


def exported(body):
    """Read a request: [(resource attributes, [(body, attributes)])]."""
    found = []
    for resource_logs in many(body, 1):
        (resource,) = many(resource_logs, 1)
        (scope_logs,) = many(resource_logs, 2)
        (scope,) = many(scope_logs, 1)
        assert bytes(many(scope, 1)[0]) == b"logflow"
        records = [
            ([bytes(dict(fields(text))[1]).decode() for text in many(record, 5)], attributes(record, 6))
            for record in many(scope_logs, 2)
        ]
        found.append((attributes(resource, 1), records))
    return found


async def test_records_are_grouped_by_resource_and_each_has_a_name(make_store, make_chunk, receiver):
    output = await make_store("otlp", resource={"service.name": "{service}", "host.name": "h"})
    chunks = [
        make_chunk({"service": "a", "message": "1"}, {"service": "b"}, tag="x"),
        make_chunk({"service": "a", "message": "2"}, tag="y"),
    ]
    receiver.otherwise = (200, "")
    assert list(await output.write_group(chunks)) == [None, None]
    (request,) = receiver.requests
    assert (request.path, request.headers["Content-Type"]) == ("/v1/logs", "application/x-protobuf")
    first, second = chunks[0].id.hex(), chunks[1].id.hex()
    assert exported(request.body) == [
        ({"service.name": "a", "host.name": "h"}, [
            (["1"], {"service": "a", "log.record.uid": f"{first}-0"}),
            (["2"], {"service": "a", "log.record.uid": f"{second}-0"}),
        ]),
        ({"service.name": "b", "host.name": "h"}, [([], {"service": "b", "log.record.uid": f"{first}-1"})]),
    ]  # fmt: skip


async def test_a_partial_success_is_counted_and_said(make_store, make_chunk, receiver, caplog):
    receiver.otherwise = (200, delimited(1, integer(1, 1) + delimited(2, b"too old")).decode())
    output = await make_store("otlp")
    await output.write(make_chunk({"n": 1}, {"n": 2}))
    assert "refused 1 of its records: too old" in caplog.text
    with pytest.raises(PermanentError, match="refused every record: too old"):
        await output.write(make_chunk({"n": 1}))


async def test_an_answer_without_a_body_is_fine(make_store, make_chunk, receiver):
    receiver.otherwise = (200, "<html>")
    await (await make_store("otlp")).write(make_chunk({"n": 1}))
