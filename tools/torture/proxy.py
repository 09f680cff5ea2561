"""A TCP proxy that can be cruel: it cuts connections in mid-frame and swallows acks."""

from __future__ import annotations

import asyncio
import contextlib

_BLOCK_BYTES = 64 * 1024


class CruelProxy:
    """Passes bytes on between clients and one server, until told otherwise.

    Attributes:
        cut: connections that were cut.
        swallowed: answers of the server that the client never saw.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._swallow = 0
        self.port = 0
        self.cut = 0
        self.swallowed = 0

    async def open(self, port: int = 0) -> None:
        """Listen on loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        self.cut_connections()

    def cut_connections(self) -> None:
        """Abort every connection now, wherever in a frame it is."""
        for writer in list(self._writers):
            writer.transport.abort()
            self.cut += 1
        self._writers.clear()

    def swallow_answers(self, count: int) -> None:
        """Keep the next ``count`` answers of the server (acks) from the client, and cut its connection."""
        self._swallow += count

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, upstream}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, upstream))
                group.create_task(self._answer(upstream_reader, writer))
        except* OSError:
            pass
        except* asyncio.CancelledError:
            pass  # the loop ends; asyncio's streams would complain about a cancelled handler
        finally:
            for each in (writer, upstream):
                self._writers.discard(each)
                each.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_BLOCK_BYTES):
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_BLOCK_BYTES):
            if self._swallow:
                self._swallow -= 1
                self.swallowed += 1
                break
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        raise ConnectionResetError
