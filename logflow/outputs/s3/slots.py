r"""Which chunks are in which objects: what makes a repeat harmless.

An object is made of parts of several chunks, and after a failure, a timeout or a restart the same chunks
come again in other company. So an object's key is a *slot*, and what is put into a slot is noted before::

    new ──try──► open ──┬─ stored ──► decided: the chunks of that attempt are stored, the others are free
                 ▲  │   └─ nobody knows ─┐
                 │  └─── try with fewer ◄┘

Every put has the condition that the key does not exist, so one attempt at most is ever stored, however late a
lost request arrives. An attempt after the first is made of chunks that were in the first one. So whichever of
them a store keeps that knows no such condition, nothing is lost.

Records of the :mod:`journal <logflow.storage.journal>`, which is called ``LFS3``::

    ["try", key, place, attempt, [id, ...]]    the chunks' events of this place may be in the object `key`
    ["stored", key, attempt]                   this attempt is what the object holds
    ["ids", place, [id, ...]]                  chunks whose events of this place are stored (of a compaction)

``attempt`` is a hash of the chunks' ids. The object carries it, so that it tells by itself what it holds.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from logflow.storage.fs import Fs
from logflow.storage.journal import Journal, Record
from logflow.storage.remembered import Remembered

_KIND = b"LFS3"
_NAMES = ("try", "stored", "ids")
_COMPACT_BYTES = 4 << 20
_WINDOW = 65_536
"""Stored chunks that are remembered. Only those come again whose delivery the buffer has not recorded yet."""


@dataclass(eq=False)
class Slot:
    """A key, and what may be in its object.

    Attributes:
        key: of the object.
        place: the rendered template: events of other places are in other objects.
        attempts: the chunks of each attempt that nobody knows the end of.
        turn: held by whoever tries to fill it.
    """

    key: str
    place: str
    attempts: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Slots:
    """Records which chunks are in which objects. May be called from several threads."""

    def __init__(self, path: Path, fs: Fs, log: logging.Logger) -> None:
        """Use the journal at ``path``."""
        self._journal = Journal(path, _KIND, _NAMES, compact_bytes=_COMPACT_BYTES, fs=fs, log=log)
        self._lock = threading.Lock()
        self._open: dict[str, Slot] = {}
        self._slot_of: dict[tuple[bytes, str], Slot] = {}
        self._stored = Remembered[tuple[bytes, str]](_WINDOW)

    def open(self) -> int:
        """Read the journal and mend it; returns how many bytes of it were damaged.

        Raises:
            ComponentError: the journal cannot be used.
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

    def is_stored(self, chunk_id: bytes, place: str) -> bool:
        """Whether the chunk's events of this place are in an object."""
        return (chunk_id, place) in self._stored

    def open_slot(self, chunk_id: bytes, place: str) -> Slot | None:
        """The slot that they may be in."""
        return self._slot_of.get((chunk_id, place))

    def taken(self, key: str) -> bool:
        """Whether there is an open slot of this key."""
        return key in self._open

    def note_try(self, slot: Slot, attempt: str, chunk_ids: Sequence[bytes]) -> None:
        """The chunks may be in the slot's object from now on; outlives a power cut when this returns.

        Raises:
            OSError: it cannot be noted, so the object must not be put.
        """
        record = ["try", slot.key, slot.place, attempt, [*chunk_ids]]
        with self._lock:
            self._append(record)
            self._tried(slot, attempt, chunk_ids)
        self._journal.sync()

    def note_stored(self, slot: Slot, attempt: str) -> None:
        """The object holds this attempt (of unknown ones: none of ours); the chunks of the others are free.

        What a power cut takes of this is found out again by asking the store.
        """
        with self._lock:
            self._decided(slot, attempt)
            self._append(["stored", slot.key, attempt])

    def _append(self, record: Record) -> None:
        if self._journal.suspect or self._journal.grown:
            self._journal.rewrite(self._snapshot())
        self._journal.append([record])

    def _apply(self, record: Record) -> None:
        match record:
            case ["try", str() as key, str() as place, str() as attempt, list() as ids]:
                slot = self._open.get(key) or Slot(key, place)
                self._tried(slot, attempt, ids)
            case ["stored", str() as key, str() as attempt] if key in self._open:
                self._decided(self._open[key], attempt)
            case ["ids", str() as place, list() as ids]:
                self._remember(ids, place)

    def _tried(self, slot: Slot, attempt: str, chunk_ids: Sequence[bytes]) -> None:
        self._open[slot.key] = slot
        slot.attempts[attempt] = tuple(chunk_ids)
        for chunk_id in chunk_ids:
            self._slot_of[chunk_id, slot.place] = slot

    def _decided(self, slot: Slot, attempt: str) -> None:
        self._open.pop(slot.key, None)
        for ids in slot.attempts.values():
            for chunk_id in ids:
                if self._slot_of.get((chunk_id, slot.place)) is slot:
                    del self._slot_of[chunk_id, slot.place]
        self._remember(slot.attempts.get(attempt, ()), slot.place)

    def _remember(self, chunk_ids: Sequence[bytes], place: str) -> None:
        self._stored.add((chunk_id, place) for chunk_id in chunk_ids)

    def _snapshot(self) -> Iterator[Record]:
        for place, of_place in groupby(self._stored, key=lambda known: known[1]):
            yield ["ids", place, [chunk_id for chunk_id, _ in of_place]]
        for slot in self._open.values():
            for attempt, ids in slot.attempts.items():
                yield ["try", slot.key, slot.place, attempt, [*ids]]
