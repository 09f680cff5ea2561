"""What waits, and where it lies: the state that recovery rebuilds.

A queue per tag::

    rows    [r1 r2 r3][r4 r5] r6 r7 ...        in the order of their sequence numbers
    cuts     cut 1     cut 2                   chunks, oldest first; rows after the last are not cut yet

The first chunk may be in flight. What is done leaves at the front; what is dropped or damaged may
leave anywhere. Waiting batches are many and small when an outage is long, so a row takes 40 bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from logflow.batch import Chunk
from logflow.buffers.disk.records import FRAME_BYTES

_WORDS = 5
_LOW = 0xFFFFFFFF
_MANY_ROWS = 200


class Row(NamedTuple):
    """One waiting batch."""

    seq: int
    segment: int
    offset: int
    described: int
    """Bytes of the description."""
    size: int
    """Bytes of the packed entries."""
    events: int
    account: int
    """Which account it belongs to: an index."""
    time_ns: int

    @property
    def frame_length(self) -> int:
        """Bytes before (and after) the packed entries."""
        return FRAME_BYTES + self.described

    @property
    def length(self) -> int:
        """Bytes of the record."""
        return 2 * self.frame_length + self.size


class Rows:
    """Rows in ascending order of sequence number, packed into five integers of 64 bits each."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._words = array("Q")
        self._first = 0
        for row in rows:
            self.append(row)

    def __len__(self) -> int:
        return len(self._words) // _WORDS - self._first

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = (self._first + index) * _WORDS
        seq, place, sizes, counts, time_ns = self._words[start : start + _WORDS]
        return Row(
            seq, place >> 32, place & _LOW, sizes >> 32, sizes & _LOW, counts >> 32, counts & _LOW, time_ns
        )

    def __iter__(self) -> Iterator[Row]:
        return map(self.__getitem__, range(len(self)))

    def append(self, row: Row) -> None:
        """Add a row at the end."""
        seq, segment, offset, described, size, events, account, time_ns = row
        self._words.extend(
            (seq, segment << 32 | offset, described << 32 | size, events << 32 | account, time_ns)
        )

    def slice(self, start: int, stop: int) -> list[Row]:
        """The rows from ``start`` up to ``stop``."""
        return [self[index] for index in range(start, stop)]

    def drop_first(self, number: int) -> None:
        """Remove rows at the front; costs a move of the rest only now and then."""
        self._first += number
        if self._first > 1000 and 2 * self._first > len(self):
            del self._words[: self._first * _WORDS]
            self._first = 0

    def remove(self, index: int) -> None:
        """Remove one row."""
        if index == 0:
            self.drop_first(1)
        else:
            start = (self._first + index) * _WORDS
            del self._words[start : start + _WORDS]

    def after(self, seq: int) -> int:
        """Index of the first row beyond ``seq``; the number of rows if there is none."""
        return bisect_left(self, seq + 1, key=lambda row: row.seq)

    def find(self, seq: int) -> int | None:
        """Index of a row."""
        index = self.after(seq - 1)
        return index if index < len(self) and self[index].seq == seq else None

    def totals(self, start: int = 0) -> tuple[int, int]:
        """Events and bytes of packed entries in the rows from ``start`` on; quicker than one by one."""
        first = (self._first + start) * _WORDS
        events = sum(word >> 32 for word in self._words[first + 3 :: _WORDS])
        return events, sum(word & _LOW for word in self._words[first + 2 :: _WORDS])

    def by_segment(self) -> Counter[int]:
        """How many rows lie in each segment."""
        return Counter(word >> 32 for word in self._words[self._first * _WORDS + 1 :: _WORDS])

    def in_segment(self, number: int) -> list[Row]:
        """The rows that lie in a segment."""
        places = self._words[self._first * _WORDS + 1 :: _WORDS]
        return [self[index] for index, word in enumerate(places) if word >> 32 == number]

    def set_account(self, account: int) -> None:
        """Note the account of every row."""
        for word in range(self._first * _WORDS + 3, len(self._words), _WORDS):
            self._words[word] = self._words[word] & ~_LOW | account

    def move(self, index: int, segment: int, offset: int) -> None:
        """Note that a row's record now lies elsewhere."""
        self._words[(self._first + index) * _WORDS + 1] = segment << 32 | offset


@dataclass(slots=True)
class Cut:
    """A chunk: ``rows`` rows, the last of which has the sequence number ``last`` or a smaller one."""

    id: bytes
    last: int
    rows: int
    attempts: int = 0
    resumed: bool = False
    """An earlier process may have delivered it."""


