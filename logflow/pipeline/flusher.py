"""The flusher: takes chunks from a buffer and has an output deliver them.

Each of ``concurrency`` workers does, over and over::

    take ──► write ──► commit                     delivered
              │
              ├─ PermanentError ──► dead letter ──► discard
              ├─ give_up_after  ──► dead letter ──► discard
              ├─ PartialDelivery ─► back-off ──► write the rest
              ├─ ComponentError ──► put_back, and the service ends
              ├─ anything else ──► back-off ──► write again
              └─ cancelled ──► put_back           shutdown: the chunk stays where it was
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from logflow.batch import Chunk, PartialDelivery
from logflow.buffers.base import Buffer
from logflow.clock import Clock
from logflow.component import Output
from logflow.config.options import OutputConfig
from logflow.errors import (
    ComponentError,
    DeliveryError,
    LogflowError,
    PermanentError,
    RetryAfter,
)
from logflow.pipeline.retry import Backoff

_LOG_AGAIN_S = 60.0
_DISK_RETRY_S = 0.5


class DeadLetters(Protocol):
    """Where chunks go that an output will never take."""

    async def put(self, chunk: Chunk, output: str, reason: str) -> None:
        """Keep the chunk; durable when it returns."""
        ...


@dataclass
class DeliveryStatus:
    """How delivery goes, for ``/api/status`` and health.

    Attributes:
        opened: the output was opened.
        problem: the last error, while deliveries fail; ``None`` when they succeed.
        failing_since_s: monotonic time of the first failure in a row.
        progress_s: monotonic time at which a chunk was last dealt with.
        chunks: chunks delivered.
        retries: deliveries that failed and were or will be tried again.
    """

    opened: bool = False
    problem: str | None = None
    failing_since_s: float | None = None
    progress_s: float = 0.0
    chunks: int = 0
    retries: int = 0


class Flusher:
    """Delivers one output's chunks."""

    def __init__(
        self,
        name: str,
        output: Output,
        buffer: Buffer,
        options: OutputConfig,
        *,
        dead_letters: DeadLetters,
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        self.name = name
        self.output = output
        self.buffer = buffer
        self.status = DeliveryStatus(progress_s=clock.monotonic())
        self._options = options
        self._dead_letters = dead_letters
        self._clock = clock
        self._log = log
        self._logged_s = -_LOG_AGAIN_S
        self._logged = False

    async def run(self) -> None:
        """Open the output, trying until it works, then deliver until cancelled."""
        await self._open()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._options.concurrency):
                group.create_task(self._work())

    async def _open(self) -> None:
        backoff = Backoff(self._options.retry)
        while True:
            try:
                await self.output.open()
            except Exception as error:
                self._failed(error, "cannot be opened")
                await self._clock.sleep(backoff.next_delay_s())
            else:
                self.status.opened = True
                self._succeeded()
                return

    async def _work(self) -> None:
        while True:
            await self._deal_with_next()

    async def _deal_with_next(self) -> None:
        """Take a chunk and see it through. When this returns nothing holds the chunk's memory any more."""
        try:
            chunk = await self.buffer.take()
        except OSError as error:  # a full disk is back-pressure: whatever waits goes on waiting
            self._failed(error, "cannot get its next chunk")
            await self._clock.sleep(_DISK_RETRY_S)
            return
        try:
            reason = await self._deliver(chunk)
        except BaseException:
            self.buffer.put_back(chunk)
            raise
        # What was delivered is committed even while the service stops.
        if reason is None:
            await asyncio.shield(self.buffer.commit(chunk))
            self.status.chunks += 1
        else:
            await asyncio.shield(self.buffer.discard(chunk, reason))
        self.status.progress_s = self._clock.monotonic()

    async def _deliver(self, chunk: Chunk) -> str | None:
        """Write until it works; returns the reason when the chunk was given up instead."""
        backoff = Backoff(self._options.retry)
        started_s = self._clock.monotonic()
        while True:
            try:
                async with asyncio.timeout(self._options.write_timeout):
                    await self.output.write(chunk)
            except PermanentError as error:
                self._failed(error, "rejected a chunk")
                return await self._give_up(chunk, "rejected", str(error))
            except ComponentError:
                raise  # the output says that it can never go on, such as stdout without a reader
            except Exception as error:
                delay_s = backoff.next_delay_s()
                if isinstance(error, RetryAfter):
                    delay_s = max(delay_s, min(error.delay_s, self._options.retry.max))
                if isinstance(error, PartialDelivery) and error.rest is not None:
                    chunk = error.rest
                chunk.attempts += 1
                self.status.retries += 1
                self._failed(error, f"did not take a chunk (attempt {chunk.attempts})")
                give_up_after = self._options.retry.give_up_after
                waited_s = self._clock.monotonic() - started_s
                if give_up_after is not None and waited_s + delay_s > give_up_after:
                    return await self._give_up(chunk, "gave_up", describe(error))
                await self._clock.sleep(delay_s)
            else:
                self._succeeded()
                return None

    async def _give_up(self, chunk: Chunk, reason: str, why: str) -> str:
        if not self._options.dead_letter:
            return reason
        while True:
            try:
                await self._dead_letters.put(chunk, self.name, why)
            except DeliveryError as error:  # there is no room: the chunk waits until there is
                self._failed(error, "cannot give up a chunk")
                await self._clock.sleep(self._options.retry.max)
            else:
                return f"dead_letter:{reason}"

    def _failed(self, error: Exception, what: str) -> None:
        now_s = self._clock.monotonic()
        if self.status.failing_since_s is None:
            self.status.failing_since_s = now_s
        self.status.problem = describe(error)
        if now_s - self._logged_s >= _LOG_AGAIN_S:  # an outage is one line a minute, not one a chunk
            self._logged_s, self._logged = now_s, True
            self._log.warning("Output %s %s: %s.", self.name, what, self.status.problem)
        if not isinstance(error, LogflowError | OSError | TimeoutError):
            self._log.debug("Output %s raised.", self.name, exc_info=error)

    def _succeeded(self) -> None:
        if self.status.failing_since_s is not None:
            outage_s = self._clock.monotonic() - self.status.failing_since_s
            if self._logged:
                self._log.info("Output %s works again after %.1f s.", self.name, outage_s)
                self._logged = False
        self.status.problem = self.status.failing_since_s = None


def describe(error: BaseException) -> str:
    """One line about an error, with its type where the text alone would say little.

    Of a group it is the first error, as "unhandled errors in a TaskGroup" says nothing.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error).strip().rstrip(".").replace("\n", " ")
    if isinstance(error, TimeoutError) and not text:
        return "it took longer than write_timeout"
    return text if isinstance(error, LogflowError) and text else f"{type(error).__name__}: {text}"
