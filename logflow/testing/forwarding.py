"""Both ends of the Forward Protocol made by hand: a client that sends any bytes, a server that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgpack


def fluentd_request(
    tag: str, events: list[tuple[int, dict[str, Any]]], chunk_id: bytes = b"", **option: Any
) -> bytes:
    """Build a packed request as Fluentd does: integer times, str32 payload, an id that ends in a newline."""
    payload = b"".join(msgpack.packb(list(event)) for event in events)
    if chunk_id:
        option["chunk"] = base64.b64encode(chunk_id).decode() + "\n"
    option = {"size": len(events), "compressed": "text", **option}
    tag_bytes: bytes = msgpack.packb(tag)
    option_bytes: bytes = msgpack.packb(option)
    return b"\x93" + tag_bytes + b"\xdb" + len(payload).to_bytes(4, "big") + payload + option_bytes


class RawClient:
    """A connection that sends what it is told to, and reads whole msgpack values."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader
        self._unpacker = msgpack.Unpacker(raw=True)

    @classmethod
    async def connect(cls, where: int | Path, **options: Any) -> Self:
        """Connect to a port of 127.0.0.1, or to a unix socket."""
        if isinstance(where, int):
            return cls(*await asyncio.open_connection("127.0.0.1", where, **options))
        return cls(*await asyncio.open_unix_connection(where, **options))

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self) -> Any:
        """Wait for a value.

        Raises:
            EOFError: the connection was closed instead.
        """
        while True:
            try:
                return self._unpacker.unpack()
            except msgpack.OutOfData:
                async with asyncio.timeout(20):
                    data = await self._read()
                if not data:
                    raise EOFError from None
                self._unpacker.feed(data)

    async def closed(self) -> bool:
        """Wait until the other side closes; returns whether nothing came before that."""
        async with asyncio.timeout(20):
            return not await self._read()

    def cut(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(65536)
        except ConnectionError:
            return b""


@dataclass(frozen=True)
class Received:
    """A request that a :class:`ScriptedServer` got."""

    tag: str
    payload: bytes
    option: dict[str, Any]

    @property
    def events(self) -> list[Any]:
        """The entries of an uncompressed payload."""
        unpacker = msgpack.Unpacker(strict_map_key=False)
        unpacker.feed(self.payload)
        return list(unpacker)


Answer = Callable[[Received, asyncio.StreamWriter], Awaitable[None] | None]


def ack(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer as a server should."""
    if "chunk" in request.option:
        writer.write(msgpack.packb({"ack": request.option["chunk"]}))


def ignore(request: Received, writer: asyncio.StreamWriter) -> None:
    """Take the request, and say nothing."""


def cut(request: Received, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001 - an Answer
    """Take the request, and cut the connection."""
    writer.transport.abort()


class ScriptedServer:
    """A server that records packed requests and answers as :attr:`answer` says.

    Attributes:
        answer: what to do with each request; may be changed at any time.
        requests: what came.
        connections: how many were made, those without a request among them.
        deaf: connections are accepted, and nothing is read; not for those that are open already.
    """

    def __init__(self, answer: Answer = ack, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self.answer = answer
        self.requests: list[Received] = []
        self.connections = 0
        self.deaf = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Condition()

    async def start(self) -> None:
        """Listen; the second time on the same port."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and cut those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        for _ in range(10):  # let the clients notice
            await asyncio.sleep(0)

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return len(self._writers)

    async def wait_for(self, requests: int = 0, connections: int = 0) -> None:
        """Wait until so many have come."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(
                lambda: len(self.requests) >= requests and self.connections >= connections
            )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=1 << 30)
        try:
            await self._note_connection()
            if self.deaf:
                await asyncio.Event().wait()
            while data := await reader.read(1 << 20):
                unpacker.feed(data)
                for tag, payload, option in unpacker:
                    await self._take(Received(tag, payload, option), writer)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _note_connection(self) -> None:
        async with self._changed:
            self.connections += 1
            self._changed.notify_all()

    async def _take(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self.requests.append(request)
        waiting = self.answer(request, writer)
        if waiting is not None:
            await waiting
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def scripted_server(
    answer: Answer = ack, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[ScriptedServer]:
    """Run a :class:`ScriptedServer` for the length of a block."""
    server = ScriptedServer(answer, host, port)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@dataclass(frozen=True)
class Certificates:
    """PEM files of an authority, and of a server and a client that it signed."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_certificates(directory: Path) -> Certificates:
    """Make an authority and two certificates with ``openssl``; the server's is for this machine."""
    ca, ca_key = directory / "ca.pem", directory / "ca.key"
    new_key = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
               "-nodes", "-days", "2"]  # fmt: skip
    _openssl([*new_key, "-subj", "/CN=Test authority", "-keyout", ca_key, "-out", ca,
              "-addext", "keyUsage=critical,keyCertSign"])  # fmt: skip
    for name in ("server", "client"):
        _openssl([*new_key, "-subj", f"/CN={name}", "-CA", ca, "-CAkey", ca_key,
                  "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.pem",
                  "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
                  "-addext", "basicConstraints=critical,CA:FALSE"])  # fmt: skip
    return Certificates(
        ca, directory / "server.pem", directory / "server.key", directory / "client.pem",
        directory / "client.key",
    )  # fmt: skip


def _openssl(command: list[str | Path]) -> None:
    environment = {**os.environ, "OPENSSL_CONF": "/dev/null"}
    subprocess.run(command, check=True, capture_output=True, env=environment)  # noqa: S603 - fixed words
