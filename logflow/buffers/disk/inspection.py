"""Looks into a disk buffer without changing it, also while a service is using it."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from logflow.batch import Batch
from logflow.buffers.disk.index import Row
from logflow.buffers.disk.records import Kind, decode
from logflow.buffers.disk.recovery import Recovered, RecoveredState
from logflow.buffers.disk.scan import Found, Read, Scanner, check
from logflow.buffers.disk.segments import HEADER_BYTES, Segment, find_segments, parse_header
from logflow.errors import MalformedData
from logflow.storage.fs import Fs


@dataclass
class Survey:
    """What lies in a buffer's directory.

    Attributes:
        found: what waits, as a start of the service would find it.
        records: records that were read.
        damaged: one phrase for each damaged place.
        size: bytes of all files.
        set_aside: damaged parts that were set aside before.
    """

    found: Recovered = field(default_factory=Recovered)
    records: int = 0
    damaged: list[str] = field(default_factory=list)
    size: int = 0
    set_aside: int = 0

    def batches(self) -> Iterator[tuple[str, Row]]:
        """What waits, in order of its arrival: tags and rows."""
        queues = [((row.seq, tag, row) for row in queue.rows) for tag, queue in self.found.queues.items()]
        return ((tag, row) for _, tag, row in heapq.merge(*queues))

    def read(self, tag: str, row: Row) -> Batch:
        """Read the events of a batch.

        Raises:
            MalformedData: they are damaged, or were delivered meanwhile.
        """
        segment = next(segment for segment in self.found.segments if segment.number == row.segment)
        try:
            with _reading(segment.path) as (read, _):
                data = read(row.length, row.offset)
        except FileNotFoundError as error:
            raise MalformedData(
                f"{segment.path} was deleted meanwhile, as all in it was delivered"
            ) from error
        body = check(data, row.frame_length, segment.marker).body if len(data) == row.length else None
        if body is None:
            raise MalformedData(f"{row.events} events at byte {row.offset} of {segment.path} are damaged")
        return Batch(tag, body, row.events)


def survey(directory: Path, *, bodies: bool = False) -> Survey:
    """Read every file of a buffer; ``bodies``: check the events too.

    Raises:
        ComponentError: a later version of logflow wrote a file.
    """
    result = Survey()
    if not directory.is_dir():
        return result
    fs = Fs()
    result.found.segments = find_segments(fs, directory, ".segment")
    result.found.key_files = find_segments(fs, directory, ".keys")
    state = RecoveredState(result.found)
    for segment in [*result.found.key_files, *result.found.segments]:
        with suppress(FileNotFoundError):  # delivered and deleted meanwhile
            _read_segment(segment, state, result, bodies=bodies)
    state.settle()
    result.set_aside = sum(1 for _ in (directory / "corrupt").glob("*"))
    return result


def _read_segment(segment: Segment, state: RecoveredState, result: Survey, *, bodies: bool) -> None:
    with _reading(segment.path) as (read, size):
        result.size += size
        header = read(HEADER_BYTES, 0)
        if len(header) == HEADER_BYTES and parse_header(header, segment.path) is None:
            result.damaged.append(f"the header of {segment.path}")
        for item in Scanner(read, size, segment.marker):
            where = f"at byte {item.start} of {segment.path}"
            if not isinstance(item, Found):
                if not item.torn:
                    result.damaged.append(f"{item.end - item.start} bytes {where}")
            elif item.head.kind != Kind.VOID:
                result.records += 1
                if item.restored or (bodies and not _intact(item, segment, read)):
                    result.damaged.append(f"the record of {item.head.length} bytes {where}")
                try:
                    state.use(segment, item.start, item.head, decode(item.head))
                except msgspec.DecodeError:
                    result.damaged.append(f"the description {where}")


def _intact(item: Found, segment: Segment, read: Read) -> bool:
    checked = check(read(item.head.length, item.start), item.head.frame_length, segment.marker)
    return checked.body is not None and checked.intact


@contextmanager
def _reading(path: Path) -> Iterator[tuple[Read, int]]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield lambda length, offset: os.pread(fd, length, offset), os.fstat(fd).st_size
    finally:
        os.close(fd)
