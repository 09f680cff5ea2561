"""Sources that take what shippers send to stores, with requests as their documentation shows them."""

from __future__ import annotations

import asyncio
import contextlib
import gzip

import aiohttp
import pytest

from logflow import registry
from logflow.batch import Batch, Chunk
from logflow.event import NANOSECOND
from logflow.protobuf import delimited, integer
from logflow.snappy import pack_literals
from logflow.testing import Collector, FakeClock, make_context, run_source

T0 = 1_700_000_000 * NANOSECOND


@pytest.fixture
async def serve(tmp_path):
    async with contextlib.AsyncExitStack() as stack:

        async def start(name, *, settle=True, **options):
            component = registry.load("source", name)
            collector = Collector(settle=settle)
            config = component.Config(type=name, listen="127.0.0.1:0", **options)
            source = component(config, make_context(tmp_path, clock=FakeClock()))
            await stack.enter_async_context(run_source(source, collector))
            session = await stack.enter_async_context(
                aiohttp.ClientSession(f"http://127.0.0.1:{source.port}")
            )
            return session, collector

        yield start


def tagged(collector):
    return [(batch.tag, int(time), record) for batch in collector.batches for time, record in batch.events()]


# -- elasticsearch_bulk -------------------------------------------------------------------------------

BULK = (
    b'{"create":{"_index":"filebeat-8.17"}}\n'
    b'{"@timestamp":"2023-11-14T22:13:20.000Z","message":"one"}\n'
    b'{"index":{"_index":"Other/x","_id":"7"}}\n'
    b'{"@timestamp":1700000000001,"message":"two"}\n'
    b'{"delete":{"_index":"a","_id":"1"}}\n'
    b'{"update":{"_index":"a","_id":"1"}}\n{"doc":{}}\n'
    b'{"create":{}}\n'
    b'{"message": broken\n'
)


async def test_a_bulk_request_is_answered_item_by_item(serve):
    session, collector = await serve("elasticsearch_bulk", tag="es.{index}")
    headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    async with session.post("/web/_bulk", data=gzip.compress(BULK), headers=headers) as answer:
        assert (answer.status, answer.headers["X-Elastic-Product"]) == (200, "Elasticsearch")
        told = await answer.json()
    assert told["errors"] is True
    assert [(*item, *(found["status"] for found in item.values())) for item in told["items"]] == [
        ("create", 201), ("index", 201), ("delete", 400), ("update", 400), ("create", 400),
    ]  # fmt: skip
    assert told["items"][1]["index"]["_id"] == "7"
    assert tagged(collector) == [
        ("es.filebeat-8_17", T0, {"message": "one"}),
        ("es.Other/x", T0 + 1_000_000, {"message": "two"}),
    ]
    assert [batch.origin is None for batch in collector.batches] == [True, False]


async def test_shippers_find_a_store_of_a_version_they_know(serve):
    session, _ = await serve("elasticsearch_bulk")
    async with session.get("/") as answer:
        assert (await answer.json())["version"]["number"].startswith("8.")
    async with session.get("/_license") as answer:
        assert (await answer.json())["license"]["status"] == "active"
    async with session.put("/_index_template/filebeat", json={}) as answer:
        assert await answer.json() == {"acknowledged": True}
    async with session.get("/some/_search") as answer:
        assert (answer.status, (await answer.json())["status"]) == (404, 404)


