"""Runs one pipeline from start to stop.

::

    lock data_dir ─► checkpoints ─► buffers (recover) ─► filters ─► sources ─► flushers, outputs
                                                                                         │
    unlock ◄─ checkpoints ◄─ buffers ◄─ outputs ◄─ filters ◄─ report ◄─ flush until timeout ◄─ sources stop
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from logflow.component import Source
from logflow.config.options import RetryOptions
from logflow.errors import ComponentError, LogflowError
from logflow.pipeline.build import Pipeline, disk_buffered
from logflow.pipeline.failures import PREFIX
from logflow.pipeline.progress import describe
from logflow.pipeline.replay import Replayer
from logflow.pipeline.retry import Backoff
from logflow.pipeline.router import SourceEmit
from logflow.telemetry.ledger import Account

_log = logging.getLogger("logflow.service")
_FLUSH_S = 0.1
"""How often positions are handed to the operating system; every tenth time they are synced."""
_DRAIN_POLL_S = 0.02
_BLOCKED_S = 60.0
_STAGES_S = 0.25
"""How often stages are asked for what they held for long enough."""


class Runner:
    """Runs one pipeline from start to stop."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = self._pipeline = pipeline
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self.running = False

    def stop(self) -> None:
        """Stop and drain; called again: stop at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def on_signal(self, number: int) -> bool:
        """Hand a signal on to the sources; whether one of them took it."""
        return sum(source.on_signal(number) for source in self._pipeline.sources.values()) > 0

    async def run(self) -> int:
        """Run until stopped, every source has ended or one with an exit status; returns the exit status.

        Raises:
            ComponentError: something could not start; everything is released again.
        """
        pipeline = self._pipeline
        async with AsyncExitStack() as stack:
            if pipeline.keeps_state:
                stack.enter_context(_locked(pipeline.settings.data_dir))
            pipeline.checkpoints.open()
            stack.callback(pipeline.checkpoints.close)
            stack.push_async_callback(pipeline.services.close)
            stack.push_async_callback(pipeline.router.close)
            for name, flusher in pipeline.flushers.items():
                stack.push_async_callback(flusher.buffer.close)
                await flusher.buffer.open(partial(self._account, name))
            for flusher in pipeline.flushers.values():
                stack.push_async_callback(flusher.output.close)
            for step in pipeline.filters:
                stack.push_async_callback(step.close)
                await step.open()
            for source in pipeline.sources.values():
                stack.push_async_callback(source.close)
                stack.push_async_callback(source.drain)
                await source.open()
            await self._run_tasks()
        return max((source.exit_status or 0 for source in pipeline.sources.values()), default=0)

    def _account(self, output: str, tag: str) -> Account:
        account = self._pipeline.router.account(tag, output)
        return account or self._pipeline.ledger.account("(recovered)", output)

    async def _run_tasks(self) -> None:
        pipeline = self._pipeline
        async with asyncio.TaskGroup() as group:
            flushing = [group.create_task(flusher.run()) for flusher in pipeline.flushers.values()]
            flushing.append(group.create_task(self._flush_checkpoints()))
            flushing.append(group.create_task(self._replayer().run()))
            flushing.append(group.create_task(self._name_stranded()))
            flushing.append(group.create_task(self._flush_stages()))
            flushing.append(group.create_task(self._name_blocked()))
            sources = [
                asyncio.create_task(self._run_source(name, source))
                for name, source in pipeline.sources.items()
            ]
            watcher = asyncio.create_task(self._stop_when_ended(sources))
            self.running = True
            try:
                await self._stop.wait()
            finally:
                self.running = False
                for task in (watcher, *sources):
                    task.cancel()
                await asyncio.gather(watcher, *sources, return_exceptions=True)
                await self._drain()
                for task in flushing:
                    task.cancel()

    async def _name_stranded(self) -> None:
        """Say which buffers belong to no output any more: nobody else would."""
        pipeline = self._pipeline
        buffers = pipeline.settings.data_dir / "buffers"
        if not await asyncio.to_thread(buffers.is_dir):
            return
        from logflow.buffers.stranded import find_stranded  # noqa: PLC0415 - only where there are buffers

        used = disk_buffered(pipeline.settings)
        for each in await asyncio.to_thread(lambda: list(find_stranded(buffers, used))):
            pipeline.stranded.append(each)
            pipeline.ledger.account("(stranded)", each.output).enter(each.events)
            _log.warning("%s.", each.describe(pipeline.clock.time_ns()))

    async def _name_blocked(self) -> None:
        """Say once a minute which source has waited for which output all the time."""
        while True:
            await self._pipeline.clock.sleep(_BLOCKED_S)
            for name, emit in self._pipeline.emits.items():
                for output, for_s in emit.blocked_on.waits().items():
                    if for_s >= _BLOCKED_S:
                        _log.warning(
                            "Source %s waits for room in the buffer of output %s, for %.0f s now.",
                            name, output, for_s,
                        )  # fmt: skip

    def _replayer(self) -> Replayer:
        pipeline = self._pipeline
        buffers = {
            name: (flusher.buffer, pipeline.ledger.account("(replayed)", name))
            for name, flusher in pipeline.flushers.items()
        }
        names = {f"{PREFIX}{step.context.name}" for step in pipeline.filters}
        routed = dict.fromkeys(names, SourceEmit(pipeline.router))
        return Replayer(pipeline.dead_letters, buffers, pipeline.clock, routed)

    async def _stop_when_ended(self, sources: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(sources)
        self._stop.set()

    async def _run_source(self, name: str, source: Source) -> None:
        """Run a source; one that fails is started again, so that a bug in it does not end the others."""
        backoff = Backoff(RetryOptions())
        while True:
            try:
                await source.run(self._pipeline.emits[name])
            except Exception as error:
                _log.error("Source %s failed and is started again: %s.", name, describe(error))
                if not isinstance(error, LogflowError | OSError):
                    _log.debug("Source %s raised.", name, exc_info=True)
                await self._pipeline.clock.sleep(backoff.next_delay_s())
            else:
                break
        if source.exit_status is not None:  # the application that it ran has ended
            self._stop.set()

    async def _flush_checkpoints(self) -> None:
        checkpoints, turn = self._pipeline.checkpoints, 0
        while True:
            await self._pipeline.clock.sleep(_FLUSH_S)
            turn += 1
            try:
                if turn % 10:
                    checkpoints.flush()
                else:
                    await checkpoints.sync()
            except OSError as error:  # a full disk: positions wait in memory until there is room
                if turn % 100 == 0:
                    _log.warning("Positions cannot be saved now: %s.", error)

    async def _flush_stages(self) -> None:
        clock = self._pipeline.clock
        while True:
            await clock.sleep(_STAGES_S)
            self._pipeline.router.flush(clock.monotonic())

    async def _drain(self) -> None:
        """Flush what waits until it is delivered, the time is up or we are told to hurry."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._pipeline.settings.shutdown_timeout
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pipeline.settings.shutdown_timeout):
                await self._pipeline.router.flush_all()
        waiting = self._waiting()
        if waiting:
            _log.info("Stopping; %d events wait to be delivered.", waiting)
        while (waiting := self._waiting()) and loop.time() < deadline and not self._hurry.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), _DRAIN_POLL_S)
        if waiting:
            _log.warning(
                "Stopped with %d events not delivered; they stay on disk or are read again.", waiting
            )

    def _waiting(self) -> int:
        return sum(flusher.buffer.waiting.events for flusher in self._pipeline.flushers.values())


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Keep a second process away from the data directory."""
    path = data_dir / "lock"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ComponentError(
            f"cannot use data_dir {data_dir}: {error.strerror}; make it writable or set data_dir elsewhere"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise ComponentError(
            f"data_dir {data_dir} is in use by another logflow; give each its own data_dir"
        ) from error
    try:
        yield
    finally:
        os.close(fd)
