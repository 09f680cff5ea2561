"""Accepted keys that outlive their segment.

The key of a batch stands in the batch's own record. Before a segment is deleted, the keys in it that
are still within the window are appended here, and synced; so at every moment each key that counts is in
some file. When the file holds mostly forgotten keys, it is written anew::

    KEYS record: description [], body = msgpack [[key, time_ns], ...]
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import msgspec

from logflow.buffers.dedup import AcceptedKeys
from logflow.buffers.disk.records import Kind, Record
from logflow.buffers.disk.segments import Segment, SegmentLog
from logflow.clock import Clock
from logflow.storage.fs import Fs

_SLACK_KEYS = 10_000
_MOST_FILES = 8
_KEYS_PER_RECORD = 50_000
_FILE_BYTES = 1 << 31

Key: TypeAlias = tuple[bytes, int]
"""A key and the wall-clock nanoseconds of its acceptance."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Key]).decode


def unpack_keys(body: bytes) -> list[Key]:
    """Read the body of a KEYS record."""
    return _decode(body)


class KeyFile:
    """Keeps keys on disk. :meth:`save` is called by one thread at a time."""

    def __init__(
        self, fs: Fs, directory: Path, files: list[Segment], written: int, clock: Clock, *, synced: bool
    ) -> None:
        """Go on after ``files``, which hold ``written`` keys."""
        self._log = SegmentLog(
            fs, directory, files, suffix="keys", segment_bytes=_FILE_BYTES, clock=clock, synced=synced
        )
        self._synced = synced
        self._written = written

    def wants_all(self, keys: AcceptedKeys) -> bool:
        """Whether to :meth:`save` every key next: most in the file are forgotten, or the files are many."""
        return self._written > 2 * len(keys) + _SLACK_KEYS or len(self._log.segments) > _MOST_FILES

    def save(self, keys: list[Key], *, everything: bool) -> None:
        """Append keys; when they are all that count, what was written before is deleted.

        Raises:
            OSError: they were not stored; nothing was deleted.
        """
        if everything:
            self._log.retire()
        old = list(self._log.segments) if everything else []
        if keys:
            self._log.append(list(_records(keys)), sync=self._synced)
        self._written = len(keys) if everything else self._written + len(keys)
        for file in old:
            self._log.remove(file)

    def close(self) -> None:
        """Close the file. Safe twice."""
        self._log.close()


def _records(keys: list[Key]) -> Iterable[Record]:
    for first in range(0, len(keys), _KEYS_PER_RECORD):
        yield Record(Kind.KEYS, b"\x90", _encode(keys[first : first + _KEYS_PER_RECORD]))
