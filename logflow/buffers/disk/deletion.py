"""Deletes segments in which nothing waits, beside the writing of others.

The order is what makes it safe: the records that say a segment's batches are done are synced; how far streams
are stored is synced, as only the checkpoints know it from now on; the segment's keys are saved; then
the file goes, and that is synced before the next one goes. A crash anywhere leaves a file too many.
"""

from __future__ import annotations

import asyncio
import logging

from logflow.buffers.dedup import AcceptedKeys
from logflow.buffers.disk.files import BufferFiles
from logflow.buffers.disk.segments import Segment
from logflow.buffers.disk.stock import Stock
from logflow.buffers.disk.threads import InThread, run_beside
from logflow.buffers.disk.writer import Writer
from logflow.storage.checkpoints import BufferMark, Checkpoints


class Deletion:
    """Deletes the oldest segments, one round at a time."""

    def __init__(
        self, files: BufferFiles, stock: Stock, keys: AcceptedKeys, checkpoints: Checkpoints, name: str, *,
        synced: bool, in_thread: InThread, writer: Writer, log: logging.Logger,
    ) -> None:  # fmt: skip
        """Delete from ``files``; ``writer`` is told when there is more room on the disk."""
        self._files = files
        self._stock = stock
        self._keys = keys
        self._checkpoints = checkpoints
        self._name = name
        self._synced = synced
        self._in_thread = in_thread
        self._writer = writer
        self._log = log
        self._task: asyncio.Task[None] | None = None

    async def start(self, dead: list[Segment]) -> None:
        """Begin to delete ``dead``, the oldest segments; called by the writer between groups."""
        if self._task is not None and not self._task.done():
            return
        there = self._files.segments.segments
        dead = [segment for segment in dead if segment in there]
        if not dead:
            return
        if self._synced:
            try:
                await self._in_thread(self._files.segments.sync)
            except OSError as error:
                self._log.debug("Nothing is deleted now, as the disk buffer cannot be synced: %s.", error)
                return
        self._task = run_beside(self._run(dead), self._log)

    async def stop(self) -> None:
        """Wait until what was begun has ended."""
        if self._task is not None:
            await self._task

    async def _run(self, dead: list[Segment]) -> None:
        for segment in dead:
            try:
                await self._delete(segment)
            except OSError as error:  # checkpoints and keys need a little room, too
                self._log.debug("The segment %s cannot be deleted now: %s.", segment.path, error)
                await self._writer.lend_reserve()
                return
            self._writer.space_given_back()

    async def _delete(self, segment: Segment) -> None:
        left_bytes = self._files.segments.size - segment.size
        self._checkpoints.mark(
            self._name, BufferMark(left_bytes, self._stock.events)
        )  # it is not missing then
        if self._synced:
            await self._checkpoints.sync()
        else:
            self._checkpoints.flush()
        all_keys = self._files.keys.wants_all(self._keys)
        keys = (
            list(self._keys.items()) if all_keys
            else [key for key in segment.keys if self._keys.seen(key[0])]
        )  # fmt: skip
        await self._in_thread(self._files.delete, segment, keys, all_keys=all_keys)
        self._stock.segments.pop(segment.number, None)
