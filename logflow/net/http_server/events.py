"""The events of one request, while its body is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from logflow.batch import Batch, DeliveryKey
from logflow.errors import LimitExceeded
from logflow.event import Record
from logflow.packing import pack_entries

_MOST_OPEN = 256 << 10
"""Bytes of records that lie about as objects, about."""
_RECORD_BYTES = 256
"""What an object takes at least."""
_WORK_BYTES = 100
"""What the work on an event counts for, beside what it takes: no body is made of millions of empty ones."""
_TAG_BYTES = 2 << 10
_BATCH_BYTES = 1 << 20
"""A batch ends at about this size, as whoever delivers it takes many times as much for a moment."""


@dataclass(slots=True)
class _OfTag:
    times: list[int] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    packed: list[tuple[bytes, int]] = field(default_factory=list)
    key: DeliveryKey | None = None

    def batches(self, tag: str) -> Iterator[Batch]:
        """Make batches of what is packed, each with a key of its own if there is one."""
        parts, size, count, number = list[bytes](), 0, 0, 0
        for place, (entries, events) in enumerate(self.packed, start=1):
            parts.append(entries)
            size += len(entries)
            count += events
            if count and (size >= _BATCH_BYTES or place == len(self.packed)):
                yield Batch(tag, b"".join(parts), count, self._key(number))
                parts, size, count, number = [], 0, 0, number + 1

    def _key(self, number: int) -> DeliveryKey | None:
        if self.key is None or number == 0:
            return self.key
        return DeliveryKey(self.key.key + number.to_bytes(4, "big"))


class Events:
    """Events by tag, packed every now and then, so that few of them lie about as objects.

    A few bytes of a body may become many events, or stand in each of them. So what is held is bounded.

    Attributes:
        size: bytes that are held.
        count: number of events.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.size = 0
        self.count = 0
        self._limit = limit_bytes
        self._open = 0
        self._by_tag: dict[str, _OfTag] = {}

    def add(self, tag: str, time_ns: int, record: Record, shared_bytes: int = 0) -> bool:
        """Add an event.

        Args:
            tag: its tag.
            time_ns: its time.
            record: its record.
            shared_bytes: size of what stands in this record and in others, about.

        Returns:
            Whether it is time to let others go on.

        Raises:
            LimitExceeded: too much is held.
        """
        of_tag = self._of_tag(tag)
        of_tag.times.append(time_ns)
        of_tag.records.append(record)
        self._open += _RECORD_BYTES + shared_bytes
        self.hold(_WORK_BYTES)
        if self._open < _MOST_OPEN:
            return False
        self._pack()
        return True

    def add_packed(self, tag: str, entries: bytes, count: int) -> None:
        """Add events that are packed; raises as :meth:`add` does."""
        self._of_tag(tag).packed.append((entries, count))
        self.count += count
        self.hold(len(entries))

    def hold(self, size: int = _RECORD_BYTES) -> None:
        """Something else is held until the request is answered, or was work; raises as :meth:`add` does."""
        self.size += size
        if self.size > self._limit:
            raise LimitExceeded(f"its events take more than {self._limit} bytes; send fewer at once")

    def name(self, tag: str, key: DeliveryKey) -> None:
        """Name the delivery of the events of a tag, so that a repeat is recognised."""
        self._of_tag(tag).key = key

    def batches(self) -> list[Batch]:
        """Return all of them, and hold them no more."""
        self._pack()
        found: list[Batch] = []
        for tag, of_tag in self._by_tag.items():
            found += of_tag.batches(tag)
        self._by_tag.clear()
        return found

    def _of_tag(self, tag: str) -> _OfTag:
        of_tag = self._by_tag.get(tag)
        if of_tag is None:
            of_tag = self._by_tag[tag] = _OfTag()
            self.hold(_TAG_BYTES)
        return of_tag

    def _pack(self) -> None:
        self._open = 0
        for tag, of_tag in self._by_tag.items():
            if of_tag.records:
                entries, count = pack_entries(of_tag.times, of_tag.records), len(of_tag.records)
                of_tag.times, of_tag.records = [], []
                self.add_packed(tag, entries, count)
