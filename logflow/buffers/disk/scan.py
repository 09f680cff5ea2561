"""Reads a segment's records one after the other, and finds the way around damage.

::

    ... [record][##bad##][record] ...         1. no good head here: look for the next one by the marker
                         ^ found              2. from there, tails lead backwards, record by record
         damage = what neither direction reached; the records found backwards lost only their head

The end of a file needs care: a write that was cut short by ``kill -9`` or a power cut is *torn*. It was
never acknowledged, and is no damage. Torn is a record whose head is good but whose end is missing, or the
start of a head. Zeros may be what a power cut left of a write that was not acknowledged; but as nothing tells
them from zeros in the place of what was, they are damage.

Bodies are skipped, so a scan reads little; whoever uses a body checks its sum (:func:`check`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from logflow.buffers.disk.records import (
    FIXED_BYTES,
    FRAME_BYTES,
    Head,
    checksum,
    description_length,
    encode_frames,
    parse_head,
    parse_tail,
)
from logflow.buffers.disk.segments import HEADER_BYTES

_WINDOW = 32 * 1024
_SEARCH = 1 << 20

Read: TypeAlias = Callable[[int, int], bytes]
"""``read(length, offset)``: bytes of the file; fewer at its end."""


class Found(NamedTuple):
    """A record."""

    start: int
    head: Head
    restored: bool = False
    """Its head is damaged; what it said was read from the tail."""

    @property
    def end(self) -> int:
        """Offset after the record."""
        return self.start + self.head.length


class Damaged(NamedTuple):
    """Bytes that are no record."""

    start: int
    end: int
    torn: bool = False
    """They are the beginning of a write that never finished."""
    head: Head | None = None
    """What the torn record says of itself, if it got that far."""


class Scanner:
    """Iterates over what is in one file, from the first byte after its header to its end."""

    def __init__(self, read: Read, size: int, marker: bytes) -> None:
        self._read = read
        self._size = size
        self._marker = marker
        self._window = b""
        self._window_start = 0

    def __iter__(self) -> Iterator[Found | Damaged]:
        position = HEADER_BYTES
        while position < self._size:
            head = self._head_at(position)
            if head is not None and (end := position + head.length) <= self._size:
                yield Found(position, head)
                position = end
            else:
                found = self._around(position)
                yield from found
                position = found[-1].end

    def _at(self, offset: int, length: int) -> int:
        """Make sure that the window holds bytes of the file; returns where in it. Records are often small."""
        index = offset - self._window_start
        if index < 0 or index + length > len(self._window):
            self._window = self._read(max(length, _WINDOW), offset)
            self._window_start, index = offset, 0
        return index

    def _head_at(self, offset: int) -> Head | None:
        index = self._at(offset, FIXED_BYTES)
        described = description_length(self._window, index, self._marker)
        if described is None or offset + FRAME_BYTES + described > self._size:
            return None
        index = self._at(offset, FRAME_BYTES + described)
        return parse_head(self._window[index : index + FRAME_BYTES + described])

    def _tail_before(self, end: int, floor: int) -> Found | None:
        """The record that ends at ``end`` by its tail, if it does not begin before ``floor``."""
        fixed = self._read(FRAME_BYTES, end - FRAME_BYTES)
        described = description_length(fixed, 0, self._marker[::-1])
        if described is None or end - FRAME_BYTES - described < floor:
            return None
        tail = parse_tail(self._read(FRAME_BYTES + described, end - FRAME_BYTES - described))
        return Found(end - tail.length, tail, restored=True) if tail and end - tail.length >= floor else None

    def _around(self, start: int) -> list[Found | Damaged]:
        """What there is from a bad head at ``start`` up to the next good one, or the end of the file."""
        limit = self._next_head(start + 1)
        restored: list[Found | Damaged] = []
        end = limit
        while end - start >= 2 * FRAME_BYTES and (found := self._tail_before(end, start)) is not None:
            restored.insert(0, found)
            end = found.start
        if end == start:
            return restored
        if end == self._size:
            return [self._unfinished(start)]
        return [Damaged(start, end), *restored]

    def _next_head(self, start: int) -> int:
        """Offset of the next good head whose record is whole; the file's size if there is none."""
        overlap = len(self._marker) - 1
        for base in range(start, self._size, _SEARCH):
            data = self._read(_SEARCH + overlap, base)
            index = data.find(self._marker)
            while index >= 0:
                head = self._head_at(base + index)
                if head is not None and base + index + head.length <= self._size:
                    return base + index
                index = data.find(self._marker, index + 1)
        return self._size

    def _unfinished(self, start: int) -> Damaged:
        """Tell a torn end from a damaged one."""
        head = self._head_at(start)
        if head is not None:
            return Damaged(start, self._size, torn=True, head=head)
        rest = self._read(min(FIXED_BYTES, self._size - start), start)
        described = description_length(rest, 0, self._marker)
        short = described is not None and start + FRAME_BYTES + described > self._size
        torn = short or (len(rest) < FIXED_BYTES and rest[:8] == self._marker[: len(rest)])
        return Damaged(start, self._size, torn=torn)


class Checked(NamedTuple):
    """A record that was read whole."""

    head: Head | None
    """``None``: head and tail are damaged."""
    body: bytes | None
    """``None``: the body is damaged, or nothing says whether it is."""
    intact: bool
    """Every byte is as it was written."""


def check(data: bytes, frame_length: int, marker: bytes) -> Checked:
    """Check a whole record, given the length of its head."""
    first, last = data[:frame_length], data[-frame_length:]
    head = parse_head(first) or parse_tail(last)
    if head is None or head.length != len(data):
        return Checked(None, None, intact=False)
    body = data[frame_length:-frame_length]
    if checksum(body) != head.body_sum:
        return Checked(head, None, intact=False)
    return Checked(head, body, (first, last) == encode_frames(head, marker))
