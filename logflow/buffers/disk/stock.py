"""Everything that waits, with its sums: bytes and events, by queue, by segment and by account."""

from __future__ import annotations

from collections.abc import Iterable

from logflow.buffers.base import TAG_BYTES
from logflow.buffers.disk.index import Queue, RecentBodies, Row
from logflow.buffers.disk.segments import Segment
from logflow.telemetry.ledger import Account

_RECENT_BYTES = 16 << 20


class Stock:
    """What waits, kept on the event loop's thread.

    Attributes:
        queues: by tag; those that hold something.
        segments: by number.
        events: how many wait, those on their way to the disk among them.
        size: bytes of their packed entries.
        recent: entries that were written last.
    """

    def __init__(self, chunk_limit: int) -> None:
        """Note in every queue how many bytes make a chunk."""
        self._chunk_limit = chunk_limit
        self.queues: dict[str, Queue] = {}
        self.segments: dict[int, Segment] = {}
        self.events = 0
        self.size = 0
        self.recent = RecentBodies(_RECENT_BYTES)
        self._accounts: list[Account] = []

    @property
    def cost(self) -> int:
        """What counts against the limit: packed entries, and what each tag takes in memory."""
        return self.size + TAG_BYTES * len(self.queues)

    def queue(self, tag: str) -> Queue:
        """Find or make the queue of a tag."""
        queue = self.queues.get(tag)
        if queue is None:
            queue = self.queues[tag] = Queue(tag, chunk_limit=self._chunk_limit)
        return queue

    def account_index(self, account: Account) -> int:
        """The number by which rows name an account; there are few."""
        for index, known in enumerate(self._accounts):
            if known is account:
                return index
        self._accounts.append(account)
        return len(self._accounts) - 1

    def account(self, row: Row) -> Account:
        """The account of a batch."""
        return self._accounts[row.account]

    def adopt(self, queue: Queue, account: Account) -> None:
        """Take over a queue that was recovered; its events enter the account."""
        index = self.account_index(account)
        self.queues[queue.tag] = queue
        queue.chunk_limit = self._chunk_limit
        if queue.cuts:  # the only one of its queue that can have been in flight
            queue.cuts[0].resumed = True
        if index:
            queue.rows.set_account(index)
        events, size = queue.rows.totals()
        self.events += events
        self.size += size
        account.enter(events)

    def admit(self, queue: Queue, seq: int, events: int, size: int) -> None:
        """A batch is on its way to the disk."""
        queue.last_seq = seq
        queue.uncut_bytes += size
        queue.unstored += 1
        self.events += events
        self.size += size

    def store(self, queue: Queue, row: Row, segment: Segment, body: bytes) -> None:
        """A batch has arrived on the disk."""
        queue.unstored -= 1
        queue.rows.append(row)
        self.segments[segment.number] = segment
        segment.live += 1
        self.recent.add(row.seq, body)

    def release(self, row: Row) -> None:
        """A batch waits no longer; it has left its queue."""
        self.events -= row.events
        self.size -= row.size
        self.segments[row.segment].live -= 1
        self.recent.discard(row.seq)

    def move(self, queue: Queue, seq: int, segment: Segment, offset: int) -> None:
        """A batch was copied to another segment."""
        index = queue.rows.find(seq)
        if index is not None:
            self.segments[queue.rows[index].segment].live -= 1
            self.segments[segment.number] = segment
            segment.live += 1
            queue.rows.move(index, segment.number, offset)

    def tidy(self, queue: Queue) -> None:
        """Forget a queue that holds nothing."""
        if queue.empty and not queue.busy and self.queues.get(queue.tag) is queue:
            del self.queues[queue.tag]

    def places(self, rows: Iterable[Row]) -> list[tuple[Segment, Row]]:
        """Where rows lie."""
        return [(self.segments[row.segment], row) for row in rows]

    def oldest_idle(self) -> tuple[Queue, int] | None:
        """The oldest stored batch that is in no chunk in flight: its queue and index."""
        best: tuple[int, Queue, int] | None = None
        for queue in self.queues.values():
            if (held := queue.held) < len(queue.rows):
                seq = queue.rows[held].seq
                if best is None or seq < best[0]:
                    best = (seq, queue, held)
        return best[1:] if best is not None else None

    def oldest_ns(self) -> int | None:
        """Wall-clock time at which the oldest stored batch was put."""
        return min((queue.rows[0].time_ns for queue in self.queues.values() if queue.rows), default=None)
