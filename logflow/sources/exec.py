"""The ``exec`` source: runs the application as a child and reads its stdout and stderr.

::

    start ──► read both pipes ──► both at their end, or the child gone and silence ──► exit status
      ▲                                                                                    │
      └──────────────── back-off ◄── restart: always, or on_failure and status not 0 ◄─────┘

    cannot be run at all the first time: status 127 (not found) or 126, as of a shell; no restart
    a signal came: handed on at once
    stopped: SIGTERM to the child (unless one that ends it was handed on), reading goes on;
             after stop_timeout: SIGKILL
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Emit, Source
from logflow.config.fields import Duration, NonEmpty
from logflow.sources import pipes
from logflow.sources.lines import LineCounters, LineFeed, LinesConfig

_READ_BYTES = 256 * 1024
_LINGER_S = 1.0
"""How long the pipes must be silent after the child has ended, if a child of its own holds them open."""

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Signals after which the child is expected to end."""

_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 60.0


class ExecSource(Source):
    """Runs a child. ``exit_status`` is that of the child once it has ended: 128 + n for signal n."""

    class Config(LinesConfig):
        """An application that is run as a child."""

        command: list[NonEmpty] | NonEmpty = Field(
            description="Program and arguments; a text is run by `/bin/sh -c`, and begins with `exec` if the "
            "program, not the shell, is to get the signals.",
            min_length=1,
        )
        env: dict[str, str] = Field(default_factory=dict, description="Variables to add to the environment.")
        cwd: Path | None = Field(None, description="Working directory.")
        restart: Literal["never", "on_failure", "always"] = Field(
            "never",
            description="Whether to start it again when it ended; `never` ends logflow with its status.",
        )
        stop_timeout: Duration = Field(
            10.0, description="How long it may take to end when logflow is stopped, before it is killed."
        )

    config: ExecSource.Config
    outputs: Mapping[str, int] = {"stdout": 1, "stderr": 2}

    def __init__(self, config: ExecSource.Config, context: Context) -> None:
        super().__init__(config, context)
        counters = LineCounters(context.counter)
        self._feeds = {name: LineFeed(config, context, counters, stream=name) for name in self.outputs}
        self._passes_on = config.passthrough
        self._child: asyncio.subprocess.Process | None = None
        self._told_to_end = False

    async def preview(self, data: bytes, path: str | None = None) -> Sequence[Batch]:  # noqa: ARG002
        """Return what would be read if the child wrote ``data`` to its stdout and no more."""
        return self._feeds["stdout"].preview(data)

    def on_signal(self, number: int) -> bool:
        """Hand a signal on to the child."""
        if self._child is not None and self._child.returncode is None:
            self._told_to_end |= number in _ENDING
            with suppress(ProcessLookupError):
                # Not Process.send_signal: it may take the status away from asyncio, which then invents one.
                os.kill(self._child.pid, number)
        return True

    async def run(self, emit: Emit) -> None:
        """Run the child, again and again if so configured."""
        backoff_s = _FIRST_BACKOFF_S
        while True:
            started_s = self.context.clock.monotonic()
            await self._run_once(emit)
            if self._child is None:
                return
            if not self._wants_restart():
                if self.exit_status:
                    self.context.log.warning("The application ended with status %d.", self.exit_status)
                return
            if self.context.clock.monotonic() - started_s > _LONGEST_BACKOFF_S:
                backoff_s = _FIRST_BACKOFF_S
            self.context.log.warning(
                "The application ended with status %d and is started again in %.0f s.",
                self.exit_status, backoff_s,
            )  # fmt: skip
            await self.context.clock.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    def _wants_restart(self) -> bool:
        policy = self.config.restart
        return policy == "always" or (policy == "on_failure" and self.exit_status != 0)

    async def _run_once(self, emit: Emit) -> None:
        """Run the child to its end; :attr:`exit_status` is then as a shell would tell it."""
        fds: dict[int, str] = {}
        starting = asyncio.create_task(
            self._start(fds)
        )  # a task: cancelled half-way, it would kill the child
        reading = asyncio.create_task(self._read_all(starting, fds, emit))
        try:
            await asyncio.shield(reading)
        except BaseException:
            await self._stop(await starting, reading)
            raise
        finally:
            for fd in fds:
                os.close(fd)
            self.exit_status = _status(starting.result())

    async def _start(self, fds: dict[int, str]) -> asyncio.subprocess.Process | int:
        """Start the child, or give the status for one that cannot be run.

        ``fds`` gets our ends of its pipes with their names.
        """
        ends = []
        for name in self._feeds:
            ours, theirs = os.pipe()
            pipes.widen(ours)
            fds[ours] = name
            ends.append(theirs)
        command = self.config.command
        arguments = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        try:
            self._child = await asyncio.create_subprocess_exec(
                *arguments,
                stdout=ends[0],
                stderr=ends[1],
                cwd=self.config.cwd,
                env={**os.environ, **self.config.env},
                start_new_session=True,  # a terminal's signals reach it only through us
            )
        except (OSError, ValueError) as error:
            self.context.log.error(
                "Cannot run %s: %s; check command and cwd of the exec source.",
                arguments[0], getattr(error, "strerror", None) or error,
            )  # fmt: skip
            return 127 if isinstance(error, FileNotFoundError | NotADirectoryError) else 126
        finally:
            for fd in ends:
                os.close(fd)
        self._told_to_end = False
        return self._child

    async def _stop(self, child: asyncio.subprocess.Process | int, reading: asyncio.Task[None]) -> None:
        """End the child, reading what it has to say until it is gone."""
        if isinstance(child, int):
            await reading
            return
        if not self._told_to_end:
            self.on_signal(signal.SIGTERM)
        try:
            _, late = await asyncio.wait([reading], timeout=self.config.stop_timeout)
            if late and child.returncode is None:
                self.context.log.warning(
                    "The application did not end within %.0f s and is killed.", self.config.stop_timeout
                )
                _kill(child)
                await asyncio.wait([reading], timeout=_LINGER_S)
        finally:
            if child.returncode is None:
                _kill(child)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await child.wait()

    # -- reading -----------------------------------------------------------------------------------

    async def _read_all(
        self, starting: asyncio.Task[asyncio.subprocess.Process | int], fds: dict[int, str], emit: Emit
    ) -> None:
        """Read both pipes until they end, and wait for the child."""
        child = await starting
        if isinstance(child, int):
            return
        ended = asyncio.create_task(child.wait())
        try:
            await self._read_pipes(fds, ended, emit)
            await ended
        finally:
            ended.cancel()
        for feed in self._feeds.values():
            await feed.finish(emit)

    async def _read_pipes(self, fds: dict[int, str], ended: asyncio.Task[int], emit: Emit) -> None:
        waiting = dict(fds)
        left = len(fds) * pipes.PIPE_BYTES  # what the pipes may hold when the child has ended
        while waiting and left > 0:
            await emit.ready(self.config.tag)
            try:
                ready = await _next_ready(waiting, ended, self._patience_s())
            except TimeoutError:
                for feed in self._feeds.values():
                    await feed.flush_when_due(emit)
                continue
            if not ready:
                break
            for fd in ready:
                data = os.read(fd, _READ_BYTES)
                left -= len(data) if ended.done() else 0
                if not data:
                    del waiting[fd]
                    continue
                if self._passes_on:
                    await self._pass_on(self.outputs[fds[fd]], data)
                await self._feeds[fds[fd]].feed(data, emit)
            await asyncio.sleep(0)

    def _patience_s(self) -> float | None:
        """How long to wait for more before something that is held is emitted."""
        waits = [feed.patience_s for feed in self._feeds.values()]
        return min((wait_s for wait_s in waits if wait_s is not None), default=None)

    async def _pass_on(self, fd: int, data: bytes) -> None:
        try:
            await pipes.write_all(fd, data)
        except OSError as error:
            self._passes_on = False
            self.context.log.warning(
                "Output takes no more (%s); lines are not passed through any longer.", error.strerror
            )


async def _next_ready(fds: Collection[int], ended: asyncio.Task[int], timeout_s: float | None) -> list[int]:
    """Wait for data; none: the child has ended, and what it has left behind is silent.

    Raises:
        TimeoutError: there is none, and the child goes on.
    """
    if ready := pipes.ready(fds):
        return ready
    readable = asyncio.create_task(pipes.readable(fds))
    try:
        done, _ = await asyncio.wait(
            {readable, ended}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise TimeoutError
        if not readable.done():
            await asyncio.wait({readable}, timeout=_LINGER_S)
        return readable.result() if readable.done() else []
    finally:
        readable.cancel()


def _kill(child: asyncio.subprocess.Process) -> None:
    """Kill the child, and whatever it has started that is still in its group."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _status(child: asyncio.subprocess.Process | int) -> int:
    code = child if isinstance(child, int) else child.returncode
    if code is None:
        return 0
    return code if code >= 0 else 128 - code
