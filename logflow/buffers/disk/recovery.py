"""Rebuilds what waits from the segments, and mends them.

Every record's description is read, no bodies: except in the newest segment, where a power cut may have
left records whose descriptions reached the disk and whose bodies did not. Such a batch was never
acknowledged and will come again, so neither its span nor its key may count as accepted.

Damage in the middle of a file is copied to ``corrupt/`` and covered by a VOID record, so that it is
found, counted and set aside once. What is torn at the end is cut off.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from logflow.buffers.disk.index import Queue, Row, Rows
from logflow.buffers.disk.mending import SegmentFile
from logflow.buffers.disk.records import (
    BatchDescription,
    CutDescription,
    Description,
    DoneDescription,
    Head,
    Kind,
    SpanDescription,
    TriedDescription,
    decode,
)
from logflow.buffers.disk.scan import Damaged, Found, Scanner, check
from logflow.buffers.disk.segments import HEADER_BYTES, Segment, find_segments, pack_header, parse_header
from logflow.buffers.disk.window import unpack_keys
from logflow.errors import ComponentError
from logflow.storage.fs import Fs


@dataclass
class Recovered:
    """What was found.

    Attributes:
        segments: the segments, oldest first, with their waiting batches counted and their keys.
        key_files: files of keys, oldest first.
        queues: what waits, by tag.
        keys: accepted keys with their times, in the order of time.
        key_file_keys: how many keys stand in the key files.
        ends: how far each stream is stored.
        next_seq: a sequence number that was never used.
        lost: batches that are damaged, by sequence number: their tag and count.
        damaged_bytes: bytes that were set aside.
        size: bytes of all segments as they were found.
        unknown_damage: damage was found that says nothing of what it hit.
    """

    segments: list[Segment] = field(default_factory=list)
    key_files: list[Segment] = field(default_factory=list)
    queues: dict[str, Queue] = field(default_factory=dict)
    keys: list[tuple[bytes, int]] = field(default_factory=list)
    key_file_keys: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    next_seq: int = 1
    lost: dict[int, tuple[str, int]] = field(default_factory=dict)
    damaged_bytes: int = 0
    size: int = 0
    unknown_damage: bool = False

    @property
    def events(self) -> int:
        """How many events wait."""
        return sum(queue.rows.totals()[0] for queue in self.queues.values())


def recover(
    fs: Fs, directory: Path, log: logging.Logger, *, all_bodies: bool = False, sync: bool = True,
    cancelled: Callable[[], bool] = lambda: False,
) -> Recovered:  # fmt: skip
    """Read and mend a buffer's directory, which must be locked.

    Args:
        fs: file operations.
        directory: the buffer's directory.
        log: is told of damage.
        all_bodies: check every body, not only those of the newest segment.
        sync: make sure that what is found survives a power cut.
        cancelled: asked now and then whether nobody wants to know any more.

    Raises:
        OSError: a file cannot be read or mended.
        ComponentError: a later version of logflow wrote it, or it was cancelled.
    """
    found = Recovered(
        segments=find_segments(fs, directory, ".segment"), key_files=find_segments(fs, directory, ".keys")
    )
    state = RecoveredState(found)
    unfinished = {*found.key_files, *found.segments[-1:]}
    for segment in [*found.key_files, *found.segments]:
        newest = segment in unfinished
        file = SegmentFile(fs, segment, log)
        if not file.open_or_set_aside():
            found.damaged_bytes += 1  # how many there are, nobody can say
            found.unknown_damage = True
            (found.segments if segment in found.segments else found.key_files).remove(segment)
            continue
        with file:
            if segment in found.segments:
                found.size += file.size()
            _Mender(file, state, log, newest=newest).run(bodies=all_bodies or newest, cancelled=cancelled)
            if sync:  # a killed process may have left it unsynced, and from here on it counts as safe
                file.sync()
            found.damaged_bytes += file.damaged_bytes
    if sync:
        fs.sync_directory(directory)
    state.settle(cancelled)
    return found


class RecoveredState:
    """Collects what records say; files are read in the order in which they were written."""

    def __init__(self, result: Recovered) -> None:
        self.result = result
        self._rows: dict[str, Rows] = defaultdict(Rows)
        self._last: dict[str, int] = defaultdict(int)
        self._unsorted: set[str] = set()
        self._cuts: dict[str, dict[bytes, int]] = defaultdict(dict)
        self._done: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._attempts: dict[bytes, int] = {}

    def use(self, segment: Segment, start: int, head: Head, description: Description | None) -> None:
        """Take note of a record."""
        match description:
            case BatchDescription():
                self._use_batch(segment, start, head, description)
            case CutDescription(chunk_id, tag, last):
                self._cuts[tag].setdefault(chunk_id, last)
                self._mentioned(last)
            case DoneDescription(tag, first, last):
                self._done[tag].append((first, last))
                self._mentioned(last)
            case TriedDescription(chunk_id, attempts):
                self._attempts[chunk_id] = attempts

    def use_keys(self, keys: list[tuple[bytes, int]]) -> None:
        """Take note of keys whose segments are gone."""
        self.result.keys += keys
        self.result.key_file_keys += len(keys)

    def lose(self, batch: BatchDescription) -> None:
        """Take note of a batch whose entries are damaged."""
        self.result.lost[batch.seq] = (batch.tag, batch.count)
        self._mentioned(batch.seq)

    def _use_batch(self, segment: Segment, start: int, head: Head, batch: BatchDescription) -> None:
        result, tag, seq = self.result, batch.tag, batch.seq
        self._rows[tag].append(
            Row(seq, segment.number, start, len(head.description), head.body_length, batch.count, 0,
                batch.time_ns)
        )  # fmt: skip
        if seq <= self._last[tag]:  # it was moved here from an older segment
            self._unsorted.add(tag)
        self._last[tag] = seq
        self._mentioned(seq)
        match batch.origin:
            case SpanDescription(stream, _, end):
                result.ends[stream] = max(result.ends.get(stream, 0), end)
            case bytes() as key:
                segment.keys.append((key, batch.time_ns))
                result.keys.append((key, batch.time_ns))

    def _mentioned(self, seq: int) -> None:
        self.result.next_seq = max(self.result.next_seq, seq + 1)

    def settle(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Work out what still waits, unless it is ``cancelled`` meanwhile."""
        result = self.result
        numbers = {segment.number: segment for segment in result.segments}
        for tag in self._rows:
            _go_on(cancelled)
            queue = Queue(tag, self._waiting(tag))
            for number, rows in queue.rows.by_segment().items():
                numbers[number].live += rows
            if queue.rows:
                self._fill(queue)
                result.queues[tag] = queue
        for seq, (tag, _) in list(result.lost.items()):
            stored = tag in result.queues and result.queues[tag].rows.find(seq) is not None
            if stored or seq in _Ranges(self._done.get(tag, ())):
                del result.lost[seq]
        result.keys.sort(key=lambda pair: pair[1])

    def _waiting(self, tag: str) -> Rows:
        rows, done = self._rows[tag], _Ranges(self._done.get(tag, ()))
        if tag in self._unsorted:
            latest = {row.seq: row for row in rows}
            rows = Rows(latest[seq] for seq in sorted(latest))
        return Rows(row for row in rows if row.seq not in done) if done else rows

    def _fill(self, queue: Queue) -> None:
        # As they were written: of two that cover the same batches, the first one counted then, too.
        for chunk_id, last in self._cuts.get(queue.tag, {}).items():
            queue.add_cut(chunk_id, last, self._attempts.get(chunk_id, 0))
        queue.last_seq = queue.rows[len(queue.rows) - 1].seq
        queue.uncut_bytes = queue.rows.totals(queue.cut_rows)[1]


