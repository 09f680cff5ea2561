"""Streams that are cut into messages: syslog, Docker, PROXY headers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache

from logflow.errors import LogflowError
from logflow.net.framing import Framing
from logflow.net.proxy_protocol import read_header
from logflow.packing import unpack_entries
from logflow.sources.docker.frames import Frames as DockerFrames
from logflow.sources.docker.frames import time_of
from logflow.sources.syslog.decoding import Decoder
from tools.fuzz.targets.base import Target, context, cut, engines

_MOST = 480


@cache
def _decoder(engine: str) -> Decoder:
    return Decoder(context(engine), "UTC", _MOST)


def _syslog(data: bytes) -> None:
    """The same messages are found however the stream is cut, and both engines decode them alike."""
    found = []
    for parts in ([data[1:]], cut(data)):
        frames = Framing(_MOST, counted=True)
        messages = [message for part in parts for message in frames.feed(part)]
        assert frames.held <= 2 * _MOST + len(data) or frames.held < 1 << 34
        found.append((messages, frames.truncated, frames.broken))
        assert all(len(message) <= _MOST for message in messages)
    assert found[0] == found[1]
    messages = found[0][0]
    if messages:
        decoded = [_decoder(engine).decode(messages, 1) for engine in engines()]
        assert decoded[0] == decoded[-1]
        assert len(list(unpack_entries(decoded[0][0]))) == len(messages)


def _docker(data: bytes) -> None:
    for terminal in (False, True):
        found = []
        for parts in ([data[1:]], cut(data)):
            frames = DockerFrames(terminal=terminal)
            lines: list[bytes] = []
            with suppress(LogflowError):
                for part in parts:
                    lines += frames.feed(part)
            found.append(lines)
            for line in lines:
                assert line.count(b"\n") == 1
                assert time_of(line) in line
        if terminal:
            assert found[0] == found[1]


def _proxy(data: bytes) -> None:
    left = data

    async def receive(size: int) -> bytes:
        nonlocal left
        part, left = left[:size], left[size:]
        return part

    with suppress(LogflowError, EOFError):
        address = asyncio.run(read_header(receive))
        assert address is None or 0 <= address[1] <= 65535


_FRAME = b"\x01\x00\x00\x00\x00\x00\x00\x24" + b"2026-01-31T12:00:00.000000000Z hello\n"

TARGETS = (
    Target(
        "syslog", _syslog,
        [
            b'\xff<34>1 2003-10-11T22:14:15.003Z h su 1 ID47 [a@1 b="c"] m\n<34>Oct 11 22:14:15 h a[1]: x\n',
            b"\x0712 <34>1 - - - 5 <3>aa<13>2026-01-31T12:00:00Z h p: m\n",
        ],
    ),
    Target("docker", _docker, [b"\xff" + 2 * _FRAME, b"\x042026-01-31T12:00:00.000000000Z hello\r\n"]),
    Target(
        "proxy", _proxy,
        [
            b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 24224\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\1\x7f\0\0\1\0\1\0\2",
        ],
    ),
)  # fmt: skip
