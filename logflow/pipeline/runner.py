"""Runs a pipeline from start to stop, and changes it while it runs.

::

    lock data_dir ─► checkpoints ─► buffers (recover) ─► filters ─► sources ─► flushers, outputs
                                                                                         │
    unlock ◄─ checkpoints ◄─ buffers ◄─ outputs ◄─ filters ◄─ report ◄─ flush until timeout ◄─ sources stop
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

from logflow.component import Source
from logflow.config.options import RetryOptions
from logflow.errors import LogflowError
from logflow.pipeline.build import Pipeline, disk_buffered
from logflow.pipeline.failures import FILTER, SOURCE
from logflow.pipeline.flusher import Flusher
from logflow.pipeline.leaving import Leaving
from logflow.pipeline.locking import locked
from logflow.pipeline.progress import describe
from logflow.pipeline.replay import Replayer
from logflow.pipeline.retry import Backoff
from logflow.pipeline.router import Router, SourceEmit
from logflow.telemetry.ledger import Account

_log = logging.getLogger("logflow.service")
_FLUSH_S = 0.1
"""How often positions are handed to the operating system; every tenth time they are synced."""
_STAGES_S = 0.25
"""How often stages are asked for what they held for long enough."""
_WORKED_S = 60.0
"""A source that ran for so long before it failed is started again after the first delay."""
_POLL_S = 0.02
_SAY_AGAIN_S = 60.0
_BLOCKED_S = 60.0


class Runner:
    """Runs one pipeline from start to stop."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.running = False
        self._stop = asyncio.Event()
        self._leaving = Leaving(pipeline)
        self._group: asyncio.TaskGroup | None = None
        self._sources: dict[Source, asyncio.Task[None]] = {}
        self._ended: set[Source] = set()
        self._flushers: dict[Flusher, asyncio.Task[None]] = {}
        self._replaying: asyncio.Task[None] | None = None
        self._changes: set[asyncio.Task[None]] = set()
        self._old_sources: set[Source] = set()
        """Sources that were replaced and have not been closed yet."""

    def stop(self) -> None:
        """Stop and drain; called again: stop at once."""
        if self._stop.is_set():
            self._leaving.hurry()
        self._stop.set()

    def on_signal(self, number: int) -> bool:
        """Hand a signal on to the sources; whether one of them took it."""
        return sum(source.on_signal(number) for source in self.pipeline.sources.values()) > 0

    async def run(self) -> int:
        """Run until stopped, every source has ended or one with an exit status; returns the exit status.

        Raises:
            ComponentError: something could not start; everything is released again.
        """
        pipeline = self.pipeline
        async with AsyncExitStack() as stack:
            if pipeline.keeps_state:
                stack.enter_context(locked(pipeline.settings.data_dir))
            pipeline.checkpoints.open()
            stack.callback(pipeline.checkpoints.close)
            stack.push_async_callback(self._close)
            if await self._open_unless_stopped():
                await self._run_tasks()
        status = max((source.exit_status or 0 for source in pipeline.sources.values()), default=0)
        return status or (1 if self._leaving.lost else 0)

    # -- opening and closing ----------------------------------------------------------------------

    async def _open_unless_stopped(self) -> bool:
        """Open everything; whether that came to its end: to recover large buffers takes a while."""
        opening, stopping = (asyncio.ensure_future(work) for work in (self._open(), self._stop.wait()))
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not opening.done():
                await _cancel([opening])
        if opening.cancelled():
            _log.info("Stopped before everything was open; what waits stays where it is.")
            return False
        opening.result()
        return True

    async def _open(self) -> None:
        pipeline = self.pipeline
        for flusher in pipeline.flushers.values():
            await self.open_buffer(flusher)
        for step in pipeline.router.filters:
            await step.open()
        for source in pipeline.sources.values():
            await source.open()

    async def open_buffer(self, flusher: Flusher) -> None:
        """Open an output's buffer: what an earlier process left there is accounted for where it leads now."""
        await flusher.buffer.open(partial(self._account, flusher.name))

    def _account(self, output: str, tag: str) -> Account:
        account = self.pipeline.router.account(tag, output)
        return account or self.pipeline.ledger.account("(recovered)", output)

    async def _close(self) -> None:
        """Close everything, whether it was opened or not; what fails to close holds up nothing else."""
        pipeline = self.pipeline
        for source in (*self._old_sources, *pipeline.sources.values()):
            await quietly(source.drain)
            await quietly(source.close)
        await quietly(pipeline.router.close)
        for step in pipeline.router.filters:
            await quietly(step.close)
        for flusher in pipeline.flushers.values():
            await quietly(flusher.output.close)
        self._leaving.report()
        for flusher in pipeline.flushers.values():
            await quietly(flusher.buffer.close)
        await quietly(pipeline.services.close)

    # -- running ----------------------------------------------------------------------------------

    async def _run_tasks(self) -> None:
        pipeline = self.pipeline
        async with asyncio.TaskGroup() as group:
            self._group = group
            for flusher in pipeline.flushers.values():
                self.start_flusher(flusher)
            works = (
                self._flush_checkpoints(), self._flush_stages(), self._name_stranded(), self._name_blocked()
            )  # fmt: skip
            background = [group.create_task(work) for work in works]
            self.start_replaying()
            for name, source in pipeline.sources.items():
                self.start_source(name, source)
            self.running = True
            try:
                await self._stop.wait()
            finally:
                self.running = False
                await _cancel(self._changes)
                await _cancel(self._sources.values())
                await self._leaving.drain()
                assert self._replaying is not None
                for task in (*background, *self._flushers.values(), self._replaying):
                    task.cancel()

    def start_flusher(self, flusher: Flusher) -> None:
        """Have an output deliver."""
        assert self._group is not None
        self._flushers[flusher] = self._group.create_task(flusher.run())

    async def stop_flusher(self, flusher: Flusher) -> None:
        """Have an output deliver no more; what is under way goes back into its buffer."""
        await _cancel([self._flushers.pop(flusher)])
        await quietly(flusher.output.close)

    async def _name_stranded(self) -> None:
        """Say which buffers belong to no output any more: nobody else would."""
        pipeline = self.pipeline
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
            await self.pipeline.clock.sleep(_BLOCKED_S)
            for name, emit in self.pipeline.emits.items():
                for output, for_s in emit.blocked_on.waits().items():
                    if for_s >= _BLOCKED_S:
                        _log.warning(
                            "Source %s waits for room in the buffer of output %s, for %.0f s now.",
                            name, output, for_s,
                        )  # fmt: skip

    def start_replaying(self) -> None:
        """Look for dead letters to replay, for the outputs, filters and sources that there are now."""
        assert self._group is not None
        pipeline = self.pipeline
        if self._replaying is not None:
            self._replaying.cancel()
        buffers = {
            name: (flusher.buffer, pipeline.ledger.account("(replayed)", name))
            for name, flusher in pipeline.flushers.items()
        }
        names = {f"{FILTER}{step.context.name}" for step in pipeline.router.filters}
        names.update(f"{SOURCE}{name}" for name in pipeline.emits)
        routed = dict.fromkeys(names, SourceEmit(pipeline.router))
        replayer = Replayer(pipeline.dead_letters, buffers, pipeline.clock, routed)
        self._replaying = self._group.create_task(replayer.run())

    def start_source(self, name: str, source: Source) -> None:
        """Have a source read."""
        self._sources[source] = asyncio.create_task(self._run_source(name, source))

    async def stop_source(self, name: str, source: Source, emit: SourceEmit) -> None:
        """Have a source read no more. What it can read again must be safe before another one may do so."""
        self._old_sources.add(source)
        await _cancel([self._sources.pop(source)])
        await self._wait_until_safe(name, emit)
        await quietly(source.drain)
        await quietly(source.close)
        self._old_sources.discard(source)

    async def _wait_until_safe(self, name: str, emit: SourceEmit) -> None:
        """Wait for what its successor would read again; until ``shutdown_timeout``, for answers to peers."""
        clock = self.pipeline.clock
        began_s = said_s = clock.monotonic()
        patience_s = self.pipeline.settings.shutdown_timeout
        while emit.open_spans or (emit.open_batches and clock.monotonic() - began_s < patience_s):
            await asyncio.sleep(_POLL_S)
            if clock.monotonic() - said_s > _SAY_AGAIN_S:
                said_s = clock.monotonic()
                _log.warning("Source %s is replaced when everything that it has read is delivered.", name)

    def change(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do a part of a reload beside everything else; a stop ends it."""
        task = asyncio.create_task(work)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return task

    async def changed(self) -> None:
        """Wait until everything that a reload set going has come to its end."""
        while self._changes:
            await asyncio.wait(self._changes)

    async def retire(self, router: Router, successor: Router) -> None:
        """Hand over from one router to the next, and close the filters of the old one."""
        await router.retire(successor)
        for step in router.filters:
            await quietly(step.close)

    async def remove_output(self, flusher: Flusher) -> None:
        """Deliver what waits for an output that is no longer configured, until ``shutdown_timeout``."""
        buffer = flusher.buffer
        buffer.release()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.pipeline.settings.shutdown_timeout):
                while buffer.waiting.events:  # noqa: ASYNC110 - a buffer tells nobody when it is empty
                    await asyncio.sleep(_POLL_S)
        await self.stop_flusher(flusher)
        self._leaving.removed(flusher)
        await quietly(buffer.close)

    async def _run_source(self, name: str, source: Source) -> None:
        """Run a source; one that fails is started again, so that a bug in it does not end the others."""
        backoff, clock = Backoff(RetryOptions()), self.pipeline.clock
        while True:
            started_s = clock.monotonic()
            try:
                await source.run(self.pipeline.emits[name])
            except Exception as error:
                if clock.monotonic() - started_s > _WORKED_S:
                    backoff.reset()
                _log.error("Source %s failed and is started again: %s.", name, describe(error))
                if not isinstance(error, LogflowError | OSError):
                    _log.debug("Source %s raised.", name, exc_info=True)
                await clock.sleep(backoff.next_delay_s())
            else:
                break
        self._ended.add(source)
        # The application that it ran has ended, or there is nothing more to read.
        if source.exit_status is not None or self._ended.issuperset(self.pipeline.sources.values()):
            self._stop.set()

    async def _flush_checkpoints(self) -> None:
        checkpoints, turn = self.pipeline.checkpoints, 0
        while True:
            if turn % 10 == 0:  # all is synced: an idle process has nothing to do
                await checkpoints.changed()
            await self.pipeline.clock.sleep(_FLUSH_S)
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
        clock = self.pipeline.clock
        while self.pipeline.router.speaks:
            await clock.sleep(_STAGES_S)
            self.pipeline.router.flush(clock.monotonic())


async def quietly(close: Callable[[], Awaitable[None]]) -> None:
    """Close something; an error is logged and holds up nothing else."""
    try:
        await close()
    except Exception as error:
        _log.error("Something failed to close: %s.", describe(error))
        _log.debug("It raised.", exc_info=True)


async def _cancel(tasks: Any) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
