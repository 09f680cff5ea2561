"""Makes files that are written as a whole, each chunk in them exactly once: for a format with a footer.

The chunks of a call become one new file for each place, whose name ends in a hash of what is in it. The
steps, and what a ``kill -9`` after each of them leaves::

    1  journal begin(files)                           nothing
    2  write each beside its place, sync it and       recovery removes it: its chunks come again
       its directory
    3  journal make(ids, files), and sync             the chunks are delivered; a repeat is answered at once
    4  rename each to its place                       recovery does the rest of it
    5  sync the directories, journal end(files)       the same

Readers see whole files only. What is in the making is called ``.NAME.part``.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from logflow.batch import Chunk
from logflow.clock import Clock
from logflow.errors import DeliveryError
from logflow.outputs.file.disk import Disk, check_links
from logflow.outputs.file.journal import FileJournal
from logflow.outputs.file.retention import Kept, Retention, remove_unchanged
from logflow.templates import Splitter

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK
_ROUNDS = 4
"""How often a call goes on without the chunks whose file cannot be made."""


class Part(NamedTuple):
    """A chunk's events of one place."""

    chunk: Chunk
    place: str
    entries: Sequence[bytes]


class Encode(Protocol):
    """Makes the bytes of a file."""

    def __call__(self, parts: Sequence[Part]) -> bytes:
        """All of these parts, which have one place, in order."""


@dataclass(frozen=True)
class WholeOptions:
    """How files are made.

    Attributes:
        suffix: of their names.
        durable: sync before a chunk counts as delivered.
        file_mode: their permissions, whatever the umask; ``None``: 0640 as far as the umask allows.
        directory_mode: the same for new directories; ``None``: 0750.
        root: files must stay below, whatever links there are.
    """

    suffix: str
    durable: bool
    file_mode: int | None
    directory_mode: int | None
    root: Path


class _PlaceError(Exception):
    """The file of a place cannot be made."""

    def __init__(self, place: str, error: Exception) -> None:
        super().__init__(place)
        self.place = place
        self.error = error


