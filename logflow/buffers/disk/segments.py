"""Segments: the files that records are appended to.

::

    file   = header record record ...
    header = magic 8 | marker 8 | number u64 | created u64 (ns since the epoch) | xxh3_64 of these 32 bytes
    name   = NUMBER-MARKER.segment          both in 16 hexadecimal digits

The name repeats what the header says, so that damage to the header costs nothing. A group of records
is appended by one write, and one sync if it asks for it. When either fails, the file is cut back to
where it was: nothing of the group remains, and the group can be tried again. After a failed sync the
kernel may have forgotten what it could not write, so the file is never written to again.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TypeAlias

from logflow.buffers.disk.records import Record, checksum, encode, length_of
from logflow.clock import Clock
from logflow.errors import ComponentError
from logflow.storage.fs import Fs

MAGIC = b"LFSEG001"
_HEADER = struct.Struct("<8s8sQQ")
_SUM = struct.Struct("<Q")
HEADER_BYTES = _HEADER.size + _SUM.size
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.(segment|keys)")
RESERVE_BYTES = 1 << 20
_NUMBERS = 1 << 30
"""Numbers of segments are below this, as nobody writes so many; there is room for as many again."""


@dataclass(eq=False)
class Segment:
    """One file of records.

    Attributes:
        number: its place in the order.
        marker: the random bytes at the start of its records.
        path: where it is.
        size: bytes of whole records and the header.
        live: batches in it that still wait.
        keys: delivery keys of its batches, with the time of their acceptance.
        keep: it holds damage that could not be copied, so it must be moved aside instead of deleted.
    """

    number: int
    marker: bytes
    path: Path
    size: int = HEADER_BYTES
    live: int = 0
    keys: list[tuple[bytes, int]] = field(default_factory=list)
    keep: bool = False


Place: TypeAlias = tuple[Segment, int]
"""Where a record begins."""


def segment_of(path: Path) -> Segment | None:
    """Read a segment's name; None if the file is not a segment."""
    match = _NAME.fullmatch(path.name)
    return Segment(int(match[1], 16), bytes.fromhex(match[2]), path) if match else None


def find_segments(fs: Fs, directory: Path, suffix: str) -> list[Segment]:
    """Every segment in a directory, oldest first.

    A whole header says which one a file is, also if it was given another's name; else its name does. A name
    that cannot be is damage too: then what the file holds comes last.

    Raises:
        ComponentError: a later version of logflow wrote one of them.
    """
    named = {path: segment_of(path) for path in (directory / name for name in fs.names(directory))}
    found: dict[int, Segment] = {}
    by_name = []
    for path, segment in named.items():
        if segment is None or path.suffix != suffix:
            continue
        header = _read_header(fs, path)
        if header is not None and header[0] not in found:
            found[header[0]] = Segment(*header, path)
        else:
            by_name.append(segment)
    for segment in sorted(by_name, key=lambda segment: segment.number):
        if segment.number >= _NUMBERS:
            segment.number = max(found, default=0) + 1
        found.setdefault(segment.number, segment)
    return [found[number] for number in sorted(found)]


def _read_header(fs: Fs, path: Path) -> tuple[int, bytes] | None:
    try:
        fd = fs.open(path)
    except OSError:
        return None
    try:
        return parse_header(fs.read(fd, HEADER_BYTES, 0), path)
    except OSError:
        return None
    finally:
        fs.close(fd)


def new_marker() -> bytes:
    """Random bytes that differ from themselves reversed."""
    while (marker := os.urandom(8)) == marker[::-1]:
        pass
    return marker


def pack_header(segment: Segment, created_ns: int) -> bytes:
    """Make a file's header."""
    header = _HEADER.pack(MAGIC, segment.marker, segment.number, created_ns)
    return header + _SUM.pack(checksum(header))


def parse_header(header: bytes, path: Path) -> tuple[int, bytes] | None:
    """The number and the marker in a header; ``None`` when it is not whole.

    Raises:
        ComponentError: a later version of logflow wrote the file.
    """
    if len(header) < HEADER_BYTES or checksum(header[:-8]) != _SUM.unpack(header[-8:])[0]:
        return None
    magic, marker, number, _ = _HEADER.unpack_from(header)
    if number >= _NUMBERS:
        return None
    if magic != MAGIC and magic[:5] == MAGIC[:5]:
        raise ComponentError(
            f"{path} has the format {magic.decode('ascii', 'replace')}, this logflow knows "
            f"{MAGIC.decode()}; use the version that wrote it"
        )
    return (number, marker) if magic == MAGIC else None


