"""The group commit: one task that writes whatever waits by one write, and one sync if somebody needs it.

::

    batches   B1 B2 cut B3 B4 ...      in order; a cut may cover batches that are written with it
    notes     done tried cut ...       about what is stored already: may overtake the batches

                ┌────────── write (and sync) one group: all notes, then batches up to 16 MiB ◄─┐
                │ stored                                                               0.5 s, or a new note
                ▼                                                                              │
    the buffer does what follows     failed ──► try the notes alone ──► delete what is done ───┘

While the disk is full the notes go on, on the room of the reserve if need be: deliveries need them, and only
deliveries give space back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

from logflow.buffers.disk.records import Record, length_of
from logflow.buffers.disk.segments import Place, Reserve, Segment, SegmentLog
from logflow.buffers.disk.threads import InThread
from logflow.buffers.turns import until_quiet
from logflow.clock import Clock
from logflow.errors import what_happened
from logflow.storage.checkpoints import Checkpoints

_GROUP_BYTES = 16 << 20
_GROUP_ITEMS = 1000
"""Most items in a group: what is done when they are stored must not hold up the event loop."""
_AT_ONCE_BYTES = 32 * 1024
"""As much is copied to the system faster than it is handed to a thread."""
_QUIET_TURNS = 6
"""After so many turns of the event loop without anything new, what was gathered is written. These are a few
more than pass until what is due is cut (``schedule.py``)."""
_GATHERED_BYTES = 256 << 10
"""What is worth a write and a sync of its own."""
_RETRY_S = 0.5
_LOG_AGAIN_S = 60.0
_SYNC_INTERVAL_S = 1.0


@dataclass(slots=True)
class Item:
    """Something to be written, or only to wait for its turn.

    Attributes:
        record: what to write; ``None`` for nothing.
        stored: what follows once the record is written (and synced), given its place. The buffer does it, in
            the order in which items were given.
        sync: whether the record must survive a power cut before it counts as stored.
        wanted: asked right before the record is written; if not, it is left out.
    """

    record: Record | None
    stored: Callable[[Place | None], None] | None = None
    sync: bool = False
    wanted: Callable[[], bool] | None = None


class Step(NamedTuple):
    """What came of an attempt to write."""

    stored: list[tuple[Item, Place | None]]
    """What was written (and synced), in order, and where."""
    dead: list[Segment]
    """The oldest segments in which nothing waits; what says so is written, as far as the disk takes it."""


class Writer:
    """Writes what it is given, in groups; see the module's text.

    Attributes:
        problem: why nothing can be stored now; ``None`` while all is well.
        waiting_bytes: bytes of batches that are not written yet.
    """

    def __init__(
        self, segments: SegmentLog, reserve: Reserve, *, sync: Literal["batch", "interval", "never"],
        in_thread: InThread, checkpoints: Checkpoints, clock: Clock, log: logging.Logger,
    ) -> None:  # fmt: skip
        """Write to ``segments``.

        Args:
            segments: where to.
            reserve: room for notes when the disk is full.
            sync: the policy.
            in_thread: runs what touches the disk.
            checkpoints: name the streams of the batches.
            clock: waits between attempts.
            log: is told of problems.
        """
        self.problem: str | None = None
        self.waiting_bytes = 0
        self._segments = segments
        self._reserve = reserve
        self._sync = sync
        self._in_thread = in_thread
        self._checkpoints = checkpoints
        self._clock = clock
        self._log = log
        self._group_bytes = _GROUP_BYTES
        self._batches: deque[Item] = deque()
        self._notes: deque[Item] = deque()
        self._wake = asyncio.Event()
        self._sync_due = False
        self._wants_reserve = False
        self._owes_reserve = False
        self._log_again_s = 0.0
        self._closing = False
        self._stored: list[tuple[Item, Place | None]] = []

    def end(self) -> None:
        """Have :meth:`groups` end once what waits is written, if the disk takes it."""
        self._closing = True
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether everything given was stored."""
        return not (self._batches or self._notes)

    def add(self, item: Item) -> None:
        """Write an item after everything that was added before it."""
        self._batches.append(item)
        if item.record is not None:
            self.waiting_bytes += length_of(item.record)
        if self.problem is None:
            self._wake.set()

    def note(self, item: Item) -> None:
        """Write an item that is about what is stored already, as soon as possible."""
        self._notes.append(item)
        self._wake.set()

    def space_given_back(self) -> None:
        """There may be more room on the disk: try again now."""
        self._wants_reserve = self._wants_reserve or not self._reserve.held
        self._wake.set()

    async def lend_reserve(self) -> None:
        """Give the room of the reserve to whatever needs it to give back more; batches wait meanwhile."""
        if self._reserve.held:
            await self._in_thread(self._reserve.release)
            self._wants_reserve = self._owes_reserve = True

    async def groups(self) -> AsyncIterator[Step]:
        """Write group after group; yields what came of each attempt, until :meth:`end`."""
        ticking = asyncio.create_task(self._tick()) if self._sync == "interval" else None
        try:
            while not (self._closing and self.idle):
                if self.idle and not (self.problem or self._sync_due or self._wants_reserve):
                    await self._gather()
                self._wake.clear()
                dead = self._segments.dead()  # before the write, so that it holds every note about them
                if self._wants_reserve:
                    await self._in_thread(self._reserve.take)
                    self._wants_reserve = self._owes_reserve = self._owes_reserve and not self._reserve.held
                if not self._owes_reserve and await self._write(notes_only=False):
                    yield self._step(dead)
                    await self._sync_if_due()
                    continue
                await self._write_notes()
                yield self._step(await self._dead_although_full())
                if self._closing:
                    return
                await self._pause()
        finally:
            if ticking is not None:
                ticking.cancel()

    async def _gather(self) -> None:
        """Wait for something to write, and on for as long as more of it comes.

        Requests of one connection are handled in several turns of the event loop, and cut in the next. One
        write and one sync do for all of them.
        """
        await self._wake.wait()
        await until_quiet(lambda: len(self._batches), self._is_little, quiet=_QUIET_TURNS)

    def _is_little(self) -> bool:
        """Whether what waits is not worth a write and a sync of its own."""
        return 0 < len(self._batches) < _GROUP_ITEMS and self.waiting_bytes < _GATHERED_BYTES

    def _step(self, dead: list[Segment]) -> Step:
        stored, self._stored = self._stored, []
        return Step(stored, dead)

    async def _dead_although_full(self) -> list[Segment]:
        """Segments that can be deleted now that every note is written, the newest one among them."""
        if self._notes:
            return []
        try:
            await self._in_thread(self._segments.seal_if_dead)
        except OSError:
            return []
        return self._segments.dead()

    async def _write_notes(self) -> None:
        """Write the notes alone, on the room of the reserve if there is no other.

        Until the reserve is there again, batches wait: it is not for them.
        """
        if not await self._write(notes_only=True):
            await self.lend_reserve()
            await self._write(notes_only=True)

    async def _write(self, *, notes_only: bool) -> bool:
        """Write one group; ``False`` when the disk did not take it, and it waits as before."""
        notes, batches = list(self._notes), [] if notes_only else self._next_batches()
        group = [item for item in (*notes, *batches) if item.wanted is None or item.wanted()]
        records = [item.record for item in group if item.record is not None]
        places: list[Place] = []
        if records:
            sync = self._sync == "batch" and any(item.sync for item in group)
            try:
                if batches:
                    await self._checkpoints.secure_streams(synced=self._sync == "batch")
                places = await self._append(records, sync=sync)
            except OSError as error:
                self._failed(error)
                return False
        for _ in notes:
            self._notes.popleft()
        for _ in batches:
            item = self._batches.popleft()
            self.waiting_bytes -= length_of(item.record) if item.record is not None else 0
        place = iter(places)
        self._stored += [(item, next(place) if item.record is not None else None) for item in group]
        if not notes_only:
            self._succeeded()
        return True

    async def _append(self, records: list[Record], *, sync: bool) -> list[Place]:
        """Write records by one call, in a thread if that may take long."""
        size = sum(map(length_of, records))
        if not sync and size <= _AT_ONCE_BYTES and not self._segments.must_roll:
            return self._segments.append(records, sync=False)
        return await self._in_thread(self._segments.append, records, sync=sync)

    def _next_batches(self) -> list[Item]:
        group: list[Item] = []
        size = 0
        for item in islice(self._batches, _GROUP_ITEMS):
            if group and size >= self._group_bytes:
                break
            group.append(item)
            size += length_of(item.record) if item.record is not None else 0
        return group

    def _failed(self, error: OSError) -> None:
        self.problem = what_happened(error)
        self._group_bytes = 0  # one batch may find room where many do not
        now_s = self._clock.monotonic()
        if now_s >= self._log_again_s:
            self._log_again_s = now_s + _LOG_AGAIN_S
            self._log.error(
                "The disk buffer cannot be written to: %s. Sources wait; it is tried again twice a second.",
                self.problem,
            )

    def _succeeded(self) -> None:
        self._group_bytes = min(max(2 * self._group_bytes, 1 << 16), _GROUP_BYTES)
        if self.problem is not None and not self._batches:
            self.problem = None
            self._log.info("The disk buffer can be written to again.")

    async def _pause(self) -> None:
        """Wait a little, or until there is a note to write."""
        waits = {
            asyncio.ensure_future(self._clock.sleep(_RETRY_S)),
            asyncio.ensure_future(self._wake.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(_SYNC_INTERVAL_S)
            self._sync_due = True
            self._wake.set()

    async def _sync_if_due(self) -> None:
        if not self._sync_due:
            return
        self._sync_due = False
        try:
            await self._in_thread(self._segments.sync)
        except OSError as error:
            self._log.error("The disk buffer cannot be synced: %s. A power cut now would lose events.", error)
            await self._in_thread(self._segments.retire)