@dataclass(slots=True, eq=False)
class Queue:
    """What waits for one tag.

    Attributes:
        tag: the tag.
        rows: batches that are stored, in order.
        cuts: chunks that are stored, in order; they cover rows from the front.
        cut_rows: how many rows they cover.
        cut_upto: the last sequence number in any chunk, those not stored yet among them.
        last_seq: the last sequence number that was given to a batch of the tag.
        uncut_bytes: bytes of batches in no chunk, those not stored yet among them.
        unstored: batches on their way to the disk.
        cutting: cuts on their way to the disk.
        noted: one of them overtakes the batches that wait.
        busy: a chunk is being made or is in flight.
        returned: a chunk that was put back.
        due_s: when it may have its next chunk, if that is scheduled.
        retry_s: not before this time, as a chunk was put back.
        firm: nothing shortens that.
        chunk_limit: as many bytes make a chunk without further waiting.
    """

    tag: str
    rows: Rows = field(default_factory=Rows)
    cuts: deque[Cut] = field(default_factory=deque)
    cut_rows: int = 0
    cut_upto: int = 0
    last_seq: int = 0
    uncut_bytes: int = 0
    unstored: int = 0
    cutting: int = 0
    noted: bool = False
    busy: bool = False
    returned: Chunk | None = None
    due_s: float | None = None
    retry_s: float | None = None
    firm: bool = False
    chunk_limit: int = 1 << 62

    @property
    def empty(self) -> bool:
        """Whether nothing waits or is on its way."""
        return not (self.rows or self.unstored or self.cutting)

    @property
    def ready(self) -> bool:
        """Whether a whole chunk waits."""
        return bool(self.returned or self.cuts) or self.uncut_bytes >= self.chunk_limit

    @property
    def first_bytes(self) -> int:
        """Bytes of the first chunk; an upper bound if it has many batches."""
        if self.returned is not None:
            return self.returned.size
        rows = self.cuts[0].rows
        return self.chunk_limit if rows > _MANY_ROWS else sum(row.size for row in self.first_chunk())

    @property
    def pace(self) -> str:
        """What is paced: the tag."""
        return self.tag

    @property
    def held(self) -> int:
        """How many rows, from the front, are in a chunk in flight, being read or put back."""
        return self.cuts[0].rows if self.cuts and (self.busy or self.returned) else 0

    @property
    def uncut_batches(self) -> int:
        """At most so many batches are in no chunk yet, those not stored among them."""
        return len(self.rows) - self.cut_rows + self.unstored

    def add_cut(self, cut_id: bytes, last: int, attempts: int = 0) -> None:
        """Make a chunk of the rows up to ``last`` that are in no chunk yet; nothing if there are none."""
        rows = self.rows.after(last) - self.cut_rows
        if rows > 0:
            self.cuts.append(Cut(cut_id, last, rows, attempts))
            self.cut_rows += rows
        self.cut_upto = max(self.cut_upto, last)

    def first_chunk(self) -> list[Row]:
        """The rows of the first chunk."""
        return self.rows.slice(0, self.cuts[0].rows)

    def remove_first_chunk(self) -> None:
        """Take the first chunk out with its rows."""
        cut = self.cuts.popleft()
        self.cut_rows -= cut.rows
        self.rows.drop_first(cut.rows)

    def remove(self, index: int) -> None:
        """Take one row out, and out of its chunk; a chunk that has no other row goes."""
        row = self.rows[index]
        self.rows.remove(index)
        if row.seq > self.cut_upto:
            self.uncut_bytes -= row.size
        for cut in self.cuts:
            if index < cut.rows:
                cut.rows -= 1
                self.cut_rows -= 1
                if not cut.rows:
                    self.cuts.remove(cut)
                return
            index -= cut.rows


class RecentBodies:
    """The packed entries that were written last, so that a fast output need not read them back."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._size = 0
        self._bodies: OrderedDict[int, bytes] = OrderedDict()

    def add(self, seq: int, body: bytes) -> None:
        """Keep a batch's entries; the oldest go when there is too much."""
        self._bodies[seq] = body
        self._size += len(body)
        while self._size > self._limit_bytes:
            self._size -= len(self._bodies.popitem(last=False)[1])

    def get(self, seq: int) -> bytes | None:
        """A batch's entries, if they are still here."""
        return self._bodies.get(seq)

    def discard(self, seq: int) -> None:
        """The batch is done."""
        body = self._bodies.pop(seq, None)
        if body is not None:
            self._size -= len(body)