@pytest.mark.parametrize(
    "body", [b"[1]\n{}\n", b'{"create":{}}\n', b'{"a":{},"b":{}}\n{}\n', b'{"create":1}\n{}\n']
)
async def test_a_bulk_request_that_cannot_be_read_is_refused_whole(serve, body):
    session, collector = await serve("elasticsearch_bulk")
    async with session.post("/_bulk", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["type"] == "illegal_argument_exception"
    assert collector.batches == []


# -- loki_push ----------------------------------------------------------------------------------------


def stream(labels, *entries):
    texts = b"".join(
        delimited(2, delimited(1, integer(1, T0 // NANOSECOND) + integer(2, n)) + delimited(2, line) + extra)
        for n, (line, extra) in enumerate(entries)
    )
    return delimited(1, delimited(1, labels) + texts)


async def test_a_push_of_promtail_becomes_events(serve):
    session, collector = await serve("loki_push", tag="loki.{app}")
    metadata = delimited(3, delimited(1, b"trace") + delimited(2, b"t1"))
    body = pack_literals(
        stream(
            b'{app="web.1", path="/a\\"b", odd="}, x=\\""}',
            (b"plain", b""),
            (b'{"n":1,"app":"own"}', metadata),
        )
        + stream(b"{}", (b"x", b""))
    )
    headers = {"Content-Type": "application/x-protobuf", "X-Scope-OrgID": "t"}
    async with session.post("/loki/api/v1/push", data=body, headers=headers) as answer:
        assert (answer.status, await answer.read()) == (204, b"")
    labels = {"app": "web.1", "path": '/a"b', "odd": '}, x="'}
    assert tagged(collector) == [
        ("loki.web_1", T0, {**labels, "message": "plain"}),
        ("loki.web_1", T0 + 1, {**labels, "trace": "t1", "n": 1, "app": "own"}),
        ("loki._", T0, {"message": "x"}),
    ]


async def test_a_push_in_json_says_the_same(serve):
    session, collector = await serve("loki_push")
    body = {"streams": [{"stream": {"a": "x"}, "values": [[str(T0), "line"], [str(T0), "two", {"m": "y"}]]}]}
    async with session.post("/loki/api/v1/push", json=body) as answer:
        assert answer.status == 204
    assert tagged(collector) == [
        ("loki", T0, {"a": "x", "message": "line"}), ("loki", T0, {"a": "x", "m": "y", "message": "two"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"junk", "application/x-protobuf"), (b"{}", "application/json"),
        (b'{"streams":[{"stream":1}]}', "application/json"),
        (pack_literals(stream(b"no braces", (b"x", b""))), "application/x-protobuf"),
        (pack_literals(stream(b'{a="}', (b"x", b""))), "application/x-protobuf"),
    ],
)  # fmt: skip
async def test_what_is_no_push_is_refused(serve, body, kind):
    session, collector = await serve("loki_push")
    async with session.post("/loki/api/v1/push", data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == 400
    assert collector.batches == []


# -- splunk_hec ---------------------------------------------------------------------------------------


async def test_events_of_the_collector(serve):
    session, collector = await serve("splunk_hec", token="a-token", tag="hec.{index}")
    body = (
        b'{"time":1700000000.5,"host":"h","index":"main","event":{"n":1,"host":"own"},"fields":{"f":"x"}}'
        b'{"time":"1700000000","event":"text"}\n\n{"event":{"n":3}}'
    )
    headers = {"Authorization": "Splunk a-token"}
    async with session.post("/services/collector/event?index=q", data=body, headers=headers) as answer:
        assert (answer.status, await answer.json()) == (200, {"text": "Success", "code": 0})
    assert tagged(collector) == [
        ("hec.main", T0 + NANOSECOND // 2, {"n": 1, "host": "own", "index": "main", "f": "x"}),
        ("hec.q", T0, {"message": "text", "index": "q"}),
        ("hec.q", T0, {"n": 3, "index": "q"}),
    ]
    async with session.post("/services/collector/raw?host=h", data=b"a\nb\n", headers=headers) as answer:
        assert answer.status == 200
    assert [record for _, _, record in tagged(collector)[3:]] == [
        {"message": "a", "host": "h"}, {"message": "b", "host": "h"},
    ]  # fmt: skip


async def test_the_collector_wants_its_token_and_whole_events(serve):
    session, collector = await serve("splunk_hec", token="a-token")
    async with session.post(
        "/services/collector", data=b"{}", headers={"Authorization": "Splunk x"}
    ) as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, 2)
    for body in (b'{"event":1', b'{"n":1}', b"[]x"):
        headers = {"Authorization": "Splunk a-token"}
        async with session.post("/services/collector", data=body, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, 6)
    assert collector.batches == []


# -- otlp ---------------------------------------------------------------------------------------------


def pair(number, key, value):
    return delimited(number, delimited(1, key) + delimited(2, value))


def text(value):
    return delimited(1, value)


EXPECTED = {
    "a": 1, "nested": {"b": [True, 1.5, None]}, "message": "hi", "level": "WARN", "scope": "lib",
    "resource": {"service.name": "shop.x"}, "trace_id": "01" * 16, "span_id": "02" * 8,
}  # fmt: skip


async def test_an_export_in_protocol_buffers_becomes_events(serve):
    session, collector = await serve("otlp", tag="otlp.{service.name}")
    items = (
        delimited(1, b"\x10\x01") + delimited(1, b"\x21\x00\x00\x00\x00\x00\x00\xf8\x3f") + delimited(1, b"")
    )
    record = (
        b"\x09" + T0.to_bytes(8, "little") + integer(2, 13) + delimited(3, b"WARN") + delimited(5,
        text(b"hi")) + pair(6, b"a", b"\x18\x01") + pair(6, b"nested", delimited(6, pair(1, b"b",
        delimited(5, items)))) + delimited(9, b"\x01" * 16) + delimited(10, b"\x02" * 8)
    )  # fmt: skip
    resource = delimited(1, pair(1, b"service.name", text(b"shop.x")))
    body = delimited(1, resource + delimited(2, delimited(1, text(b"lib")) + delimited(2, record)))
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    async with session.post("/v1/logs", data=gzip.compress(body), headers=headers) as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (
            200,
            "application/x-protobuf",
            b"",
        )
    assert tagged(collector) == [("otlp.shop_x", T0, EXPECTED)]


async def test_an_export_in_json_becomes_the_same_events(serve):
    session, collector = await serve("otlp", tag="otlp.{service.name}")
    values = [{"boolValue": True}, {"doubleValue": 1.5}, {}]
    record = {
        "timeUnixNano": str(T0), "severityNumber": 13, "severityText": "WARN", "body": {"stringValue": "hi"},
        "attributes": [
            {"key": "a", "value": {"intValue": "1"}},
            {"key": "nested", "value": {"kvlistValue": {"values": [
                {"key": "b", "value": {"arrayValue": {"values": values}}}]}}},
        ],
        "traceId": "01" * 16, "spanId": "02" * 8,
    }  # fmt: skip
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop.x"}}]}
    scopes = [
        {"scope": {"name": "lib"}, "logRecords": [record, {"severityNumber": 9, "body": {"kvlistValue": {}}}]}
    ]
    body = {"resourceLogs": [{"resource": resource, "scopeLogs": scopes}]}
    async with session.post("/v1/logs", json=body) as answer:
        assert (answer.status, await answer.json()) == (200, {})
    first, second = tagged(collector)
    assert first == ("otlp.shop_x", T0, EXPECTED)
    assert second[2] == {"level": "info", "resource": {"service.name": "shop.x"}, "scope": "lib"}


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json"])
async def test_what_is_no_export_is_refused(serve, kind):
    session, collector = await serve("otlp")
    deep = b""
    for _ in range(200):
        deep = delimited(5, delimited(1, deep))
    bodies = [b"junk", b'{"resourceLogs":[1]}']
    if kind.endswith("protobuf"):
        bodies = [b"junk", delimited(1, delimited(2, delimited(2, delimited(5, deep))))]
    for body in bodies:
        async with session.post("/v1/logs", data=body, headers={"Content-Type": kind}) as answer:
            assert answer.status in (400, 413)
    assert collector.batches == []


# -- all of them --------------------------------------------------------------------------------------

REQUESTS = {
    "elasticsearch_bulk": ("/_bulk", b'{"create":{}}\n{"n":1}\n', "application/x-ndjson"),
    "loki_push": (
        "/loki/api/v1/push",
        b'{"streams":[{"stream":{},"values":[["1","x"]]}]}',
        "application/json",
    ),
    "otlp": ("/v1/logs", b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}', "application/json"),
    "splunk_hec": ("/services/collector", b'{"event":1}', "application/json"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_nothing_is_acknowledged_before_it_is_safe(serve, name):
    session, collector = await serve(name, settle=False)
    path, body, kind = REQUESTS[name]
    request = asyncio.create_task(session.post(path, data=body, headers={"Content-Type": kind}))
    await collector.wait_for(1)
    await asyncio.sleep(0.05)
    assert not request.done()
    for receipt in collector.receipts:
        receipt.settle()
    async with await request as answer:
        assert answer.status in (200, 204)


EXPORT_OF_SERVICE = (
    b'{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"%s"}}]},'
    b'"scopeLogs":[{"logRecords":[{"attributes":[{"key":"n","value":{"intValue":"1"}}]}]}]}]}'
)
TAGGED = {
    "elasticsearch_bulk": (
        "{index}",
        "/_bulk",
        b'{"create":{"_index":"%s"}}\n{"n":1}\n',
        "application/x-ndjson",
    ),
    "loki_push": (
        "{app}",
        "/loki/api/v1/push",
        b'{"streams":[{"stream":{"app":"%s"},"values":[["1","{\\"n\\":1}"]]}]}',
        "application/json",
    ),
    "otlp": (
        "{service.name}",
        "/v1/logs",
        EXPORT_OF_SERVICE,
        "application/json",
    ),
    "splunk_hec": ("{index}", "/services/collector", b'{"event":{"n":1},"index":"%s"}', "application/json"),
}


@pytest.mark.parametrize("name", TAGGED)
async def test_tags_are_bounded_and_events_of_others_keep_theirs_as_a_field(serve, name):
    tag, path, body, kind = TAGGED[name]
    session, collector = await serve(name, tag=tag, max_tags=2)
    for value in (b"a", b"b", b"c", b"a"):
        async with session.post(path, data=body % value, headers={"Content-Type": kind}) as answer:
            assert answer.status in (200, 204)
    found = [(tag, record["n"], record.get("tag")) for tag, _, record in tagged(collector)]
    assert found == [("a", 1, None), ("b", 1, None), ("overflow", 1, "c"), ("a", 1, None)]


LARGE = b"x" * 50_000
REPEATED = {
    "many items": ("elasticsearch_bulk", "/_bulk", b'{"delete":{}}\n' * 10_000, "application/x-ndjson"),
    "labels of every line": (
        "loki_push",
        "/loki/api/v1/push",
        pack_literals(stream(b'{a="%s"}' % LARGE, *[(b"", b"")] * 100)),
        "application/x-protobuf",
    ),
    "labels of every line in JSON": (
        "loki_push",
        "/loki/api/v1/push",
        b'{"streams":[{"stream":{"a":"%s"},"values":[%s]}]}' % (LARGE, b",".join([b'["1",""]'] * 100)),
        "application/json",
    ),
    "streams without lines": (
        "loki_push",
        "/loki/api/v1/push",
        pack_literals(delimited(1, b"") * 5000),
        "application/x-protobuf",
    ),
    "a resource of every record": (
        "otlp",
        "/v1/logs",
        delimited(1, delimited(1, pair(1, LARGE, b"")) + delimited(2, delimited(2, b"") * 100)),
        "application/x-protobuf",
    ),
    "a scope of every record": (
        "otlp",
        "/v1/logs",
        b'{"resourceLogs":[{"scopeLogs":[{"scope":{"name":"%s"},"logRecords":[%s]}]}]}'
        % (LARGE, b",".join([b"{}"] * 100)),
        "application/json",
    ),
    "scopes without records": (
        "otlp",
        "/v1/logs",
        b'{"resourceLogs":[{"scopeLogs":[%s]}]}' % b",".join([b"{}"] * 5000),
        "application/json",
    ),
    "a host of every line": (
        "splunk_hec",
        "/services/collector/raw?host=" + "h" * 5000,
        b"a\n" * 10_000,
        "text/plain",
    ),
}


@pytest.mark.parametrize("name", REPEATED)
async def test_a_few_bytes_do_not_become_many(serve, name):
    """What stands in each event is counted each time, and so is work that makes none."""
    source, path, body, kind = REPEATED[name]
    session, collector = await serve(source, max_body=200_000)
    async with session.post(
        path, data=gzip.compress(body), headers={"Content-Type": kind, "Content-Encoding": "gzip"}
    ) as answer:
        assert answer.status == 413
    async with session.post(path, data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == 413
    assert collector.batches == []


OUTPUTS = {
    "elasticsearch": ("elasticsearch_bulk", {}, {"n": 1, "@tag": "app", "message": "é"}),
    "loki": ("loki_push", {}, {"n": 1, "tag": "app", "message": "é"}),
    "splunk_hec": ("splunk_hec", {"token": "t"}, None),
    "otlp": ("otlp", {}, None),
}


@pytest.mark.parametrize("name", OUTPUTS)
async def test_what_an_output_sends_its_source_takes(serve, tmp_path, name):
    source, options, expected = OUTPUTS[name]
    session, collector = await serve(source, **options)
    component = registry.load("output", name)
    config = component.Config(endpoints=[str(session._base_url).rstrip("/")], **options)
    output = component(config, make_context(tmp_path, kind="output"))
    batch = Batch.from_events("app", [(T0 + NANOSECOND // 2, {"n": 1, "message": "é"})])
    await output.open()
    await output.write(Chunk(b"i" * 16, "app", (batch.entries,), 1))
    await output.close()
    ((_, time, record),) = tagged(collector)
    assert time == T0 + NANOSECOND // 2
    assert record["n"] == 1
    assert record["message"] == "é"
    if expected is not None:
        assert record == expected
