"""Frees segments that are kept by a few old batches.

Segments are deleted oldest first, so one batch that cannot be delivered keeps every later file. When the
files take much more than what waits in them, the waiting batches of the oldest segment are written again at
the end, under their old sequence numbers::

    1. batches    a batch that is committed meanwhile is left out; one that is committed afterwards has its
                  DONE record behind the copy
    2. cuts       of the chunks that these batches are in: behind the copies, so that no copy outlives them
    3. only now   do the batches count as moved, and the old segment may be deleted
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from typing import TypeAlias

from logflow.buffers.disk.index import Queue, Row
from logflow.buffers.disk.records import Record, cut_record
from logflow.buffers.disk.segments import Place, SegmentLog
from logflow.buffers.disk.stock import Stock
from logflow.buffers.disk.threads import run_beside
from logflow.buffers.disk.writer import Item, Writer

_ROUND_BATCHES = 64

Read: TypeAlias = Callable[[list[Row]], Awaitable[list[Record | None]]]
Lose: TypeAlias = Callable[[Queue, Row], None]


class Compaction:
    """Moves waiting batches out of the oldest segment."""

    def __init__(
        self, stock: Stock, segments: SegmentLog, writer: Writer, *, read: Read, lose: Lose,
        log: logging.Logger,
    ) -> None:  # fmt: skip
        """Read rows by ``read``, write them by ``writer``, and tell ``lose`` of those that are damaged."""
        self._stock = stock
        self._segments = segments
        self._writer = writer
        self._read = read
        self._lose = lose
        self._log = log
        self._done_upto = 0
        self._task: asyncio.Task[None] | None = None

    def start_if_worthwhile(self) -> None:
        """Begin when the files take twice what waits in them, and a few segments more."""
        running = self._task is not None and not self._task.done()
        if running or self._writer.problem is not None or not self._segments.wasteful(self._stock.size):
            return
        number = self._segments.segments[0].number
        if number > self._done_upto:  # once: what stays behind is in flight, or cannot be read
            self._done_upto = number
            self._task = run_beside(self._run(number), self._log)

    def stop(self) -> None:
        """End it; what was not moved stays where it is."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self, number: int) -> None:
        queues = list(self._stock.queues.values())
        batches = ((queue, row) for queue in queues for row in queue.rows.in_segment(number))
        while some := list(islice(batches, _ROUND_BATCHES)):
            try:
                records = await self._read([row for _, row in some])
            except OSError:  # all of it was committed and the segment deleted, or it cannot be read now
                return
            await self._move([(*batch, record) for batch, record in zip(some, records, strict=True)])

    async def _move(self, batches: list[tuple[Queue, Row, Record | None]]) -> None:
        moved: list[tuple[Queue, int, Place]] = []
        for queue, row, record in batches:
            if record is None:
                self._lose(queue, row)
            else:
                copied = partial(_copied, moved, queue, row.seq)
                waits = partial(_waits, queue, row.seq)
                self._writer.add(Item(record, copied, sync=True, wanted=waits))
        await self._stored()
        for queue in {queue: None for queue, _, _ in moved}:
            for cut in queue.cuts:
                self._writer.add(Item(cut_record(cut.id, queue.tag, cut.last), sync=True))
        await self._stored()
        for queue, seq, place in moved:
            self._stock.move(queue, seq, *place)

    async def _stored(self) -> None:
        """Wait until everything given to the writer is stored."""
        turn = asyncio.Event()
        self._writer.add(Item(None, lambda _: turn.set()))
        await turn.wait()


def _copied(moved: list[tuple[Queue, int, Place]], queue: Queue, seq: int, place: Place | None) -> None:
    assert place is not None
    moved.append((queue, seq, place))


def _waits(queue: Queue, seq: int) -> bool:
    return queue.rows.find(seq) is not None