class SegmentLog:
    """Appends records to the newest segment and deletes the oldest. Used by one thread at a time.

    Attributes:
        segments: oldest first.
        size: bytes in all of them.
    """

    def __init__(
        self, fs: Fs, directory: Path, segments: list[Segment], *,
        suffix: str, segment_bytes: int, clock: Clock, synced: bool = True,
    ) -> None:  # fmt: skip
        """Go on after ``segments``, which are never written to again.

        Args:
            fs: file operations.
            directory: where the files are.
            segments: those that are there, oldest first.
            suffix: how the names of new files end.
            segment_bytes: a file that has grown to this is followed by a new one.
            clock: tells when files are created.
            synced: whether anything is ever synced.
        """
        self.segments = segments
        self.size = sum(segment.size for segment in segments)
        self._fs = fs
        self._directory = directory
        self._suffix = suffix
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._synced = synced
        self._next_number = segments[-1].number + 1 if segments else 1
        self._active: Segment | None = None
        self._fd = -1
        self._unsynced = False
        self._unsynced_names = False

    def wasteful(self, wanted_bytes: int) -> bool:
        """Whether the files are much larger than what is still wanted in them."""
        return self.size > 2 * wanted_bytes + 4 * self._segment_bytes

    @property
    def must_roll(self) -> bool:
        """Whether the next records go to a new file, which takes longer."""
        return self._active is None or self._active.size >= self._segment_bytes

    def append(self, records: Sequence[Record], *, sync: bool) -> list[Place]:
        """Write records in one go, and sync them if asked; returns where each begins.

        Raises:
            OSError: nothing was stored.
        """
        segment = self._writable()
        pieces: list[bytes] = []
        places: list[Place] = []
        position = segment.size
        for record in records:
            places.append((segment, position))
            head, tail = encode(record, segment.marker)
            pieces += (head, record.body, tail)
            position += length_of(record)
        try:
            self._fs.write(self._fd, pieces, segment.size)
        except OSError:
            self._cut_back(segment)
            raise
        self._unsynced = True
        if sync:
            try:
                self.sync()
            except OSError:
                self._cut_back(segment)
                self.retire()
                raise
        self.size += position - segment.size
        segment.size = position
        return places

    def sync(self) -> None:
        """Wait until everything appended survives a power cut.

        Raises:
            OSError: it may not.
        """
        if self._unsynced and self._active is not None:
            self._fs.sync(self._fd)
            self._unsynced = False
        if self._unsynced_names:
            self._fs.sync_directory(self._directory)
            self._unsynced_names = False

    def retire(self) -> None:
        """Write to this segment no more; one that holds nothing is deleted at once."""
        segment, self._active = self._active, None
        if segment is None:
            return
        self._unsynced = False
        with suppress(OSError):
            self._fs.close(self._fd)
        if segment.size == HEADER_BYTES:
            with suppress(OSError):
                self._fs.remove(segment.path)
                self._forget(segment)

    def seal_if_dead(self) -> None:
        """Write to this segment no more if nothing in it waits, so that its room can be given back.

        Raises:
            OSError: what says that nothing waits cannot be synced.
        """
        if self._active is not None and not self._active.live and self._active.size > HEADER_BYTES:
            if self._synced:
                self.sync()
            self.retire()

    def dead(self) -> list[Segment]:
        """The oldest segments, as far as nothing in them waits and they are not written to."""
        return list(
            takewhile(lambda segment: segment is not self._active and not segment.live, self.segments)
        )

    def remove(self, segment: Segment) -> None:
        """Delete the oldest segment, or move it aside if damage in it could not be copied.

        May run while another thread appends.

        Raises:
            OSError: it may still be there.
        """
        assert segment is self.segments[0]
        with suppress(FileNotFoundError):
            if segment.keep:
                aside = self._directory / "corrupt"
                self._fs.make_directory(aside)
                self._fs.rename(segment.path, aside / segment.path.name)
            else:
                self._fs.remove(segment.path)
        if self._synced:  # before the next one goes: never a batch without the record of its end
            self._fs.sync_directory(self._directory)
        self._forget(segment)

    def close(self) -> None:
        """Sync if anything ever is, and close. Safe twice."""
        if self._synced:
            with suppress(OSError):
                self.sync()
        self.retire()

    def _writable(self) -> Segment:
        if self._active is not None and self.must_roll:
            if self._synced:
                self.sync()
            self.retire()
        return self._active or self._create()

    def _create(self) -> Segment:
        marker = new_marker()
        path = self._directory / f"{self._next_number:016x}-{marker.hex()}.{self._suffix}"
        segment = Segment(self._next_number, marker, path)
        self._fd = self._fs.open_new(path)
        try:
            self._fs.write(self._fd, [pack_header(segment, self._clock.time_ns())], 0)
        except OSError:
            with suppress(OSError):
                self._fs.close(self._fd)
            with suppress(OSError):
                self._fs.remove(path)
            raise
        self._next_number += 1
        self._unsynced_names = True
        self._active = segment
        self.segments.append(segment)
        self.size += segment.size
        return segment

    def _forget(self, segment: Segment) -> None:
        self.segments.remove(segment)
        self.size -= segment.size

    def _cut_back(self, segment: Segment) -> None:
        """Take back what was written of a group; if that fails too, recovery tells it from the rest."""
        try:
            self._fs.truncate(self._fd, segment.size)
        except OSError:
            self.retire()


class Reserve:
    """A file that holds room on the disk for the records without which no space is ever given back.

    A chunk can be delivered only after its cut was written. If batches have filled the disk, the
    reserve is deleted and the cuts go where it was.
    """

    def __init__(self, fs: Fs, directory: Path) -> None:
        self._fs = fs
        self._path = directory / "reserve"
        self.held = False

    def take(self) -> None:
        """Hold the room, if there is any."""
        with suppress(OSError):
            self.release()
            fd = self._fs.open_new(self._path)
            try:
                self._fs.allocate(fd, RESERVE_BYTES)
                self.held = True
            finally:
                self._fs.close(fd)

    def release(self) -> None:
        """Give the room up."""
        self.held = False
        with suppress(OSError):
            self._fs.remove(self._path)
