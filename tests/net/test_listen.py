"""Listening on both families, and going on when there are no descriptors to spare."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import cast

import pytest

from logflow.net.complaints import Complaints
from logflow.net.descriptors import is_spare
from logflow.net.listen import Listeners
from logflow.testing import make_context


class Greeter(asyncio.Protocol):
    """Says hello and goes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


class Echo(asyncio.DatagramProtocol):
    """Sends back what it receives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


async def greeted(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    data = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return data


@pytest.mark.parametrize("host", ["::", "::1"])
async def test_ipv6_listens_everywhere_where_ipv4_does(host: str, tmp_path: Path) -> None:
    """``::`` takes both families; UDP too."""
    context = make_context(tmp_path)
    listeners = Listeners(context, (host, 0), None, Complaints(context), datagrams=Echo)
    await listeners.open()
    await listeners.serve(Greeter)
    clients = [("::1", socket.AF_INET6), *([("127.0.0.1", socket.AF_INET)] if host == "::" else [])]
    for address, family in clients:
        assert await greeted(address, listeners.port) == b"hello"
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0)
            loop = asyncio.get_running_loop()
            await loop.sock_sendto(udp, b"ping", (address, listeners.port))
            assert await asyncio.wait_for(loop.sock_recv(udp, 100), 20) == b"ping"
    listeners.close()
    listeners.close()


async def test_without_descriptors_to_spare_connections_are_refused_and_taken_again_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One sentence about it, and whoever is connected already stays."""
    context = make_context(tmp_path)
    spare = False
    monkeypatch.setattr("logflow.net.acceptor.is_spare", lambda fd: spare)
    listeners = Listeners(context, ("127.0.0.1", 0), None, Complaints(context))
    await listeners.open()
    await listeners.serve(Greeter)
    assert await greeted("127.0.0.1", listeners.port) == b""
    assert "too many open files" in caplog.text
    spare = True
    assert await greeted("127.0.0.1", listeners.port) == b"hello"
    listeners.close()


def test_the_last_descriptors_are_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter, or 256."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 1024))
    assert is_spare(767)
    assert not is_spare(768)
    monkeypatch.setattr("resource.getrlimit", lambda _: (100_000, 100_000))
    assert is_spare(99_743)
    assert not is_spare(99_744)