def _go_on(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise ComponentError("the recovery of the disk buffer was cancelled")


class _Ranges:
    """A set of sequence numbers, given as ranges."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(ranges):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __contains__(self, seq: int) -> bool:
        index = bisect_right(self._firsts, seq) - 1
        return index >= 0 and seq <= self._lasts[index]


class _Mender:
    """Reads one file, hands what it finds to the state, and mends it."""

    def __init__(
        self, file: SegmentFile, state: RecoveredState, log: logging.Logger, *, newest: bool
    ) -> None:
        self._file = file
        self._segment = file.segment
        self._state = state
        self._log = log
        self._newest = newest

    def run(self, *, bodies: bool, cancelled: Callable[[], bool]) -> None:
        """Read the file; ``bodies``: check them too."""
        segment = self._segment
        segment.size = self._file.size()
        self._check_header(self._file.read(HEADER_BYTES, 0))
        for item in Scanner(self._file.read, segment.size, segment.marker):
            _go_on(cancelled)
            if isinstance(item, Found):
                self._found(item, bodies=bodies)
            else:
                self._damaged(item)

    def _check_header(self, header: bytes) -> None:
        segment = self._segment
        if len(header) < HEADER_BYTES or parse_header(header, segment.path) is not None:
            return  # nothing was ever written behind a header that is not whole
        self._log.error(
            "The header of %s is damaged; its values are taken from the file's name.", segment.path
        )
        self._file.set_aside(0, HEADER_BYTES)
        self._file.write_over(pack_header(segment, 0), 0)

    def _found(self, found: Found, *, bodies: bool) -> None:
        head, body = found.head, None
        if head.kind == Kind.VOID:
            return
        if bodies or found.restored or not head.body_length:
            data = self._file.read(head.length, found.start)
            _, body, intact = check(data, head.frame_length, self._segment.marker)
            if body is None:
                self._damaged(Damaged(found.start, found.end, head=head))
                return
            if not intact:
                self._file.mend_frames(head, found.start)
        try:
            if head.kind == Kind.KEYS and body is not None:
                self._state.use_keys(unpack_keys(body))
            else:
                self._state.use(self._segment, found.start, head, decode(head))
        except msgspec.DecodeError:
            self._damaged(Damaged(found.start, found.end))

    def _damaged(self, damaged: Damaged) -> None:
        segment, (start, end, torn, head) = self._segment, damaged
        if torn and self._newest:
            self._log.info(
                "The last write to %s was not finished; its %d bytes are cut off.", segment.path, end - start
            )
            self._file.truncate(start)
            return
        self._log.error("%d bytes at byte %d of %s are damaged.", end - start, start, segment.path)
        description = decode(head) if head is not None else None
        if isinstance(description, BatchDescription):
            self._state.lose(description)
        self._state.result.unknown_damage |= description is None
        self._file.remove_damage(start, end)