class WholeWriter:
    """Makes files. :meth:`write` may be called from several threads."""

    def __init__(
        self, splitter: Splitter, encode: Encode, journal: FileJournal, options: WholeOptions, *, disk: Disk,
        clock: Clock, log: logging.Logger, retention: Retention | None,
    ) -> None:  # fmt: skip
        self._splitter = splitter
        self._encode = encode
        self._journal = journal
        self._options = options
        self._disk = disk
        self._clock = clock
        self._log = log
        self._retention = retention

    def write(self, chunks: Sequence[Chunk]) -> list[Exception | None]:
        """Put chunks into new files, each wholly or not at all; nothing for one that was delivered.

        Returns:
            For each chunk ``None`` if it was delivered, or why not.
        """
        parts, failed = self._split([chunk for chunk in chunks if not self._journal.committed(chunk.id)])
        try:
            failed |= self._finish(self._unplaced({chunk.id for chunk in chunks}))
            for _ in range(_ROUNDS if parts else 0):
                try:
                    failed |= self._make(parts)
                    break
                except _PlaceError as stopped:
                    stuck = {
                        part.chunk.id for own in parts.values() for part in own if part.place == stopped.place
                    }
                    failed |= dict.fromkeys(stuck, stopped.error)
                    parts = {key: own for key, own in parts.items() if key not in stuck}
            else:
                failed |= dict.fromkeys(parts, DeliveryError("other files cannot be made; it is tried again"))
        except OSError as error:
            told = DeliveryError(f"cannot write the journal: {error.strerror or error}")
            return [failed.get(chunk.id, told) for chunk in chunks]
        return [failed.get(chunk.id) for chunk in chunks]

    def _split(self, chunks: Sequence[Chunk]) -> tuple[dict[bytes, list[Part]], dict[bytes, Exception]]:
        parts: dict[bytes, list[Part]] = {}
        failed: dict[bytes, Exception] = {}
        for chunk in chunks:
            try:
                places = self._splitter.parts(chunk)
                parts[chunk.id] = [Part(chunk, place, entries) for place, entries in places.items()]
            except Exception as error:
                failed[chunk.id] = error
        return parts, failed

    def _make(self, parts: Mapping[bytes, Sequence[Part]]) -> dict[bytes, Exception]:
        """Make the files of these chunks; returns those whose files are not in their places yet.

        Raises:
            _PlaceError: one cannot be made, so none is.
            OSError: the journal cannot be written.
        """
        places: defaultdict[str, list[Part]] = defaultdict(list)
        for own in parts.values():
            for part in own:
                places[part.place].append(part)
        paths = {place: self._path(place, own) for place, own in places.items()}
        self._journal.begin([*paths.values()])
        try:
            for place, own in places.items():
                self._make_part(place, paths[place], own)
            self._sync_names(paths.values())
            self._journal.make([*parts], [*paths.values()])
        except Exception:
            self._give_up(paths.values())
            raise
        return self._finish(paths.values())

    def _make_part(self, place: str, path: str, parts: Sequence[Part]) -> None:
        try:
            self._write_part(path, self._encode(parts))
        except OSError as error:
            told = DeliveryError(f"cannot write {path}: {error.strerror or error}")
            raise _PlaceError(place, told) from error
        except Exception as error:
            raise _PlaceError(place, error) from error

    def _path(self, place: str, parts: Sequence[Part]) -> str:
        text = b"".join([*sorted(part.chunk.id for part in parts), place.encode()])
        return f"{place}-{hashlib.blake2b(text, digest_size=12).hexdigest()}{self._options.suffix}"

    def _write_part(self, path: str, data: bytes) -> None:
        check_links(path, self._options.root)
        directory = Path(path).parent
        missing = [each for each in (directory, *directory.parents) if not each.exists()]
        self._disk.make_directories(str(directory), self._options.directory_mode)
        if self._options.durable:
            for above in {str(each.parent) for each in missing}:
                self._disk.sync_directory(above)
        fd = self._disk.open(_part(path), _FLAGS, 0o640)
        try:
            if self._options.file_mode is not None:
                os.fchmod(fd, self._options.file_mode)
            self._disk.write_all(fd, data)
            if self._options.durable:
                self._disk.sync(fd)
        finally:
            self._disk.close(fd)

    def _sync_names(self, paths: Collection[str]) -> None:
        if self._options.durable:
            for directory in {str(Path(path).parent) for path in paths}:
                self._disk.sync_directory(directory)

    def _give_up(self, paths: Collection[str]) -> None:
        """Remove what is not whole; recovery does it where that fails."""
        with suppress(OSError):
            for path in paths:
                with suppress(FileNotFoundError):
                    self._disk.unlink(_part(path))
            self._journal.end([*paths])

    # -- putting files in their places --------------------------------------------------------------

    def _unplaced(self, chunk_ids: Collection[bytes]) -> list[str]:
        """Files of these chunks that could not be put in their places before."""
        return [
            path
            for path, file in list(self._journal.making.items())
            if file.chunk_ids is not None and not file.chunk_ids.isdisjoint(chunk_ids)
        ]

    def _finish(self, paths: Collection[str]) -> dict[bytes, Exception]:
        """Put files in their places; returns the chunks for which that fails.

        Raises:
            OSError: the journal cannot be synced, and files must not be seen before it is.
        """
        self._journal.settle(durable=self._options.durable)
        failed: dict[bytes, Exception] = {}
        placed = []
        for path in paths:
            try:
                self._rename(path)
                placed.append(path)
            except OSError as error:
                told = DeliveryError(f"cannot put {path} in its place: {error.strerror or error}")
                failed |= dict.fromkeys(self._journal.making[path].chunk_ids or (), told)
        if placed:
            with suppress(OSError):  # it is done again with the next start
                self._sync_names(placed)
                self._journal.end(placed)
        return failed

    def _rename(self, path: str) -> None:
        try:
            self._disk.rename(_part(path), path)
        except FileNotFoundError:
            if not Path(path).parent.is_dir():
                raise  # the disk may come back
            if not Path(path).exists():
                self._log.error("The file %s was removed by somebody else before it was whole.", _part(path))
                return
        if self._retention:
            with suppress(OSError):
                self._retention.made(path, self._clock.time_ns())

    # -- what the output asks for -------------------------------------------------------------------

    def recover(self) -> None:
        """Bring to an end what an earlier process began.

        Raises:
            OSError: the journal cannot be written.
        """
        begun = list(self._journal.making.items())
        self._finish([path for path, file in begun if file.chunk_ids is not None])
        for path, file in begun:
            if file.chunk_ids is None and not file.trusted and Path(_part(path)).exists():
                self._log.warning(
                    "The file %s is not removed, as the journal was damaged: its events may come again.",
                    _part(path),
                )
        self._give_up([path for path, file in begun if file.chunk_ids is None and file.trusted])
        self._journal.settle(durable=self._options.durable)

    def uses(self, _path: str, /) -> bool:
        """No file is known to ``retain`` before it is whole, and in its place."""
        return False

    def remove(self, file: Kept) -> bool | None:
        """Remove a file that was made before; ``None`` if somebody else changed it.

        Raises:
            OSError: it cannot be removed.
        """
        return remove_unchanged(file, self._disk, self._options.root) or None

    def close_idle(self) -> None:
        """Nothing stays open."""

    def close(self) -> None:
        """Nothing stays open."""


def _part(path: str) -> str:
    """Where a file is while it is made."""
    directory, name = os.path.split(path)
    return f"{directory}/.{name}.part"
