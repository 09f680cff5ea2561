"""A buffer in the process's memory.

One queue per tag, with a lane for each stream. ``take`` makes a chunk of what has gathered in the lane
whose first batch came first. ``take_group`` takes more from the same queue: one chunk for each place that
streams come from, so that thousands of new files with one tag go out together. The next chunks of a queue are
made when those before have been dealt with. So the events of a stream keep their order, and those of a
rotated file come before its successor's, which is at the same place.

Why nothing is doubled after ``kill -9`` although memory is lost: a chunk of a stream is one contiguous
span ``[start, end)`` of one log file. Before it is handed out, the span is journalled as a *cut*, and
the chunk's id is a hash of (output, stream, start, end). The restarted source reads again from its
position, stops at every cut, and this buffer puts the same batches into the same chunks::

    file      |-----------------|---------|~~~~~~~~~~~
    batches   [  a  ][ b ][  c  ][   d    ] ...
    cuts      [    chunk 1      ][chunk 2 ]              ids are hashes of these spans
    position  ^ moves to a cut's end when every output has committed it

Batches that cannot be read again (no ``Span``) make chunks with random ids.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

from logflow.batch import Batch, Chunk, DeliveryKey, Span
from logflow.buffers.base import (
    BATCH_BYTES,
    NOTHING_DROPPED,
    TAG_BYTES,
    Buffer,
    Dropped,
    GroupLimits,
    Left,
    Waiting,
    account_for,
)
from logflow.buffers.dedup import AcceptedKeys
from logflow.buffers.oldest import Ages, Fronts
from logflow.buffers.schedule import Schedule
from logflow.clock import Clock
from logflow.config.options import BufferOptions
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Account

_Lane: TypeAlias = "deque[_Item]"

_MOST_BATCHES = 2000
"""Most batches in a chunk: what is done when it was delivered must not hold up the event loop."""
_REPLAY_WAIT_S = 30.0
"""How long a chunk that is rebuilt after a restart waits for a part of its file that does not come
(the file was truncated, say) before it is delivered without it."""


@dataclass(slots=True)
class _Item:
    """A batch that waits, with whoever wants to know when it is safe."""

    batch: Batch
    account: Account
    receipts: list[Receipt]
    number: int
    since_s: float


@dataclass(slots=True, eq=False)
class _Queue:
    """What waits for one tag: by stream, ``None`` for what comes from none; see also :class:`Scheduled`."""

    tag: str
    chunk_limit: int
    lanes: dict[str | None, _Lane] = field(default_factory=dict)
    size: int = 0
    batches: int = 0
    busy: bool = False
    in_flight: int = 0
    returned: list[Chunk] = field(default_factory=list)
    due_s: float | None = None
    retry_s: float | None = None
    firm: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to hand out."""
        return not (self.lanes or self.returned)

    @property
    def ready(self) -> bool:
        """Whether a whole chunk waits."""
        return self.size >= self.chunk_limit or self.batches >= _MOST_BATCHES

    @property
    def uncut_bytes(self) -> int:
        """Bytes that the next chunk may be made of."""
        return self.size

    @property
    def pace(self) -> tuple[str, str | None]:
        """What is paced: a stream of a tag, so that a rotated file's successor is served at once."""
        return self.tag, _stream(self.first().batch) if self.lanes else None

    def first_lane(self) -> _Lane:
        """The lane whose first batch came first."""
        if len(self.lanes) == 1:
            return next(iter(self.lanes.values()))
        return min(self.lanes.values(), key=lambda lane: lane[0].number)

    def first(self) -> _Item:
        """The batch that came first."""
        return self.first_lane()[0]

    def first_lanes(self, most: int) -> list[_Lane]:
        """Lanes by which of their first batches came first."""
        if most == 1:
            return [self.first_lane()]
        return heapq.nsmallest(most, self.lanes.values(), key=lambda lane: lane[0].number)

    def add(self, item: _Item) -> None:
        """Put a batch at the end of its lane."""
        self.lanes.setdefault(_stream(item.batch), deque()).append(item)
        self.size += len(item.batch.entries)
        self.batches += 1

    def pop(self, lane: _Lane) -> _Item:
        """Take the first batch of a lane; an empty lane is forgotten."""
        item = lane.popleft()
        self.size -= len(item.batch.entries)
        self.batches -= 1
        if not lane:
            del self.lanes[_stream(item.batch)]
        return item

    def restore(self, items: list[_Item]) -> None:
        """Put batches of one stream back to the front."""
        lane = self.lanes.setdefault(_stream(items[0].batch), deque())
        lane.extendleft(reversed(items))
        self.size += sum(len(item.batch.entries) for item in items)
        self.batches += len(items)


