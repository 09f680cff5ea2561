"""Accepting TLS connections: what is told when a handshake fails."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from logflow.net.acceptor import Acceptor
from logflow.net.tls import Tls
from logflow.testing.forwarding import Certificates, make_certificates


class Echo(asyncio.Protocol):
    """Sends back what it receives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


class Server:
    """An acceptor, its port and what it was told."""

    def __init__(self, tls: ssl.SSLContext, timeout_s: float) -> None:
        self.failures: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        settings = Tls(tls, timeout_s, lambda *failure: self.failures.put_nowait(failure))
        self.acceptor = Acceptor(self.listener, Echo, settings)

    async def failure(self) -> tuple[str, str]:
        return await asyncio.wait_for(self.failures.get(), 20)


Serve = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def serve(certificates: Certificates) -> Serve:
    @asynccontextmanager
    async def run(timeout_s: float = 20.0, *, mutual: bool = False) -> AsyncIterator[Server]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificates.server, certificates.server_key)
        if mutual:
            context.load_verify_locations(certificates.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        server = Server(context, timeout_s)
        try:
            yield server
        finally:
            server.acceptor.close()
            server.acceptor.close()
            server.listener.close()

    return run


async def talk(port: int, ca: Path) -> bytes:
    context = ssl.create_default_context(cafile=str(ca))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"hello")
    answer = await reader.read()
    writer.close()
    return answer


async def test_connections_are_encrypted(serve: Serve, certificates: Certificates) -> None:
    async with serve() as server:
        answers = await asyncio.gather(*(talk(server.port, certificates.ca) for _ in range(5)))
        assert answers == [b"hello"] * 5
        assert server.failures.empty()


async def test_a_client_that_speaks_no_tls_is_told_of(serve: Serve) -> None:
    async with serve() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await server.failure() == ("127.0.0.1", "http request")
        writer.close()


async def test_a_client_that_does_not_trust_the_server_is_told_of(serve: Serve, tmp_path: Path) -> None:
    def connect(port: int) -> None:  # unlike asyncio, this one says why it leaves
        context = ssl.create_default_context(cafile=str(make_certificates(tmp_path).ca))
        with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="127.0.0.1")

    async with serve() as server:
        await asyncio.to_thread(connect, server.port)
        assert "unknown ca" in (await server.failure())[1]


async def test_a_client_without_a_certificate_is_told_of(serve: Serve, certificates: Certificates) -> None:
    async with serve(mutual=True) as server:
        with contextlib.suppress(OSError):
            await talk(server.port, certificates.ca)
        assert await server.failure() == ("127.0.0.1", "peer did not return a certificate")


async def test_a_client_that_is_silent_is_told_of(serve: Serve) -> None:
    async with serve(timeout_s=0.05) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await server.failure() == ("127.0.0.1", "it took longer than 0.05 s")
        writer.close()


async def test_a_client_that_only_looks_whether_the_port_is_open_is_not(
    serve: Serve, certificates: Certificates
) -> None:
    async with serve() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.close()
        await writer.wait_closed()
        assert await talk(server.port, certificates.ca) == b"hello"
        assert server.failures.empty()


async def test_closing_ends_handshakes_under_way(serve: Serve) -> None:
    async with serve() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while not server.acceptor._starting:
            await asyncio.sleep(0.002)
        server.acceptor.close()
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()


async def test_it_goes_on_when_accepting_failed(
    serve: Serve, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, [OSError(24, "Too many open files")]

    async def fail_first(listener: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", fail_first)
    async with serve() as server:
        assert await talk(server.port, certificates.ca) == b"hello"
