"""The end of a pipeline: delivers what can be delivered, and says truthfully what becomes of the rest.

::

    disk buffer                              stays on disk, and is delivered after the next start
    memory, read from a file                 its position has not moved: it is read again
    memory, from a peer that saw no ack      the peer sends it again
    memory, from a source that cannot ask    lost: dropped for the reason "stopped", and the exit status is 1
    again (a pipe, a client without acks)
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress

from logflow.buffers.base import Left
from logflow.pipeline.build import Pipeline
from logflow.pipeline.flusher import Flusher
from logflow.pipeline.router import LOST

_log = logging.getLogger("logflow.service")
_POLL_S = 0.02
_PATIENCE_S = 1.0
"""An output that fails, and has delivered nothing for so long, is not waited for if nothing can be lost."""


class Leaving:
    """Brings a pipeline to its end."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Wait for nothing any more."""
        self._hurry.set()

    @property
    def lost(self) -> int:
        """Events that were read and can neither be delivered nor be had again."""
        return sum(account.dropped[LOST] for account in self._pipeline.ledger.accounts())

    async def drain(self) -> None:
        """Deliver what waits until it is done, the time is up, nobody takes it or we are told to hurry."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._pipeline.settings.shutdown_timeout
        if waiting := self._waiting():
            _log.info("Stopping; %d events wait to be delivered.", waiting)
        for flusher in self._pipeline.flushers.values():
            flusher.buffer.release()
        flushing = asyncio.ensure_future(self._pipeline.router.flush_all())
        try:
            while loop.time() < deadline and not self._hurry.is_set():
                if flushing.done() and not self._worth_waiting_for():
                    break
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), _POLL_S)
        finally:
            flushing.cancel()
            await asyncio.gather(flushing, return_exceptions=True)

    def _waiting(self) -> int:
        return sum(flusher.buffer.waiting.events for flusher in self._pipeline.flushers.values())

    def _worth_waiting_for(self) -> bool:
        return any(map(self._may_still_deliver, self._pipeline.flushers.values()))

    def _may_still_deliver(self, flusher: Flusher) -> bool:
        if not flusher.buffer.waiting.events:
            return False
        status, now_s = flusher.status, self._pipeline.clock.monotonic()
        if status.failing_since_s is None:
            return True
        if now_s - max(status.failing_since_s, status.progress_s) < _PATIENCE_S:
            return True
        return flusher.buffer.left().lost > 0  # then every second that it may come back counts

    def report(self) -> None:
        """Say what becomes of the events that were not delivered; drop those that are lost."""
        left = Counter[str]()
        for name, flusher in self._pipeline.flushers.items():
            held = flusher.buffer.left()
            if held.lost:
                flusher.buffer.abandon(LOST)
                _log.error(
                    "%d events that wait for output %s are lost: they were in memory, and their source "
                    "cannot send them again (buffer: {type: disk} keeps such events).", held.lost, name,
                )  # fmt: skip
            left.update(on_disk=held.on_disk, again=held.again)
        if left["on_disk"]:
            _log.warning("%d events stay on disk and are delivered after the next start.", left["on_disk"])
        if left["again"]:
            _log.warning(
                "%d events were not delivered; they were not acknowledged, and are read or sent again.",
                left["again"],
            )

    def removed(self, flusher: Flusher) -> None:
        """The same for an output that a reload has taken out of the configuration."""
        held: Left = flusher.buffer.left()
        if held.again or held.lost:
            flusher.buffer.abandon("output_removed", everything=True)
            _log.error(
                "Output %s is gone from the configuration; %d events that it did not take are dropped.",
                flusher.name, held.again + held.lost,
            )  # fmt: skip
        if held.on_disk:
            _log.warning(
                "Output %s is gone from the configuration; %d events stay in its buffer on disk.",
                flusher.name, held.on_disk,
            )  # fmt: skip
