"""The output gelf, by the specification of its payload."""

from __future__ import annotations

import json

from logflow.event import EventTime


async def test_messages_are_what_the_specification_says(make_store, make_chunk, receiver):
    output = await make_store("gelf", host="{host}")
    record = {
        "message": "hi", "host": "h1", "level": "warn", "id": 7, "a b/ü": None, "k8s": {"x": [1]}, "ok": True,
        "f": 1.5, "big": 1 << 63, "at": EventTime(0), 5: "five", "odd key!": "x",
    }  # fmt: skip
    await output.write(make_chunk(record, {"n": 1}))
    first, second = map(json.loads, receiver.requests[0].body.splitlines())
    assert first == {
        "version": "1.1", "host": "h1", "short_message": "hi", "timestamp": 1700000000.0, "level": 4,
        "_tag": "app",
        "_host": "h1", "_level": "warn", "_id_": 7, "_k8s": '{"x":[1]}', "_ok": "true", "_f": 1.5,
        "_big": str(1 << 63), "_at": "1970-01-01T00:00:00.000000000Z", "_5": "five", "_odd_key_": "x",
    }  # fmt: skip
    assert (second["short_message"], second["_n"], second["host"]) == ('{"n":1}', 1, "_")


async def test_a_message_that_is_refused_costs_no_other(make_store, make_chunk, receiver):
    receiver.otherwise = lambda request: (400, "bad") if b"bad" in request.body else (202, "")
    output = await make_store("gelf")
    (result,) = await output.write_group([make_chunk({"n": 1}, {"message": "bad"}, {"n": 3})])
    assert [part.count for part, _ in result.rejected] == [1]
    assert result.rest is None
