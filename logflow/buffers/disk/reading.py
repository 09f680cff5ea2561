"""Reads waiting batches back, and sets aside what turns out to be damaged. Runs in threads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from logflow.buffers.disk.index import Row
from logflow.buffers.disk.mending import SegmentFile
from logflow.buffers.disk.records import Kind, Record
from logflow.buffers.disk.scan import check
from logflow.buffers.disk.segments import Segment
from logflow.storage.fs import Fs


class Batches(NamedTuple):
    """What was read."""

    records: list[Record | None]
    """In the order of the rows; ``None`` where the packed entries are damaged."""
    damaged_bytes: int


def read_batches(fs: Fs, places: Sequence[tuple[Segment, Row]], log: logging.Logger) -> Batches:
    """Read the records of rows.

    Raises:
        FileNotFoundError: a segment was deleted meanwhile, so its rows lie elsewhere or are done.
    """
    records: list[Record | None] = []
    damaged_bytes = 0
    for segment, group in groupby(places, key=lambda place: place[0]):
        with SegmentFile(fs, segment, log) as file:
            records += [_read(file, row, log) for _, row in group]
            damaged_bytes += file.damaged_bytes
    return Batches(records, damaged_bytes)


def _read(file: SegmentFile, row: Row, log: logging.Logger) -> Record | None:
    data = file.read(row.length, row.offset)
    head, body, intact = check(data, row.frame_length, file.segment.marker)
    if head is None or body is None:
        log.error("%d events at byte %d of %s are damaged.", row.events, row.offset, file.segment.path)
        file.remove_damage(row.offset, row.offset + row.length)
        return None
    if not intact:
        file.mend_frames(head, row.offset)
    return Record(Kind(head.kind), head.description, body)
