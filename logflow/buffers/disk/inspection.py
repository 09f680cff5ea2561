"""Looks into a disk buffer without changing it, also while a service is using it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from logflow.batch import Batch
from logflow.buffers.disk.records import BatchDescription, DoneDescription, Kind, decode
from logflow.buffers.disk.scan import Damaged, Found, Read, Scanner, check
from logflow.buffers.disk.segments import Segment, segment_of
from logflow.errors import MalformedData


@dataclass(frozen=True)
class StoredBatch:
    """A batch in a segment that still waits."""

    segment: Segment
    found: Found
    description: BatchDescription

    def read(self) -> Batch:
        """Read its events.

        Raises:
            MalformedData: they are damaged, or were deleted meanwhile.
        """
        description = self.description
        try:
            with _reading(self.segment.path) as (read, _):
                data = read(self.found.head.length, self.found.start)
        except FileNotFoundError as error:
            raise MalformedData(f"{self.segment.path} was deleted meanwhile: it was delivered") from error
        checked = check(data, self.found.head.frame_length, self.segment.marker)
        if checked.body is None:
            raise MalformedData(f"the batch at byte {self.found.start} of {self.segment.path} is damaged")
        return Batch(description.tag, checked.body, description.count)


@dataclass
class Survey:
    """What lies in a buffer's directory.

    Attributes:
        batches: what waits, in order of its arrival.
        damaged: one sentence for each damaged place.
        segments: number of segment files.
        size: their bytes.
        set_aside: files in ``corrupt/``.
    """

    batches: list[StoredBatch] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    segments: int = 0
    size: int = 0
    set_aside: int = 0


def survey(directory: Path, *, bodies: bool = False) -> Survey:
    """Read every segment; ``bodies``: check the events too."""
    found = Survey()
    waiting: dict[int, StoredBatch] = {}
    done: dict[str, list[tuple[int, int]]] = defaultdict(list)
    segments = [segment for path in directory.glob("*.segment") if (segment := segment_of(path)) is not None]
    for segment in sorted(segments, key=lambda segment: segment.number):
        try:
            with _reading(segment.path) as (read, size):
                found.segments += 1
                found.size += size
                for item in Scanner(read, size, segment.marker):
                    _use(item, segment, read, waiting, done, found, bodies=bodies)
        except FileNotFoundError:  # delivered and deleted meanwhile
            continue
    for seq, batch in sorted(waiting.items()):
        ranges = done.get(batch.description.tag, ())
        if not any(first <= seq <= last for first, last in ranges):
            found.batches.append(batch)
    found.set_aside = sum(1 for _ in (directory / "corrupt").glob("*"))
    return found


def _use(  # noqa: PLR0917 - one call
    item: Found | Damaged,
    segment: Segment,
    read: Read,
    waiting: dict[int, StoredBatch],
    done: dict[str, list[tuple[int, int]]],
    found: Survey,
    *,
    bodies: bool,
) -> None:
    if isinstance(item, Damaged):
        if not item.torn:
            found.damaged.append(f"{item.end - item.start} bytes at byte {item.start} of {segment.path}")
        return
    if item.restored:
        found.damaged.append(f"the head of the record at byte {item.start} of {segment.path}")
    if item.head.kind == Kind.VOID:
        return
    if bodies and not _intact(item, segment, read):
        found.damaged.append(f"the record at byte {item.start} of {segment.path}")
    try:
        match decode(item.head):
            case BatchDescription() as batch:
                waiting[batch.seq] = StoredBatch(segment, item, batch)
            case DoneDescription(tag, first, last):
                done[tag].append((first, last))
    except msgspec.DecodeError:
        found.damaged.append(f"the description at byte {item.start} of {segment.path}")


def _intact(item: Found, segment: Segment, read: Read) -> bool:
    data = read(item.head.length, item.start)
    checked = check(data, item.head.frame_length, segment.marker)
    return checked.body is not None and checked.intact


@contextmanager
def _reading(path: Path) -> Iterator[tuple[Read, int]]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield lambda length, offset: os.pread(fd, length, offset), os.fstat(fd).st_size
    finally:
        os.close(fd)
