r"""Removes old files of a file output: those that it wrote itself, the oldest first.

Which files these are stands in a :mod:`journal <logflow.storage.journal>` of its own, called ``LFFR``::

    ["file", path, inode, length, tail, written_ns]   ours as long as it is like that
    ["moved", old, new]                               rotated
    ["gone", path]                                    removed, or not ours any more

A file gets onto the list when it is made, and is brought up to date when it is closed. One that held
something before we opened it, or is not as we left it (another inode, length or end), has something of
somebody else: it leaves the list, and stays. So does a file that was copied to its place. If the list cannot
be written, or loses its end in a power cut, files stay for longer than they should; none is removed early.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import xxhash

from logflow.component import Counter
from logflow.errors import DeliveryError
from logflow.outputs.file.disk import Disk, check_links
from logflow.outputs.file.journal import Owned
from logflow.storage.fs import Fs
from logflow.storage.journal import Journal, Record

TAIL_BYTES = 64
_KIND = b"LFFR"
_NAMES = ("file", "moved", "gone")
_COMPACT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that the output made, as it left it.

    Attributes:
        path: where it is.
        inode: its number.
        length: its bytes.
        tail: a hash of the last of them.
        written_ns: when something was last written to it.
    """

    path: str
    inode: int
    length: int
    tail: int
    written_ns: int

    def is_unchanged(self) -> bool:
        """Whether the file is as the output left it.

        Raises:
            OSError: it cannot be read; ``FileNotFoundError`` if it is gone.
        """
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                return False
            if (status.st_ino, status.st_size) != (self.inode, self.length):
                return False
            return hash_tail(os.pread(fd, TAIL_BYTES, max(0, self.length - TAIL_BYTES))) == self.tail
        finally:
            os.close(fd)


