"""The HTTP output against real servers on loopback."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import re
import ssl
import subprocess
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
import zstandard
from aiohttp import web
from pydantic import ValidationError

from logflow.batch import Batch, Chunk
from logflow.errors import ChunkTooLarge, ComponentError, DeliveryError, PermanentError, RetryAfter
from logflow.outputs.http import HttpOutput
from logflow.testing import FakeClock, make_context

T0 = 1_700_000_000_000_000_000


def chunk(*records, tag="app", chunk_id=None):
    batch = Batch.from_events(tag, [(T0, record) for record in records or ({"n": 1},)])
    return Chunk(chunk_id or os.urandom(16), tag, (batch.entries,), batch.count)


class Sink:
    """A server that keeps requests and answers as told: a status, (status, headers, text) or a coroutine."""

    def __init__(self):
        self.requests: list[tuple[web.BaseRequest, bytes]] = []
        self.answers: list = []
        self.connections: set = set()

    async def start(self, tls=None, port=0):
        self.server = web.Server(self._handle, access_log=None, auto_decompress=False)
        self.runner = web.ServerRunner(self.server, shutdown_timeout=0.1)
        await self.runner.setup()
        self.site = web.TCPSite(self.runner, "127.0.0.1", port, ssl_context=tls)
        await self.site.start()
        self.port = self.runner.addresses[0][1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/logs"
        return self

    async def stop(self):
        await self.runner.cleanup()

    async def _handle(self, request):
        self.connections.add(request.transport)
        self.requests.append(
            (request, await request.read() if request.content_length < 1 << 20 else b"large")
        )
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, int):
            answer = (answer, {}, "")
        if callable(answer):
            return await answer(request)
        status, headers, text = answer
        return web.Response(status=status, headers=headers, text=text)

    @property
    def bodies(self):
        return [body for _, body in self.requests]

    @property
    def keys(self):
        return [request.headers["Idempotency-Key"] for request, _ in self.requests]


@pytest.fixture
async def sink():
    sink = await Sink().start()
    yield sink
    await sink.stop()


@pytest.fixture
async def other():
    sink = await Sink().start()
    yield sink
    await sink.stop()


@pytest.fixture
async def make(tmp_path):
    made = []

    async def build(*endpoints, clock=None, **options):
        config = HttpOutput.Config(endpoints=list(endpoints), **options)
        output = HttpOutput(config, make_context(tmp_path, "sink", kind="output", clock=clock))
        made.append(output)
        await output.open()
        return output

    yield build
    for output in made:
        await output.close()


async def closing(request):
    """Take the request and close the connection without an answer."""
    request.transport.abort()
    return web.Response()


# -- what is sent -------------------------------------------------------------------------------------


async def test_ndjson_with_the_chunks_id(sink, make):
    output = await make(sink.url)
    one = chunk({"n": 1}, {"n": 2})
    await output.write(one)
    ((request, body),) = sink.requests
    assert (request.method, request.path) == ("POST", "/logs")
    assert request.headers["Content-Type"] == "application/x-ndjson"
    assert request.headers["Idempotency-Key"] == one.id.hex()
    assert request.headers["Content-Length"] == str(len(body))
    assert [json.loads(line)["n"] for line in body.splitlines()] == [1, 2]


@pytest.mark.parametrize("compress", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("format_", ["json", "msgpack"])
async def test_other_formats_and_compressions(sink, make, format_, compress):
    output = await make(sink.url, format=format_, compress=compress, time_key=None, tag_key=None)
    one = chunk({"n": 1}, {"n": 2})
    await output.write(one)
    ((request, body),) = sink.requests
    assert request.headers.get("Content-Encoding", "none") == compress
    match compress:
        case "gzip":
            body = gzip.decompress(body)
        case "zstd":
            body = zstandard.ZstdDecompressor().decompress(body)
    assert request.headers["Content-Type"] == f"application/{format_}"
    if format_ == "json":
        assert json.loads(body) == [{"n": 1}, {"n": 2}]
    else:
        assert body == one.entries


async def test_the_tag_may_stand_in_the_url(sink, make):
    output = await make(sink.url + "/{tag}?x={tag}")
    await output.write(chunk(tag="a b/ü.c"))
    assert sink.requests[0][0].raw_path == "/logs/a%20b%2F%C3%BC.c?x=a%20b%2F%C3%BC.c"


async def test_a_large_chunk_goes_in_pieces_with_its_length(sink, make):
    output = await make(sink.url)
    await output.write(chunk({"pad": "x" * (3 << 20)}))
    request, _ = sink.requests[0]
    assert request.content_length > 3 << 20
    assert "Transfer-Encoding" not in request.headers


@pytest.mark.parametrize("compress", ["none", "gzip"])
async def test_a_chunk_of_many_parts_is_whole_each_time_it_is_sent(sink, make, compress):
    """Its body is made in slices; what is sent again is the same."""
    output = await make(sink.url, compress=compress)
    parts = [Batch.from_events("app", [(T0, {"n": n, "pad": "x" * 30_000})]).entries for n in range(30)]
    sink.answers = [500, 200]
    with pytest.raises(DeliveryError):
        await output.write(Chunk(b"i" * 16, "app", tuple(parts), 30))
    await output.write(Chunk(b"i" * 16, "app", tuple(parts), 30))
    for body in sink.bodies:
        text = gzip.decompress(body) if compress == "gzip" else body
        assert [json.loads(line)["n"] for line in text.splitlines()] == list(range(30))
    assert len(sink.bodies) == 2


async def test_headers_and_credentials_are_sent_and_not_shown(sink, make, caplog):
    caplog.set_level(logging.DEBUG)
    sink.answers = [500, 200, 200]
    basic = await make(
        sink.url, headers={"X-Api-Key": "hunter2"}, auth={"username": "u", "password": "hunter3"}
    )
    with pytest.raises(DeliveryError) as caught:
        await basic.write(chunk())
    await basic.write(chunk())
    bearer = await make(sink.url + "?key=hunter5", auth={"bearer": "hunter4"})
    await bearer.write(chunk())
    assert sink.requests[1][0].headers["X-Api-Key"] == "hunter2"
    assert sink.requests[1][0].headers["Authorization"] == "Basic dTpodW50ZXIz"
    assert sink.requests[2][0].headers["Authorization"] == "Bearer hunter4"
    shown = (
        caplog.text
        + str(caught.value)
        + repr(basic.config.headers)
        + repr(bearer.config.auth)
        + repr(basic.config)
    )
    assert "hunter" not in shown


async def test_connections_are_kept(sink, make):
    output = await make(sink.url)
    sink.answers = [(200, {}, "x" * 5000)] * 5
    for _ in range(5):
        await output.write(chunk())
    assert len(sink.connections) == 1


# -- what is made of the answer -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 405, 422])
async def test_a_rejection_is_permanent_and_says_why(sink, make, status):
    output = await make(sink.url)
    sink.answers = [(status, {}, "field 'n' \n is\x00 wrong" + "x" * 1000)]
    with pytest.raises(PermanentError, match=rf"/logs answered {status} .*field 'n' is wrongx") as caught:
        await output.write(chunk())
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_passing_failure_is_tried_again_with_the_same_key(sink, make, status):
    output = await make(sink.url)
    sink.answers = [status]
    one = chunk()
    with pytest.raises(DeliveryError, match=f"answered {status}"):
        await output.write(one)
    await output.write(one)
    assert sink.keys == [one.id.hex()] * 2


@pytest.mark.parametrize("status", [429, 503, 500])
async def test_retry_after_is_honoured_in_both_forms_and_bounded(sink, make, status):
    clock = FakeClock()
    output = await make(sink.url, clock=clock)
    for value, delay_s in [("7", 7), (90, 90), ("99999999", 300), ("Thu, 01 Jan 1970 00:00:00 GMT", 0)]:
        date = format_datetime(datetime.fromtimestamp(clock.time_ns() / 1e9 + 90, UTC), usegmt=True)
        sink.answers = [(status, {"Retry-After": date if value == 90 else value}, "")]
        with pytest.raises(RetryAfter) as caught:
            await output.write(chunk())
        assert caught.value.delay_s == pytest.approx(delay_s, abs=1)
        await clock.advance(301)
    sink.answers = [(status, {"Retry-After": "soon"}, "")]
    with pytest.raises(DeliveryError) as caught:
        await output.write(chunk())
    assert not isinstance(caught.value, RetryAfter)


async def test_an_endpoint_that_asked_for_a_pause_gets_it(sink, make):
    clock = FakeClock()
    output = await make(sink.url, clock=clock)
    sink.answers = [(429, {"Retry-After": "10"}, "")]
    with pytest.raises(RetryAfter):
        await output.write(chunk())
    await clock.advance(4)
    with pytest.raises(RetryAfter) as caught:
        await output.write(chunk())
    assert caught.value.delay_s == pytest.approx(6)
    assert len(sink.requests) == 1
    await clock.advance(7)
    await output.write(chunk())
    assert len(sink.requests) == 2


async def test_redirects_are_not_followed_but_named(sink, other, make):
    output = await make(sink.url, auth={"bearer": "secret"})
    sink.answers = [(307, {"Location": other.url}, "")]
    with pytest.raises(DeliveryError, match=f"redirects to '{other.url}' are not followed; change endpoints"):
        await output.write(chunk())
    assert not other.requests


def test_the_options_are_those_that_mean_something_here():
    assert not {"message_key", "columns"} & HttpOutput.Config.model_fields.keys()


@pytest.mark.parametrize("status", [401, 403, 404, 407])
async def test_what_often_passes_is_held_for_a_while_before_it_is_a_rejection(sink, make, status):
    """A rotated token, a deployment: events wait, and the text says for how long and where to look."""
    clock = FakeClock()
    output = await make(sink.url, clock=clock, hold_for="60s")
    one = chunk()
    sink.answers = [status] * 4
    for _ in range(3):
        with pytest.raises(DeliveryError, match=rf"answered {status} .*held for 60 s.*auth"):
            await output.write(one)
        await clock.advance(25)
    with pytest.raises(PermanentError, match=rf"answered {status}.*this has been so for 60 s"):
        await output.write(one)
    await output.write(one)
    sink.answers = [status]
    with pytest.raises(DeliveryError):
        await output.write(one)  # the hold begins anew after a success


async def test_held_answers_of_one_endpoint_send_chunks_to_the_others(sink, other, make):
    clock = FakeClock()
    output = await make(sink.url, other.url, clock=clock, hold_for=0)
    sink.answers = [404] * 9
    for _ in range(6):
        await output.write(chunk())
    assert len(other.requests) == 6
    await other.stop()
    await clock.advance(60)
    with pytest.raises(DeliveryError):  # the other one may still take it, when it is back
        await output.write(chunk())


async def test_the_meaning_of_an_answer_can_be_chosen(sink, make):
    output = await make(sink.url, answers={409: "delivered", 404: "reject", 400: "retry", 200: "retry"})
    sink.answers = [409, 404, 400, 200, 201]
    await output.write(chunk())
    with pytest.raises(PermanentError):
        await output.write(chunk())
    for _ in range(2):
        with pytest.raises(DeliveryError):
            await output.write(chunk())
    await output.write(chunk())


async def test_too_large_is_told_apart_and_passes_with_retry_after(sink, make):
    output = await make(sink.url)
    sink.answers = [413, (413, {"Retry-After": "7"}, "")]
    with pytest.raises(ChunkTooLarge, match="answered 413"):
        await output.write(chunk())
    with pytest.raises(RetryAfter):
        await output.write(chunk())


BROKEN_ANSWERS = {
    "a header over any limit": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\nConnection: close\r\n\r\n",
    "a 204 with a body": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "bad chunking": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a torn head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a torn body": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
}


@pytest.mark.parametrize("answer", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS.keys())
async def test_a_status_line_2xx_is_an_acknowledgement_whatever_follows(make, answer):
    """Sent again for ever, each of these doubled all events at the store."""
    requests = 0

    async def serve(reader, writer):
        nonlocal requests
        while await reader.readuntil(b"\r\n\r\n"):
            requests += 1
            await reader.readline()
            writer.write(answer)
            await writer.drain()
            writer.close()
            return

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    output = await make(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    for _ in range(2):
        await output.write(chunk())
    assert requests == 2
    server.close()
    await server.wait_closed()


async def test_a_damaged_answer_of_another_status_is_none(make):
    async def serve(reader, writer):
        await reader.readline()
        writer.write(b"HTTP/1.1 500 No\r\n\0\0\0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    output = await make(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    with pytest.raises(DeliveryError, match="answered 500"):
        await output.write(chunk())
    server.close()
    await server.wait_closed()


async def test_each_header_is_sent_once(sink, make):
    output = await make(sink.url, headers={"content-type": "application/json", "USER-AGENT": "mine"})
    await output.write(chunk())
    headers = sink.requests[0][0].headers
    assert headers.getall("Content-Type") == ["application/json"]
    assert headers.getall("User-Agent") == ["mine"]


async def test_the_content_type_can_be_chosen(sink, make):
    output = await make(sink.url, content_type="application/json")
    await output.write(chunk())
    assert sink.requests[0][0].headers.getall("Content-Type") == ["application/json"]


async def test_secrets_in_files_are_read_again_when_they_change(sink, make, tmp_path):
    token, key = tmp_path / "token", tmp_path / "key"
    token.write_text("first-token\n")
    key.write_text("first-key")
    output = await make(
        sink.url, auth={"bearer": {"file": str(token)}}, headers={"X-Key": {"file": str(key)}}
    )
    await output.write(chunk())
    token.write_text("the-second-token")
    key.unlink()
    await output.write(chunk())
    sent = [(r.headers["Authorization"], r.headers["X-Key"]) for r, _ in sink.requests]
    assert sent == [("Bearer first-token", "first-key"), ("Bearer the-second-token", "first-key")]


async def test_a_secret_that_cannot_be_read_is_said_at_open(make, tmp_path):
    with pytest.raises(DeliveryError, match=r"cannot use the secret in .*nothing: No such file"):
        await make("http://127.0.0.1:1/", auth={"bearer": {"file": str(tmp_path / "nothing")}})


async def test_secrets_that_a_server_repeats_are_masked(sink, make):
    output = await make(
        sink.url + "?key=in-the-url-1",
        headers={"X-Key": "in-a-header"},
        auth={"username": "u", "password": "in-auth"},
    )
    echoes = "in-the-url-1 in-a-header in-auth dTppbi1hdXRo " + "x" * 330 + " in-a-header"
    for status, headers in [(400, {}), (500, {}), (302, {"Location": "http://in-a-header/in-auth"})]:
        sink.answers = [(status, headers, echoes)]
        with pytest.raises((DeliveryError, PermanentError)) as caught:
            await output.write(chunk())
        text = str(caught.value)
        assert not any(secret in text for secret in ("in-the-url", "in-a-h", "in-auth", "dTppbi1"))
        assert text.count("**********") >= 4


async def test_a_tag_whose_url_fails_says_nothing_about_other_tags(sink, other, make):
    """And the message names the URL that was asked."""
    output = await make(sink.url + "/{tag}", other.url + "/{tag}")

    async def by_tag(request):
        return web.Response(status=500 if request.path.endswith("bad") else 200)

    sink.answers, other.answers = [by_tag] * 50, [by_tag] * 50
    for _ in range(10):
        with pytest.raises(DeliveryError, match=r"/logs/bad answered 500"):
            await output.write(chunk(tag="bad"))
        for _ in range(2):
            await output.write(chunk(tag="good"))
    good = [len([r for r, _ in s.requests if r.path.endswith("good")]) for s in (sink, other)]
    assert good == [10, 10], "both endpoints stay in turn for the good tag"


# -- several endpoints --------------------------------------------------------------------------------


async def test_chunks_are_spread_over_the_endpoints(sink, other, make):
    output = await make(sink.url, other.url)
    for _ in range(10):
        await output.write(chunk())
    assert (len(sink.requests), len(other.requests)) == (5, 5)


@pytest.mark.parametrize("answer", [429, 503, None])
async def test_an_endpoint_that_cannot_is_replaced_at_once_and_left_alone(sink, other, make, answer):
    clock = FakeClock()
    output = await make(sink.url, other.url, clock=clock)
    sink.answers = [answer]
    if answer is None:
        await sink.stop()
    for _ in range(6):
        await output.write(chunk())
    assert len(other.requests) == 6
    assert len(sink.requests) == (answer is not None)
    await clock.advance(1.1)
    for _ in range(2):
        await output.write(chunk())
    assert len(sink.requests) == (0 if answer is None else 2)


async def test_an_outage_rests_longer_each_time_and_ends_with_the_first_success(sink, make):
    clock = FakeClock()
    output = await make(sink.url, "http://127.0.0.1:9/", clock=clock)
    (endpoint,) = [e for e in output.client._pool.endpoints if ":9/" in e.url]
    rests = []
    for _ in range(7):
        output.client._pool.failed(endpoint)
        rests.append(endpoint.down_until_s - clock.monotonic())
    assert rests == [1, 2, 4, 8, 16, 30, 30]
    endpoint.works()
    assert endpoint.down_until_s == 0


async def test_with_no_endpoint_left_every_problem_is_named(make):
    output = await make("http://127.0.0.1:1/a", "http://127.0.0.1:2/b")
    with pytest.raises(DeliveryError, match=r"cannot connect to http://127\.0\.0\.1:2/b.*; cannot.*:1/a"):
        await output.write(chunk())
    with pytest.raises(DeliveryError, match="cannot connect"):
        await output.write(chunk())


async def test_after_a_lost_answer_the_same_endpoint_is_asked_first(sink, other, make):
    output = await make(sink.url, other.url)
    sink.answers = other.answers = [closing]
    one = chunk()
    with pytest.raises(DeliveryError, match="no answer from"):
        await output.write(one)
    first = sink if sink.requests else other
    for _ in range(3):
        await output.write(chunk())
    before = len(first.requests)
    await output.write(one)
    assert first.keys[-1] == first.keys[0] == one.id.hex()
    assert len(first.requests) == before + 1


async def test_an_endpoint_that_never_answers_does_not_hold_a_chunk_for_ever(sink, other, make):
    output = await make(sink.url, other.url)
    sink.answers = [closing] * 10
    other.answers = [closing]
    one = chunk()
    for _ in range(9):
        try:
            await output.write(one)
        except DeliveryError:
            continue
        break
    assert one.id.hex() in other.keys


async def test_a_cancelled_request_counts_as_a_lost_answer(sink, other, make):
    output = await make(sink.url, other.url)
    arrived, release = asyncio.Event(), asyncio.Event()

    async def wait(request):
        arrived.set()
        await release.wait()
        return web.Response()

    sink.answers, other.answers = [wait], [wait]
    one = chunk()
    task = asyncio.create_task(output.write(one))
    await asyncio.wait_for(arrived.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    release.set()
    first = sink if sink.requests else other
    first.answers = []
    await output.write(one)
    assert first.keys == [one.id.hex()] * 2


async def test_no_answer_in_time_is_a_lost_answer(sink, make):
    output = await make(sink.url, timeout="50ms")
    release = asyncio.Event()

    async def wait(request):
        await release.wait()
        return web.Response()

    sink.answers = [wait]
    with pytest.raises(DeliveryError, match=r"no answer from .*: it took too long"):
        await output.write(chunk())
    release.set()


# -- TLS and configuration ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=logs.test",
         "-addext", "subjectAltName=DNS:logs.test"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


async def test_tls_is_verified(certificate, make):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    sink = await Sink().start(context)
    named = {"ca_file": certificate[0], "server_name": "logs.test"}
    await (await make(sink.url, tls=named)).write(chunk())
    assert len(sink.requests) == 1
    for tls in ({}, {"ca_file": certificate[0]}):
        with pytest.raises(DeliveryError, match="cannot connect"):
            await (await make(sink.url, tls=tls)).write(chunk())
    assert len(sink.requests) == 1
    await (await make(sink.url, tls={"verify": False})).write(chunk())
    await sink.stop()


async def test_a_missing_authority_is_an_error_at_open(make, tmp_path):
    with pytest.raises(ComponentError, match=r"missing\.pem"):
        await make("https://localhost/", tls={"ca_file": tmp_path / "missing.pem"})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"endpoints": []}, "at least 1"),
        ({"endpoints": ["ftp://x/"]}, "http://host"),
        ({"endpoints": ["localhost:80"]}, "http://host"),
        ({"endpoints": ["http://u:p@x/"]}, "must not hold a password"),
        ({"endpoints": ["http://x/"], "headers": {"a b": "c"}}, "not a header's name"),
        ({"endpoints": ["http://x/"], "headers": {"a": ""}}, "the secret is empty"),
        ({"endpoints": ["http://x/"], "auth": {"bearer": " "}}, "the secret is empty"),
        (
            {"endpoints": ["http://x/"], "auth": {"bearer": {"fiel": "x"}}},
            "a secret is text, or {file: /path}",
        ),
        ({"endpoints": ["http://x/"], "answers": {"99": "retry"}}, "99 is not the status"),
        ({"endpoints": ["http://x/"], "proxy": "socks5://x"}, "http://host:port"),
        ({"endpoints": ["http://x/"], "format": "csv"}, "format"),
    ],
)
def test_a_mistake_in_the_configuration_is_explained(options, problem):
    with pytest.raises(ValidationError, match=re.escape(problem)):
        HttpOutput.Config(**options)


async def test_a_secret_of_several_lines_is_never_sent(sink, make):
    with pytest.raises(DeliveryError, match="the header a must be one line"):
        await make(sink.url, headers={"a": "b\r\nc: d"})


async def test_requests_go_through_the_proxy_that_is_configured(make):
    lines = []

    async def serve(reader, writer):
        lines.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    output = await make("http://logs.example/in", proxy=proxy)
    await output.write(chunk())
    assert lines == [b"POST http://logs.example/in HTTP/1.1\r\n"]
    server.close()
    await server.wait_closed()


async def test_close_is_safe_without_open_and_twice(tmp_path):
    output = HttpOutput(HttpOutput.Config(endpoints=["http://x/"]), make_context(tmp_path, kind="output"))
    await output.close()
    await output.open()
    await output.open()
    await output.close()
    await output.close()


@pytest.mark.parametrize("key", ["url", "uri", "hosts"])
def test_the_key_of_other_programs_is_known(key, tmp_path):
    from logflow.config.loader import load
    from logflow.errors import ConfigError

    config = tmp_path / "c.yaml"
    config.write_text(
        f"sources: {{a: {{type: stdin, tag: a}}}}\nroutes: [{{match: '**', outputs: [o]}}]\n"
        f"outputs: {{o: {{type: http, {key}: 'http://127.0.0.1:1'}}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load([config], {})
    assert f"outputs.o.{key}: unknown key; did you mean 'endpoints'?" in "\n".join(caught.value.problems)
