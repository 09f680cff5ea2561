"""A buffer in the process's memory.

One queue per (tag, stream). ``take`` makes a chunk of what has gathered in a queue; at most one chunk
of a queue is in flight, which keeps the order.

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
from logflow.checkpoint import Checkpoints
from logflow.clock import Clock
from logflow.config.options import BufferOptions
from logflow.receipt import Receipt
from logflow.telemetry.ledger import Account

_Key: TypeAlias = tuple[str, str | None]

_REPLAY_WAIT_S = 30.0
"""How long a chunk that is rebuilt after a restart waits for a part of its file that does not come
(the file was truncated, say) before it is delivered without it."""


@dataclass(slots=True)
class _Item:
    """A batch that waits, with whoever wants to know when it is safe."""

    batch: Batch
    account: Account
    receipts: list[Receipt]
    since_s: float


@dataclass(slots=True)
class _Queue:
    """What waits for one tag of one stream."""

    items: deque[_Item] = field(default_factory=deque)
    size: int = 0
    in_flight: bool = False
    returned: Chunk | None = None
    scheduled: bool = False


class MemoryBuffer(Buffer):
    """See the module's text."""

    def __init__(self, name: str, options: BufferOptions, checkpoints: Checkpoints, clock: Clock) -> None:
        """Make the buffer of the output called ``name``."""
        self._name = name
        self._options = options
        self._checkpoints = checkpoints
        self._clock = clock
        self._pacer = Pacer(options.flush_interval)
        self._queues: dict[_Key, _Queue] = {}
        self._due: list[tuple[float, int, _Key]] = []
        self._sequence = count()
        self._taken: dict[bytes, tuple[_Key, list[_Item]]] = {}
        self._keys = AcceptedKeys(window_s=options.dedup_window, clock=clock)
        self._keys_waiting: dict[bytes, _Item] = {}
        self._events = 0
        self._size = 0
        self._room = asyncio.Event()
        self._more = asyncio.Event()

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
        first = [items[0].since_s for _, items in self._taken.values() if items]
        first += [queue.items[0].since_s for queue in self._queues.values() if queue.items]
        oldest_s = self._clock.monotonic() - min(first) if first else 0.0
        return Waiting(self._events, self._size, self._options.limit_bytes, oldest_s)

    # -- in ---------------------------------------------------------------------------------------

    async def put(self, batch: Batch, account: Account, receipt: Receipt) -> None:
        """Take a batch; its part of the receipt is settled when its chunk is committed."""
        if self._is_repeat(batch, account, receipt):
            return
        if batch.count and not await self._make_room(batch, account, receipt):
            return
        item = _Item(batch, account, [receipt], self._clock.monotonic())
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
        key = self._key_of(item.batch)
        queue = self._queues.setdefault(key, _Queue())
        queue.items.append(item)
        queue.size += len(item.batch.entries)
        self._size += len(item.batch.entries)
        self._events += item.batch.count
        self._schedule(key, queue)

    def _drop_oldest(self) -> bool:
        """Drop the batch that has waited longest and is not in flight; ``False`` when there is none."""
        waiting = [(queue.items[0].since_s, key) for key, queue in self._queues.items() if queue.items]
        if not waiting:
            return False
        _, key = min(waiting, key=lambda pair: pair[0])
        item = self._queues[key].items.popleft()
        self._queues[key].size -= len(item.batch.entries)
        item.account.drop(item.batch.count, "buffer_full")
        self._finish(item)
        return True

    # -- out --------------------------------------------------------------------------------------

    async def take(self) -> Chunk:
        """Wait for the next chunk; its cut is journalled before this returns."""
        while True:
            now_s = self._clock.monotonic()
            while self._due and self._due[0][0] <= now_s:
                _, _, key = heapq.heappop(self._due)
                if (chunk := self._take_from(key, now_s)) is not None:
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

    def _schedule(self, key: _Key, queue: _Queue) -> None:
        """Note when the queue may have its next chunk, and tell whoever waits for one."""
        if queue.in_flight or not (queue.items or queue.returned):
            return
        now_s = self._clock.monotonic()
        ready = queue.returned is not None or queue.size >= self._options.chunk_limit
        if queue.scheduled and not ready:
            return
        queue.scheduled = True
        heapq.heappush(
            self._due, (now_s if ready else self._pacer.due(key, now_s), next(self._sequence), key)
        )
        self._wake()

    def _take_from(self, key: _Key, now_s: float) -> Chunk | None:
        queue = self._queues.get(key)
        if queue is None or queue.in_flight:
            return None
        queue.scheduled = False
        if queue.returned is not None:
            chunk, queue.returned = queue.returned, None
            queue.in_flight = True
            return chunk
        items = self._next_items(key, queue)
        if not items:
            return None
        self._pacer.took(key, now_s)
        return self._make_chunk(key, queue, items)

    def _next_items(self, key: _Key, queue: _Queue) -> list[_Item]:
        """Take what the next chunk is made of off the queue: up to the limit, the gap or the cut."""
        tag_stream = key[1]
        planned = self._checkpoints.planned(self._name, tag_stream) if tag_stream else []
        items: list[_Item] = []
        size, end, stop_at = 0, -1, -1
        while queue.items:
            batch = queue.items[0].batch
            if isinstance(span := batch.origin, Span):
                if not items:
                    stop_at = next((last for first, last in planned if first == span.start), -1)
                elif span.start != end or end == stop_at:
                    break
                end = span.end
            # A planned chunk is rebuilt whole, even if the limit is lower now.
            if items and stop_at < 0 and size + len(batch.entries) > self._options.chunk_limit:
                break
            items.append(queue.items.popleft())
            size += len(batch.entries)
        queue.size -= size
        if end < stop_at and not self._gave_up_waiting(key, items[-1]):
            # The rest of the planned chunk has not been read again yet: wait for it.
            queue.items.extendleft(reversed(items))
            queue.size += size
            return []
        return items

    def _gave_up_waiting(self, key: _Key, last: _Item) -> bool:
        due_s = last.since_s + _REPLAY_WAIT_S
        if self._clock.monotonic() >= due_s:
            return True
        heapq.heappush(self._due, (due_s, next(self._sequence), key))
        return False

    def _make_chunk(self, key: _Key, queue: _Queue, items: list[_Item]) -> Chunk | None:
        tag, stream = key
        parts = tuple(item.batch.entries for item in items if item.batch.count)
        if not parts:
            self._finish_all(key, queue, items)
            return None
        try:
            chunk_id, resumed = (os.urandom(16), False) if stream is None else self._cut(stream, items)
        except OSError:  # the journal's disk is full: nothing was handed out
            queue.items.extendleft(reversed(items))
            queue.size += sum(map(len, parts))
            self._schedule(key, queue)
            raise
        count = sum(item.batch.count for item in items)
        chunk = Chunk(chunk_id, tag, parts, count, resumed=resumed)
        queue.in_flight = True
        self._taken[chunk.id] = (key, items)
        return chunk

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
        key, items = self._taken.pop(chunk.id)
        for item in items:
            item.account.deliver(item.batch.count)
        self._finish_all(key, self._queues[key], items)

    async def discard(self, chunk: Chunk, reason: str) -> None:
        """The chunk was dealt with in another way."""
        key, items = self._taken.pop(chunk.id)
        for item in items:
            item.account.drop(item.batch.count, reason)
        self._finish_all(key, self._queues[key], items)

    def put_back(self, chunk: Chunk) -> None:
        """The chunk will be taken again, first in its queue."""
        key, _ = self._taken[chunk.id]
        queue = self._queues[key]
        queue.in_flight = False
        queue.returned = chunk
        self._schedule(key, queue)

    def _finish_all(self, key: _Key, queue: _Queue, items: list[_Item]) -> None:
        for item in items:
            self._finish(item)
        queue.in_flight = False
        if queue.items:
            self._schedule(key, queue)
        else:
            self._queues.pop(key, None)

    def _finish(self, item: _Item) -> None:
        """The buffer has nothing more to do with the batch: record that, and tell the source."""
        self._size -= len(item.batch.entries)
        self._events -= item.batch.count
        match item.batch.origin:
            case Span(stream, _, end):
                self._checkpoints.accept(self._name, stream, end)
            case DeliveryKey(key):
                del self._keys_waiting[key]
                self._keys.add(key)
        for receipt in item.receipts:
            receipt.settle()
        self._room.set()
        self._room.clear()

    @staticmethod
    def _key_of(batch: Batch) -> _Key:
        return batch.tag, batch.origin.stream if isinstance(batch.origin, Span) else None
