"""An HTTP sink that remembers every request: what a store behind the ``http`` output looks like.

::

    DIRECTORY/bodies.jsonl       the bodies of all requests, one after the other
    DIRECTORY/requests.jsonl     one line per request that was answered with 200, written after its body:
                                 {"received_ns":…,"key":…,"path":…,"offset":…,"length":…,"lines":…}

Deliveries over HTTP are at least once, and a store that supports it recognises a repeat by its
``Idempotency-Key``. This sink keeps repeats, so that they can be counted; :func:`without_repeats`
does what such a store does, over all the sinks in front of it.

``python -m logflow.testing.sinks DIRECTORY --listen 127.0.0.1:8080`` runs one until SIGTERM.
"""

from __future__ import annotations

import argparse
import heapq
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from aiohttp import web

from logflow.config.fields import parse_address

_MAX_BODY_BYTES = 256 << 20


class SinkRequest(msgspec.Struct, frozen=True):
    """One request that was answered with 200.

    Attributes:
        received_ns: when its body was complete.
        key: its ``Idempotency-Key``; empty without one.
        path: path of its URL.
        offset: where its body begins in ``bodies.jsonl``.
        length: bytes of the body.
        lines: newlines in the body.
    """

    received_ns: int
    key: str
    path: str
    offset: int
    length: int
    lines: int


class StoringSink:
    """Keeps what is posted to it, on any path, in a directory. A restarted one goes on appending."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._bodies = (directory / "bodies.jsonl").open("ab", buffering=0)
        self._requests = (directory / "requests.jsonl").open("ab", buffering=0)

    def app(self) -> web.Application:
        """The application that serves it."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_post("/{path:.*}", self._store)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        self._bodies.close()
        self._requests.close()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _store(self, http: web.Request) -> web.Response:
        body = await http.read()
        received_ns = time.time_ns()
        key = http.headers.get("Idempotency-Key", "")
        offset = os.lseek(self._bodies.fileno(), 0, os.SEEK_END)
        request = SinkRequest(received_ns, key, http.path, offset, len(body), body.count(b"\n"))
        self._bodies.write(body)
        self._requests.write(msgspec.json.encode(request) + b"\n")
        return web.Response(text="ok\n")


def read_requests(directory: Path) -> list[SinkRequest]:
    """Every request that the sink of a directory has answered with 200, in order."""
    try:
        lines = (directory / "requests.jsonl").read_bytes()
    except FileNotFoundError:
        return []
    whole = lines[: lines.rfind(b"\n") + 1]  # a killed sink may leave a torn one, which it did not answer
    return msgspec.json.Decoder(SinkRequest).decode_lines(whole)


def read_deliveries(directories: Iterable[Path]) -> Iterator[tuple[SinkRequest, bytes]]:
    """Every request of several sinks with its body, in the order in which they came."""
    each = [_deliveries(directory) for directory in directories]
    return heapq.merge(*each, key=lambda delivery: delivery[0].received_ns)


def _deliveries(directory: Path) -> Iterator[tuple[SinkRequest, bytes]]:
    requests = read_requests(directory)
    if not requests:
        return
    with (directory / "bodies.jsonl").open("rb") as bodies:
        for request in requests:
            bodies.seek(request.offset)
            yield request, bodies.read(request.length)


def without_repeats(deliveries: Iterable[tuple[SinkRequest, bytes]]) -> Iterator[tuple[SinkRequest, bytes]]:
    """Leave out requests whose ``Idempotency-Key`` was seen before, as a store does."""
    seen = set()
    for request, body in deliveries:
        if not request.key or request.key not in seen:
            seen.add(request.key)
            yield request, body


def main(argv: list[str] | None = None) -> int:
    """Run a sink until SIGTERM."""
    parser = argparse.ArgumentParser(description="Store what is posted over HTTP.")
    parser.add_argument("directory", type=Path, help="where to store it")
    parser.add_argument("--listen", type=parse_address, default="127.0.0.1:8080", help="host:port")
    options = parser.parse_args(argv)
    host, port = options.listen
    web.run_app(
        StoringSink(options.directory).app(), host=host, port=port, print=None, access_log=None,
        shutdown_timeout=1.0,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
