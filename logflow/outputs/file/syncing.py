"""Syncs the files of a group so that what was written to them survives a power cut.

A file system commits to the disk as a whole. So for many files one ``syncfs`` does what a ``fdatasync`` of
each would do, for a fraction of the work and of the time. But it writes what other programs have changed as
well: it is used only while little is to be written on this machine and that is quick, and only for files of
the output's own file system.

A ``syncfs`` reports the errors since its descriptor was opened (Linux 5.8 and later); it is opened before
anything is written. After an error each file is synced by itself, to see which ones are meant.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from logflow.clock import Clock
from logflow.outputs.file.disk import Disk

_MANY_FILES = 8
_THREADS = 16
_MOST_DIRTY_BYTES = 64 << 20
_SLOW_S = 0.5
_REST_S = 60.0
"""Where there is more to write, or the disk took long lately, each file is synced by itself."""
_LOOK_AGAIN_S = 1.0
_REPORTS_ERRORS = (5, 8)
_DIRTY = re.compile(rb"^(?:Dirty|Writeback): *(\d+) kB$", re.MULTILINE)
_MEMINFO = Path("/proc/meminfo")


class OnDisk(NamedTuple):
    """An open file that was written to, and the device that it is on."""

    fd: int
    device: int


class Syncing:
    """How the files of one output are synced."""

    def __init__(self, disk: Disk, clock: Clock) -> None:
        self._disk = disk
        self._clock = clock
        self._not_before_s = 0.0
        self._look_s = -_LOOK_AGAIN_S
        self._dirty_bytes = 0
        self._anchor: OnDisk | None = None
        self._threads: ThreadPoolExecutor | None = None

    def open(self, directory: Path) -> None:
        """Begin to watch the file system of a directory for errors; before anything is written to it."""
        if self._anchor is None and _reports_errors():
            with suppress(OSError):
                fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._anchor = OnDisk(fd, os.fstat(fd).st_dev)

    def close(self) -> None:
        """Release everything. Safe twice."""
        if self._anchor is not None:
            os.close(self._anchor.fd)
            self._anchor = None
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None

    def sync(self, files: Sequence[OnDisk]) -> None:
        """Return when all files survive a power cut.

        Raises:
            OSError: one of them may not.
        """
        if len(files) < _MANY_FILES:
            for file in files:
                self._disk.sync(file.fd)
        elif not self._sync_together(files):
            self._sync_side_by_side(files)

    def _sync_together(self, files: Sequence[OnDisk]) -> bool:
        """Sync the file system; whether that could be done, and no error was seen."""
        anchor, begun_s = self._anchor, self._clock.monotonic()
        if anchor is None or begun_s < self._not_before_s:
            return False
        if any(file.device != anchor.device for file in files):
            return False
        try:
            if begun_s - self._look_s >= _LOOK_AGAIN_S:
                self._look_s, self._dirty_bytes = begun_s, _dirty_bytes()
            if self._dirty_bytes > _MOST_DIRTY_BYTES:
                return False
            self._disk.sync_file_system(anchor.fd)
        except OSError:
            return False
        if (now_s := self._clock.monotonic()) - begun_s > _SLOW_S:
            self._not_before_s = now_s + _REST_S
        return True

    def _sync_side_by_side(self, files: Sequence[OnDisk]) -> None:
        """Sync many files at the same time, as a file system commits together what waits for it."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="file-sync")
        for _ in self._threads.map(self._disk.sync, [file.fd for file in files]):
            pass


def _reports_errors() -> bool:
    system = os.uname()
    version = tuple(map(int, re.findall(r"\d+", system.release)[:2]))
    return system.sysname == "Linux" and version >= _REPORTS_ERRORS


def _dirty_bytes() -> int:
    """What this machine has in memory that is not on its disks yet."""
    return sum(int(size) << 10 for size in _DIRTY.findall(_MEMINFO.read_bytes()))
