"""A buffer in the process's memory.

One queue per tag, with a lane for each stream. ``take`` makes a chunk of what has gathered in the lane
whose first batch came first; at most one chunk of a queue is in flight. So the events of a stream keep
their order, and those of a rotated file come before its successor's.

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
from logflow.buffers.base import Buffer, Waiting
from logflow.buffers.dedup import AcceptedKeys
from logflow.buffers.pacing import Pacer
from logflow.clock import Clock
from logflow.config.options import BufferOptions
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Account

_Lane: TypeAlias = "deque[_Item]"

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


@dataclass(slots=True)
class _Queue:
    """What waits for one tag: by stream, ``None`` for what comes from none."""

    lanes: dict[str | None, _Lane] = field(default_factory=dict)
    size: int = 0
    in_flight: bool = False
    returned: Chunk | None = None
    scheduled: bool = False

    def first_lane(self) -> _Lane:
        """The lane whose first batch came first."""
        if len(self.lanes) == 1:
            return next(iter(self.lanes.values()))
        return min(self.lanes.values(), key=lambda lane: lane[0].number)

    @property
    def stream(self) -> str | None:
        """The stream of the first batch; ``None`` also when nothing waits but a chunk that was put back."""
        return _stream(self.first().batch) if self.lanes else None

    def first(self) -> _Item:
        """The batch that came first."""
        return self.first_lane()[0]

    def add(self, item: _Item) -> None:
        """Put a batch at the end of its lane."""
        self.lanes.setdefault(_stream(item.batch), deque()).append(item)
        self.size += len(item.batch.entries)

    def pop(self, lane: _Lane) -> _Item:
        """Take the first batch of a lane; an empty lane is forgotten."""
        item = lane.popleft()
        self.size -= len(item.batch.entries)
        if not lane:
            del self.lanes[_stream(item.batch)]
        return item

    def restore(self, items: list[_Item]) -> None:
        """Put batches of one stream back to the front."""
        lane = self.lanes.setdefault(_stream(items[0].batch), deque())
        lane.extendleft(reversed(items))
        self.size += sum(len(item.batch.entries) for item in items)


class MemoryBuffer(Buffer):
    """See the module's text."""

    def __init__(self, name: str, options: BufferOptions, checkpoints: Checkpoints, clock: Clock) -> None:
        """Make the buffer of the output called ``name``."""
        self._name = name
        self._options = options
        self._checkpoints = checkpoints
        self._clock = clock
        self._pacer = Pacer(options.flush_interval)
        self._queues: dict[str, _Queue] = {}
        self._due: list[tuple[float, int, str]] = []
        self._sequence = count()
        self._taken: dict[bytes, list[_Item]] = {}
        self._keys = AcceptedKeys(window_s=options.dedup_window, clock=clock)
        self._keys_waiting: dict[bytes, _Item] = {}
        self._events = 0
        self._size = 0
        self._room = asyncio.Event()
        self._more = asyncio.Event()
        self._turn = asyncio.Lock()

    async def open(self, account_of: Callable[[str], Account]) -> None:
        """Nothing to recover: what was lost with the process is read again by the sources."""

    async def close(self) -> None:
        """Nothing to release."""

    @property
    def full(self) -> bool:
        """Whether a put would wait."""
        return self._options.when_full == "block" and self._size >= self._options.limit_bytes

    async def wait_for_room(self) -> None:
        """Return when the buffer is not full."""
        while self.full:
            await self._room.wait()

    @property
    def waiting(self) -> Waiting:
        """How much waits, chunks in flight included."""
        first = [items[0].since_s for items in self._taken.values()]
        first += [queue.first().since_s for queue in self._queues.values() if queue.lanes]
        oldest_s = self._clock.monotonic() - min(first) if first else 0.0
        return Waiting(self._events, self._size, self._options.limit_bytes, oldest_s)

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
            case Span(stream, _, end) if end <= self._checkpoints.accepted(self._name, stream):
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

    async def _make_room(self, batch: Batch, account: Account, receipt: Receipt) -> bool:
        """Wait or drop until the batch fits; ``False`` when it is the batch that was dropped.

        An empty buffer takes a batch of any size, as otherwise it could never be delivered.
        """
        limit = self._options.limit_bytes
        while self._size and self._size + len(batch.entries) > limit:
            match self._options.when_full:
                case "block":
                    await self._room.wait()
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

    def _append(self, item: _Item) -> None:
        queue = self._queues.setdefault(item.batch.tag, _Queue())
        queue.add(item)
        self._size += len(item.batch.entries)
        self._events += item.batch.count
        self._schedule(item.batch.tag, queue)

    def _drop_oldest(self) -> bool:
        """Drop the batch that has waited longest and is not in flight; ``False`` when there is none."""
        waiting = [queue for queue in self._queues.values() if queue.lanes]
        if not waiting:
            return False
        queue = min(waiting, key=lambda queue: queue.first().number)
        item = queue.pop(queue.first_lane())
        if not (queue.lanes or queue.in_flight or queue.returned):
            del self._queues[item.batch.tag]
        item.account.drop(item.batch.count, "buffer_full")
        self._finish([item])
        return True

    # -- out --------------------------------------------------------------------------------------

    async def take(self) -> Chunk:
        """Wait for the next chunk; its cut is journalled before this returns."""
        # One waits for chunks, the others for their turn: otherwise each chunk would wake all of them.
        async with self._turn:
            while True:
                now_s = self._clock.monotonic()
                while self._due and self._due[0][0] <= now_s:
                    _, _, tag = heapq.heappop(self._due)
                    if (chunk := self._take_from(tag, now_s)) is not None:
                        return chunk
                await self._wait_for_more(self._due[0][0] - now_s if self._due else None)

    async def _wait_for_more(self, delay_s: float | None) -> None:
        """Wait until something changes, or until the earliest queue is due."""
        if delay_s is None:
            await self._more.wait()
            return
        timer = asyncio.get_running_loop().call_later(delay_s, self._wake)
        try:
            await self._more.wait()
        finally:
            timer.cancel()

    def _wake(self) -> None:
        self._more.set()
        self._more.clear()

    def _schedule(self, tag: str, queue: _Queue) -> None:
        """Note when the queue may have its next chunk, and tell whoever waits for one."""
        if queue.in_flight or not (queue.lanes or queue.returned):
            return
        now_s = self._clock.monotonic()
        ready = queue.returned is not None or queue.size >= self._options.chunk_limit
        if queue.scheduled and not ready:
            return
        queue.scheduled = True
        due_s = now_s if ready else self._pacer.due((tag, queue.stream), now_s)
        heapq.heappush(self._due, (due_s, next(self._sequence), tag))
        self._wake()

    def _take_from(self, tag: str, now_s: float) -> Chunk | None:
        queue = self._queues.get(tag)
        if queue is None or queue.in_flight:
            return None
        queue.scheduled = False
        if queue.returned is not None:
            chunk, queue.returned = queue.returned, None
            queue.in_flight = True
            return chunk
        items = self._next_items(tag, queue) if queue.lanes else []
        if not items:
            return None
        self._pacer.took((tag, _stream(items[0].batch)), now_s)
        return self._make_chunk(tag, queue, items)

    def _next_items(self, tag: str, queue: _Queue) -> list[_Item]:
        """Take what the next chunk is made of off the queue: up to the limit, the gap or the cut."""
        lane = queue.first_lane()
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
            if items and stop_at < 0 and size + len(batch.entries) > self._options.chunk_limit:
                break
            items.append(queue.pop(lane))
            size += len(batch.entries)
        if end < stop_at and not self._gave_up_waiting(tag, items[-1]):
            # The rest of the planned chunk has not been read again yet: wait for it.
            queue.restore(items)
            return []
        return items

    def _gave_up_waiting(self, tag: str, last: _Item) -> bool:
        due_s = last.since_s + _REPLAY_WAIT_S
        if self._clock.monotonic() >= due_s:
            return True
        heapq.heappush(self._due, (due_s, next(self._sequence), tag))
        return False

    def _make_chunk(self, tag: str, queue: _Queue, items: list[_Item]) -> Chunk | None:
        stream = _stream(items[0].batch)
        parts = tuple(item.batch.entries for item in items if item.batch.count)
        if not parts:
            self._finish_all(tag, queue, items)
            return None
        try:
            chunk_id, resumed = (os.urandom(16), False) if stream is None else self._cut(stream, items)
        except OSError:  # the journal's disk is full: nothing was handed out
            queue.restore(items)
            self._schedule(tag, queue)
            raise
        count = sum(item.batch.count for item in items)
        queue.in_flight = True
        self._taken[chunk_id] = items
        return Chunk(chunk_id, tag, parts, count, resumed=resumed)

    def _cut(self, stream: str, items: list[_Item]) -> tuple[bytes, bool]:
        """Journal the span of a chunk; returns its id, and whether it was journalled before."""
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

    async def commit(self, chunk: Chunk) -> None:
        """The chunk was delivered."""
        items = self._taken.pop(chunk.id)
        for item in items:
            item.account.deliver(item.batch.count)
        self._finish_chunk(chunk, items)

    async def discard(self, chunk: Chunk, reason: str) -> None:
        """The chunk was dealt with in another way."""
        items = self._taken.pop(chunk.id)
        for item in items:
            item.account.drop(item.batch.count, reason)
        self._finish_chunk(chunk, items)

    def put_back(self, chunk: Chunk) -> None:
        """The chunk will be taken again, first in its queue."""
        queue = self._queues[chunk.tag]
        queue.in_flight = False
        queue.returned = chunk
        self._schedule(chunk.tag, queue)

    def _finish_chunk(self, chunk: Chunk, items: list[_Item]) -> None:
        self._finish_all(chunk.tag, self._queues[chunk.tag], items)
        # After the record that its spans are accepted: until that is written, the chunk may come again.
        self._checkpoints.note(self._name, chunk.id, "")

    def _finish_all(self, tag: str, queue: _Queue, items: list[_Item]) -> None:
        self._finish(items)
        queue.in_flight = False
        if queue.lanes:
            self._schedule(tag, queue)
        else:
            self._queues.pop(tag, None)

    def _finish(self, items: list[_Item]) -> None:
        """The buffer has nothing more to do with these batches of one stream: record it, and tell the source.

        One record for all of them: were a part of a chunk known to be accepted, and not the whole, the rest
        would become a chunk of its own after a restart.
        """
        if isinstance(last := items[-1].batch.origin, Span):
            self._checkpoints.accept(self._name, last.stream, last.end)
        for item in items:
            self._size -= len(item.batch.entries)
            self._events -= item.batch.count
            if isinstance(item.batch.origin, DeliveryKey):
                del self._keys_waiting[item.batch.origin.key]
                self._keys.add(item.batch.origin.key)
            for receipt in item.receipts:
                receipt.settle()
        self._room.set()
        self._room.clear()


def _stream(batch: Batch) -> str | None:
    return batch.origin.stream if isinstance(batch.origin, Span) else None
