"""The system calls by which the file output changes disks.

They stand here, one method each, so that a test can fail or stop the process between any two.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress
from pathlib import Path

from logflow.errors import DeliveryError

_libc = ctypes.CDLL(None, use_errno=True)


def check_links(path: str, root: Path | None) -> None:
    """Refuse links out of the output's directory: who may write there could aim them anywhere.

    Raises:
        DeliveryError: there is one.
    """
    if root is None:
        return
    is_link = os.path.islink(path)  # noqa: PTH114
    if not _is_within(str(Path(path).parent), root) or (is_link and not _is_within(path, root)):
        real = os.path.realpath(root)
        raise DeliveryError(f"{path} leads outside of {real} over a symbolic link; remove it")
    if is_link:
        raise DeliveryError(f"{path} has just become a symbolic link; it is tried again")


def followed(path: str, root: Path | None) -> str:
    """Where a link in a file's place leads, if that is in the output's directory; else the path itself."""
    if not os.path.islink(path):  # noqa: PTH114
        return path
    return os.path.realpath(path) if root is None or _is_within(path, root) else path


def _is_within(path: str, root: Path) -> bool:
    """Whether a path leads to the directory ``root``, or to something below it, over all links."""
    real, found = os.path.realpath(root), os.path.realpath(path)
    return found == real or found.startswith(f"{real.rstrip('/')}/")


class Disk:
    """The real disk. Every method raises ``OSError`` as its system call does."""

    def open(self, path: str, flags: int, mode: int) -> int:
        """Open a file, never through a symbolic link in its last place."""
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode)

    def close(self, fd: int) -> None:
        """Close a file."""
        os.close(fd)

    def write(self, fd: int, data: memoryview) -> int:
        """Write some of ``data`` and say how many bytes."""
        return os.write(fd, data)

    def write_all(self, fd: int, data: bytes) -> None:
        """Write everything."""
        view = memoryview(data)
        while view:
            view = view[self.write(fd, view) :]

    def truncate(self, fd: int, length: int) -> None:
        """Cut a file."""
        os.ftruncate(fd, length)

    def sync(self, fd: int) -> None:
        """Return when the file's data would survive a power cut."""
        os.fdatasync(fd)

    def sync_file_system(self, fd: int) -> None:
        """Return when all that was written to the file system of an open file would survive a power cut."""
        if _libc.syncfs(fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def uncache(self, fd: int, start: int, end: int) -> None:
        """Tell the system that a part of a file, which was synced, need not stay in memory."""
        os.posix_fadvise(fd, start, end - start, os.POSIX_FADV_DONTNEED)

    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing what has the new name."""
        os.rename(old, new)  # noqa: PTH104 - one system call, as the module says

    def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)  # noqa: PTH108

    def make_directories(self, path: str, mode: int | None = None) -> None:
        """Make a directory and those above it, all with the same permissions.

        Args:
            path: of the directory.
            mode: whatever the umask; ``None`` for 0750 as far as the umask allows.
        """
        missing = []
        while not os.path.isdir(path):  # noqa: PTH112
            missing.append(path)
            path = os.path.dirname(path)  # noqa: PTH120
        for directory in reversed(missing):
            with suppress(FileExistsError):
                os.mkdir(directory, 0o750)  # noqa: PTH102
                if mode is not None:
                    os.chmod(directory, mode)  # noqa: PTH101
        if missing and not os.path.isdir(missing[0]):  # noqa: PTH112
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), missing[0])

    def sync_directory(self, path: str) -> None:
        """Return when names in a directory would survive a power cut."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
