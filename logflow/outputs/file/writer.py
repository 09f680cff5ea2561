"""Writes chunks into files, each exactly once.

Several chunks are written in one go: each file is synced, and the journal written, once for all of them. A
chunk may go to several files (its path has fields, or it crosses midnight). The steps, and what a
``kill -9`` after each of them leaves::

    1  open the file, or make it            an empty file at most; nothing knows of it
    2  journal own(file, length), and sync  nothing beyond `length`: recovery has nothing to cut
    3  write the data, file by file         recovery cuts every file to its length in the journal
    4  sync the files (``syncing.py``)      the same
    5  journal commit(id, lengths)          the chunk is delivered; a repeat is answered at once
    6  sync the journal                     the same

1 and 2 happen once per file. With ``sync: never`` nothing is synced; ``kill -9`` cannot tell. Rotation
stands before 1, when all that the file has is committed::

    a  rename the file                 recovery finds it by its inode, with nothing to cut
    b  journal let(file), close it     the next chunk makes a new one
    c  remove the oldest               done again with the next rotation

What is synced need not stay in memory: a written log is seldom read again, and would only push out what
other programs use, or count against the memory of a container. So the end of a file stays in the system's
cache, for those who follow it, and what lies before is given up as the file grows. That saves work as well,
as the memory is used again at once.

If a write fails (no space), the files are cut back at once; if even that fails, before the next write.
A commit that was not written whole does not count.

Others may move, cut or replace a file (logrotate): before each write the name must still lead to our
file, and the file be as long as we left it. If not, we begin anew with what is there, and never cut
what is not ours. Two processes never write to one file: each locks it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import stat
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from logflow.clock import Clock
from logflow.errors import DeliveryError
from logflow.event import NANOSECOND
from logflow.outputs.file.disk import Disk, check_links, followed
from logflow.outputs.file.journal import FileJournal, Owned, Written
from logflow.outputs.file.retention import TAIL_BYTES as _TAIL_BYTES
from logflow.outputs.file.retention import Kept, Retention, remove_unchanged
from logflow.outputs.file.retention import hash_tail as _hash
from logflow.outputs.file.syncing import OnDisk, Syncing

CACHED_BYTES = 4 << 20
_UNCACHE_BYTES = 2 << 20
"""What stays in the system's cache of a file that is written to, and what is given up at once."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK
_SUFFIX = re.compile(r"\.(?:gz|zst)$")


@dataclass(frozen=True)
class WriterOptions:
    """How files are written.

    Attributes:
        text: data are lines: a last line of somebody else's without its newline is ended first.
        durable: sync before a chunk counts as delivered.
        rotate_bytes: a file that would become larger is rotated; 0: never.
        rotate_s: a file last written in another period of so many seconds is rotated; 0: never.
        keep: rotated files kept for each file; ``None``: all.
        max_open: files kept open.
        idle_s: a file not written for so long is closed.
        file_mode: permissions of new files, whatever the umask; ``None``: 0640 as far as the umask allows.
        directory_mode: the same for new directories; ``None``: 0750.
        root: files must stay below, whatever links there are; ``None``: anywhere.
    """

    text: bool
    durable: bool
    rotate_bytes: int
    rotate_s: float
    keep: int | None
    max_open: int
    idle_s: float
    file_mode: int | None = None
    directory_mode: int | None = None
    root: Path | None = None


class Pieces(NamedTuple):
    """A chunk, and what of it goes to which path: slices, to be walked over once."""

    id: bytes
    slices: Mapping[str, Iterable[bytes]]


@dataclass(eq=False)
class _File:
    """A file that is, or is about to be, open. Whoever holds ``lock`` may use it."""

    path: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    fd: int = -1
    device: int = -1
    owned: Owned | None = None
    tail: bytes = b""
    end: int = 0
    """Bytes of chunks that are whole in it, those of the group that is being written among them."""
    opened: bool = False
    """It was opened just now, and a power cut may take that back."""
    uncut: bool = False
    """A part of a failed write may lie behind the end: it is cut off before anything else is written."""
    cached_from: int = 0
    """Where the part begins that the system was not told to give up."""
    used_s: float = 0.0
    written_ns: int = 0


