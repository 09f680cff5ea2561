r"""The journal of a file output: which chunks are in which files, and how long these files are.

Records of the :mod:`journal <logflow.storage.journal>`, which is called ``LFFO``::

    ["own", number, path, inode, length, tail]       from `length` on the file is ours to write
    ["commit", id, [[number, length, tail], ...]]    the chunk is in these files, whole
    ["commits", [id, ...], [[number, ...], ...]]     the same for several chunks: all of them or none
    ["let", number]                                  we write no more to it: nothing to cut
    ["ids", [id, ...]]                               chunks committed before a compaction
    ["begin", [path, ...]]                           these files may be in the making, beside their places
    ["make", [id, ...], [path, ...]]                 the chunks are in them, whole; they get their places now
    ["end", [path, ...]]                             they are in their places, or given up

``tail`` is a hash of the last bytes before ``length``: with path and inode it tells our file from one that
came in its place (not the device: its number may change when the machine starts). What a file that
is owned has beyond its length was never committed.

Damage may have hit a commit. The length of a file is therefore no longer trusted until the next commit to it:
such a file is not cut, as that could lose delivered events. It may end in events that come again, once. For
the same reason files in the making are not removed then.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from logflow.storage.fs import Fs
from logflow.storage.journal import DAMAGED, Journal, Record
from logflow.storage.remembered import Remembered

_KIND = b"LFFO"
_NAMES = ("own", "commit", "commits", "let", "ids", "begin", "make", "end")
_COMPACT_BYTES = 1 << 20
_WINDOW = 16_384
"""Committed chunks that are remembered. Only chunks whose delivery the buffer has not recorded yet
come again, and those are few: one for each delivery under way."""


@dataclass
class Owned:
    """A file that the output writes to, as far as the journal knows it."""

    number: int
    path: str
    inode: int
    length: int
    tail: int
    trusted: bool = True
    """Nothing of what was committed to it can be missing from the journal."""


@dataclass
class Making:
    """A file that is written as a whole, until it is in its place.

    Attributes:
        chunk_ids: what is in it for good; ``None`` until it is whole.
        trusted: nothing of that can be missing from the journal.
    """

    chunk_ids: frozenset[bytes] | None = None
    trusted: bool = True


class Written(NamedTuple):
    """A file that a chunk is in, whole, and what the file is now."""

    owned: Owned
    length: int
    tail: int


class FileJournal:
    """Records which chunks are in which files. May be called from several threads."""

    def __init__(self, path: Path, fs: Fs, log: logging.Logger) -> None:
        """Use the journal at ``path``."""
        self._path = path
        self._log = log
        self._journal = Journal(path, _KIND, _NAMES, compact_bytes=_COMPACT_BYTES, fs=fs, log=log)
        self._lock = threading.Lock()
        self._number = 0
        self._ids = Remembered[bytes](_WINDOW)
        self.owned: dict[int, Owned] = {}
        self.making: dict[str, Making] = {}

    def open(self) -> int:
        """Read the journal and mend it; returns how many bytes of it were damaged.

        Raises:
            ComponentError: the journal cannot be used. Nothing is left open.
        """
        if self._journal.is_open:
            return 0
        for record in self._journal.open():
            self._apply(record)
        return self._journal.damaged_bytes

    def close(self) -> None:
        """Close the journal. Safe twice."""
        with self._lock:
            self._journal.close()

    # -- what is recorded -------------------------------------------------------------------------

    def committed(self, chunk_id: bytes) -> bool:
        """Whether the chunk is in its files already."""
        return chunk_id in self._ids

    def own(self, path: str, status: os.stat_result, tail: int) -> Owned:
        """Begin to write to a file at its end."""
        with self._lock:
            owned = Owned(self._number + 1, path, status.st_ino, status.st_size, tail)
            self._append([_own_record(owned)])
            self._number = owned.number
            self.owned[owned.number] = owned
        return owned

    def commit(self, chunk_ids: Sequence[bytes], files: Sequence[Written]) -> None:
        """The chunks are whole in their files, which now are as given; all of them or none."""
        states = [[file.owned.number, file.length, file.tail] for file in files]
        record = ["commit", *chunk_ids, states] if len(chunk_ids) == 1 else ["commits", [*chunk_ids], states]
        with self._lock:
            self._append([record])
            for owned, length, tail in files:
                owned.length, owned.tail, owned.trusted = length, tail, True
            self._ids.add(chunk_ids)

    def let(self, owned: Owned) -> None:
        """Write no more to a file; what it has is whole."""
        with self._lock:
            self._append([["let", owned.number]])
            self.owned.pop(owned.number, None)

    def begin(self, paths: Sequence[str]) -> None:
        """Begin to make files, each as a whole."""
        with self._lock:
            self._append([["begin", [*paths]]])
            self.making |= {path: Making() for path in paths}

    def make(self, chunk_ids: Sequence[bytes], paths: Sequence[str]) -> None:
        """The chunks are whole in these files, which get their places whatever happens; all or none."""
        record = ["make", [*chunk_ids], [*paths]]
        with self._lock:
            self._append([record])
            self._apply(record)

    def end(self, paths: Sequence[str]) -> None:
        """Files are in their places, or given up."""
        record = ["end", [*paths]]
        with self._lock:
            self._append([record])
            self._apply(record)

    def settle(self, *, durable: bool) -> None:
        """Compact when it is time; if ``durable``, return when all that was recorded survives a power cut.

        After a failed sync the system may have forgotten what it did not write, so the journal is then
        written anew.
        """
        if self._journal.suspect or self._journal.grown:
            with self._lock:
                self._compact()
        if durable:
            self._journal.sync()

    # -- the file ---------------------------------------------------------------------------------

    def _append(self, records: list[Record]) -> None:
        """Write records, or raise with the journal as it was."""
        if self._journal.suspect:
            self._compact()
        self._journal.append(records)

    def _compact(self) -> None:
        """Rewrite the journal to what still matters."""
        try:
            self._journal.rewrite(self._records())
        except OSError as error:  # no room for a new journal: the old one goes on, if it can be relied upon
            if self._journal.suspect:
                raise
            self._log.warning("The journal %s could not be compacted: %s.", self._path, error)

    def _records(self) -> Iterator[Record]:
        yield ["ids", list(self._ids)]
        suspected = [owned for owned in self.owned.values() if not owned.trusted]
        yield from map(_own_record, suspected)
        yield ["begin", [path for path, file in self.making.items() if not file.trusted]]
        if suspected or not all(file.trusted for file in self.making.values()):
            yield [DAMAGED, 0]
        yield from (_own_record(owned) for owned in self.owned.values() if owned.trusted)
        yield ["begin", [path for path, file in self.making.items() if file.trusted]]
        for path, file in self.making.items():
            if file.chunk_ids is not None:
                yield ["make", [*file.chunk_ids], [path]]

    def _apply(self, record: Record) -> None:
        match record:
            case ["own", number, path, inode, length, tail]:
                self.owned[number] = Owned(number, path, inode, length, tail)
                self._number = max(self._number, number)
            case ["commit", chunk_id, files]:
                self._apply_commit([chunk_id], files)
            case ["commits", chunk_ids, files]:
                self._apply_commit(chunk_ids, files)
            case ["let", number]:
                self.owned.pop(number, None)
            case ["ids", chunk_ids]:
                self._apply_commit(chunk_ids, [])
            case ["begin" | "make" | "end", *_]:
                self._apply_making(record)
            case [str(name), *_] if name == DAMAGED:
                for owned in self.owned.values():
                    owned.trusted = False
                for file in self.making.values():
                    file.trusted = file.chunk_ids is not None

    def _apply_making(self, record: Record) -> None:
        match record:
            case ["begin", paths]:
                self.making |= {path: Making() for path in paths}
            case ["make", chunk_ids, paths]:
                self._apply_commit(chunk_ids, [])
                self.making |= {path: Making(frozenset(chunk_ids)) for path in paths}
            case ["end", paths]:
                for path in paths:
                    self.making.pop(path, None)

    def _apply_commit(self, chunk_ids: list[bytes], files: list[tuple[int, int, int]]) -> None:
        self._ids.add(chunk_ids)
        for number, length, tail in files:
            if owned := self.owned.get(number):
                owned.length, owned.tail, owned.trusted = length, tail, True


def _own_record(owned: Owned) -> Record:
    return ["own", owned.number, owned.path, owned.inode, owned.length, owned.tail]
