"""The framed journal: small records that are appended, and outlive crashes.

::

    file    = header record*
    header  = four letters that name the kind of journal, four digits of its version
    record  = u32 length | u64 xxh3_64 of the payload | payload                    little-endian
    payload = msgpack array; its first element is the name of what it says

One policy for damage, in whichever journal it is found:

* The end may be *torn*: the process or the machine stopped in the middle of a write. It is the beginning of a
  record. It was never relied upon, and is cut off without a word.
* Everything else that is not a whole record is *damage*: zeros, a wrong header. The file as it was is
  kept as ``NAME.damaged-HASH``, an error is logged and the bytes are counted. The records before and
  behind the damage stay in use. In its place the mended file has the record ``["damaged", bytes]``, which
  tells the owner that something may be missing there: what follows from that is for the owner to decide.
* A file that cannot be read at all is moved to that name, and the journal begins anew.
* A file of a later version is refused, and not touched.

Reading takes time in proportion to the file's size, whatever is in it: behind damage the next record is only
looked for where a payload can begin.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import xxhash

from logflow.errors import ComponentError
from logflow.storage.fs import UNREADABLE, Fs

Record: TypeAlias = list[Any]
"""The name of what it says, and its fields."""

DAMAGED = "damaged"
"""Name of the record that takes the place of damage."""

_FRAME = struct.Struct("<IQ")
_HEADER_BYTES = 8
_SEARCH_FACTOR = 8
"""How many times the size of the file is read, at most, to find records behind damage."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode
_checksum = xxhash.xxh3_64_intdigest