class FileWriter:
    """Writes chunks in groups. :meth:`write` may be called from several threads."""

    def __init__(
        self, journal: FileJournal, options: WriterOptions, *, disk: Disk, clock: Clock, log: logging.Logger,
        retention: Retention | None = None,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._retention = retention
        self._options = options
        self._disk = disk
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._syncing = Syncing(disk, clock)

    # -- chunks -----------------------------------------------------------------------------------

    def write(self, chunks: Sequence[Pieces]) -> list[Exception | None]:
        """Append to every path of each chunk its slices, all or none; nothing for a chunk that was committed.

        All files are synced, and the journal is written, once.

        Returns:
            For each chunk ``None`` if it was delivered, or why no file has anything of it.
        """
        answers: list[Exception | None] = [None] * len(chunks)
        chunks = self._follow_links(chunks)
        try:
            with ExitStack() as stack:
                # In one order for all, so that two groups never wait for each other.
                files = self._use_all(stack, chunks)
                self._make_known([file for file in files.values() if isinstance(file, _File)])
                written = []
                for index, chunk in enumerate(chunks):
                    if not self._journal.committed(chunk.id):
                        answers[index] = self._append(chunk, files)
                        written += [chunk.id] if answers[index] is None else []
                self._commit(written, [file for file in files.values() if isinstance(file, _File)])
            self._journal.settle(durable=self._options.durable)
        except OSError as error:
            return [answer or _undelivered(error, "the journal") for answer in answers]
        return answers

    def _follow_links(self, chunks: Sequence[Pieces]) -> Sequence[Pieces]:
        """Have what goes to a link written to its file, together with what goes there under other names."""
        root = self._options.root
        paths = {path for chunk in chunks for path in chunk.slices if path not in self._files}
        links = {path: real for path in paths if (real := followed(path, root)) != path}
        return [_renamed(chunk, links) for chunk in chunks] if links else chunks

    def _use_all(self, stack: ExitStack, chunks: Sequence[Pieces]) -> dict[str, _File | Exception]:
        """Get hold of every file; why not, for those with which that does not work."""
        incoming: Counter[str] = Counter()
        for chunk in chunks:
            incoming.update({path: _known_size(slices) for path, slices in chunk.slices.items()})
        files: dict[str, _File | Exception] = {}
        for path in sorted(incoming):
            try:
                files[path] = stack.enter_context(self._using(path, incoming[path]))
            except OSError as error:
                files[path] = _undelivered(error, path)
            except DeliveryError as error:
                files[path] = error
        return files

    def _make_known(self, files: Sequence[_File]) -> None:
        """See to it that files opened just now, and their lengths in the journal, survive a power cut.

        From then on data may reach the disk before the commit does: recovery knows what to cut.
        """
        opened = [file for file in files if file.opened]
        if opened:
            self._sync_names({file.path for file in opened if not file.end})
            self._journal.settle(durable=self._options.durable)
        for file in opened:
            file.opened = False

    def _append(self, chunk: Pieces, files: Mapping[str, _File | Exception]) -> Exception | None:
        """Write a chunk's slices; when that fails, nothing of it stays."""
        mine: list[tuple[_File, Iterable[bytes]]] = []
        for path, slices in chunk.slices.items():
            file = files[path]
            if isinstance(file, Exception):
                return file
            mine.append((file, slices))
        before = [(file, file.end, file.tail) for file, _ in mine]
        try:
            for file, slices in mine:
                self._cut(file)
                self._write_slices(file, slices)
        except BaseException as error:  # slices are made on the way, and that may fail too
            for file, end, tail in before:
                file.end, file.tail, file.uncut = end, tail, True
                with suppress(OSError):
                    self._cut(file)
            if isinstance(error, OSError):
                return _undelivered(error, mine[0][0].path)
            if isinstance(error, Exception):
                return error
            raise
        return None

    def _commit(self, chunk_ids: list[bytes], files: list[_File]) -> None:
        """Record that chunks are whole in the files; when that fails, nothing of them stays."""
        grown = [file for file in files if file.owned is not None and file.end > file.owned.length]
        if not chunk_ids:
            return
        try:
            if self._options.durable:
                self._syncing.sync([OnDisk(file.fd, file.device) for file in grown])
            self._journal.commit(
                chunk_ids, [Written(file.owned, file.end, _hash(file.tail)) for file in grown if file.owned]
            )
        except BaseException:
            for file in grown:
                with suppress(OSError):
                    self._cut_back(file)
            raise
        for file in grown:
            file.written_ns = self._clock.time_ns()
            if self._options.durable:
                self._uncache(file, file.end)

    def _write_slices(self, file: _File, slices: Iterable[bytes]) -> None:
        """Write behind what was written before."""
        if self._options.text and file.tail[-1:] not in (b"", b"\n"):
            slices = chain([b"\n"], slices)
        for data in slices:
            self._disk.write_all(file.fd, data)
            file.tail = (file.tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]
            file.end += len(data)
            del data  # so that the next slice is made in the same memory

    def _cut(self, file: _File) -> None:
        """Remove what a failed write left behind the end."""
        if file.uncut and file.owned is not None and os.fstat(file.fd).st_size > file.end:
            self._disk.truncate(file.fd, file.end)
        file.uncut = False

    def _cut_back(self, file: _File) -> None:
        """Remove everything that was not committed."""
        assert file.owned is not None
        file.uncut = True
        file.end = file.owned.length
        file.tail = os.pread(file.fd, min(_TAIL_BYTES, file.end), max(0, file.end - _TAIL_BYTES))
        self._cut(file)

    def _uncache(self, file: _File, length: int) -> None:
        """Give up what lies far before the end; what was in the file before it was opened is left alone."""
        end = length - CACHED_BYTES
        if end - file.cached_from >= _UNCACHE_BYTES:
            with suppress(OSError):  # it is only advice
                self._disk.uncache(file.fd, file.cached_from, end)
            file.cached_from = end

    # -- files ------------------------------------------------------------------------------------

    @contextmanager
    def _using(self, path: str, incoming_bytes: int) -> Iterator[_File]:
        """Lock a file and see to it that it can be appended to."""
        with self._lock:
            file = self._files.pop(path, None) or _File(path)
            self._files[path] = file  # the last one used stands last
            file.users += 1
            self._close_unused(len(self._files) - self._options.max_open)
        try:
            with file.lock:
                self._prepare(file, incoming_bytes)
                yield file
        finally:
            with self._lock:
                file.users -= 1
                file.used_s = self._clock.monotonic()
                if file.fd < 0 and not file.users:
                    del self._files[path]

    def _prepare(self, file: _File, incoming_bytes: int) -> None:
        if file.fd >= 0:
            if file.uncut:
                self._cut_back(file)
            if not self._still_ours(file):
                self._release(file)
        if file.fd < 0:
            self._open(file)
        if self._must_rotate(file, incoming_bytes):
            self._rotate(file)
            self._open(file)

    def _still_ours(self, file: _File) -> bool:
        """Whether nobody moved, replaced, cut or lengthened the file since we wrote to it."""
        try:
            status = os.stat(file.path, follow_symlinks=False)  # noqa: PTH116
        except FileNotFoundError:
            return False
        owned = file.owned
        return owned is not None and (status.st_ino, status.st_size) == (owned.inode, owned.length)

    def _open(self, file: _File) -> None:
        """Open or make a file and begin to write at its end."""
        self._recover(file.path)
        check_links(file.path, self._options.root)
        try:
            fd = self._disk.open(file.path, _FLAGS, 0o640)
        except FileNotFoundError:
            self._make_directories(Path(file.path).parent)
            fd = self._disk.open(file.path, _FLAGS, 0o640)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise DeliveryError(f"{file.path} is not a regular file; move it away")
            if status.st_nlink > 1:
                raise DeliveryError(f"{file.path} has another name too (a hard link); move it away")
            _lock(fd, file.path)
            if not status.st_size and self._options.file_mode is not None:
                os.fchmod(fd, self._options.file_mode)
            file.tail = os.pread(fd, _TAIL_BYTES, max(0, status.st_size - _TAIL_BYTES))
            file.owned = self._journal.own(file.path, status, _hash(file.tail))
            if self._retention:
                self._retention.opened(file.owned, self._clock.time_ns())
        except BaseException:
            self._disk.close(fd)
            raise
        file.fd, file.device, file.written_ns, file.uncut = fd, status.st_dev, status.st_mtime_ns, False
        file.end = status.st_size
        file.cached_from = status.st_size
        file.opened = True

    def _make_directories(self, directory: Path) -> None:
        missing = [path for path in (directory, *directory.parents) if not path.exists()]
        self._disk.make_directories(str(directory), self._options.directory_mode)
        self._sync_names({str(path) for path in missing})

    def _sync_names(self, paths: Collection[str]) -> None:
        """See to it that new names survive a power cut."""
        if self._options.durable:
            for directory in sorted({str(Path(path).parent) for path in paths}):
                self._disk.sync_directory(directory)

    def _release(self, file: _File) -> None:
        """Close a file whose end is committed (or is no longer there)."""
        if file.owned is not None:
            if self._retention:
                self._retention.closed(file.owned, file.written_ns)
            self._journal.let(file.owned)
            file.owned = None
        if file.fd >= 0:
            fd, file.fd = file.fd, -1
            self._disk.close(fd)

    def _close_unused(self, count: int) -> None:
        """Close up to ``count`` files that nobody uses, those used longest ago first."""
        for file in [file for file in self._files.values() if not file.users][: max(count, 0)]:
            self._close_file(file)

    def _close_file(self, file: _File) -> None:
        try:
            if file.uncut:
                self._cut_back(file)
            self._release(file)
        except OSError as error:  # it stays owned, and is dealt with when it is opened again
            self._log.warning("The file %s could not be closed: %s.", file.path, error)
        else:
            del self._files[file.path]

    def close_idle(self) -> None:
        """Close files that nobody has written to for a while."""
        with self._lock:
            limit_s = self._clock.monotonic() - self._options.idle_s
            for file in list(self._files.values()):
                if not file.users and file.used_s <= limit_s:
                    self._close_file(file)

    def close(self) -> None:
        """Close all files; no :meth:`write` may be under way."""
        with self._lock:
            self._close_unused(len(self._files))
            for file in self._files.values():
                with suppress(OSError):
                    self._disk.close(file.fd)
            self._files.clear()
        self._syncing.close()

    # -- rotation ---------------------------------------------------------------------------------

    def _must_rotate(self, file: _File, incoming_bytes: int) -> bool:
        if file.owned is None or not file.owned.length:
            return False
        options = self._options
        if options.rotate_bytes and file.owned.length + incoming_bytes > options.rotate_bytes:
            return True
        if not options.rotate_s:
            return False
        period_ns = int(options.rotate_s * NANOSECOND)
        return file.written_ns // period_ns != self._clock.time_ns() // period_ns

    def _rotate(self, file: _File) -> None:
        """Give a file its name for good: ``a.jsonl.gz`` becomes ``a.jsonl.20260131-120000.gz``."""
        base, suffix = _split(file.path)
        moment = datetime.fromtimestamp(self._clock.time_ns() // NANOSECOND, UTC)
        stamp, number = f"{moment:%Y%m%d-%H%M%S}", 0
        rotated = _rotated(base, suffix)
        if rotated and rotated[-1][:2] >= (stamp, number):  # names sort in the order of rotation
            stamp, number = rotated[-1][0], rotated[-1][1] + 1
        target = f"{base}.{stamp}{f'-{number}' if number else ''}{suffix}"
        self._disk.rename(file.path, target)
        if file.owned is not None:
            self._moved(file.owned, target)
        self._release(file)
        self._sync_names({target})
        if self._options.keep is not None:
            rotated.append((stamp, number, target))
            for _, _, path in rotated[: max(len(rotated) - self._options.keep, 0)]:
                with suppress(OSError):
                    self._disk.unlink(path)

    def _moved(self, owned: Owned, target: str) -> None:
        if self._retention:
            self._retention.moved(owned.path, target)
        owned.path = target

    def uses(self, path: str) -> bool:
        """Whether a file is open, or is just being opened or rotated."""
        with self._lock:
            return path in self._files

    def remove(self, file: Kept) -> bool | None:
        """Remove a file that was written before.

        Returns:
            ``False`` if it is in use, ``None`` if somebody else changed it or put a link in the way; then
            it stays.

        Raises:
            OSError: it cannot be removed.
        """
        with self._lock:  # nobody opens it meanwhile
            if file.path in self._files:
                return False
            return remove_unchanged(file, self._disk, self._options.root) or None

    # -- recovery ---------------------------------------------------------------------------------

    def recover(self) -> None:
        """Cut what an earlier process wrote and did not commit; call it before the first write.

        Files whose directory is not there (a disk that is not mounted yet) are left for :meth:`write`.

        Raises:
            OSError: a file cannot be cut.
        """
        if self._options.root is not None and self._options.durable:
            self._syncing.open(self._options.root)
        for path in {owned.path for owned in self._journal.owned.values()}:
            self._recover(path)
        self._journal.settle(durable=self._options.durable)

    def _recover(self, path: str) -> None:
        """Cut a file that an earlier process left owned, if it is ours and is where it was."""
        for owned in [owned for owned in list(self._journal.owned.values()) if owned.path == path]:
            if not Path(path).parent.is_dir():
                continue
            if (found := _find(owned)) is not None:
                self._recover_file(found, owned)
                self._keep_recovered(found, owned)
            self._journal.let(owned)

    def _keep_recovered(self, found: str, owned: Owned) -> None:
        """Bring the list of files up to date, also if the process ended in the middle of a rotation."""
        if self._retention is None:
            return
        if found != owned.path and found in (path for _, _, path in _rotated(*_split(owned.path))):
            self._moved(owned, found)
        self._retention.closed(owned, os.stat(found, follow_symlinks=False).st_mtime_ns)  # noqa: PTH116

    def _recover_file(self, path: str, owned: Owned) -> None:
        fd = self._disk.open(path, os.O_RDWR | os.O_NONBLOCK, 0)
        try:
            _lock(fd, path)
            status = os.fstat(fd)
            start = max(0, owned.length - _TAIL_BYTES)
            tail = os.pread(fd, owned.length - start, start)
            if not stat.S_ISREG(status.st_mode) or _hash(tail) != owned.tail:
                self._log.warning("The file %s was changed by somebody else; it is left as it is.", path)
            elif not owned.trusted and status.st_size > owned.length:
                self._log.warning(
                    "The file %s is not cut, as the journal was damaged: its last events may come again.",
                    path,
                )
            elif status.st_size > owned.length:
                excess_bytes = status.st_size - owned.length
                self._disk.truncate(fd, owned.length)
                if self._options.durable:
                    self._disk.sync(fd)
                self._log.info(
                    "Cut %d bytes off %s: a chunk that was not finished and comes again.", excess_bytes, path
                )
        finally:
            self._disk.close(fd)


def _renamed(chunk: Pieces, names: Mapping[str, str]) -> Pieces:
    slices: dict[str, Iterable[bytes]] = {}
    for path, own in chunk.slices.items():
        name = names.get(path, path)
        slices[name] = [*slices[name], *own] if name in slices else own
    return Pieces(chunk.id, slices)


def _undelivered(error: OSError, where: str) -> DeliveryError:
    return DeliveryError(f"cannot write to {error.filename or where}: {error.strerror or error}")


def _known_size(slices: Iterable[bytes]) -> int:
    """Bytes of the slices, where they have been made."""
    return sum(map(len, slices)) if isinstance(slices, list) else 0


def _split(path: str) -> tuple[Path, str]:
    suffix = match[0] if (match := _SUFFIX.search(path)) else ""
    return Path(path.removesuffix(suffix)), suffix


def _rotated(base: Path, suffix: str) -> list[tuple[str, int, str]]:
    """Rotated files as (time, number, path), oldest first."""
    name = re.compile(rf"{re.escape(base.name)}\.(\d{{8}}-\d{{6}})(?:-(\d{{1,9}}))?{re.escape(suffix)}")
    with os.scandir(base.parent) as entries:
        matches = [(name.fullmatch(entry.name), entry.path) for entry in entries]
    return sorted((match[1], int(match[2] or 0), path) for match, path in matches if match)


def _find(owned: Owned) -> str | None:
    """The file's name now: its own, or another in the same directory if it was renamed."""
    with suppress(FileNotFoundError):
        if os.stat(owned.path, follow_symlinks=False).st_ino == owned.inode:  # noqa: PTH116
            return owned.path
    if not owned.length:  # nothing but its number would tell that it is ours
        return None
    with os.scandir(Path(owned.path).parent) as entries:
        return next((entry.path for entry in entries if entry.inode() == owned.inode), None)


def _lock(fd: int, path: str) -> None:
    """Lock a file for this open descriptor, where the file system can."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DeliveryError(f"{path} is being written by another output or process; use two paths") from error
    except OSError:
        return
