"""What stands in place of a store and answers badly: nothing is delivered, and no secret goes elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest

from logflow import registry
from logflow.errors import DeliveryError
from logflow.testing import make_context

SECRET = "a-secret-of-ours"
AUTH = {"auth": {"bearer": SECRET}}
STORES = {
    "http": AUTH,
    "elasticsearch": AUTH,
    "loki": AUTH,
    "otlp": AUTH,
    "clickhouse": {"table": "logs", **AUTH},
    "splunk_hec": {"token": SECRET},
    "datadog": {"api_key": SECRET},
    "gelf": AUTH,
}
HTML = b"<html><body>Please log in</body></html>"


def answer(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = [f"HTTP/1.1 {status}", f"Content-Length: {size}", "Connection: close", *headers, "", ""]
    return "\r\n".join(head).encode() + body


class Impostor(asyncio.Protocol):
    """Says what it is to say as soon as something comes, and closes; or says nothing."""

    def __init__(self, said: bytes | None, came: bytearray, transports: list[asyncio.Transport]) -> None:
        self.said, self.came, self.transports = said, came, transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.transports.append(transport)

    def data_received(self, data: bytes) -> None:
        self.came.extend(data)
        # Only behind the whole request, or the client would hear of a lost connection instead.
        head, _, body = self.came.partition(b"\r\n\r\n")
        size = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if self.said is not None and size and len(body) >= int(size[1]):
            self.transport.write(self.said)
            self.transport.close()


@pytest.fixture
async def impostor():
    """``await impostor(bytes)``: a port where each connection gets these bytes; what came is kept."""
    transports: list[asyncio.Transport] = []
    async with contextlib.AsyncExitStack() as stack:

        async def start(said: bytes | None):
            came = bytearray()
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: Impostor(said, came, transports), "127.0.0.1", 0)
            stack.callback(server.close)
            return server.sockets[0].getsockname()[1], came

        yield start
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)


async def deliver(name, port, chunk, tmp_path, **options):
    component = registry.load("output", name)
    config = component.Config(endpoints=[f"http://127.0.0.1:{port}"], **STORES[name], **options)
    output = component(config, make_context(tmp_path, kind="output"))
    await output.open()
    try:
        await output.write(chunk)
    finally:
        await output.close()


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
@pytest.mark.parametrize("name", STORES)
async def test_redirects_are_not_followed_and_take_no_secret_along(
    impostor, make_chunk, tmp_path, name, status
):
    elsewhere, came = await impostor(answer("200 OK"))
    port, first = await impostor(answer(status, b"", f"Location: http://127.0.0.1:{elsewhere}/x"))
    with pytest.raises(DeliveryError, match="are not followed; change endpoints"):
        await deliver(name, port, make_chunk({"message": "x"}), tmp_path)
    assert SECRET.encode() in first
    assert came == b""


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
@pytest.mark.parametrize("name", STORES)
async def test_refused_credentials_are_told_and_the_chunk_waits(impostor, make_chunk, tmp_path, name, status):
    """Even if the store repeats them."""
    port, _ = await impostor(answer(status, SECRET.encode()))
    with pytest.raises(DeliveryError, match=status[:3]) as caught:
        await deliver(name, port, make_chunk({"message": "x"}), tmp_path)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", b"\x00\xff\r\n\r\n"])
@pytest.mark.parametrize("name", STORES)
async def test_an_answer_that_ends_early_delivers_nothing(impostor, make_chunk, tmp_path, name, said):
    port, _ = await impostor(said)
    with pytest.raises(DeliveryError):
        await deliver(name, port, make_chunk({"message": "x"}), tmp_path)


async def test_what_a_body_does_not_say_to_its_end_is_not_delivered(impostor, make_chunk, tmp_path):
    """Where the body says what was taken; to the other stores the status is all that counts."""
    port, _ = await impostor(answer("200 OK", b'{"errors":false,"items":[', length=1000))
    with pytest.raises(DeliveryError):
        await deliver("elasticsearch", port, make_chunk({"message": "x"}), tmp_path)


@pytest.mark.parametrize("name", STORES)
async def test_an_answer_that_never_comes_is_waited_for_in_vain(impostor, make_chunk, tmp_path, name):
    port, _ = await impostor(None)
    with pytest.raises(DeliveryError):
        await deliver(name, port, make_chunk({"message": "x"}), tmp_path, timeout="50ms")


@pytest.mark.parametrize("name", [name for name in STORES if name != "http"])
async def test_a_page_in_place_of_an_answer_delivers_nothing(impostor, make_chunk, tmp_path, name):
    """As a proxy shows it that wants somebody to log in."""
    port, _ = await impostor(answer("200 OK", HTML, "Content-Type: text/html"))
    with pytest.raises(DeliveryError):
        await deliver(name, port, make_chunk({"message": "x"}), tmp_path)
