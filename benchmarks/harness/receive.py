"""Receivers: a forward server and HTTP servers that keep what they get and cost little.

``python -m harness.receive forward PORT FILE EXPECTED_BYTES`` (or ``http``, or one of :mod:`harness.stores`).
What arrives is kept in memory, and written to ``FILE.<connection>.data`` when SIGTERM ends the receiver. How
far it is stands in ``FILE.progress``: the four numbers of :class:`Arrived` as unsigned 64-bit integers.
"""

from __future__ import annotations

import mmap
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgpack
from typing_extensions import Buffer

from harness.stores import PROTOCOLS, Protocol
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


class Store:
    """Keeps what arrives in memory that was there before.

    Fresh memory, that of the page cache too, may cost many times what it costs to receive, and then the
    receiver and not the subject would be measured.
    """

    def __init__(self, expected_bytes: int) -> None:
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        self._memory = mmap.mmap(-1, max(expected_bytes, mmap.PAGESIZE), flags=flags)
        self._used = 0
        self._parts: list[tuple[Path, Buffer]] = []
        self._lock = threading.Lock()

    def keep(self, path: Path, data: Buffer) -> None:
        """Keep a copy of what is to be appended to a file."""
        with memoryview(data) as view, self._lock:
            start, end = self._used, self._used + len(view)
            if end > len(self._memory):
                self._parts.append((path, bytes(view)))
                return
            self._memory[start:end] = view
            self._parts.append((path, memoryview(self._memory)[start:end]))
            self._used = end

    def write(self) -> None:
        """Write all of it."""
        with self._lock, ExitStack() as stack:
            files: dict[Path, BinaryIO] = {}
            for path, data in self._parts:
                if path not in files:
                    files[path] = stack.enter_context(path.open("ab"))
                files[path].write(data)


def receive_forward(port: int, path: Path, store: Store) -> None:
    """Serve the Forward Protocol on loopback until SIGTERM; one file for each connection."""
    progress = Progress(path.with_suffix(".progress"), create=True)
    server = socket.create_server(("127.0.0.1", port), backlog=64)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit())
    with suppress(SystemExit):
        for index in range(10_000):
            connection, _ = server.accept()
            file = path.with_suffix(f".{index}.data")
            threading.Thread(target=_drain, args=(connection, file, progress, store), daemon=True).start()


def _drain(connection: socket.socket, path: Path, progress: Progress, store: Store) -> None:
    engine = load_engine()
    buffer = bytearray(_BLOCK)
    filled, needed = 0, 1
    with connection:
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
                store.keep(path, view[:consumed])
                rest = bytes(view[consumed:filled])
            if events:
                progress.add(events)
            if acks:
                connection.sendall(acks)
            buffer[: len(rest)] = rest
            filled = len(rest)


def receive_http(port: int, path: Path, store: Store) -> None:
    """Answer 200 to every POST, until SIGTERM."""
    from aiohttp import web

    progress = Progress(path.with_suffix(".progress"), create=True)
    file = path.with_suffix(".0.data")

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        store.keep(file, body)
        progress.add(body.count(b'"num"'))
        return web.Response()

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/{path:.*}", take)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, shutdown_timeout=0.1)


def receive_store(protocol: Protocol, port: int, path: Path, store: Store) -> None:
    """Answer as a store does, until SIGTERM."""
    from aiohttp import web

    progress = Progress(path.with_suffix(".progress"), create=True)
    file = path.with_suffix(".0.data")

    async def take(request: web.Request) -> web.Response:
        numbers = protocol.numbers(protocol.decode(await request.read()))
        store.keep(file, b"".join(b'"num":%b\n' % number for number in numbers))
        progress.add(len(numbers))
        return web.Response(
            status=protocol.status, body=protocol.answer(len(numbers)), content_type="application/json"
        )

    async def tell(_request: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/{path:.*}", take)
    app.router.add_put("/{path:.*}", take)
    app.router.add_get("/{path:.*}", tell)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, shutdown_timeout=0.1)


def main() -> None:
    """Receive until SIGTERM, then write what came."""
    protocol, port, path, store = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Store(int(sys.argv[4]))
    if protocol in PROTOCOLS:
        receive_store(PROTOCOLS[protocol], port, path, store)
    else:
        {"forward": receive_forward, "http": receive_http}[protocol](port, path, store)
    store.write()


if __name__ == "__main__":
    main()
