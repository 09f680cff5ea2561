"""Batches (events in flight) and chunks (events at rest).

Entries are packed in one canonical form, so that everything after a source may rely on it::

    entry   = 92 d7 00 SSSSSSSS NNNNNNNN record        array of 2: EventTime (fixext8, type 0), map
    entries = entry entry entry ...                    concatenated, no header, no separator

Whatever arrives in another form (integer times, ``[[time, metadata], record]``, ext8) is brought to
this one by ``engine.normalize`` where it enters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from logflow import packing
from logflow.event import EventTime, Record


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a stream that can be read again, such as bytes of a log file.

    Attributes:
        stream: names one incarnation of one file for good; never reused.
        start: offset of the first byte.
        end: offset after the last byte.
    """

    stream: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DeliveryKey:
    """Names one delivery by a peer (its chunk), so that a resend is recognised."""

    key: bytes


Origin: TypeAlias = Span | DeliveryKey | None
"""Where a batch came from. ``None``: it can neither be read again nor recognised."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in flight that share one tag, packed; decoded only when somebody asks.

    A batch of count 0 is meaningful when it has a ``Span``: that part of the stream held no event
    that is still wanted, and progress past it may be recorded.
    """

    tag: str
    entries: bytes
    count: int
    origin: Origin = None

    @classmethod
    def from_events(cls, tag: str, events: Iterable[tuple[int, Record]], origin: Origin = None) -> Batch:
        """Pack events, given as (nanoseconds, record)."""
        packed = [packing.pack_entry(time, record) for time, record in events]
        return cls(tag, b"".join(packed), len(packed), origin)

    def events(self) -> Iterator[tuple[EventTime, Record]]:
        """Decode the entries one by one."""
        return packing.unpack_entries(self.entries)

    def with_entries(self, entries: bytes, count: int) -> Batch:
        """Return the same batch with other entries: what a filter made of it."""
        return Batch(self.tag, entries, count, self.origin)


@dataclass(eq=False)
class Chunk:
    """A batch at rest: what a buffer hands to an output, and the unit of delivery and retry.

    Attributes:
        id: 16 bytes, the same over retries, reconnects and restarts.
        tag: the events' tag.
        parts: packed entries in order; their concatenation is ``entries``.
        count: number of events.
        attempts: how often delivery was tried before.
        resumed: an earlier process may have delivered it: it was cut, but not committed.
    """

    id: bytes
    tag: str
    parts: tuple[bytes, ...]
    count: int
    attempts: int = 0
    resumed: bool = False

    @cached_property
    def entries(self) -> bytes:
        """All packed entries as one string of bytes (copies when there are several parts)."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

    @property
    def size(self) -> int:
        """Bytes of packed entries."""
        return sum(map(len, self.parts))

    def events(self) -> Iterator[tuple[EventTime, Record]]:
        """Decode the events one by one."""
        return packing.unpack_entries(self.entries)
