"""The HTTP source, with a real client on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import ssl
import zlib

import aiohttp
import msgpack
import pytest
import zstandard
from pydantic import ValidationError
from yarl import URL

from logflow.batch import Batch, Chunk, DeliveryKey
from logflow.errors import ComponentError
from logflow.outputs.http import HttpOutput
from logflow.sources.http import HttpSource
from logflow.telemetry.metrics import Metrics
from logflow.testing import Collector, FakeClock, make_context, run_source
from logflow.testing.forwarding import make_certificates

T0 = 1_700_000_000_000_000_000


class Running:
    """A source that runs, what it emits, and a client."""

    def __init__(self, source, collector, session, metrics):
        self.source, self.collector, self.session, self.metrics = source, collector, session, metrics
        self.url = f"http://127.0.0.1:{source.port}"

    async def post(self, path, body, content_type="application/x-ndjson", **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(
            self.url + path, data=body, headers={"Content-Type": content_type} | names
        ) as response:
            return response.status, await response.text()

    def counters(self):
        return {cell.name: cell.value for cell in self.metrics.counters() if cell.value}


@pytest.fixture
async def serve(tmp_path):
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, settle=True, engine="python", **options):
            metrics, collector = Metrics(), Collector(settle=settle)
            config = HttpSource.Config(type="http", listen="127.0.0.1:0", **options)
            context = make_context(tmp_path, metrics=metrics, engine=engine, clock=FakeClock())
            source = HttpSource(config, context)
            start.task = await stack.enter_async_context(run_source(source, collector))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Running(source, collector, session, metrics)

        yield start


# -- bodies -------------------------------------------------------------------------------------------


async def test_json_lines_become_events(serve, engine):
    server = await serve(engine=engine.name)
    assert await server.post("/kube.web", b'{"n":1}\n{"n":2}') == (200, '{"events": 2}')
    assert server.collector.events() == [(T0, {"n": 1}), (T0, {"n": 2})]
    assert server.collector.batches[0].tag == "kube.web"


@pytest.mark.parametrize("path", ["/kube/web/a", "/kube.web/a", "/kube.web.a/"])
async def test_segments_of_the_path_are_parts_of_the_tag(serve, path):
    server = await serve()
    assert (await server.post(path, b"{}"))[0] == 200
    assert server.collector.batches[0].tag == "kube.web.a"


@pytest.mark.parametrize(
    "body",
    [
        b'[{"n":1},{"n":2}]',
        b' \n[\n  {\n "n": 1\n },\r\n {"n": 2}]\n',
        b'\n{"n":1}\r\n\r\n  \n{"n":2}\n\n',
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
async def test_arrays_and_blank_lines_are_understood(serve, body, content_type):
    server = await serve()
    assert await server.post("/t", body, content_type) == (200, '{"events": 2}')
    assert server.collector.records() == [{"n": 1}, {"n": 2}]


async def test_one_object_may_span_lines(serve):
    server = await serve()
    assert (await server.post("/t", b'{\n "a": [\n1,\n2]\n}\n'))[0] == 200
    assert server.collector.records() == [{"a": [1, 2]}]


@pytest.mark.parametrize("body", [b"", b"\n \n", b"[]", b" [ ] "])
async def test_an_empty_body_is_fine(serve, body):
    server = await serve()
    assert await server.post("/t", body) == (200, '{"events": 0}')
    assert not server.collector.batches


async def test_invalid_utf_8_is_kept_visible(serve):
    server = await serve()
    for body in (b'{"a":"\xff"}', b'[{"a":"\xff"}]'):
        assert (await server.post("/t", body))[0] == 200
    assert server.collector.records() == [{"a": "\\xff"}] * 2


@pytest.mark.parametrize("content_type", ["application/msgpack", "application/x-msgpack"])
async def test_msgpack_is_records_or_entries(serve, content_type):
    server = await serve()
    records = b"".join(map(msgpack.packb, [{"n": 1}, {"n": 2, "deep": {"a": [None]}}]))
    assert await server.post("/t", records, content_type) == (200, '{"events": 2}')
    entries = Batch.from_events("t", [(5, {"n": 3})]).entries + msgpack.packb([7, {"n": 4}])
    assert await server.post("/t", entries, content_type) == (200, '{"events": 2}')
    assert server.collector.events() == [
        (T0, {"n": 1}), (T0, {"n": 2, "deep": {"a": [None]}}), (5, {"n": 3}), (7 * 10**9, {"n": 4}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "content_type", "problem"),
    [
        (b'{"n":1}\n\n{"n":\n{"n":3}', "application/json", "line 3 is not json: '{\"n\":'"),
        (b'{"n":1}\nx\x00\xff' + b"y" * 1000, "application/x-ndjson", r"line 2 is not json: 'x\x00\\xffyyy"),
        (b"5", "application/json", "line 1 is not json"),
        (b'[{"n":1},{"n":2}', "application/json", "in the middle of an array"),
        (b'[{"n":1}, 5]', "application/json", "no JSON object"),
        (b"[" * 100_000, "application/json", "no JSON object"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "application/json", "line 1 is not json"),
        (b'{"a":"x\ny"}', "application/json", "line 1 is not json"),
        (b"\x81\xa1n", "application/msgpack", "not msgpack at byte 0"),
        (b"\x81\xa1n\x01\xc1", "application/msgpack", "not msgpack at byte 4"),
        (b"\x81\xa1n\x01\x05", "application/msgpack", ""),
        (b"\x92\x01\x05", "application/msgpack", ""),
        (b"\x81\xa1n" + b"\x91" * 5000 + b"\x01", "application/msgpack", ""),
        (b"\xdf\xff\xff\xff\xff", "application/msgpack", "not msgpack at byte 0"),
    ],
)
async def test_a_bad_body_is_refused_whole_and_the_place_is_named(serve, body, content_type, problem):
    server = await serve()
    status, text = await server.post("/t", body, content_type)
    assert status in (400, 413)
    assert problem in text
    assert len(text) < 300
    assert not server.collector.batches
    assert server.counters() == {"requests_rejected": 1}


async def test_another_parser_may_read_the_lines_and_find_times(serve):
    server = await serve(parse={"type": "json", "time_key": "t", "time_format": "unix"})
    assert (await server.post("/t", b'{"t":5,"n":1}'))[0] == 200
    assert (await server.post("/t", b'[{"t":6},{"n":1}]'))[0] == 200
    assert server.collector.events() == [(5 * 10**9, {"n": 1}), (6 * 10**9, {}), (T0, {"n": 1})]
    raw = await serve(parse={"type": "raw"})
    assert (await raw.post("/t", b"[x]\ny", "text/plain"))[0] == 200
    assert raw.collector.records() == [{"message": "[x]"}, {"message": "y"}]


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.ZstdCompressor().compress),
        ("identity", bytes), ("GZIP", lambda data: gzip.compress(data) + gzip.compress(data)),
    ],
)  # fmt: skip
async def test_compressed_bodies(serve, encoding, compress):
    server = await serve()
    assert (await server.post("/t", compress(b'{"n":1}\n'), Content_Encoding=encoding))[0] == 200
    assert server.collector.records()[0] == {"n": 1}


async def test_bad_compression_is_refused(serve):
    server = await serve(max_body="100kB")
    assert await server.post("/t", b"x", Content_Encoding="br") == (
        415, "Content-Encoding may be gzip, zstd or deflate\n",
    )  # fmt: skip
    assert (await server.post("/t", b"not gzip", Content_Encoding="gzip"))[0] == 400
    for bomb, encoding in [
        (gzip.compress(bytes(10 << 20)), "gzip"),
        (zstandard.compress(bytes(10 << 20)), "zstd"),
    ]:
        assert await server.post("/t", bomb, Content_Encoding=encoding) == (
            413, "the data is larger than 100000 bytes when decompressed\n",
        )  # fmt: skip


async def test_a_body_over_the_limit_is_refused(serve):
    server = await serve(max_body=1000)
    assert (await server.post("/t", b'{"a":"%s"}' % (b"x" * 2000)))[0] == 413

    async def without_length():
        for _ in range(50):
            yield b'{"a":"%s"}\n' % (b"x" * 100)

    assert (await server.post("/t", without_length()))[0] == 413
    assert (await server.post("/t", b'{"a":"%s"}' % (b"x" * 900)))[0] == 200


async def test_a_large_body_is_read_in_a_thread(serve):
    server = await serve()
    body = b"".join(b'{"n":%d}\n' % n for n in range(20_000))
    assert await server.post("/t", body) == (200, '{"events": 20000}')
    assert server.collector.records()[-1] == {"n": 19_999}


# -- answers ------------------------------------------------------------------------------------------


async def test_the_answer_waits_until_the_events_are_safe(serve):
    server = await serve(settle=False)
    answer = asyncio.create_task(server.post("/t", b"{}"))
    await server.collector.wait_for(1)
    await asyncio.sleep(0.01)
    assert not answer.done()
    server.collector.settle_all()
    assert (await answer)[0] == 200


async def test_events_that_are_not_safe_in_time_are_to_be_sent_again(serve):
    server = await serve(settle=False, safe_timeout="20ms")
    status, text = await server.post("/t", b"{}")
    assert (status, "same key" in text) == (503, True)
    assert server.counters() == {"requests_deferred": 1}


async def test_without_room_the_client_is_told_to_come_again(serve):
    server = await serve()
    server.collector.blocked = True
    async with server.session.post(server.url + "/t", data=b"{}") as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "1")
    await server.collector.unblock()
    assert (await server.post("/t", b"{}"))[0] == 200


async def test_a_repeat_has_the_same_key_and_nothing_else_has(serve):
    server = await serve()
    for path, body, key in [
        ("/t", b'{"n":1}', "k"), ("/t", b'{"n":1}', "k"), ("/t", b'{"n":2}', "k"), ("/u", b'{"n":1}', "k"),
        ("/t", b'{"n":1}', "l"),
    ]:  # fmt: skip
        assert (await server.post(path, body, Idempotency_Key=key))[0] == 200
    assert (await server.post("/t", gzip.compress(b'{"n":1}'), Idempotency_Key="k", Content_Encoding="gzip"))[
        0
    ] == 200
    assert (await server.post("/t", b'{"n":1}'))[0] == 200
    origins = [batch.origin for batch in server.collector.batches]
    assert all(isinstance(origin, DeliveryKey) for origin in origins[:-1])
    assert origins[-1] is None
    assert origins[0] == origins[1] == origins[5]
    assert len(set(origins)) == 5


async def test_what_the_http_output_sends_is_taken_as_it_was(serve, tmp_path):
    server = await serve()
    chunk = Chunk(b"i" * 16, "kube.web", (Batch.from_events("t", [(5, {"n": 1})]).entries,), 1)
    for options in (
        {"format": "msgpack", "compress": "zstd"}, {"time_key": None, "tag_key": None, "compress": "gzip"},
    ):  # fmt: skip
        config = HttpOutput.Config(endpoints=[server.url + "/{tag}"], **options)
        output = HttpOutput(config, make_context(tmp_path, kind="output"))
        await output.open()
        await output.write(chunk)
        await output.close()
    assert [batch.tag for batch in server.collector.batches] == ["kube.web"] * 2
    assert server.collector.events() == [(5, {"n": 1}), (T0, {"n": 1})]


@pytest.mark.parametrize(
    "path", ["/a..b", "/.a", "/a//b", "/a%20b", "/a%00b", "/a%0Ab", "/" + "x" * 600, "/%20"]
)
async def test_what_is_no_tag_is_refused(serve, path):
    server = await serve()
    async with server.session.post(URL(server.url + path, encoded=True), data=b"{}") as response:
        assert response.status == 400
    assert not server.collector.batches


async def test_the_root_needs_a_tag(serve):
    assert (await (await serve()).post("/", b"{}"))[0] == 404
    server = await serve(tag="app")
    assert (await server.post("/", b"{}"))[0] == 200
    assert server.collector.batches[0].tag == "app"


async def test_other_methods_and_health(serve):
    server = await serve(auth={"bearer": "secret"})
    async with server.session.get(server.url + "/healthz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")
    async with server.session.put(server.url + "/t", headers={"Authorization": "Bearer secret"}) as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")


async def test_credentials_are_checked_and_not_shown(serve, caplog):
    caplog.set_level(logging.DEBUG)
    server = await serve(auth={"username": "u", "password": "hunter2"})
    assert (await server.post("/t", b"{}"))[0] == 401
    assert (await server.post("/t", b"{}", Authorization="Basic dTpodW50ZXIz"))[0] == 401
    assert (await server.post("/t", b"{}", Authorization="Basic dTpodW50ZXIy"))[0] == 200
    assert "hunter2" not in caplog.text + repr(server.source.config)


# -- hostile and slow clients -------------------------------------------------------------------------


async def exchange(server, data, *, eof=False):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.source.port)
    writer.write(data)
    if eof:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_body_that_does_not_come_is_not_waited_for(serve, monkeypatch):
    monkeypatch.setattr("logflow.net.http_server._LINGER_S", 0.01)
    server = await serve(read_timeout="20ms")
    answer = await exchange(server, b"POST /t HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_head_that_does_not_come_is_not_waited_for(serve):
    server = await serve(idle_timeout="20ms")
    assert await exchange(server, b"POST /t HT") == b""


async def test_what_is_not_http_is_counted_and_leaves_no_traceback(serve, caplog):
    server = await serve()
    assert b" 400 " in (await exchange(server, b"GET / HTTP/1.1\r\nbad header\r\n\r\n"))[:20]
    await exchange(server, b"\x16\x03\x01\x02\x00" * 10 + b"\r\n\r\n")
    huge = b"POST /t HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"
    assert b"400" in (await exchange(server, huge))[:20]
    many = b"POST /t HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n"
    assert b"400" in (await exchange(server, many))[:20]
    assert server.counters()["requests_malformed"] >= 3
    assert not caplog.records
    assert (await server.post("/t", b"{}"))[0] == 200


async def test_a_client_that_hangs_up_in_the_middle_harms_nobody(serve, caplog):
    server = await serve()
    await exchange(server, b"POST /t HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{", eof=True)
    await exchange(
        server, b"POST /t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", eof=True
    )
    assert not server.collector.batches
    assert not caplog.records
    assert server.source._handler.share.held == 0


async def test_expect_100_continue_is_answered(serve):
    server = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.source.port)
    writer.write(b"POST /t HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


async def test_connections_are_bounded(serve):
    server = await serve(max_connections=2)
    held = [await asyncio.open_connection("127.0.0.1", server.source.port) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert (await exchange(server, b"")).startswith(b"HTTP/1.1 503")
    assert server.counters() == {"connections_refused": 1}
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.01)
    assert (await server.post("/t", b"{}"))[0] == 200


async def test_bodies_in_flight_are_bounded(serve):
    server = await serve(settle=False, max_body=1000, max_in_flight=2500)
    body = b'{"a":"%s"}' % (b"x" * 900)
    first = asyncio.create_task(server.post("/t", body))
    await server.collector.wait_for(1)
    assert (await server.post("/t", body))[0] == 429
    server.collector.settle_all()
    assert (await first)[0] == 200
    assert server.source._handler.share.held == 0


async def test_bodies_in_flight_are_a_share_of_the_memory_of_the_process(serve):
    server = await serve(settle=False, max_body=1000, max_in_flight=100_000)
    memory = server.source.context.memory
    others = memory.share(100 * memory.limit_bytes)
    body = b'{"a":"%s"}' % (b"x" * 900)
    first = asyncio.create_task(server.post("/t", body))
    await server.collector.wait_for(1)
    assert (await server.post("/t", body))[0] == 429
    others.close()
    second = asyncio.create_task(server.post("/t", body))
    await server.collector.wait_for(2)
    server.collector.settle_all()
    assert (await first)[0] == (await second)[0] == 200


async def test_tags_are_bounded(serve):
    server = await serve(max_tags=2)
    for tag in ("a", "b", "c", "a"):
        assert (await server.post(f"/{tag}", b'{"n":1}'))[0] == 200
    assert [batch.tag for batch in server.collector.batches] == ["a", "b", "overflow", "a"]
    assert server.collector.records()[2] == {"n": 1, "tag": "c"}
    assert server.counters()["tags_overflowed"] == 1


# -- stopping -----------------------------------------------------------------------------------------


async def test_a_stop_answers_what_is_safe_and_sends_the_rest_away(tmp_path):
    collector = Collector(settle=False)
    source = HttpSource(HttpSource.Config(type="http", listen="127.0.0.1:0"), make_context(tmp_path))
    await source.open()
    run = asyncio.create_task(source.run(collector))
    url = f"http://127.0.0.1:{source.port}/t"

    async def post(session):
        async with session.post(url, data=b"{}") as response:
            return response.status

    async with aiohttp.ClientSession() as session:
        async with session.get(url.replace("/t", "/healthz")) as response:
            assert response.status == 200
        first = asyncio.create_task(post(session))
        await collector.wait_for(1)
        second = asyncio.create_task(post(session))
        await collector.wait_for(2)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        with pytest.raises(aiohttp.ClientConnectorError):
            async with aiohttp.ClientSession() as another:
                await post(another)
        collector.receipts[0].settle()
        await source.drain()
        assert await first == 200
        assert await second == 503
    await source.drain()


async def test_drain_is_safe_without_open(tmp_path):
    await HttpSource(HttpSource.Config(type="http"), make_context(tmp_path)).drain()


async def test_an_address_in_use_is_a_clear_error(serve, tmp_path):
    server = await serve()
    taken = HttpSource.Config(type="http", listen=f"127.0.0.1:{server.source.port}")
    with pytest.raises(
        ComponentError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*in use.*set another address"
    ):
        await HttpSource(taken, make_context(tmp_path)).open()


@pytest.mark.parametrize(
    "options",
    [{"tag": "a b"}, {"max_body": "1GiB"}, {"listen": "9880"}, {"auth": {}}, {"parse": {"type": "jsn"}}],
)
def test_a_mistake_in_the_configuration_is_explained(options):
    with pytest.raises(ValidationError):
        HttpSource.Config(type="http", **options)


async def test_https_is_spoken_and_whose_handshake_failed_is_told(serve, tmp_path, caplog):
    files = make_certificates(tmp_path)
    server = await serve(tls={"cert_file": str(files.server), "key_file": str(files.server_key)})
    with pytest.raises(aiohttp.ClientError):
        await server.post("/app", b"{}")
    assert server.counters() == {"tls_handshakes_failed": 1}
    assert "The TLS handshake with 127.0.0.1 failed: http request." in caplog.text
    context = ssl.create_default_context(cafile=str(files.ca))
    url = f"https://127.0.0.1:{server.source.port}/app"
    async with server.session.post(url, data=b"{}", ssl=context) as response:
        assert response.status == 200
    assert server.collector.count == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"n":1}{"n":2}{"n":3}', b'{"n":1}\n{"n":\n2}{"n":3}', b'[{"n":1},\n{"n":2}]{"n":3}',
        b'[{"n":1}][{"n":2},{"n":3}]',
    ],
)  # fmt: skip
async def test_objects_are_taken_however_they_are_written(serve, body):
    """As Fluent Bit's ``json`` and ``json_stream`` do it, and others."""
    server = await serve()
    assert await server.post("/t", body, "application/json") == (200, '{"events": 3}')
    assert [record["n"] for record in server.collector.records()] == [1, 2, 3]


