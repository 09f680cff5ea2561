r"""The journal of a file output: which chunks are in which files, and how long these files are.

::

    file   = b"LFFO0001" record*
    record = length u32le, xxh3-64 of the payload u64le, payload (msgpack array)

    ["own", number, path, inode, length, tail]       from `length` on the file is ours to write
    ["commit", id, [[number, length, tail], ...]]    the chunk is in these files, whole
    ["let", number]                                  we write no more to it: nothing to cut
    ["ids", [id, ...]]                               chunks committed before a compaction

``tail`` is a hash of the last bytes before ``length``: with path and inode it tells our file from one that
came in its place (not the device: its number may change when the machine starts). What a file that
is owned has beyond its length was never committed.

A record that goes past the end of the journal is torn (``kill -9`` in the middle of a write) and is
cut. Any other record that is wrong is damage: then lengths may be out of date, and cutting files to
them would lose data, so the journal is set aside and no file is cut.

Compaction writes what still matters to ``journal.new``, syncs it and renames it over the journal.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from logflow.errors import ComponentError
from logflow.outputs.file.disk import Disk

_MAGIC = b"LFFO0001"
_FRAME = struct.Struct("<IQ")
_COMPACT_BYTES = 1 << 20
_WINDOW = 16_384
"""Committed chunks that are remembered. Only chunks whose delivery the buffer has not recorded yet
come again, and those are few: one for each delivery under way."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


@dataclass
class Owned:
    """A file that the output writes to, as far as the journal knows it."""

    number: int
    path: str
    inode: int
    length: int
    tail: int


