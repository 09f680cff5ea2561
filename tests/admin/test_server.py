"""The admin endpoint: what it tells, and what strangers can do to it."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from logflow.admin import server as module
from logflow.admin.server import AdminServer
from logflow.config.models import AdminOptions


@asynccontextmanager
async def listening(port: int, **options: object) -> AsyncIterator[AdminServer]:
    server = AdminServer(
        AdminOptions.model_validate({"listen": f"127.0.0.1:{port}", **options}), lambda: (None, False)
    )
    await server.open()
    try:
        yield server
    finally:
        await server.close()
        await server.close()


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def get(path: str, host: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:24220", 200),
        ("127.0.0.1:24220", 200),
        ("10.1.2.3:24220", 200),
        ("[::1]:24220", 200),
        (socket.gethostname(), 200),
        ("agent.example:24220", 200),
        ("evil.example.com", 421),
        ("", 421),
        ("127.0.0.1.evil.example.com", 421),
    ],
)
async def test_requests_for_another_host_are_refused(unused_tcp_port: int, host: str, status: int) -> None:
    """A page that has its name point here gets nothing; addresses and known names do."""
    async with listening(unused_tcp_port, hosts=["agent.example"]):
        answer = await ask(unused_tcp_port, get("/healthz", host))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01garbage\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\r\n\r\n",
        b"GET\x00\r\n\r\n",
    ],
)
async def test_garbage_is_refused_without_a_word(
    unused_tcp_port: int, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What strangers send leaves no tracebacks in the log, and others are answered."""
    async with listening(unused_tcp_port):
        for _ in range(3):
            with suppress(ConnectionError):
                await ask(unused_tcp_port, garbage + get("/healthz", "localhost"))
        assert (await ask(unused_tcp_port, get("/healthz", "localhost"))).endswith(b"ok\n")
    assert not caplog.records


async def test_a_connection_without_a_request_ends_in_time(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REQUEST_S", 0.05)
    async with listening(unused_tcp_port):
        assert await ask(unused_tcp_port, b"GET /healthz HTTP/1.1\r\nHost: local") == b""


async def test_who_is_silent_for_longest_makes_room(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So who never ends a request keeps nobody out who asks whether the process is well."""
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 3)
    async with listening(unused_tcp_port) as server:
        idle = [await asyncio.open_connection("127.0.0.1", unused_tcp_port) for _ in range(3)]
        while len(server._open) < 3:
            await asyncio.sleep(0)
        idle[0][1].write(b"GET /healthz HT")
        await asyncio.sleep(0.05)
        assert (await ask(unused_tcp_port, get("/healthz", "localhost"))).endswith(b"ok\n")
        assert len(server._open) <= 3
        with suppress(ConnectionError):
            assert await idle[1][0].read() == b"", "the one that was silent for longest"
        idle[0][1].write(b"TP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await idle[0][0].read()).endswith(b"ok\n")
        for _, writer in idle:
            writer.close()


async def test_it_answers_when_no_descriptor_is_left(unused_tcp_port: int) -> None:
    """Some are kept back for it, time and again."""
    loop = asyncio.get_running_loop()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with listening(unused_tcp_port):
        clients = [socket.socket() for _ in range(6)]
        taken: list[int] = []
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (max(clients, key=socket.socket.fileno).fileno() + 20, hard)
        )
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            for client in clients:
                client.setblocking(False)  # noqa: FBT003
                await loop.sock_connect(client, ("127.0.0.1", unused_tcp_port))
                await loop.sock_sendall(client, get("/healthz", "localhost"))
                answer = b""
                async with asyncio.timeout(10):
                    while not answer.endswith(b"ok\n"):
                        answer += await loop.sock_recv(client, 4096)
                        assert answer
        finally:
            for fd in taken:
                os.close(fd)
            for client in clients:
                client.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_port_in_use_is_explained_and_nothing_is_left_open(unused_tcp_port: int) -> None:
    async with listening(unused_tcp_port):
        other = AdminServer(AdminOptions(listen=("127.0.0.1", unused_tcp_port)), lambda: (None, False))
        with pytest.raises(module.ComponentError, match="free the port"):
            await other.open()
        assert not other._listening
