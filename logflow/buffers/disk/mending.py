"""An open segment, and what is done about damage in it.

Damaged bytes are copied aside, then covered, so that they are found, reported and kept once.
"""

from __future__ import annotations

import errno
import logging
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from logflow.buffers.disk.records import FRAME_BYTES, Head, Kind, encode_frames
from logflow.buffers.disk.segments import Segment
from logflow.storage.fs import UNREADABLE, Fs

_BLOCK = 4096
_COPY = 1 << 20


class SegmentFile:
    """Reads and mends one segment; a context manager.

    Attributes:
        damaged_bytes: bytes that were set aside so far, or should have been.
    """

    def __init__(self, fs: Fs, segment: Segment, log: logging.Logger) -> None:
        self.segment = segment
        self.damaged_bytes = 0
        self._fs = fs
        self._log = log
        self._fd = -1

    def __enter__(self) -> Self:
        if self._fd < 0:
            self._fd = self._fs.open(self.segment.path, write=True)
        return self

    def open_or_set_aside(self) -> bool:
        """Open the file; ``False`` when it cannot be opened and was moved to ``corrupt/``.

        Raises:
            OSError: it can neither be opened nor moved, or the error is not the file's own.
        """
        try:
            self._fd = self._fs.open(self.segment.path, write=True)
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            directory = self.segment.path.parent / "corrupt"
            self._fs.make_directory(directory)
            self._fs.rename(self.segment.path, directory / self.segment.path.name)
            self._log.error(
                "%s cannot be read: %s. It is kept in %s.", self.segment.path, error.strerror, directory
            )
            return False
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fd, self._fd = self._fd, -1
        self._fs.close(fd)

    def size(self) -> int:
        """Bytes in the file."""
        return self._fs.size(self._fd)

    def sync(self) -> None:
        """Wait until the file survives a power cut."""
        self._fs.sync(self._fd)

    def read(self, length: int, offset: int) -> bytes:
        """Read bytes; blocks that the disk cannot read come as zeros, which no checksum takes."""
        return _read_around(self._fs, self._fd, length, offset)

    def set_aside(self, start: int, end: int) -> bool:
        """Copy damaged bytes to ``corrupt/`` beside the segment; ``False`` when that failed.

        Then the segment as a whole is kept: it will be moved there instead of being deleted.
        """
        self.damaged_bytes += end - start
        directory = self.segment.path.parent / "corrupt"
        copy = directory / f"{self.segment.path.name}-{start}.damaged"
        try:
            self._fs.make_directory(directory)
            with suppress(FileExistsError):  # copied before, by a process that was stopped right after it
                self._copy(copy, start, end)
            self._fs.sync_directory(directory)
        except OSError as error:
            self.segment.keep = True
            self._log.warning("Damaged bytes of %s cannot be copied now: %s.", self.segment.path, error)
            return False
        self._log.warning("The damaged bytes %d to %d of %s are in %s.", start, end, self.segment.path, copy)
        return True

    def remove_damage(self, start: int, end: int) -> None:
        """Set damaged bytes aside; then cut them off (at the end of the file) or cover them by a VOID."""
        if not self.set_aside(start, end):
            return
        if end == self.size():
            self.truncate(start)
        elif end - start >= 2 * FRAME_BYTES:  # fewer bytes than a record has stay as they are
            void = Head(Kind.VOID, b"", end - start - 2 * FRAME_BYTES, 0)
            first, last = encode_frames(void, self.segment.marker)
            self.write_over(first, start)
            self.write_over(last, end - len(last))

    def mend_frames(self, head: Head, start: int) -> None:
        """Write the head and the tail of a record again, as one of them is damaged; that one is set aside."""
        self._log.error(
            "The record at byte %d of %s is damaged; its events are not.", start, self.segment.path
        )
        places = (start, start + head.length - head.frame_length)
        for place, frame in zip(places, encode_frames(head, self.segment.marker), strict=True):
            damaged = self.read(len(frame), place) != frame
            if damaged and self.set_aside(place, place + len(frame)):
                self.write_over(frame, place)

    def write_over(self, data: bytes, offset: int) -> None:
        """Write over damage. When that fails it is found again at the next start: no more than that."""
        try:
            self._fs.write(self._fd, [data], offset)
        except OSError as error:
            self._log.warning("The damage in %s cannot be mended now: %s.", self.segment.path, error)

    def truncate(self, size: int) -> None:
        """Cut the file off; there is nothing behind. When that fails it is found again at the next start."""
        try:
            self._fs.truncate(self._fd, size)
            self.segment.size = size
        except OSError as error:
            self._log.warning("The damage in %s cannot be cut off now: %s.", self.segment.path, error)

    def _copy(self, copy: Path, start: int, end: int) -> None:
        target = self._fs.open_new(copy)
        try:
            for position in range(start, end, _COPY):
                data = self.read(min(_COPY, end - position), position)
                self._fs.write(target, [data], position - start)
            self._fs.sync(target)
        except OSError:
            with suppress(OSError):
                self._fs.remove(copy)
            raise
        finally:
            self._fs.close(target)


def _read_around(fs: Fs, fd: int, length: int, offset: int) -> bytes:
    try:
        return fs.read(fd, length, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    blocks = []
    for start in range(offset, min(offset + length, fs.size(fd)), _BLOCK):
        wanted = min(_BLOCK, offset + length - start)
        try:
            blocks.append(fs.read(fd, wanted, start))
        except OSError:
            blocks.append(bytes(wanted))
    return b"".join(blocks)
