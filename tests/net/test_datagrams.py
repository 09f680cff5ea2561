"""Datagrams by themselves, as plug-ins take them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from logflow.errors import ComponentError
from logflow.net.datagrams import DatagramListener
from logflow.testing import make_context


async def next_of(received: AsyncIterator[tuple[str, list[bytes]]]) -> tuple[str, list[bytes]]:
    return await asyncio.wait_for(anext(received), 20)


async def test_datagrams_wait_from_opening_on_and_come_by_peer(tmp_path: Path) -> None:
    listener = DatagramListener(make_context(tmp_path), ("127.0.0.1", 0))
    listener.close()
    await listener.open()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", listener.port))
        sender.send(b"one")
        sender.send(b"two")
        await asyncio.sleep(0.05)
        peer, datagrams = await next_of(listener.receive(lambda _: None))
        assert peer == "{}:{}".format(*sender.getsockname())
    assert datagrams == [b"one", b"two"]
    listener.close()
    listener.close()


async def test_a_unix_socket(tmp_path: Path) -> None:
    listener = DatagramListener(make_context(tmp_path), unix=tmp_path / "socket")
    await listener.open()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(tmp_path / "socket"))
        sender.send(b"one")
    assert await next_of(listener.receive(lambda _: None)) == ("unix", [b"one"])
    listener.close()
    assert not (tmp_path / "socket").exists()


async def test_what_has_no_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logflow.net.datagrams._MOST_WAITING", 300)
    listener = DatagramListener(make_context(tmp_path), ("127.0.0.1", 0))
    await listener.open()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", listener.port))
        for _ in range(5):
            sender.send(b"x" * 100)
        await asyncio.sleep(0.05)
        missed: list[int] = []
        _, datagrams = await next_of(listener.receive(missed.append))
    assert len(datagrams) + sum(missed) == 5
    assert len(datagrams) == 1
    listener.close()


async def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        address = other.getsockname()
        with pytest.raises(ComponentError, match=f"cannot listen on 127.0.0.1:{address[1]}: Address already"):
            await DatagramListener(make_context(tmp_path), address).open()