async def test_a_large_array_is_read_in_pieces(serve, monkeypatch):
    monkeypatch.setattr("logflow.net.http_server.bodies.PIECE_BYTES", 100)
    server = await serve()
    body = json.dumps([{"n": number, "x": "y" * (number % 300)} for number in range(500)], indent=1).encode()
    assert (await server.post("/t", body, "application/json"))[0] == 200
    assert [record["n"] for record in server.collector.records()] == list(range(500))
    lines = b"\n\n".join(json.dumps({"n": number}).encode() for number in range(500))
    assert (await server.post("/t", lines, "application/json"))[0] == 200


async def test_the_time_of_the_request_is_honoured_or_refused(serve):
    server = await serve()
    assert (await server.post("/t?time=1700000000.25", b'{"n":1}', "application/json"))[0] == 200
    assert int(server.collector.events()[0][0]) == 1_700_000_000_250_000_000
    for wrong in ("now", "-1", "1e300", "nan", ""):
        status, text = await server.post(f"/t?time={wrong}", b'{"n":1}', "application/json")
        assert (status, "seconds since 1970" in text) == (400, True)


async def test_refused_requests_are_logged(serve, caplog):
    """Without a flood of lines."""
    server = await serve()
    for _ in range(30):
        await server.post("/t", b"5", "application/json")
    lines = [record.getMessage() for record in caplog.records if "Refused POST" in record.getMessage()]
    assert len(lines) == 10
    assert "'/t' from 127.0.0.1: 400, line 1 is not json" in lines[0]


async def test_a_large_body_becomes_several_batches_each_with_a_key_of_its_own(serve, monkeypatch):
    monkeypatch.setattr("logflow.net.http_server.events._BATCH_BYTES", 10_000)
    monkeypatch.setattr("logflow.sources.http.bodies.PIECE_BYTES", 1000)
    server = await serve()
    body = b'{"a":"%s"}\n' % (b"x" * 10) * 1000
    assert (await server.post("/t", body, Idempotency_Key="k"))[1] == '{"events": 1000}'
    assert (await server.post("/t", body, Idempotency_Key="k"))[0] == 200
    batches = server.collector.batches
    assert sum(batch.count for batch in batches) == 2000
    keys = [batch.origin for batch in batches]
    assert len(set(keys)) == len(keys) // 2 == 3
    assert keys[:3] == keys[3:]
