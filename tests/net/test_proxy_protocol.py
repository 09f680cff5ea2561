"""The PROXY protocol: headers, what is refused, and who counts as the client afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import io
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.errors import MalformedData
from logflow.net.line_server import LineServer, LineServerConfig
from logflow.net.proxy_protocol import Address, read_header
from logflow.sources.forward import ForwardSource
from logflow.sources.http import HttpSource
from logflow.telemetry.metrics import Metrics
from logflow.testing import Collector, make_context, run_source
from logflow.testing.forwarding import make_certificates

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = bytes([192, 0, 2, 1, 192, 0, 2, 9]) + struct.pack("!HH", 56324, 24224)
SIX = bytes(15) + b"\1" + bytes(16) + struct.pack("!HH", 7, 9)


def version_2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def read(data: bytes, step: int = 1000) -> tuple[Address | None, bytes]:
    """Read a header from a stream that gives ``step`` bytes at a time; return also what is left."""
    stream = io.BytesIO(data)

    async def receive(size: int) -> bytes:
        return stream.read(min(size, step))

    return asyncio.run(read_header(receive)), stream.read()


@pytest.mark.parametrize("step", [1, 5, 1000])
@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 24224\r\n", ("192.0.2.1", 56324)),
        (b"PROXY TCP6 2001:db8::1 2001:db8::9 1 2\r\n", ("2001:db8::1", 1, 0, 0)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (version_2(0x21, 0x11, FOUR), ("192.0.2.1", 56324)),
        (version_2(0x21, 0x11, FOUR + b"\x03\0\4crcs"), ("192.0.2.1", 56324)),
        (version_2(0x21, 0x21, SIX), ("::1", 7, 0, 0)),
        (version_2(0x21, 0x31, bytes(216)), None),
        (version_2(0x20, 0x00, b""), None),
        (version_2(0x20, 0x11, FOUR), None),
    ],
)
def test_the_client_is_read_and_not_a_byte_more(header: bytes, client: Address | None, step: int) -> None:
    assert read(header + b"\r\nhello", step) == (client, b"\r\nhello")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<13>1 - a message without a header\n", "missing"),
        (b"PROXY", "ended"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.9", "ended"),
        (b"PROXY TCP4 " + b"1" * 200, "longer than 107"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.9 56324\r\n", "known form"),
        (b"PROXY UDP4 192.0.2.1 192.0.2.9 1 2\r\n", "known form"),
        (b"PROXY TCP4 2001:db8::1 192.0.2.9 1 2\r\n", "not one"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.9 65536 2\r\n", "port"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.9 x 2\r\n", "not one"),
        (SIGNATURE[:7], "ended"),
        (version_2(0x21, 0x11, FOUR)[:-1], "ended"),
        (version_2(0x21, 0x11, FOUR[:-1]), "too short"),
        (version_2(0x11, 0x11, FOUR), "version"),
        (version_2(0x22, 0x11, FOUR), "version"),
        (version_2(0x21, 0x11, bytes(5000)), "longer than 4096"),
    ],
)
def test_a_header_that_is_none_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(MalformedData, match=why):
        read(data)


def test_a_connection_that_only_looks_whether_the_port_is_open_is_no_mistake() -> None:
    with pytest.raises(EOFError):
        read(b"")


@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda tail: SIGNATURE + tail),
        st.binary(max_size=200).map(lambda tail: b"PROXY " + tail),
        st.text("TCP46UNKOW 0123456789.:\r\n%", max_size=130).map(lambda tail: b"PROXY " + tail.encode()),
    )
)
def test_whatever_comes_is_an_address_or_a_named_mistake(data: bytes) -> None:
    try:
        client, _ = read(data)
    except (MalformedData, EOFError):
        return
    assert client is None or (isinstance(client[0], str) and 0 <= client[1] <= 65535)


class Balancer:
    """A source behind a load balancer."""

    def __init__(self, directory: Path) -> None:
        self.metrics, self.emit = Metrics(), Collector()
        self.context = make_context(directory, metrics=self.metrics)

    def counted(self, name: str) -> int:
        return {cell.name: cell.value for cell in self.metrics.counters()}[name]


@pytest.fixture
async def balancer(tmp_path: Path) -> AsyncIterator[Balancer]:
    yield Balancer(tmp_path)
    await asyncio.sleep(0)


class Lines:
    """A line server that runs, and what it took."""

    def __init__(self, balancer: Balancer, **options: object) -> None:
        config = LineServerConfig.model_validate({"type": "lines", "proxy_protocol": True, **options})
        self.server = LineServer(balancer.context, config, ("127.0.0.1", 0))
        self.taken: asyncio.Queue[tuple[list[bytes], str]] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        await self.server.open()

        async def take(messages: object, peer: str) -> None:
            assert isinstance(messages, list)
            self.taken.put_nowait((messages, peer))

        self._running = asyncio.create_task(self.server.run(take, lambda _: None))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def next(self) -> tuple[list[bytes], str]:
        return await asyncio.wait_for(self.taken.get(), 20)


async def test_the_peer_is_the_client_and_a_connection_without_a_header_is_refused(
    balancer: Balancer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Lines(balancer) as lines:
        reader, bare = await asyncio.open_connection("127.0.0.1", lines.server.port)
        bare.write(b"a line without a header\n")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 20) == b""
        _, good = await asyncio.open_connection("127.0.0.1", lines.server.port)
        good.write(b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 24224\r\nhello\n")
        assert await lines.next() == ([b"hello"], "192.0.2.1:56324")
        for writer in (bare, good):
            writer.close()
    assert balancer.counted("proxy_headers_refused") == 1
    assert "Refused a connection from 127.0.0.1 because of its PROXY header: it is missing" in caplog.text


async def test_a_header_that_does_not_come_in_time_is_refused(
    balancer: Balancer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("logflow.net.proxy_protocol._HEADER_S", 0.05)
    async with Lines(balancer) as lines:
        reader, writer = await asyncio.open_connection("127.0.0.1", lines.server.port)
        writer.write(b"PROXY TCP4 ")
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()
    assert balancer.counted("proxy_headers_refused") == 1
    assert "none came within 0.05 s" in caplog.text


async def test_tls_begins_after_the_header(balancer: Balancer, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    tls = {"cert_file": certificates.server, "key_file": certificates.server_key}
    async with Lines(balancer, tls=tls) as lines:
        reader, writer = await asyncio.open_connection("127.0.0.1", lines.server.port)
        writer.write(version_2(0x21, 0x11, FOUR))
        await writer.drain()
        await writer.start_tls(
            ssl.create_default_context(cafile=str(certificates.ca)), server_hostname="localhost"
        )
        writer.write(b"secret\n")
        assert await lines.next() == ([b"secret"], "192.0.2.1:56324")
        writer.transport.abort()
        assert not await reader.read()


async def test_forward_and_http_take_the_client_from_it_too(balancer: Balancer, tmp_path: Path) -> None:
    header = b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 24224\r\n"
    forward = ForwardSource(
        ForwardSource.Config(type="forward", listen=("127.0.0.1", 0), proxy_protocol=True), balancer.context
    )
    http = HttpSource(
        HttpSource.Config(type="http", listen=("127.0.0.1", 0), proxy_protocol=True),
        make_context(tmp_path / "http"),
    )
    async with run_source(forward, balancer.emit), run_source(http, balancer.emit):
        for port, request in [
            (forward.port, b'["app", 1, {"a": 1}]'),
            (http.port, b"POST /app HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}'),
        ]:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(header + request)
            before = balancer.emit.count
            await balancer.emit.wait_for(before + 1)
            writer.close()
    assert [batch.attributes["peer"] for batch in balancer.emit.batches] == ["192.0.2.1", "192.0.2.1"]
