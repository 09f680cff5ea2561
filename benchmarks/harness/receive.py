"""Receivers: a forward server and an HTTP server that keep what they get and cost little.

``python -m harness.receive forward PORT FILE`` (or ``http``). What arrives is appended to FILE; how far it
is stands in ``FILE.progress``: three unsigned 64-bit integers, events and the wall-clock nanoseconds of
the first and the latest arrival.
"""

from __future__ import annotations

import mmap
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import msgpack

from logflow.engine import load_engine

_PROGRESS = struct.Struct("<QQQ")
_BLOCK = 4 << 20


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
            total, first_ns, _ = self.read()
            now_ns = time.time_ns()
            _PROGRESS.pack_into(self._map, 0, total + events, first_ns or now_ns, now_ns)

    def read(self) -> tuple[int, int, int]:
        """(events, first ns, latest ns)."""
        return _PROGRESS.unpack_from(self._map)


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