class Journal:
    """See the module's text. May be called from several threads."""

    def __init__(self, path: Path, disk: Disk, log: logging.Logger) -> None:
        """Use the journal at ``path``."""
        self._path = path
        self._disk = disk
        self._log = log
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._fd = -1
        self._size = 0
        self._synced = 0
        self._torn = False
        self._suspect = False
        self._compact_at = _COMPACT_BYTES
        self._number = 0
        self._ids: dict[bytes, None] = {}
        self.owned: dict[int, Owned] = {}

    def open(self) -> None:
        """Read the journal and cut its torn end.

        Raises:
            ComponentError: the journal cannot be used.
        """
        if self._fd >= 0:
            return
        try:
            self._disk.make_directories(str(self._path.parent))
            self._fd = self._disk.open(str(self._path), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._read(self._path.read_bytes())
        except OSError as error:
            self.close()
            raise ComponentError(
                f"cannot use the journal {self._path}: {error.strerror}; make data_dir writable"
            ) from error

    def close(self) -> None:
        """Close the journal. Safe twice."""
        with self._sync_lock, self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                self._disk.close(fd)

    # -- what is recorded -------------------------------------------------------------------------

    def committed(self, chunk_id: bytes) -> bool:
        """Whether the chunk is in its files already."""
        return chunk_id in self._ids

    def own(self, path: str, status: os.stat_result, tail: int) -> Owned:
        """Begin to write to a file at its end."""
        with self._lock:
            self._number += 1
            owned = Owned(self._number, path, status.st_ino, status.st_size, tail)
            self._append(_own_record(owned))
            self.owned[owned.number] = owned
        return owned

    def commit(self, chunk_id: bytes, files: list[tuple[Owned, int, int]]) -> None:
        """The chunk is whole in its files, which now have these lengths and tails."""
        with self._lock:
            self._append(["commit", chunk_id, [[f.number, length, tail] for f, length, tail in files]])
            for owned, length, tail in files:
                owned.length, owned.tail = length, tail
            self._remember(chunk_id)

    def let(self, owned: Owned) -> None:
        """Write no more to a file; what it has is whole."""
        with self._lock:
            self._append(["let", owned.number])
            self.owned.pop(owned.number, None)

    def settle(self, *, durable: bool) -> None:
        """Compact when it is time; if ``durable``, return when all that was recorded survives a power cut.

        After a failed sync the system may have forgotten what it did not write, so the journal is then
        written anew.
        """
        with self._sync_lock:
            if self._size > self._compact_at:
                self._compact_if_possible()
            size = self._size
            if not durable or (self._synced >= size and not self._suspect):
                return
            try:
                if self._suspect:
                    self._compact()
                else:
                    self._disk.sync(self._fd)
                    self._synced = size
            except OSError:
                self._suspect = True
                raise

    # -- the file ---------------------------------------------------------------------------------

    def _append(self, record: list[Any]) -> None:
        """Write a record, or raise with the journal as it was."""
        if self._torn:
            self._disk.truncate(self._fd, self._size)
            self._torn = False
        data = _frame(record)
        try:
            self._disk.write_all(self._fd, data)
        except OSError:
            self._torn = True
            raise
        self._size += len(data)

    def _compact_if_possible(self) -> None:
        try:
            self._compact()
        except OSError as error:  # no room for a new journal: the old one goes on
            self._compact_at = 2 * self._size
            self._log.warning("The journal %s could not be compacted: %s.", self._path, error)

    def _compact(self) -> None:
        """Rewrite the journal to what still matters; the old one stays until the new one is whole."""
        with self._lock:
            records = [["ids", list(self._ids)], *map(_own_record, self.owned.values())]
            data = b"".join([_MAGIC, *map(_frame, records)])
            new_path = f"{self._path}.new"
            fd = self._disk.open(new_path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                self._disk.truncate(fd, 0)
                self._disk.write_all(fd, data)
                self._disk.sync(fd)
                self._disk.rename(new_path, str(self._path))
            except BaseException:
                self._disk.close(fd)
                raise
            self._disk.close(self._fd)
            self._fd, self._size, self._suspect, self._torn = fd, len(data), False, False
            self._compact_at = max(2 * self._size, _COMPACT_BYTES)
            self._disk.sync_directory(str(self._path.parent))
            self._synced = self._size

    def _read(self, data: bytes) -> None:
        if data[: len(_MAGIC)] != _MAGIC[: len(data)]:
            raise ComponentError(f"{self._path} is not a journal of logflow; move it away to start afresh")
        end = len(_MAGIC)
        while (payload := _payload(data, end)) is not None:
            self._apply(_decode(payload))
            end += _FRAME.size + len(payload)
        damaged = _is_damaged(data, end)
        if damaged:
            aside = self._path.with_suffix(".damaged")
            self._log.error(
                "The journal %s is damaged at byte %d; it is kept as %s. Files that were being written "
                "are not cut: they may end in events that come again.", self._path, end, aside,
            )  # fmt: skip
            aside.write_bytes(data)
            self.owned.clear()
        self._size = self._synced = end
        if damaged or end < len(data) or len(data) < len(_MAGIC):
            self._compact()

    def _apply(self, record: list[Any]) -> None:
        match record:
            case ["own", number, path, inode, length, tail]:
                self.owned[number] = Owned(number, path, inode, length, tail)
                self._number = max(self._number, number)
            case ["commit", chunk_id, files]:
                self._remember(chunk_id)
                for number, length, tail in files:
                    if owned := self.owned.get(number):
                        owned.length, owned.tail = length, tail
            case ["let", number]:
                self.owned.pop(number, None)
            case ["ids", ids]:
                for chunk_id in ids:
                    self._remember(chunk_id)

    def _remember(self, chunk_id: bytes) -> None:
        self._ids[chunk_id] = None
        if len(self._ids) > _WINDOW:
            del self._ids[next(iter(self._ids))]


def _own_record(owned: Owned) -> list[Any]:
    return ["own", owned.number, owned.path, owned.inode, owned.length, owned.tail]


def _frame(record: list[Any]) -> bytes:
    payload = _encode(record)
    return _FRAME.pack(len(payload), xxhash.xxh3_64_intdigest(payload)) + payload


def _payload(data: bytes, position: int) -> bytes | None:
    """The payload of the whole and right record at ``position``."""
    if position + _FRAME.size > len(data):
        return None
    length, checksum = _FRAME.unpack_from(data, position)
    start = position + _FRAME.size
    payload = data[start : start + length]
    return payload if len(payload) == length and xxhash.xxh3_64_intdigest(payload) == checksum else None


def _is_damaged(data: bytes, end: int) -> bool:
    """Whether what follows the last right record is more than a torn write.

    A torn record goes past the end of the data (zeros are a tail that a power cut left); but if a
    right record comes later, then it was a length that was damaged.
    """
    rest = data[end:]
    if not rest.strip(b"\0"):
        return False
    whole = len(rest) >= _FRAME.size and len(rest) - _FRAME.size >= _FRAME.unpack_from(rest)[0]
    return whole or any(_payload(data, position) is not None for position in range(end + 1, len(data)))
