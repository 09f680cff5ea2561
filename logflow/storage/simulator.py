"""A disk in memory, for crash tests: writes fail where planned, and power cuts lose what was not synced."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from random import Random
from typing import Any

from logflow.storage.fs import Fs


class CrashError(Exception):
    """The process is gone; it does not get to do anything more."""


class SimFile:
    """A file: what processes see, what a power cut leaves, and what lies between."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.durable = bytearray()
        self.unsynced: list[tuple[int, bytes]] = []
        """Writes as (offset, data); a truncation is (size, b"")."""

    def change(self, offset: int, data: bytes) -> None:
        """Write at an offset in bytes; with no data, truncate there."""
        _apply(self.seen, offset, data)
        self.unsynced.append((offset, data))

    def sync(self) -> None:
        """Have everything written outlast a power cut."""
        for offset, data in self.unsynced:
            _apply(self.durable, offset, data)
        self.unsynced.clear()

    def lose_power(self, random: Random) -> None:
        """Keep any part of what was not synced, torn anywhere."""
        for offset, data in self.unsynced:
            kept = random.choice((0, len(data), random.randint(0, len(data))))
            if kept or (not data and random.random() < 0.5):
                _apply(self.durable, offset, data[:kept])
        self.unsynced.clear()
        self.seen = bytearray(self.durable)


def _apply(content: bytearray, offset: int, data: bytes) -> None:
    if not data:
        del content[offset:]
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


class SimFs(Fs):
    """A disk in memory.

    Attributes:
        operations: changes so far, by which faults are placed.
        faults: what happens instead of the change of that number: an error number, or a crash.
        capacity: bytes that fit.
        crashed: a planned crash has happened.
        crash_cuts_power: it is a power cut, not just the end of the process.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.operations = 0
        self.faults: dict[int, int | None] = {}
        self.capacity = 1 << 40
        self.crashed = False
        self.crash_cuts_power = False
        self.names_seen: dict[Path, SimFile] = {}
        self.names_durable: dict[Path, SimFile] = {}
        self.names_unsynced: list[dict[Path, SimFile | None]] = []
        self.open_files: dict[int, SimFile] = {}
        self.locked = False

    # -- faults -----------------------------------------------------------------------------------

    def _operation(self) -> None:
        if self.crashed:
            raise CrashError
        self.operations += 1
        if self.operations in self.faults:
            fault = self.faults.pop(self.operations)
            if fault is None:
                self.crashed = True
                raise CrashError
            raise OSError(fault, "injected")

    def restart(self, *, power_cut: bool) -> None:
        """The process is gone; after a power cut, so is some of what was not synced."""
        self.crashed = False
        self.locked = False
        self.open_files.clear()
        self.faults.clear()
        if not power_cut:
            return
        for change in self.names_unsynced:
            if self.random.random() < 0.5:
                self._rename(self.names_durable, change)
        self.names_unsynced.clear()
        self.names_seen = dict(self.names_durable)
        for file in self.names_seen.values():
            file.lose_power(self.random)

    @staticmethod
    def _rename(names: dict[Path, SimFile], change: dict[Path, SimFile | None]) -> None:
        for path, file in change.items():
            if file is None:
                names.pop(path, None)
            else:
                names[path] = file

    def _change_names(self, change: dict[Path, SimFile | None]) -> None:
        self._rename(self.names_seen, change)
        self.names_unsynced.append(change)

    def room(self) -> int:
        """Bytes that still fit."""
        return self.capacity - sum(len(file.seen) for file in self.names_seen.values())

    # -- the interface ----------------------------------------------------------------------------

    def make_directory(self, path: Path) -> None:
        """Directories are always there."""

    def names(self, directory: Path) -> list[str]:
        """As :meth:`Fs.names`."""
        return [path.name for path in self.names_seen if path.parent == directory]

    def open_new(self, path: Path) -> int:
        """As :meth:`Fs.open_new`."""
        self._operation()
        if path in self.names_seen:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        self._change_names({path: SimFile()})
        return self.open(path)

    def open(self, path: Path, *, write: bool = False) -> int:  # noqa: ARG002 - the interface
        """As :meth:`Fs.open`."""
        if path not in self.names_seen:
            raise FileNotFoundError(errno.ENOENT, "not found", str(path))
        fd = max(self.open_files, default=100) + 1
        self.open_files[fd] = self.names_seen[path]
        return fd

    def close(self, fd: int) -> None:
        """As :meth:`Fs.close`; closing a lock releases it."""
        del self.open_files[fd]
        self.locked = self.locked and fd in self.open_files

    def size(self, fd: int) -> int:
        """As :meth:`Fs.size`."""
        return len(self.open_files[fd].seen)

    def deleted(self, fd: int) -> bool:
        """As :meth:`Fs.deleted`; nobody else is there to delete anything."""
        return fd not in self.open_files

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """As :meth:`Fs.read`."""
        return bytes(self.open_files[fd].seen[offset : offset + length])

    def write(self, fd: int, pieces: Sequence[bytes], offset: int) -> None:
        """As :meth:`Fs.write`; a fault lets any part of the data through."""
        data, file = b"".join(pieces), self.open_files[fd]
        room = self.room() + max(0, len(file.seen) - offset)
        if self.crashed:
            raise CrashError
        try:
            self._operation()
        except (OSError, CrashError):
            self._write_some(file, data[: max(0, room)], offset)
            raise
        if len(data) > room:
            self._write_some(file, data[: max(0, room)], offset)
            raise OSError(errno.ENOSPC, "no space left on device")
        file.change(offset, data)

    def _write_some(self, file: SimFile, data: bytes, offset: int) -> None:
        part = data[: self.random.randint(0, len(data))]
        if part:
            file.change(offset, part)

    def truncate(self, fd: int, size: int) -> None:
        """As :meth:`Fs.truncate`."""
        self._operation()
        self.open_files[fd].change(size, b"")

    def allocate(self, fd: int, size: int) -> None:
        """As :meth:`Fs.allocate`."""
        self.write(fd, [bytes(size)], 0)

    def sync(self, fd: int) -> None:
        """As :meth:`Fs.sync`."""
        try:
            self._operation()
        except OSError:  # what could not be written is not tried again by the kernel
            self.open_files[fd].unsynced.clear()
            raise
        self.open_files[fd].sync()

    def sync_directory(self, path: Path) -> None:  # noqa: ARG002 - the interface
        """As :meth:`Fs.sync_directory`; there is one journal of names for all directories."""
        self._operation()
        for change in self.names_unsynced:
            self._rename(self.names_durable, change)
        self.names_unsynced.clear()

    def rename(self, old: Path, new: Path) -> None:
        """As :meth:`Fs.rename`."""
        self._operation()
        self._change_names({old: None, new: self.names_seen[old]})

    def remove(self, path: Path) -> None:
        """As :meth:`Fs.remove`."""
        self._operation()
        if path not in self.names_seen:
            raise FileNotFoundError(errno.ENOENT, "not found", str(path))
        self._change_names({path: None})

    def lock(self, path: Path) -> int:  # noqa: ARG002 - the interface
        """As :meth:`Fs.lock`; there is one lock."""
        if self.locked:
            raise BlockingIOError(errno.EAGAIN, "locked")
        self.locked = True
        self.open_files[1] = SimFile()
        return 1


class Inline(Executor):
    """Runs everything at once, so that a run is determined by its seed."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function and return a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