def remove_unchanged(file: Kept, disk: Disk, root: Path | None) -> bool:
    """Remove a file if it is as the output left it; ``False`` if it was changed or a link is in the way.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        check_links(file.path, root)
    except DeliveryError:
        return False
    if not file.is_unchanged():
        return False
    disk.unlink(file.path)
    return True


class KeptFiles(Protocol):
    """What the writer knows of the files, and does with them."""

    def uses(self, path: str, /) -> bool:
        """Whether a file is open, or is just being opened or rotated."""
        ...

    def remove(self, file: Kept) -> bool | None:
        """Remove a file: ``True`` if done, ``False`` if it is in use, ``None`` if somebody else changed it.

        Raises:
            OSError: it cannot be removed.
        """
        ...


@dataclass(frozen=True)
class RetentionLimits:
    """What may stay.

    Attributes:
        age_s: a file that was not written to for so long goes; ``None``: none for its age.
        size: bytes of all files together; ``None``: any number.
    """

    age_s: float | None
    size: int | None


@dataclass
class _Done:
    """What a sweep did."""

    files: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)


class Retention:
    """The list of the files, and what is removed of them. May be called from several threads.

    Failures to write the list are put right by the next :meth:`sweep`; they never fail a delivery.
    """

    def __init__(
        self, path: Path, root: Path, limits: RetentionLimits, *, fs: Fs, log: logging.Logger,
        removed: tuple[Counter, Counter],
    ) -> None:  # fmt: skip
        """Keep the list at ``path``.

        Args:
            path: of the list.
            root: files outside of this directory are left alone.
            limits: what may stay.
            fs: for the list.
            log: is told what was removed, one line each time.
            removed: counts files and bytes.
        """
        self._root = f"{str(root).rstrip('/')}/"
        self._limits = limits
        self._log = log
        self._count_files, self._count_bytes = removed
        self._journal = Journal(path, _KIND, _NAMES, compact_bytes=_COMPACT_BYTES, fs=fs, log=log)
        self._lock = threading.Lock()
        self._stale = False
        self._problem: str | None = None
        self._files: dict[str, Kept] = {}

    def open(self) -> None:
        """Read the list.

        Raises:
            ComponentError: it cannot be used.
        """
        if not self._journal.is_open:
            self._files.clear()
            for record in self._journal.open():
                self._apply(record)

    def close(self) -> None:
        """Close the list. Safe twice and without :meth:`open`."""
        with self._lock:
            self._journal.close()

    # -- what the writer does -----------------------------------------------------------------------

    def opened(self, owned: Owned, now_ns: int) -> None:
        """A file was made, or opened to go on with it."""
        with self._lock:
            known = self._files.get(owned.path)
            as_left = known and (known.inode, known.length, known.tail) == _state(owned)
            if not owned.length:
                self._put(Kept(owned.path, *_state(owned), now_ns))
            elif known and not as_left:
                self._record(["gone", owned.path])

    def closed(self, owned: Owned, written_ns: int) -> None:
        """A file has what it has, for now."""
        with self._lock:
            known = self._files.get(owned.path)
            if known and known.inode == owned.inode:
                unchanged = known.length == owned.length
                self._put(Kept(owned.path, *_state(owned), known.written_ns if unchanged else written_ns))

    def made(self, path: str, now_ns: int) -> None:
        """A file is in its place, whole.

        Raises:
            OSError: it cannot be read.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            tail = hash_tail(os.pread(fd, TAIL_BYTES, max(0, status.st_size - TAIL_BYTES)))
        finally:
            os.close(fd)
        with self._lock:
            self._put(Kept(path, status.st_ino, status.st_size, tail, now_ns))

    def moved(self, old: str, new: str) -> None:
        """A file was rotated."""
        with self._lock:
            if old in self._files:
                self._record(["moved", old, new])

    # -- removing -----------------------------------------------------------------------------------

    def sweep(self, now_ns: int, writer: KeptFiles) -> None:
        """Remove what is too old or too much."""
        files, total = self._present(writer)
        old_ns = now_ns - int(self._limits.age_s * 1e9) if self._limits.age_s is not None else None
        most = self._limits.size
        done = _Done()
        for file, size in files:
            is_old = old_ns is not None and file.written_ns < old_ns
            if not is_old and (most is None or total <= most):
                break
            if self._remove(file, size, writer, done):
                total -= size
        self._report(done)
        self._settle()

    def _present(self, writer: KeptFiles) -> tuple[list[tuple[Kept, int]], int]:
        """The files that are there, the oldest first, each with its bytes; and the bytes of all."""
        with self._lock:
            listed = [file for path, file in self._files.items() if path.startswith(self._root)]
        present = []
        for file in sorted(listed, key=lambda file: (file.written_ns, file.path)):
            try:
                present.append((file, os.stat(file.path, follow_symlinks=False).st_size))  # noqa: PTH116
            except FileNotFoundError:
                if not writer.uses(file.path):  # or it is being rotated, and is soon told to have moved
                    self._note_absent(file)
            except OSError:
                continue
        return present, sum(size for _, size in present)

    def _remove(self, file: Kept, size: int, writer: KeptFiles, done: _Done) -> bool:
        """Remove a file; returns whether it is of no concern any more."""
        try:
            removed = writer.remove(file)
        except FileNotFoundError:
            self._note_absent(file)
            return True
        except OSError as error:
            done.problems.append(f"{file.path} cannot be removed: {error.strerror or error}")
            return False
        if removed:
            done.files, done.size = done.files + 1, done.size + size
        elif removed is None:
            done.problems.append(f"{file.path} was changed by somebody else, and stays")
        if removed is not False:
            self._forget(file)
        return removed is not False

    def _report(self, done: _Done) -> None:
        if done.files:
            self._count_files(done.files)
            self._count_bytes(done.size)
            self._log.info("Removed %d old files of %s bytes, as retain says.", done.files, f"{done.size:,}")
        problem = done.problems[0] if done.problems else None
        if problem and problem != self._problem:
            self._log.warning("The old file %s (%d such files).", problem, len(done.problems))
        self._problem = problem

    def _note_absent(self, file: Kept) -> None:
        """Forget a file that is gone, but not one whose directory is: a disk may not be mounted."""
        if Path(file.path).parent.is_dir():
            self._forget(file)

    def _forget(self, file: Kept) -> None:
        with self._lock:
            if self._files.get(file.path) == file:  # the writer may have made a new one
                self._record(["gone", file.path])

    # -- the list -----------------------------------------------------------------------------------

    def _put(self, file: Kept) -> None:
        if self._files.get(file.path) != file:
            self._record(_record(file))

    def _record(self, record: Record) -> None:
        """Note something, and write it down if that is possible now."""
        self._apply(record)
        try:
            self._journal.append([record])
        except OSError:
            self._stale = True

    def _settle(self) -> None:
        """Write the list anew where it has grown or lacks something, and have it survive a power cut."""
        with self._lock:
            if not self._journal.is_open:
                return
            try:
                if self._stale or self._journal.suspect or self._journal.grown:
                    self._journal.rewrite(self._records())
                    self._stale = False
                self._journal.sync()
            except OSError as error:
                self._stale = True
                self._log.warning("The list of files to remove one day cannot be written: %s.", error)

    def _records(self) -> Iterator[Record]:
        return map(_record, list(self._files.values()))

    def _apply(self, record: Record) -> None:
        match record:
            case ["file", path, inode, length, tail, written_ns]:
                self._files[path] = Kept(path, inode, length, tail, written_ns)
            case ["moved", old, new]:
                if file := self._files.pop(old, None):
                    self._files[new] = replace(file, path=new)
            case ["gone", path]:
                self._files.pop(path, None)


def hash_tail(tail: bytes) -> int:
    """By which the end of a file is known again."""
    return xxhash.xxh3_64_intdigest(tail)


def _state(owned: Owned) -> tuple[int, int, int]:
    return owned.inode, owned.length, owned.tail


def _record(file: Kept) -> Record:
    return ["file", file.path, file.inode, file.length, file.tail, file.written_ns]
