"""Receivers: a forward server and an HTTP server that keep what they get and cost little.

``python -m harness.receive forward PORT FILE`` (or ``http``). What arrives is appended to FILE; how far it
is stands in ``FILE.progress``: the four numbers of :class:`Arrived` as unsigned 64-bit integers.
"""

from __future__ import annotations

import mmap
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import msgpack

from logflow.engine import load_engine

_PROGRESS = struct.Struct("<QQQQ")
_BLOCK = 4 << 20


class Arrived(NamedTuple):
    """What has arrived so far.

    Attributes:
        events: how many lines.
        first_events: how many of them came with the first arrival.
        first_ns: wall-clock time of the first arrival; 0 before it.
        last_ns: wall-clock time of the latest.
    """

    events: int
    first_events: int
    first_ns: int
    last_ns: int

    def after(self, events: int) -> Arrived:
        """The same once some more events have arrived, now."""
        now_ns = time.time_ns()
        first_events, first_ns = (self.first_events, self.first_ns) if self.first_ns else (events, now_ns)
        return Arrived(self.events + events, first_events, first_ns, now_ns)

    def seconds(self, started_ns: int) -> float:
        """How long all of it took, at the speed at which what followed the first arrival came.

        So neither counts how long a subject took to notice its input, nor gains it anything to send much
        at once. All that came at once is counted from ``started_ns`` on, when the input was there.
        """
        if self.events == self.first_events:
            return (self.last_ns - started_ns) / 1e9
        return (self.last_ns - self.first_ns) / 1e9 * self.events / (self.events - self.first_events)


class Progress:
    """Shared by the receiver, which counts, and the runner, which reads."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.write_bytes(bytes(_PROGRESS.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _PROGRESS.size)
        self._lock = threading.Lock()

    def add(self, events: int) -> None:
        """Count arrivals."""
        with self._lock:
            _PROGRESS.pack_into(self._map, 0, *self.read().after(events))

    def read(self) -> Arrived:
        """What has arrived so far."""
        return Arrived(*_PROGRESS.unpack_from(self._map))


def receive_forward(port: int, path: Path) -> None:
    """Serve the Forward Protocol on loopback for ever; one file for each connection."""
    progress = Progress(path.with_suffix(".progress"), create=True)
    server = socket.create_server(("127.0.0.1", port), backlog=64)
    for index in range(10_000):
        connection, _ = server.accept()
        file = path.with_suffix(f".{index}.data")
        threading.Thread(target=_drain, args=(connection, file, progress), daemon=True).start()


def _drain(connection: socket.socket, path: Path, progress: Progress) -> None:
    engine = load_engine()
    buffer = bytearray(_BLOCK)
    filled, needed = 0, 1
    with path.open("ab", buffering=0) as file, connection:
        while True:
            if len(buffer) - filled < _BLOCK // 4:
                buffer.extend(bytes(len(buffer)))
            with memoryview(buffer) as view:
                received = connection.recv_into(view[filled:])
            if not received:
                return
            filled += received
            if filled < needed:
                continue
            with memoryview(buffer) as view:
                frames, consumed, needed = engine.scan_frames(view[:filled], 1 << 30)
                events, acks = 0, b""
                for frame in frames:
                    option = msgpack.unpackb(view[frame.option_start : frame.option_end] or b"\x80")
                    events += option.get("size") or max(frame.events, 0)
                    if (chunk := option.get("chunk")) is not None:
                        acks += msgpack.packb({"ack": chunk})
                file.write(view[:consumed])
                rest = bytes(view[consumed:filled])
            if events:
                progress.add(events)
            if acks:
                connection.sendall(acks)
            buffer[: len(rest)] = rest
            filled = len(rest)


def receive_http(port: int, path: Path) -> None:
    """Answer 200 to every POST, for ever."""
    from aiohttp import web

    progress = Progress(path.with_suffix(".progress"), create=True)
    file = path.with_suffix(".0.data").open("ab", buffering=0)

    async def store(request: web.Request) -> web.Response:
        body = await request.read()
        file.write(body)
        progress.add(body.count(b'"num"'))
        return web.Response()

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/{path:.*}", store)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    {"forward": receive_forward, "http": receive_http}[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))
