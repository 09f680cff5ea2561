"""Batches (events in flight) and chunks (events at rest).

Entries are packed in one canonical form, so that everything after a source may rely on it::

    entry   = 92 d7 00 SSSSSSSS NNNNNNNN record        array of 2: EventTime (fixext8, type 0), map
    entries = entry entry entry ...                    concatenated, no header, no separator

Whatever arrives in another form (integer times, ``[[time, metadata], record]``, ext8) is brought to
this one by ``engine.normalize`` where it enters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias

from logflow import packing
from logflow.errors import DeliveryError
from logflow.event import EventTime, Record


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a stream that can be read again, such as bytes of a log file.

    Attributes:
        stream: names one incarnation of one file for good; never reused.
        start: offset of the first byte.
        end: offset after the last byte.
        lane: which way through the routes the batch went, where one span becomes several batches for
            the same output; set by the router alone. What an output was given and what it accepted is
            kept for each lane.
    """

    stream: str
    start: int
    end: int
    lane: str = ""

    @property
    def name(self) -> str:
        """The stream and its lane: under this name a buffer knows how much of it was accepted."""
        return f"{self.stream}\0{self.lane}" if self.lane else self.stream


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

    Attributes:
        tag: the events' tag.
        entries: packed entries in canonical form.
        count: number of events.
        origin: where the batch came from.
        attributes: what holds for every event of the batch and is not part of its record. Filters and
            stages may read it; it ends with the batch, as no buffer keeps it. Well-known keys are
            ``source`` (the source's name), ``path`` (of the file), ``container`` (the names in that path, see
            :mod:`logflow.kubernetes.names`), ``peer`` (``host:port`` of a connection or a
            datagram; the host alone where a client uses many connections) and ``acknowledged`` (whether the
            sender sends again what is not acknowledged).
    """

    tag: str
    entries: bytes
    count: int
    origin: Origin = None
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def stream(self) -> str:
        """Names what the batch is a part of: a file's incarnation, or a peer's events of one tag.

        Events keep their order within it, and never belong together across two of them.
        """
        if isinstance(self.origin, Span):
            return self.origin.name
        place = self.attributes.get("peer") or self.attributes.get("path") or ""
        return f"{self.attributes.get('source', '')}\0{place}\0{self.tag}"

    @classmethod
    def from_events(
        cls,
        tag: str,
        events: Iterable[tuple[int, Record]],
        origin: Origin = None,
        attributes: Mapping[str, Any] = MappingProxyType({}),
    ) -> Batch:
        """Pack events, given as (nanoseconds, record)."""
        packed = [packing.pack_entry(time, record) for time, record in events]
        return cls(tag, b"".join(packed), len(packed), origin, attributes)

    def events(self) -> Iterator[tuple[EventTime, Record]]:
        """Decode the entries one by one."""
        return packing.unpack_entries(self.entries)

    def with_entries(self, entries: bytes, count: int) -> Batch:
        """Return the same batch with other entries: what a filter made of it."""
        return Batch(self.tag, entries, count, self.origin, self.attributes)

    def with_events(self, events: Iterable[tuple[int, Record]]) -> Batch:
        """Return the same batch with other events, given as (nanoseconds, record)."""
        packed = [packing.pack_entry(time, record) for time, record in events]
        return self.with_entries(b"".join(packed), len(packed))

    def with_origin(self, origin: Origin) -> Batch:
        """Return the same batch from another origin."""
        return replace(self, origin=origin)


@dataclass(frozen=True, slots=True)
class Places:
    """Which events a chunk holds, if it is a part of another one.

    A store that recognises single events names each of them by both: so an event keeps its name whether the
    chunk goes out whole, in pieces, or as what is left of it.

    Attributes:
        chunk: id of the chunk as the buffer handed it out.
        indices: where the events stand in that chunk, counted from 0.
    """

    chunk: bytes
    indices: Sequence[int]

    def select(self, chosen: Sequence[int] | slice) -> Places:
        """Return the places of some of the events."""
        indices = (
            self.indices[chosen] if isinstance(chosen, slice) else [self.indices[index] for index in chosen]
        )
        return Places(self.chunk, indices)


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
        part: which events of another chunk it holds; ``None``: it is whole.
    """

    id: bytes
    tag: str
    parts: tuple[bytes, ...]
    count: int
    attempts: int = 0
    resumed: bool = False
    part: Places | None = None

    @property
    def places(self) -> Places:
        """What to name its events by."""
        return self.part or Places(self.id, range(self.count))

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


class PartialDelivery(DeliveryError):
    """A part of the chunk was dealt with.

    Attributes:
        rest: what is tried again, or ``None`` if nothing is left.
        rejected: parts that the destination will never take, each with its reason: they become dead
            letters. Whatever is neither here nor in ``rest`` was delivered.
    """

    def __init__(self, message: str, rest: Chunk | None, rejected: Sequence[tuple[Chunk, str]] = ()) -> None:
        super().__init__(message)
        self.rest = rest
        self.rejected = tuple(rejected)
