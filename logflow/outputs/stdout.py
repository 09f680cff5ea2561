"""Output ``stdout``: events as lines on standard output."""

from __future__ import annotations

import asyncio
import os
import select
from typing import Literal

from pydantic import Field

from logflow.batch import Chunk
from logflow.component import Context, Output
from logflow.encoders import TextOptions
from logflow.errors import DeliveryError, OutputEnded

_INLINE_BYTES = 64 << 10
_PIECE_BYTES = 4096
"""A pipe that is ready takes this much without waiting (``PIPE_BUF``)."""
_PIECES_A_TURN = 64


class StdoutOutput(Output):
    """Writes to standard output, which stays blocking, as others share it: only when it is ready.

    A chunk whose delivery was interrupted is finished before another begins, so lines stay whole.
    """

    fd = 1

    class Config(TextOptions):
        """Options of the output ``stdout``."""

        type: Literal["stdout"] = "stdout"
        format: Literal["ndjson", "raw", "ltsv", "csv"] = Field(
            "ndjson", description="`raw` writes the message alone."
        )

    def __init__(self, config: StdoutOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        self._encode = config.encoder(context.engine)
        self._lock = asyncio.Lock()
        self._rest = memoryview(b"")
        self._interrupted: set[bytes] = set()

    async def write(self, chunk: Chunk) -> None:
        """Write a chunk's lines.

        Raises:
            OutputEnded: nobody reads standard output any more.
        """
        async with self._lock:
            await self._write_rest()
            if chunk.id in self._interrupted:
                self._interrupted.remove(chunk.id)
                return
            if chunk.size > _INLINE_BYTES:
                text = await asyncio.to_thread(self._text, chunk)
            else:
                text = self._text(chunk)
            self._rest = memoryview(text)
            self._interrupted.add(chunk.id)
            await self._write_rest()
            self._interrupted.remove(chunk.id)

    def _text(self, chunk: Chunk) -> bytes:
        return b"".join(self._encode(chunk.parts, chunk.tag))

    async def _write_rest(self) -> None:
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        pieces = 0
        try:
            while self._rest:
                if not poll.poll(0):
                    await _writable(self.fd)
                    continue
                self._rest = self._rest[os.write(self.fd, self._rest[:_PIECE_BYTES]) :]
                pieces += 1
                if pieces % _PIECES_A_TURN == 0:
                    await asyncio.sleep(0)
        except BrokenPipeError as error:
            raise OutputEnded("standard output was closed by whoever read it") from error
        except OSError as error:
            raise DeliveryError(f"cannot write to standard output: {error.strerror}") from error


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(fd, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(fd)
