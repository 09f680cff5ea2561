"""The ``stdin`` source: ``app | logflow run -c sidecar.yaml``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Emit, Source
from logflow.sources import pipes
from logflow.sources.lines import LineCounters, LineFeed, LinesConfig

_READ_BYTES = 256 * 1024
_LAST_WORDS_S = 1.0
"""How long what has come already may take to be admitted when the source is stopped."""


class StdinSource(Source):
    """Reads standard input to its end."""

    class Config(LinesConfig):
        """Lines from standard input; its end ends the source."""

        format: Literal["plain", "cri", "docker"] = Field("plain", description="How lines are wrapped.")

    config: StdinSource.Config
    input_fd = 0
    output_fd = 1

    def __init__(self, config: StdinSource.Config, context: Context) -> None:
        super().__init__(config, context)
        counters = LineCounters(context.counter)
        self._feed = LineFeed(config, context, counters, line_format=config.format)
        self._passes_on = config.passthrough

    async def preview(self, data: bytes, path: str | None = None) -> Sequence[Batch]:  # noqa: ARG002
        """Return what would be read if ``data`` came and no more."""
        return self._feed.preview(data)

    async def run(self, emit: Emit) -> None:
        """Read until the input ends."""
        pipes.widen(self.input_fd)
        try:
            while True:
                await emit.ready(self.config.tag)
                await self._wait(emit)
                if not await self._read(emit):
                    break
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._read_what_is_there(emit)
            raise
        await self._feed.finish(emit)

    async def _wait(self, emit: Emit) -> None:
        """Wait for more; meanwhile, emit what has waited for more for long enough."""
        while True:
            try:
                async with asyncio.timeout(self._feed.patience_s):
                    await pipes.readable([self.input_fd])
                return
            except TimeoutError:
                await self._feed.flush_when_due(emit)

    async def _read(self, emit: Emit) -> bool:
        """Take what has come; ``False`` at the end."""
        data = os.read(self.input_fd, _READ_BYTES)
        if self._passes_on:
            await self._pass_on(data)
        await self._feed.feed(data, emit)
        return bool(data)

    async def _read_what_is_there(self, emit: Emit) -> None:
        """Take what the application had written when we were stopped: at most what a pipe holds."""
        for _ in range(pipes.PIPE_BYTES // _READ_BYTES):
            if not pipes.ready([self.input_fd]) or not await self._read(emit):
                break
        await self._feed.finish(emit)

    async def _pass_on(self, data: bytes) -> None:
        try:
            await pipes.write_all(self.output_fd, data)
        except OSError as error:
            self._passes_on = False
            self.context.log.warning(
                "Standard output takes no more (%s); lines are not passed through any longer.", error.strerror
            )
