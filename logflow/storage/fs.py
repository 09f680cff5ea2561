"""The seam to the file system: what must survive a crash goes through it, and tests can fail each step."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

_PIECES = 1000
"""Buffers in one system call; Linux allows 1024 (IOV_MAX)."""

UNREADABLE = frozenset({errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR, errno.ELOOP, errno.ENXIO})
"""Errors that are a file's own; others, such as too many open files, pass."""


class Fs:
    """The real file system. Everything raises ``OSError``; nothing is retried."""

    def make_directory(self, path: Path) -> None:
        """Make a directory (and its parents) for this user alone, synced; it may exist."""
        missing = [place for place in (path, *path.parents) if not place.exists()]
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for place in missing:
            self.sync_directory(place.parent)

    def names(self, directory: Path) -> list[str]:
        """Names in a directory, in no order."""
        return os.listdir(directory)  # noqa: PTH208 - names, not paths

    def open_new(self, path: Path) -> int:
        """Create a file, for this user alone, for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)

    def open(self, path: Path, *, write: bool = False) -> int:
        """Open a file that exists. It is this user's alone: rights that somebody took away are given back."""
        flags = os.O_RDWR if write else os.O_RDONLY
        try:
            return os.open(path, flags)
        except PermissionError:
            path.chmod(0o600)
            return os.open(path, flags)

    def close(self, fd: int) -> None:
        """Close a file."""
        os.close(fd)

    def size(self, fd: int) -> int:
        """Bytes in the file."""
        return os.fstat(fd).st_size

    def deleted(self, fd: int) -> bool:
        """Whether somebody deleted the file meanwhile: what is written to it is lost when it is closed."""
        return os.fstat(fd).st_nlink == 0

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """Read ``length`` bytes at ``offset``; fewer at the end of the file."""
        data = os.pread(fd, length, offset)
        if len(data) in {0, length}:
            return data
        pieces = [data]
        while data and (missing := length - sum(map(len, pieces))):
            data = os.pread(fd, missing, offset + length - missing)
            pieces.append(data)
        return b"".join(pieces)

    def write(self, fd: int, pieces: Sequence[bytes], offset: int) -> None:
        """Write all the pieces one after the other; when it raises, a part may have been written."""
        for first in range(0, len(pieces), _PIECES):
            views = [memoryview(piece) for piece in pieces[first : first + _PIECES] if piece]
            while views:
                written = os.pwritev(fd, views, offset)
                offset += written
                while views and written >= len(views[0]):
                    written -= len(views.pop(0))
                if written:
                    views[0] = views[0][written:]

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        os.ftruncate(fd, size)

    def allocate(self, fd: int, size: int) -> None:
        """Make sure that ``size`` bytes of the disk belong to the file."""
        os.posix_fallocate(fd, 0, size)

    def sync(self, fd: int) -> None:
        """Wait until the file's bytes and size survive a power cut."""
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """Wait until the names in a directory survive a power cut."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name; what had that name is gone."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()

    def lock(self, path: Path) -> int:
        """Open (or create) a file and lock it until it is closed.

        Raises:
            BlockingIOError: another process holds the lock.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError:
            fd = self.open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return fd
