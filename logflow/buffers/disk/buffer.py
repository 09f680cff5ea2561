"""The disk buffer itself: admits batches, makes chunks, keeps the accounts. See the package's text."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

from logflow.batch import Batch, Chunk, DeliveryKey, Span
from logflow.buffers.base import NOTHING_DROPPED, Buffer, Dropped, GroupLimits, Waiting, account_for
from logflow.buffers.dedup import AcceptedKeys
from logflow.buffers.disk.compaction import Compaction
from logflow.buffers.disk.deletion import Deletion
from logflow.buffers.disk.files import BufferFiles, Storage
from logflow.buffers.disk.index import Queue, Row
from logflow.buffers.disk.reading import read_batches
from logflow.buffers.disk.records import (
    MAX_BODY,
    MAX_DESCRIPTION,
    BatchDescription,
    Kind,
    Record,
    cut_record,
    describe,
    describe_origin,
    done_record,
    tried_record,
)
from logflow.buffers.disk.recovery import Recovered
from logflow.buffers.disk.segments import Place, Segment
from logflow.buffers.disk.stock import Stock
from logflow.buffers.disk.threads import run_beside
from logflow.buffers.disk.writer import Item, Writer
from logflow.buffers.schedule import Schedule
from logflow.clock import Clock
from logflow.component import Counter
from logflow.config.options import BufferOptions
from logflow.receipt import Receipt
from logflow.storage.checkpoints import BufferMark, Checkpoints
from logflow.telemetry.ledger import Account

_UNWRITTEN_BYTES = 32 << 20
"""A put waits for the writer when this much waits to be written."""
_CHUNK_ROWS = 5_000
"""Most batches in a chunk: what is done with a chunk must not hold up the event loop."""
_THREADS = 3
_TAGS_AT_ONCE = 100
"""How many tags are taken over before the event loop has its turn."""
_MANY_QUEUES = 1000

_P = ParamSpec("_P")
_T = TypeVar("_T")


class DiskBuffer(Buffer):
    """Chunks that wait in files.

    A queue is a tag: one chunk of it is in flight at a time, so that its events stay in order.
    """

    _files: BufferFiles
    _writer: Writer
    _writing: asyncio.Task[None]
    _compaction: Compaction
    _deletion: Deletion

    def __init__(
        self, name: str, directory: Path, options: BufferOptions, checkpoints: Checkpoints, *,
        clock: Clock, log: logging.Logger, counter: Callable[[str, str], Counter] | None = None,
        storage: Storage | None = None,
    ) -> None:  # fmt: skip
        """Make the buffer of the output called ``name``; nothing is touched before :meth:`open`.

        Args:
            name: the output's name.
            directory: where the files are; one process at a time.
            options: limits and policies.
            checkpoints: learns how far streams are stored.
            clock: tells the time.
            log: is told of damage, and of a disk that takes no writes.
            counter: makes the counters of damage.
            storage: what the files are made with; the usual unless given.
        """
        self._name = name
        self._directory = directory
        self._options = options
        self._checkpoints = checkpoints
        self._clock = clock
        self._log = log
        storage = storage or Storage()
        self._fs = storage.fs
        self._executor = storage.executor
        self._segment_bytes = storage.segment_bytes or min(max(options.limit_bytes // 16, 4 << 20), 32 << 20)
        counter = counter or _uncounted
        self._count_lost = counter("buffer_corrupt_events", "Events lost to damage in the disk buffer.")
        self._count_damage = counter("buffer_corrupt_bytes", "Damaged bytes found in the disk buffer.")
        self._count_overlap = counter(
            "buffer_overlap", "Batches that overlap what is stored of their stream."
        )
        self._stock = Stock(options.chunk_limit)
        self._schedule: Schedule[Queue] = Schedule(options.flush_interval, clock)
        self._in_flight: dict[bytes, Queue] = {}
        self._keys = AcceptedKeys(clock, options.dedup_window)
        self._unstored_ends: dict[str, int] = {}
        self._next_seq = 1
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._is_open = False
        self._stuck = False
        self._looked: tuple[float, int | None] = (-1.0, None)
        self._waits_for_room = False
        """Whether the put whose turn it is waits."""

    # -- life -------------------------------------------------------------------------------------

    async def open(self, account_of: Callable[[str], Account]) -> None:
        """Lock the directory, and recover what is in it."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"buffer-{self._name}")
        cancelled = threading.Event()
        try:
            self._files = files = await self._in_thread(
                BufferFiles, self._fs, self._directory, segment_bytes=self._segment_bytes,
                synced=self._options.sync != "never", clock=self._clock, log=self._log,
                cancelled=cancelled.is_set,
            )  # fmt: skip
        except asyncio.CancelledError:
            cancelled.set()
            raise
        self._writer = Writer(
            files.segments, files.reserve, sync=self._options.sync, in_thread=self._in_thread,
            checkpoints=self._checkpoints, clock=self._clock, log=self._log,
        )  # fmt: skip
        self._compaction = Compaction(
            self._stock, files.segments, self._writer, read=self._read, lose=self._lose_idle, log=self._log
        )
        self._deletion = Deletion(
            files, self._stock, self._keys, self._checkpoints, self._name,
            synced=self._options.sync != "never", in_thread=self._in_thread, writer=self._writer,
            log=self._log,
        )  # fmt: skip
        try:
            await self._adopt(files.found, account_of)
        except BaseException:
            await self._in_thread(files.close)
            raise
        self._is_open = True
        self._writing = run_beside(self._write_on(), self._log)

    async def _adopt(self, found: Recovered, account_of: Callable[[str], Account]) -> None:
        self._next_seq = found.next_seq
        self._stock.segments = {segment.number: segment for segment in found.segments}
        for key, time_ns in found.keys:
            self._keys.add(key, time_ns)
        for stream, end in found.ends.items():
            self._checkpoints.accept(self._name, stream, end)
        for tag, events in found.lost.values():
            self._lose(account_of(tag), events)
        self._count_damage(found.damaged_bytes)
        self._account_for_missing(found, account_of)
        for number, (tag, queue) in enumerate(found.queues.items()):
            self._stock.adopt(queue, account_of(tag))
            self._schedule.add(queue)
            if number % _TAGS_AT_ONCE == _TAGS_AT_ONCE - 1:
                await asyncio.sleep(0)
        if self._stock.events:
            self._log.info(
                "Recovered %d waiting events, %d bytes of entries, from %s.",
                self._stock.events, self._stock.size, self._directory,
            )  # fmt: skip

    def _account_for_missing(self, found: Recovered, account_of: Callable[[str], Account]) -> None:
        """Account for what is gone without a trace: files that are shorter than they were, unknown damage."""
        mark = self._checkpoints.marked(self._name) or BufferMark(0, 0)
        missing_bytes = max(0, mark.size - found.size)
        if missing_bytes:
            self._log.error("%d bytes that were stored are missing in %s.", missing_bytes, self._directory)
            self._count_damage(missing_bytes)
        if missing_bytes or found.unknown_damage:
            lost = mark.events - found.events - sum(events for _, events in found.lost.values())
            if lost > 0:
                self._log.error("About %d events are lost of those that waited.", lost)
                self._lose(account_of(""), lost)

    def _lose(self, account: Account, events: int) -> None:
        """Events of before the start turned out to be lost."""
        account.enter(events)
        account.drop(events, "corrupt")
        self._count_lost(events)

    async def close(self) -> None:
        """Write what is on its way, and release everything."""
        if self._is_open:
            self._compaction.stop()
            self._writer.end()
            await asyncio.gather(self._writing, return_exceptions=True)
            await self._deletion.stop()
            self._mark()
            await self._in_thread(self._files.close)
            self._is_open = False
        if isinstance(self._executor, ThreadPoolExecutor):
            await asyncio.to_thread(self._executor.shutdown)
            self._executor = None

    async def _in_thread(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        call = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    # -- writing ----------------------------------------------------------------------------------

    async def _write_on(self) -> None:
        """Write group after group, do what follows once something is stored, and give space back."""
        try:
            async for stored, dead in self._writer.groups():
                for item, place in stored:
                    if item.stored is not None:
                        item.stored(place)
                self._mark()
                self._wake_puts()
                self._cut_what_is_stuck()
                await self._deletion.start(dead)
                self._compaction.start_if_worthwhile()
        except Exception as error:
            self._writer.problem = f"internal error: {error!r}"
            raise

    def _cut_what_is_stuck(self) -> None:
        """When the disk begins to take no writes, cut what is stored: only deliveries give space back."""
        if self._writer.problem is not None and not self._stuck:
            for queue in self._stock.queues.values():  # once; later as batches arrive
                if queue.cutting and not queue.cuts:
                    self._cut_stored(queue)
        self._stuck = self._writer.problem is not None

    # -- how it is --------------------------------------------------------------------------------

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored now; ``None`` while all is well."""
        return (self._writer.problem or self._files.problem) if self._is_open else None

    @property
    def full(self) -> bool:
        """Whether a put would wait. A disk that takes no writes makes it wait under any policy."""
        over = self._options.when_full == "block" and self._stock.cost >= self._options.limit_bytes
        return over or self._waits_for_room or self.problem is not None

    async def wait_for_room(self) -> None:
        """Return when the buffer is not full."""
        while self.full:
            await self._room.wait()

    @property
    def waiting(self) -> Waiting:
        """How much waits, chunks in flight included."""
        stock, oldest_ns = self._stock, self._oldest_ns()
        age_s = max(0.0, (self._clock.time_ns() - oldest_ns) / 1e9) if oldest_ns is not None else 0.0
        return Waiting(stock.events, stock.size, self._options.limit_bytes, age_s)

    def _mark(self) -> None:
        """Note what is held, so that it is noticed when something of it is gone."""
        self._checkpoints.mark(self._name, BufferMark(self._files.segments.size, self._stock.events))

    def _oldest_ns(self) -> int | None:
        """Since when the oldest batch waits; of very many tags, as it was up to a second ago."""
        now_s = self._clock.monotonic()
        if len(self._stock.queues) < _MANY_QUEUES or now_s - self._looked[0] >= 1:
            self._looked = (now_s, self._stock.oldest_ns())
        return self._looked[1]

    def _wake_puts(self) -> None:
        self._room.set()
        self._room.clear()

    # -- in ---------------------------------------------------------------------------------------

    async def put(self, batch: Batch, account: Account, receipt: Receipt) -> None:
        """Take a batch; its part of the receipt is settled once it is stored."""
        if batch.count and not (self._turn.locked() and self._is_repeat(batch)):
            async with self._turn:  # who waits for room is overtaken by nobody, however small
                reason = await self._admit(batch)
                if reason is None:
                    self._store(batch, account, receipt)
                    return
            if reason != "duplicate":
                account.drop(batch.count, reason)
                receipt.settle()
                return
        account.drop(batch.count, "duplicate")
        self._pass(batch, receipt)

    async def _admit(self, batch: Batch) -> str | None:
        """Wait until the batch may be stored, or return the reason for which it is dropped."""
        while True:
            if self._is_repeat(batch):  # perhaps only since it has waited
                return "duplicate"
            match self._admission(batch):
                case "wait":
                    self._waits_for_room = True
                    try:
                        await self._room.wait()
                    finally:
                        self._waits_for_room = False
                case "store":
                    return None
                case reason:
                    return reason

    def _is_repeat(self, batch: Batch) -> bool:
        """Whether the batch is stored already, or on its way to the disk."""
        match batch.origin:
            case DeliveryKey(key):
                return self._keys.seen(key)
            case Span(_, start, end) as span:
                # What ends where the stream was stored up to, and has no length, is the flush of a join.
                return end <= (accepted := self._accepted(span.name)) and start < accepted
            case None:
                return False

    def _accepted(self, stream: str) -> int:
        return max(self._checkpoints.accepted(self._name, stream), self._unstored_ends.get(stream, 0))

    def _admission(self, batch: Batch) -> str:
        """What becomes of a batch now: ``wait``, ``store``, or the reason for which it is dropped."""
        size = len(batch.entries)
        if size > MAX_BODY or _description_bytes(batch) > MAX_DESCRIPTION:
            return "too_large"
        if self.problem is not None or self._writer.waiting_bytes > _UNWRITTEN_BYTES:
            return "wait"
        while self._stock.size and self._stock.cost + size > self._options.limit_bytes:
            match self._options.when_full:
                case "block":
                    return "wait"
                case "drop_newest":
                    return "buffer_full"
                case "drop_oldest":
                    if (oldest := self._stock.oldest_idle()) is None:
                        break
                    self._remove(*oldest, "buffer_full")
        return "store"

    def _pass(self, batch: Batch, receipt: Receipt) -> None:
        """Settle the receipt of a batch with nothing to store, once all before it is stored."""

        def passed(_: Place | None) -> None:
            if isinstance(batch.origin, Span):
                self._checkpoints.accept(self._name, batch.origin.name, batch.origin.end)
            receipt.settle()

        if self._writer.idle:
            passed(None)
        else:
            self._writer.add(Item(None, passed))

    def _store(self, batch: Batch, account: Account, receipt: Receipt) -> None:
        seq, time_ns, size = self._next_seq, self._clock.time_ns(), len(batch.entries)
        self._next_seq += 1
        description = describe(
            BatchDescription(seq, batch.tag, batch.count, time_ns, describe_origin(batch.origin))
        )
        queue, limit = self._stock.queue(batch.tag), self._options.chunk_limit
        if 0 < queue.uncut_bytes < limit < queue.uncut_bytes + size:
            self._cut_everything(queue)
        self._stock.admit(queue, seq, batch.count, size)
        self._remember(batch, time_ns)
        self._schedule.add(queue)  # before the writer wakes: an idle output's cut is written with the batch
        account_index = self._stock.account_index(account)

        def stored(place: Place | None) -> None:
            assert place is not None
            segment, offset = place
            row = Row(
                seq, segment.number, offset, len(description), size, batch.count, account_index, time_ns
            )
            self._arrived(queue, row, segment, batch)
            receipt.settle()

        self._writer.add(Item(Record(Kind.BATCH, description, batch.entries), stored, sync=True))
        full = queue.uncut_bytes >= limit or queue.uncut_batches == _CHUNK_ROWS
        backlog = queue.uncut_bytes >= limit + size  # of before a restart: taken bit by bit
        if full and not backlog:
            self._cut_everything(queue)

    def _remember(self, batch: Batch, time_ns: int) -> None:
        """From now on the same batch is a repeat, though it is safe only later."""
        match batch.origin:
            case DeliveryKey(key):
                self._keys.add(key, time_ns)
            case Span(_, start, end) as span:
                if start < self._accepted(stream := span.name):
                    self._count_overlap()
                    self._log.warning("A batch of %s overlaps what is stored; it is kept whole.", stream)
                self._unstored_ends[span.name] = end

    def _arrived(self, queue: Queue, row: Row, segment: Segment, batch: Batch) -> None:
        """A batch is stored."""
        self._stock.store(queue, row, segment, batch.entries)
        if self._writer.problem is not None and not queue.cuts:
            self._cut_stored(queue)
        match batch.origin:
            case DeliveryKey(key):
                segment.keys.append((key, row.time_ns))
            case Span(_, _, end) as span:
                stream = span.name
                self._checkpoints.accept(self._name, stream, end)
                if self._unstored_ends.get(stream) == end:
                    del self._unstored_ends[stream]

    # -- out --------------------------------------------------------------------------------------

    async def take(self, *, fresh: bool = True, retries: bool = True) -> Chunk:
        """Wait for the next chunk; its cut is durable when this returns."""
        (chunk,) = await self.take_group(GroupLimits(chunks=1), fresh=fresh, retries=retries)
        return chunk

    async def take_group(
        self, limits: GroupLimits, *, fresh: bool = True, retries: bool = True
    ) -> list[Chunk]:
        """Wait for the next chunk, then take what else is due; all that is cut for it is one write."""
        while True:
            queue: Queue | None = await self._schedule.next(fresh=fresh, retries=retries)
            queues: list[Queue] = []
            size = 0
            while queue is not None:
                if self._is_cut(queue):
                    queues.append(queue)
                    size += queue.first_bytes
                if len(queues) >= limits.chunks or size >= limits.size:
                    break
                queue = self._schedule.next_due(fresh=fresh, retries=retries)
            if chunks := await self._hand_out(queues):
                return chunks

    def _is_cut(self, queue: Queue) -> bool:
        """Whether the queue has a chunk; otherwise one is cut, and the queue is due once that is stored.

        Nobody waits for it here: while the disk is full, chunks that are cut already must get out, as only
        deliveries give space back.
        """
        if queue.returned or queue.cuts:
            return True
        queue.busy = False
        noted = self._writer.problem is not None and self._cut_stored(queue)
        if not noted and not queue.cutting and queue.last_seq > queue.cut_upto:
            self._cut_next(queue)
        self._stock.tidy(queue)
        return False

    async def _hand_out(self, queues: list[Queue]) -> list[Chunk]:
        """Read the first chunk of each queue."""
        try:
            made = [(queue, queue.returned or await self._make_chunk(queue)) for queue in queues]
        except BaseException:
            for queue in queues:
                self._free(queue)
            raise
        chunks = []
        for queue, chunk in made:
            if chunk is None:  # all of it was damaged
                self._free(queue)
                continue
            queue.returned = queue.retry_s = None
            self._in_flight[chunk.id] = queue
            chunks.append(chunk)
        return chunks

    def _free(self, queue: Queue) -> None:
        """The queue may have its next chunk."""
        queue.busy = False
        self._schedule.add(queue)
        self._stock.tidy(queue)

    async def _make_chunk(self, queue: Queue) -> Chunk | None:
        """Read the queue's first chunk; ``None`` when nothing of it is left."""
        if not queue.cuts:
            return None
        cut = queue.cuts[0]
        rows, bodies = await self._read_chunk(queue)
        for row, body in zip(rows, bodies, strict=True):
            if body is None:
                self._lose_row(queue, row)
        parts = tuple(body for body in bodies if body is not None)
        events = sum(row.events for row, body in zip(rows, bodies, strict=True) if body is not None)
        return Chunk(cut.id, queue.tag, parts, events, cut.attempts, cut.resumed) if parts else None

    async def _read_chunk(self, queue: Queue) -> tuple[list[Row], list[bytes | None]]:
        """The rows of the first chunk and their packed entries; ``None`` for those that are damaged."""
        unread: list[Row] = []
        lost: set[int] = set()
        while True:
            rows = queue.first_chunk()
            bodies = {row.seq: self._stock.recent.get(row.seq) for row in rows}
            missing = [row for row in rows if bodies[row.seq] is None and row.seq not in lost]
            try:
                records = await self._read(missing)
            except FileNotFoundError as error:  # compaction has moved them meanwhile
                if missing == unread:  # or rather, somebody has deleted the file
                    paths = {row.seq: str(self._stock.segments[row.segment].path) for row in missing}
                    lost |= {seq for seq, path in paths.items() if path == str(error.filename)} or set(paths)
                unread = missing
                continue
            for row, record in zip(missing, records, strict=True):
                bodies[row.seq] = record.body if record is not None else None
            return rows, list(bodies.values())

    async def _read(self, rows: list[Row]) -> list[Record | None]:
        if not rows:
            return []
        places = self._stock.places(rows)
        records, damaged_bytes = await self._in_thread(read_batches, self._fs, places, self._log)
        self._count_damage(damaged_bytes)
        return records

    def _cut_next(self, queue: Queue) -> None:
        """Make a chunk of what is stored; of what is on its way only if nothing is."""
        if not self._cut_stored(queue):
            self._cut_everything(queue)

    def _cut_stored(self, queue: Queue) -> bool:
        """Make a chunk of what is stored, by a note, which does not wait for batches; whether there is any.

        When the disk is full, only deliveries give space back. Then another cut of the same batches may be on
        its way behind batches that wait; it will find nothing to cut.
        """
        size, new_bytes, last = 0, 0, None
        for row in islice(queue.rows, queue.cut_rows, queue.cut_rows + _CHUNK_ROWS):
            if last is not None and size + row.size > self._options.chunk_limit:
                break
            size, last = size + row.size, row.seq
            new_bytes += row.size if row.seq > queue.cut_upto else 0
        if last is None:
            return False
        if not queue.noted:
            self._cut_by_note(queue, last, new_bytes)
        return True

    def _cut_everything(self, queue: Queue) -> None:
        """Make a chunk of all that is in none yet, what is on its way included."""
        self._writer.add(self._cut(queue, queue.last_seq, queue.uncut_bytes))

    def _cut(self, queue: Queue, last: int, size: int) -> Item:
        chunk_id = os.urandom(16)
        queue.cut_upto = max(queue.cut_upto, last)
        queue.uncut_bytes -= size
        queue.cutting += 1

        def stored(_: Place | None) -> None:
            queue.cutting -= 1
            queue.add_cut(chunk_id, last)
            self._schedule.add(queue)

        return Item(cut_record(chunk_id, queue.tag, last), stored, sync=True)

    def _cut_by_note(self, queue: Queue, last: int, size: int) -> None:
        """Cut what is stored up to ``last``, unless another cut of it comes first."""
        item = self._cut(queue, last, size)
        stored, queue.noted, pending = item.stored, True, True

        def noted(place: Place | None) -> None:
            assert stored is not None
            queue.noted = False
            stored(place)

        def wanted() -> bool:
            # Were a record of it written behind the one that counted, a restart would believe this one.
            nonlocal pending
            if pending and queue.rows.after(last) <= queue.cut_rows:
                pending = queue.noted = False
                queue.cutting -= 1
                self._stock.tidy(queue)
            return pending

        item.stored, item.wanted = noted, wanted
        self._writer.note(item)

    # -- done -------------------------------------------------------------------------------------

    async def commit(self, chunk: Chunk, dropped: Dropped = NOTHING_DROPPED) -> None:
        """The chunk has been dealt with."""
        account_for([(self._stock.account(row), row.events) for row in self._finish(chunk)], dropped)

    def put_back(self, chunk: Chunk, delay_s: float = 0.0, *, firm: bool = False) -> None:
        """The chunk will be taken again, first in its queue."""
        queue = self._in_flight.pop(chunk.id)
        queue.returned = chunk
        queue.retry_s = self._clock.monotonic() + delay_s
        queue.firm = firm
        queue.cuts[0].attempts = chunk.attempts
        self._writer.note(Item(tried_record(chunk.id, chunk.attempts)))
        self._free(queue)

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
        return self._stock.cost * 2 >= self._options.limit_bytes or self.problem is not None

    def _finish(self, chunk: Chunk) -> list[Row]:
        """Take the chunk's batches out."""
        queue = self._in_flight.pop(chunk.id)
        rows = queue.first_chunk()
        queue.remove_first_chunk()
        for row in rows:
            self._stock.release(row)
        self._note_done(queue.tag, rows[0].seq, rows[-1].seq, chunk.id)
        self._free(queue)
        self._wake_puts()
        return rows

    def _lose_row(self, queue: Queue, row: Row) -> None:
        """A batch turned out to be damaged."""
        index = queue.rows.find(row.seq)
        if index is not None:
            self._count_lost(row.events)
            self._remove(queue, index, "corrupt")

    def _lose_idle(self, queue: Queue, row: Row) -> None:
        """A batch turned out to be damaged; if it is held in memory by a chunk, nothing is lost yet."""
        index = queue.rows.find(row.seq)
        if index is not None and index >= queue.held:
            self._lose_row(queue, row)

    def _remove(self, queue: Queue, index: int, reason: str) -> None:
        """One batch goes no further."""
        row = queue.rows[index]
        queue.remove(index)
        self._stock.account(row).drop(row.events, reason)
        self._stock.release(row)
        self._note_done(queue.tag, row.seq, row.seq)
        self._stock.tidy(queue)

    def _note_done(self, tag: str, first: int, last: int, chunk_id: bytes = b"") -> None:
        def stored(_: Place | None) -> None:  # until now, the chunk might have come again
            self._checkpoints.note(self._name, chunk_id, "")

        self._writer.note(Item(done_record(tag, first, last), stored))


def _description_bytes(batch: Batch) -> int:
    """An upper bound of what the batch's description takes."""
    match batch.origin:
        case Span() as span:
            return 4 * (len(batch.tag) + len(span.name)) + 100
        case DeliveryKey(key):
            return 4 * len(batch.tag) + len(key) + 100
        case None:
            return 4 * len(batch.tag) + 100


def _uncounted(_name: str, _help: str) -> Counter:
    return lambda amount=1: None  # noqa: ARG005 - nobody counts
