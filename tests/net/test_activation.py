"""Sockets that systemd hands over are used by whoever is to listen at their addresses."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from logflow.net import activation
from logflow.net.activation import sockets_of
from logflow.net.complaints import Complaints
from logflow.net.listen import Listeners
from logflow.testing import make_context


class Greeter(asyncio.Protocol):
    """Says hello and goes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


Give = Callable[[socket.socket], None]


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Iterator[Give]:
    """Have a socket handed over."""
    with ExitStack() as stack:

        def handed_over(there: socket.socket) -> None:
            environment = {"LISTEN_PID": "4711", "LISTEN_FDS": "1"}
            found = sockets_of(environment, 4711, os.dup(stack.enter_context(there).fileno()))
            for each in found.values():
                stack.enter_context(each)
            monkeypatch.setattr(activation, "_given", lambda: found)

        yield handed_over


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
async def test_a_connection_that_came_before_the_start_is_served(
    host: str, tmp_path: Path, give: Give
) -> None:
    """A bare port of systemd's is ``[::]``, and serves a source that is to listen on 0.0.0.0 too."""
    everywhere = host != "127.0.0.1"
    family = socket.AF_INET6 if everywhere else socket.AF_INET
    there = socket.create_server(("::" if everywhere else host, 0), family=family, dualstack_ipv6=everywhere)
    port = there.getsockname()[1]
    give(there)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    context = make_context(tmp_path)
    for _ in range(2):  # after a reload the socket is there still
        listeners = Listeners(context, (host, port), None, Complaints(context))
        await listeners.open()
        await listeners.serve(Greeter)
        assert await asyncio.wait_for(reader.read(), 20) == b"hello"
        listeners.close()
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def test_a_unix_socket_of_systemds_is_not_removed(tmp_path: Path, give: Give) -> None:
    path = tmp_path / "s"
    there = socket.socket(socket.AF_UNIX)
    there.bind(os.fspath(path))
    there.listen()
    give(there)
    context = make_context(tmp_path)
    listeners = Listeners(context, None, None, Complaints(context), unix=path)
    await listeners.open()
    await listeners.serve(Greeter)
    reader, writer = await asyncio.open_unix_connection(path)
    assert await asyncio.wait_for(reader.read(), 20) == b"hello"
    writer.close()
    listeners.close()
    assert path.exists()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "x", "LISTEN_PID": "4711"},
        {"LISTEN_FDS": "", "LISTEN_PID": "4711"},
    ],
)
def test_what_is_not_meant_for_us_is_left_alone(environment: dict[str, str]) -> None:
    assert sockets_of(environment, 4711) == {}


def test_a_descriptor_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    assert sockets_of({"LISTEN_FDS": "1", "LISTEN_PID": "4711"}, 4711, fd) == {}
    os.close(fd)