@dataclass
class _Group:
    """Chunks that are taken in one go."""

    limits: GroupLimits
    chunks: list[Chunk] = field(default_factory=list)
    size: int = 0
    events: int = 0

    def add(self, chunk: Chunk) -> None:
        """One more."""
        self.chunks.append(chunk)
        self.size += chunk.size
        self.events += chunk.count

    @property
    def full(self) -> bool:
        """Whether no more is to be added."""
        limits = self.limits
        return len(self.chunks) >= limits.chunks or self.size >= limits.size or self.events >= limits.events


class MemoryBuffer(Buffer):
    """Keeps batches in memory, a queue for each tag, and makes stable chunks of them."""

    def __init__(self, name: str, options: BufferOptions, checkpoints: Checkpoints, clock: Clock) -> None:
        """Make the buffer of the output called ``name``."""
        self._name = name
        self._options = options
        self._checkpoints = checkpoints
        self._clock = clock
        self._schedule: Schedule[_Queue] = Schedule(options.flush_interval, clock)
        self._queues: dict[str, _Queue] = {}
        self._sequence = count()
        self._taken: dict[bytes, list[_Item]] = {}
        self._unwritten: dict[bytes, _Queue] = {}
        """Chunks that were made and are not in the journal yet."""
        self._keys = AcceptedKeys(window_s=options.dedup_window, clock=clock)
        self._keys_waiting: dict[bytes, _Item] = {}
        self._ages = Ages()
        self._fronts = Fronts(self._front)
        self._drops_oldest = options.when_full == "drop_oldest"
        self._events = 0
        self._size = 0
        self._blocked = 0
        """How many puts wait for room."""
        self._room = asyncio.Event()

    async def open(self, account_of: Callable[[str], Account]) -> None:
        """Nothing to recover: what was lost with the process is read again by the sources."""

    async def close(self) -> None:
        """Nothing to release."""

    @property
    def full(self) -> bool:
        """Whether a put would wait."""
        return self._options.when_full == "block" and (
            self._blocked > 0 or self._size >= self._options.limit_bytes
        )

    async def wait_for_room(self) -> None:
        """Return when the buffer is not full."""
        while self.full:
            await self._room.wait()

    @property
    def waiting(self) -> Waiting:
        """How much waits, chunks in flight included."""
        oldest_s = self._ages.oldest_s
        age_s = self._clock.monotonic() - oldest_s if oldest_s is not None else 0.0
        return Waiting(self._events, self._size, self._options.limit_bytes, age_s)

    # -- in ---------------------------------------------------------------------------------------

    async def put(self, batch: Batch, account: Account, receipt: Receipt) -> None:
        """Take a batch; its part of the receipt is settled when its chunk is committed."""
        if self._is_repeat(batch, account, receipt):
            return
        if batch.count and not await self._make_room(batch, account, receipt):
            return
        item = _Item(batch, account, [receipt], next(self._sequence), self._clock.monotonic())
        if isinstance(batch.origin, DeliveryKey):
            self._keys_waiting[batch.origin.key] = item
        self._append(item)

    def _is_repeat(self, batch: Batch, account: Account, receipt: Receipt) -> bool:
        match batch.origin:
            case Span() as span if self._is_accepted(span):
                pass
            case DeliveryKey(key) if (first := self._keys_waiting.get(key)) is not None:
                account.drop(batch.count, "duplicate")
                first.receipts.append(receipt)
                return True
            case DeliveryKey(key) if self._keys.seen(key):
                pass
            case _:
                return False
        account.drop(batch.count, "duplicate")
        receipt.settle()
        return True

    def _is_accepted(self, span: Span) -> bool:
        # What ends where the stream was accepted up to, and has no length, is the flush of a join.
        return (
            span.end <= (accepted := self._checkpoints.accepted(self._name, span.name))
            and span.start < accepted
        )

    async def _make_room(self, batch: Batch, account: Account, receipt: Receipt) -> bool:
        """Wait or drop until the batch fits; ``False`` when it is the batch that was dropped.

        An empty buffer takes a batch of any size, as otherwise it could never be delivered.
        """
        limit = self._options.limit_bytes
        while self._size and self._size + self._cost(batch) > limit:
            match self._options.when_full:
                case "block":
                    await self._wait_blocked()
                    if self._is_repeat(batch, account, receipt):
                        return False
                case "drop_newest":
                    account.drop(batch.count, "buffer_full")
                    receipt.settle()
                    return False
                case "drop_oldest":
                    if not self._drop_oldest():
                        return True
        return True

    async def _wait_blocked(self) -> None:
        self._blocked += 1
        try:
            await self._room.wait()
        finally:
            self._blocked -= 1
            if not self._blocked:  # whoever waits for the buffer not to be full looks again
                self._wake()

    def _cost(self, batch: Batch) -> int:
        """What the batch would add to the size."""
        tag = 0 if batch.tag in self._queues else TAG_BYTES
        return len(batch.entries) + BATCH_BYTES + tag

    def _append(self, item: _Item) -> None:
        tag = item.batch.tag
        self._size += self._cost(item.batch)
        self._events += item.batch.count
        self._ages.add(item.since_s)
        queue = self._queues.get(tag)
        if queue is None:
            queue = self._queues[tag] = _Queue(tag, self._options.chunk_limit)
        was_idle = not queue.lanes
        queue.add(item)
        if was_idle:
            self._front_moved(queue)
        self._schedule.add(queue)

    def _forget(self, queue: _Queue) -> None:
        """Nothing waits for a tag any more."""
        if self._queues.pop(queue.tag, None) is not None:
            self._size -= TAG_BYTES

    def _front(self, tag: str) -> int | None:
        """The number of the first batch of a tag that is in no chunk."""
        queue = self._queues.get(tag)
        return queue.first().number if queue is not None and queue.lanes else None

    def _front_moved(self, queue: _Queue) -> None:
        """Another batch than before is the first of a queue."""
        if self._drops_oldest and queue.lanes:
            self._fronts.push(queue.first().number, queue.tag)
            self._fronts.sweep(self._queues, len(self._queues))

    def _drop_oldest(self) -> bool:
        """Drop the batch that has waited longest and is not in flight; ``False`` when there is none."""
        tag = self._fronts.first()
        if tag is None:
            return False
        queue = self._queues[tag]
        item = queue.pop(queue.first_lane())
        self._front_moved(queue)
        if queue.empty and not queue.busy:
            self._forget(queue)
        item.account.drop(item.batch.count, "buffer_full")
        self._finish([item])
        return True

    # -- out --------------------------------------------------------------------------------------

    async def take(self, *, fresh: bool = True, retries: bool = True) -> Chunk:
        """Wait for the next chunk; its cut is journalled before this returns."""
        (chunk,) = await self.take_group(GroupLimits(), fresh=fresh, retries=retries)
        return chunk

    async def take_group(
        self, limits: GroupLimits, *, fresh: bool = True, retries: bool = True
    ) -> list[Chunk]:
        """Wait for the next chunk, then take what else is due; all cuts are journalled by one write."""
        while True:
            queue: _Queue | None = await self._schedule.next(fresh=fresh, retries=retries)
            group = _Group(limits)
            while queue is not None:
                self._take_from(queue, group)
                if group.full:
                    break
                queue = self._schedule.next_due(fresh=fresh, retries=retries)
            if group.chunks and (chunks := self._journal(group.chunks)):
                return chunks

    def _journal(self, group: list[Chunk]) -> list[Chunk]:
        """Write the cuts of chunks down; returns those that may be sent.

        Raises:
            OSError: the journal's disk is full, and none may be.
        """
        if not self._unwritten:
            return group
        unwritten, self._unwritten = self._unwritten, {}
        try:
            self._checkpoints.flush()
        except OSError:
            for chunk_id, queue in unwritten.items():
                queue.restore(self._taken.pop(chunk_id))
                self._front_moved(queue)
                self._landed(queue)
            if len(unwritten) == len(group):
                raise
        else:
            return group
        return [chunk for chunk in group if chunk.id not in unwritten]

    def _take_from(self, queue: _Queue, group: _Group) -> None:
        """Take chunks of a queue that is busy for it; if there are none, the queue is freed."""
        before, waits = len(group.chunks), False
        if queue.returned:
            self._take_returned(queue, group)
        else:
            waits = not self._make_chunks(queue, group)
        self._front_moved(queue)
        queue.in_flight = len(group.chunks) - before
        if not queue.in_flight:
            queue.busy = False
            if queue.empty:
                self._forget(queue)
            elif not waits:
                self._schedule.add(queue)

    def _take_returned(self, queue: _Queue, group: _Group) -> None:
        queue.returned.sort(key=lambda chunk: self._taken[chunk.id][0].number)
        while queue.returned and not group.full:
            group.add(queue.returned.pop(0))
        if not queue.returned:
            queue.retry_s = None

    def _make_chunks(self, queue: _Queue, group: _Group) -> bool:
        """Make a chunk for each place, in the order in which they came; whether any lane had something."""
        places: set[object] = set()
        moved = False
        for lane in queue.first_lanes(group.limits.chunks) if queue.lanes else []:
            place = lane[0].batch.attributes.get("path")
            if place in places or group.full:
                continue
            places.add(place)
            items = self._next_items(queue, lane)
            moved = moved or bool(items)
            chunk = self._make_chunk(queue, items) if items else None
            if chunk is not None:
                group.add(chunk)
        return moved

    def _next_items(self, queue: _Queue, lane: _Lane) -> list[_Item]:
        """Take what a lane's next chunk is made of off the queue: up to the limit, the gap or the cut."""
        stream = _stream(lane[0].batch)
        planned = dict(self._checkpoints.planned(self._name, stream)) if stream else {}
        items: list[_Item] = []
        size, end, stop_at = 0, -1, -1
        while lane:
            batch = lane[0].batch
            if isinstance(span := batch.origin, Span):
                if not items:
                    stop_at = planned.get(span.start, -1)
                elif span.start != end or end == stop_at:
                    break
                end = span.end
            # A planned chunk is rebuilt whole, even if the limit is lower now.
            full = size + len(batch.entries) > self._options.chunk_limit or len(items) >= _MOST_BATCHES
            if items and stop_at < 0 and full:
                break
            items.append(queue.pop(lane))
            size += len(batch.entries)
        give_up_s = items[-1].since_s + _REPLAY_WAIT_S
        if end < stop_at and self._clock.monotonic() < give_up_s:
            # The rest of the planned chunk has not been read again yet: wait for it.
            queue.restore(items)
            self._schedule.add_at(queue, give_up_s)
            return []
        return items

    def _make_chunk(self, queue: _Queue, items: list[_Item]) -> Chunk | None:
        stream = _stream(items[0].batch)
        parts = tuple(item.batch.entries for item in items if item.batch.count)
        if not parts:
            self._finish(items)
            return None
        chunk_id, resumed = (os.urandom(16), False) if stream is None else self._cut(stream, items)
        if stream is not None:
            self._unwritten[chunk_id] = queue
        count = sum(item.batch.count for item in items)
        self._taken[chunk_id] = items
        return Chunk(chunk_id, queue.tag, parts, count, resumed=resumed)

    def _cut(self, stream: str, items: list[_Item]) -> tuple[bytes, bool]:
        """Have the span of a chunk journalled; returns its id, and whether it was before."""
        first, last = items[0].batch.origin, items[-1].batch.origin
        assert isinstance(first, Span)
        assert isinstance(last, Span)
        planned = dict(self._checkpoints.planned(self._name, stream))
        # A chunk that is rebuilt keeps its id, also when a part of its file is gone by now.
        end = planned.get(first.start, last.end)
        self._checkpoints.cut(self._name, stream, first.start, end)
        name = f"{self._name}\0{stream}\0{first.start}\0{end}"
        return hashlib.blake2b(name.encode(), digest_size=16).digest(), first.start in planned

    # -- done -------------------------------------------------------------------------------------

    async def commit(self, chunk: Chunk, dropped: Dropped = NOTHING_DROPPED) -> None:
        """The chunk has been dealt with."""
        items = self._taken.pop(chunk.id)
        account_for([(item.account, item.batch.count) for item in items], dropped)
        self._finish(items)
        self._landed(self._queues[chunk.tag])
        # After the record that its spans are accepted: until that is written, the chunk may come again.
        self._checkpoints.note(self._name, chunk.id, "")

    def put_back(self, chunk: Chunk, delay_s: float = 0.0, *, firm: bool = False) -> None:
        """The chunk will be taken again, first in its queue."""
        queue = self._queues[chunk.tag]
        retry_s = self._clock.monotonic() + delay_s
        queue.returned.append(chunk)
        queue.retry_s = max(queue.retry_s or retry_s, retry_s)
        queue.firm = firm
        self._landed(queue)

    def hurry(self) -> None:
        """What was put back is due now."""
        self._schedule.hurry()

    def pace_together(self, interval_s: float) -> None:
        """Whoever takes chunks takes those of all tags in one go."""
        self._schedule.pace_together(interval_s)

    def gather(self, interval_s: float) -> None:
        """Whoever takes chunks lets events of all tags gather."""
        self._schedule.gather(interval_s, self._is_pressed)

    def release(self) -> None:
        """Nothing gathers any more."""
        self._schedule.release()

    def _is_pressed(self) -> bool:
        return self._size * 2 >= self._options.limit_bytes

    # -- the end ----------------------------------------------------------------------------------

    def _items(self) -> list[_Item]:
        waiting = [item for queue in self._queues.values() for lane in queue.lanes.values() for item in lane]
        return [item for items in self._taken.values() for item in items] + waiting

    def left(self) -> Left:
        """What was read or sent and not acknowledged comes again; the rest is lost with the process."""
        again = sum(item.batch.count for item in self._items() if _can_come_again(item.batch))
        return Left(again=again, lost=self._events - again)

    def abandon(self, reason: str, *, everything: bool = False) -> None:
        """Drop events; nothing is handed out afterwards."""
        for item in self._items():
            if everything or not _can_come_again(item.batch):
                item.account.drop(item.batch.count, reason)
                self._finish([item])
        self._queues.clear()
        self._taken.clear()

    def reconfigure(self, options: BufferOptions) -> bool:
        """Other limits hold from now on; chunks that were cut stay as they are."""
        if options.when_full != self._options.when_full:
            return False
        self._options = options
        self._room.set()
        self._room.clear()
        return True

    def _landed(self, queue: _Queue) -> None:
        """One of a queue's chunks was dealt with; the queue is free after the last of them."""
        queue.in_flight -= 1
        if queue.in_flight:
            return
        queue.busy = False
        if queue.empty:
            self._forget(queue)
        else:
            self._schedule.add(queue)

    def _finish(self, items: list[_Item]) -> None:
        """The buffer has nothing more to do with these batches of one stream: record it, and tell the source.

        One record for all of them: were a part of a chunk known to be accepted, and not the whole, the rest
        would become a chunk of its own after a restart.
        """
        if isinstance(last := items[-1].batch.origin, Span):
            self._checkpoints.accept(self._name, last.name, last.end)
        for item in items:
            self._size -= len(item.batch.entries) + BATCH_BYTES
            self._ages.remove(item.since_s)
            self._events -= item.batch.count
            if isinstance(item.batch.origin, DeliveryKey):
                del self._keys_waiting[item.batch.origin.key]
                self._keys.add(item.batch.origin.key)
            for receipt in item.receipts:
                receipt.settle()
        self._wake()

    def _wake(self) -> None:
        """Have whoever waits for room look again."""
        self._room.set()
        self._room.clear()


def _can_come_again(batch: Batch) -> bool:
    """Whether a source reads it again, or a peer sends it again, as it was not acknowledged."""
    return batch.origin is not None or bool(batch.attributes.get("acknowledged"))


def _stream(batch: Batch) -> str | None:
    return batch.origin.name if isinstance(batch.origin, Span) else None