class Journal:
    """One journal. Records are appended, and the file rewritten, by one thread at a time.

    :meth:`sync` may run in another thread meanwhile.

    Attributes:
        size: bytes of the file.
        suspect: what was written may not be what the disk has: it must be rewritten before it is relied upon.
        damaged_bytes: bytes of damage that were found when it was opened.
    """

    def __init__(
        self, path: Path, kind: bytes, names: Sequence[str], *, compact_bytes: int, fs: Fs,
        log: logging.Logger,
    ) -> None:  # fmt: skip
        """Use the file at ``path``, which is touched by :meth:`open`.

        Args:
            path: of the file.
            kind: four letters.
            names: of the records; by them records are found behind damage.
            compact_bytes: a smaller file is not worth rewriting.
            fs: file operations.
            log: is told of damage.
        """
        self.size = 0
        self.suspect = False
        self.damaged_bytes = 0
        self._path = path
        self._header = kind + b"0001"
        known = b"|".join(re.escape(_encode(name)) for name in (*names, DAMAGED))
        self._payload_start = re.compile(b"[\x91-\x9f](?:" + known + b")")
        self._compact_bytes = compact_bytes
        self._compact_at = compact_bytes
        self._fs = fs
        self._log = log
        self._fd = -1
        self._torn = False
        self._synced = 0
        self._name_unsynced = False
        self._syncing = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether it can be written to."""
        return self._fd >= 0

    def open(self) -> Iterator[Record]:
        """Read the file and mend it; returns its records, in order.

        Raises:
            ComponentError: it cannot be used, or a later version wrote it. Nothing is left open.
        """
        try:
            self._fs.make_directory(self._path.parent)
            with suppress(FileNotFoundError):
                self._fs.remove(self._new_path)
            self._fd, data = self._open_file()
            return self._mend(data)
        except OSError as error:
            self.close()
            raise ComponentError(
                f"cannot use {self._path}: {error.strerror or error}; make its directory writable, or set "
                "data_dir elsewhere"
            ) from error
        except BaseException:
            self.close()
            raise

    def append(self, records: Iterable[Record]) -> None:
        """Write records by one call: they then outlive the process.

        Raises:
            OSError: they cannot be written; the journal is as it was.
        """
        self._check_still_there()
        self._cut_torn_end()
        data = b"".join(map(_frame, records))
        try:
            self._fs.write(self._fd, [data], self.size)
        except OSError:
            self._torn = True
            with suppress(OSError):
                self._cut_torn_end()
            raise
        self.size += len(data)

    def sync(self) -> None:
        """Wait until all that was appended outlives a power cut. Does nothing on a closed journal.

        Raises:
            OSError: it may not; the kernel may have forgotten what it could not write, so the journal is
                suspect from now on.
        """
        with self._syncing:
            size = self.size
            if self._fd < 0:
                return
            self._check_still_there()
            if self._synced >= size and not self._name_unsynced:
                return
            try:
                self._fs.sync(self._fd)
                if self._name_unsynced:
                    self._fs.sync_directory(self._path.parent)
            except OSError:
                self.suspect = True
                raise
            self._synced, self._name_unsynced = size, False

    @property
    def grown(self) -> bool:
        """Whether it takes twice what it took when it was last rewritten, and is worth it."""
        return self.size > self._compact_at

    def rewrite(self, records: Iterable[Record]) -> None:
        """Put a new file with these records, synced, in the place of the old one.

        Raises:
            OSError: the old file goes on as it was, and is not :attr:`grown` for a while.
        """
        data = b"".join([self._header, *map(_frame, records)])
        with self._syncing:
            try:
                self._replace(data)
            except OSError:
                self._compact_at = 2 * self.size
                raise
            self._compact_at = max(2 * self.size, self._compact_bytes)

    def close(self) -> None:
        """Close the file. Safe twice, and without :meth:`open`."""
        with self._syncing:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                self._fs.close(fd)

    # -- the file ---------------------------------------------------------------------------------

    @property
    def _new_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}.new")

    def _open_file(self) -> tuple[int, bytes]:
        """Open the file, or make it, and read it."""
        try:
            fd = self._fs.open(self._path, write=True)
        except FileNotFoundError:
            return self._create(), b""
        except OSError as error:
            return self._begin_anew(error), b""
        try:
            return fd, self._fs.read(fd, self._fs.size(fd), 0)
        except OSError as error:
            self._fs.close(fd)
            return self._begin_anew(error), b""

    def _create(self) -> int:
        self._name_unsynced = True
        return self._fs.open_new(self._path)

    def _begin_anew(self, error: OSError) -> int:
        """The file cannot be read: move it aside."""
        if error.errno not in UNREADABLE:
            raise error
        aside = self._aside(os.urandom(8))
        self._log.error(
            "%s cannot be read: %s. It is kept as %s, and begun anew.", self._path, error.strerror, aside
        )
        self._fs.rename(self._path, aside)
        self.damaged_bytes += 1  # how many there are, nobody can say
        return self._create()

    def _aside(self, data: bytes) -> Path:
        return self._path.with_name(f"{self._path.name}.damaged-{_checksum(data):016x}")

    def _mend(self, data: bytes) -> Iterator[Record]:
        """Take over what was read; returns its records."""
        self._refuse_later_version(data)
        if len(data) <= _HEADER_BYTES and not data.strip(b"\0"):
            data = b""  # torn in its very first write
        pieces = list(self._pieces(data))
        end = pieces[-1][1] if pieces else _HEADER_BYTES
        nothing_whole = bool(pieces) and not pieces[-1][2]
        if end < len(data) and (nothing_whole or not self._is_torn(data[end:])):
            pieces.append((end, len(data), False))
            end = len(data)
        self.size = self._synced = end
        damaged = sum(stop - start for start, stop, whole in pieces if not whole)
        if damaged:
            self._set_aside(data, pieces, damaged)
        elif len(data) < _HEADER_BYTES:
            self._fs.write(self._fd, [self._header], 0)
        if self.size < len(data) and not damaged:
            self._fs.truncate(self._fd, self.size)
        self._compact_at = max(2 * self.size, self._compact_bytes)
        return _records(data, pieces)

    def _refuse_later_version(self, data: bytes) -> None:
        kind, version = data[:4], data[4:8]
        if kind == self._header[:4] and version.isdigit() and version > self._header[4:]:
            raise ComponentError(
                f"{self._path} has the format {data[:8].decode()}, this logflow knows "
                f"{self._header.decode()}; use the version that wrote it, or move it away to start afresh"
            )

    def _pieces(self, data: bytes) -> Iterator[tuple[int, int, bool]]:
        """Where whole records begin and end, and (``False``) what lies between them."""
        position = _HEADER_BYTES
        if not self._header.startswith(data[:position]):
            yield 0, min(position, len(data)), False
        budget = _SEARCH_FACTOR * len(data)
        while position < len(data):
            stop = _whole(data, position)
            if stop is None:
                found, budget = self._find(data, position + 1, budget)
                if found is None:
                    return
                yield position, found, False
                position = found
            else:
                yield position, stop, True
                position = stop

    def _find(self, data: bytes, start: int, budget: int) -> tuple[int | None, int]:
        """Look for a whole record; returns where it begins, and what is left of the budget of bytes."""
        for match in self._payload_start.finditer(data, start + _FRAME.size):
            position = match.start() - _FRAME.size
            if budget <= 0:
                break
            budget -= min(_FRAME.unpack_from(data, position)[0], len(data) - position)
            if _whole(data, position) is not None:
                return position, budget
        return None, budget

    def _is_torn(self, rest: bytes) -> bool:
        """Whether the end of the file is the beginning of a record, so that its write was not finished."""
        if len(rest) < _FRAME.size:
            return any(rest)
        payload = rest[_FRAME.size :]
        begins = len(payload) < _HEADER_BYTES or self._payload_start.match(payload) is not None
        return begins and _FRAME.unpack_from(rest)[0] > len(payload)

    def _set_aside(self, data: bytes, pieces: list[tuple[int, int, bool]], damaged: int) -> None:
        """Keep the damaged file, and put what is whole of it in its place."""
        self.damaged_bytes += damaged
        aside = self._aside(data)
        self._log.error("%s is damaged: %d bytes of it. It is kept as %s.", self._path, damaged, aside)
        parts = [
            data[start:stop] if whole else _frame([DAMAGED, stop - start]) for start, stop, whole in pieces
        ]
        try:
            with suppress(FileExistsError):  # kept before, by a process that was stopped right after it
                _write_new(self._fs, aside, data)
            self._replace(b"".join([self._header, *parts]))
        except OSError as error:
            self.suspect = True
            self._log.warning("%s cannot be mended now: %s.", self._path, error.strerror or error)

    def _replace(self, data: bytes) -> None:
        """Write a new file and give it the name of the old one, which stays until the new one is whole."""
        with suppress(FileNotFoundError):
            self._fs.remove(self._new_path)
        _write_new(self._fs, self._new_path, data)
        fd = self._fs.open(self._new_path, write=True)
        try:
            self._fs.rename(self._new_path, self._path)
        except OSError:
            self._fs.close(fd)
            raise
        old, self._fd = self._fd, fd
        self._fs.close(old)
        self.size = self._synced = len(data)
        self.suspect = self._torn = False
        self._name_unsynced = True
        with suppress(OSError):  # then the next sync does it
            self._fs.sync_directory(self._path.parent)
            self._name_unsynced = False

    def _check_still_there(self) -> None:
        if self._fs.deleted(self._fd):
            if not self.suspect:
                self._log.error("%s was deleted while in use; it is written anew if that can be.", self._path)
            self.suspect = True
            raise OSError(errno.ENOENT, "it was deleted while in use", str(self._path))

    def _cut_torn_end(self) -> None:
        if self._torn:
            self._fs.truncate(self._fd, self.size)
            self._torn = False


def _write_new(fs: Fs, path: Path, data: bytes) -> None:
    """Create a file with this content, synced; if that fails, no file is left."""
    fd = fs.open_new(path)
    try:
        try:
            fs.write(fd, [data], 0)
            fs.sync(fd)
        finally:
            fs.close(fd)
    except OSError:
        with suppress(OSError):
            fs.remove(path)
        raise


def _frame(record: Record) -> bytes:
    payload = _encode(record)
    return _FRAME.pack(len(payload), _checksum(payload)) + payload


def _whole(data: bytes, start: int) -> int | None:
    """Where the record at ``start`` ends, if it is whole."""
    if start + _FRAME.size >= len(data):
        return None
    length, checksum = _FRAME.unpack_from(data, start)
    begin = start + _FRAME.size
    stop: int = begin + length
    return stop if length and stop <= len(data) and _checksum(data[begin:stop]) == checksum else None


def _records(data: bytes, pieces: Iterable[tuple[int, int, bool]]) -> Iterator[Record]:
    for start, stop, whole in pieces:
        if not whole:
            yield [DAMAGED, stop - start]
            continue
        with suppress(msgspec.DecodeError):  # it is as it was written; a later version may know what it means
            yield _decode(data[start + _FRAME.size : stop])
