"""Checkpoints: how far every stream has been read, and where its chunks were cut.

One append-only journal per data directory carries both, because they only make sense together: a
stream (one incarnation of one log file) may be read again from its position, and what is read
again must be cut into the very same chunks, so that their ids are the same and no destination
stores them twice. The log file is thus the write-ahead log of an agent with memory buffers.

Records (each a msgpack array, framed with length and checksum, see :data:`_FRAME`)::

    ["stream", source, stream, state]      position of a stream; state is the source's own dict
    ["forget", source, stream]             the stream is finished and gone
    ["cut", output, stream, start, end]    a chunk of this span is about to be sent to the output
    ["accept", output, stream, end]        the output is responsible for everything before `end`
    ["note", output, key, text]            what an output must not forget about a chunk; "" forgets it

    file = b"LFCP0001" record*             record = u32 length, u64 xxh3 of the payload, payload

A torn tail (``kill -9`` in the middle of a write) is cut when the journal is opened; damage before whole
records is skipped, and the damaged journal is set aside. When the journal has grown to twice what it
needs, it is rewritten to a new file that replaces it; so it is after a write that failed (a full disk),
as all that matters is in memory too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from logflow.errors import ComponentError

_MAGIC = b"LFCP0001"
_FRAME = struct.Struct("<IQ")
_COMPACT_BYTES = 8 << 20
"""A journal smaller than this is not worth rewriting."""

_log = logging.getLogger("logflow.checkpoints")
_checksum = xxhash.xxh3_64_intdigest
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Checkpoints:
    """The journal of one data directory. All calls are made on the event loop's thread.

    ``cut`` is written through before it returns, as it must precede the chunk; everything else is
    collected and written by :meth:`flush`, which the service calls several times a second: what a
    ``kill -9`` takes of it leads to reading again, which the cuts make harmless.
    """

    def __init__(self, path: Path | None) -> None:
        """Use the journal at ``path``; ``None`` keeps everything in memory only (tests)."""
        self._path = path
        self._fd = -1
        self._size = 0
        self._compacted_size = 0
        self._pending: list[bytes] = []
        self._unsynced = False
        self._rewrite = False
        """The file is not what it should be: the next flush writes it anew from memory."""
        self._streams: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._cuts: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(dict)
        self._accepted: dict[str, dict[str, int]] = defaultdict(dict)
        self._notes: dict[str, dict[bytes, str]] = defaultdict(dict)

    def open(self) -> None:
        """Read the journal and cut its torn tail.

        Raises:
            ComponentError: the file cannot be opened or is not a journal.
        """
        if self._path is None or self._fd >= 0:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ComponentError(
                f"cannot open the checkpoints {self._path}: {error.strerror}; "
                "make the directory writable or set data_dir"
            ) from error
        data = self._path.read_bytes()
        if data.startswith(_MAGIC):
            self._size = self._replay(data)
        elif _MAGIC.startswith(data):  # new, or torn in its first write
            self._size = os.pwrite(self._fd, _MAGIC, 0)
        else:
            raise ComponentError(f"{self._path} is not a checkpoint journal; move it away to start afresh")
        os.ftruncate(self._fd, self._size)
        os.lseek(self._fd, self._size, os.SEEK_SET)
        self._compacted_size = self._size

    def close(self) -> None:
        """Write and sync what is pending. Safe twice.

        Raises:
            OSError: it cannot be written; the journal is closed all the same.
        """
        if self._fd >= 0:
            try:
                self.flush()
                os.fdatasync(self._fd)
            finally:
                os.close(self._fd)
                self._fd = -1

    # -- streams: kept by sources ---------------------------------------------------------------

    def streams(self, source: str) -> dict[str, dict[str, Any]]:
        """Every known stream of a source with its last state."""
        return dict(self._streams[source])

    def save(self, source: str, stream: str, state: dict[str, Any]) -> None:
        """Record a stream's state; ``state["offset"]`` is how far its events are safe."""
        self._streams[source][stream] = state
        self._append(["stream", source, stream, state])
        self._drop_cuts_before(stream, state["offset"])

    def forget(self, source: str, stream: str) -> None:
        """The stream will never be read again."""
        self._streams[source].pop(stream, None)
        self._forget_stream(stream)
        self._append(["forget", source, stream])

    # -- cuts: kept by buffers, obeyed by sources ------------------------------------------------

    def cut(self, output: str, stream: str, start: int, end: int) -> None:
        """A chunk of exactly this span is about to be sent to ``output``. On disk when it returns.

        Raises:
            OSError: it cannot be written; the chunk must not be sent. It stays planned: try again.
        """
        spans = self._cuts[stream].setdefault(output, [])
        if (start, end) not in spans:
            spans.append((start, end))
            self._append(["cut", output, stream, start, end])
        self.flush()

    def accept(self, output: str, stream: str, end: int) -> None:
        """``output`` (or its disk buffer) is responsible for everything before ``end``."""
        if end > self._accepted[stream].get(output, -1):
            self._accepted[stream][output] = end
            self._append(["accept", output, stream, end])

    def accepted(self, output: str, stream: str) -> int:
        """Up to which offset ``output`` is responsible for the stream; 0 for none of it."""
        return self._accepted[stream].get(output, 0) if stream in self._accepted else 0

    def planned(self, output: str, stream: str) -> list[tuple[int, int]]:
        """Spans of the chunks that were cut for ``output`` and may be in flight, in order."""
        return sorted(self._cuts[stream].get(output, [])) if stream in self._cuts else []

    def boundaries(self, stream: str) -> list[int]:
        """Offsets, ascending, that no batch of the stream may straddle when it is read again."""
        edges = {edge for spans in self._cuts.get(stream, {}).values() for span in spans for edge in span}
        edges.update(self._accepted.get(stream, {}).values())
        return sorted(edges)

    # -- notes: made by outputs ------------------------------------------------------------------

    def note(self, output: str, key: bytes, text: str) -> None:
        """Remember ``text`` about a chunk; on disk when it returns. ``""`` forgets it.

        Outputs remember; the buffer forgets, when the chunk can never come again.

        Raises:
            OSError: it cannot be written now; it is remembered and written later.
        """
        if text != self.noted(output, key):
            if text:
                self._notes[output][key] = text
            else:
                del self._notes[output][key]
            self._append(["note", output, key, text])
        if text:
            self.flush()

    def noted(self, output: str, key: bytes) -> str:
        """What was noted about a chunk; ``""`` when nothing was."""
        return self._notes[output].get(key, "") if output in self._notes else ""

    # -- the journal -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand everything recorded so far to the operating system: it then survives ``kill -9``.

        Raises:
            OSError: it cannot be written (a full disk). Nothing is lost: the next call tries again.
        """
        data = b"".join(self._pending)
        self._pending.clear()
        if self._fd < 0:
            return
        if self._rewrite:
            self._compact()
        elif data:
            self._write(data)
        if self._size > max(2 * self._compacted_size, _COMPACT_BYTES):
            try:
                self._compact()
            except OSError:  # no room for a second journal now: this one is whole, and goes on
                self._compacted_size = self._size

    async def sync(self) -> None:
        """Flush, then wait until it survives a power cut as well.

        Raises:
            OSError: it cannot be written.
        """
        self.flush()
        if self._unsynced and self._fd >= 0:
            self._unsynced = False
            fd = os.dup(self._fd)  # ours may be closed or replaced meanwhile
            try:
                await asyncio.to_thread(os.fdatasync, fd)
            finally:
                os.close(fd)

    def _write(self, data: bytes) -> None:
        try:
            _write_all(self._fd, data)
        except OSError:
            # No torn record may stay. What could not be written need not be kept: it is in the
            # memory that the journal is then written anew from.
            self._rewrite = True
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
            raise
        self._size += len(data)
        self._unsynced = True

    def _append(self, record: list[Any]) -> None:
        self._pending.append(_frame(record))

    def _replay(self, data: bytes) -> int:
        """Apply every whole record; returns where the last one ends."""
        end, skipped = len(_MAGIC), 0
        for start, stop in _frames(data):
            skipped += start - end
            end = stop
            self._apply(_decode(data[start + _FRAME.size : stop]))
        if skipped:
            self._set_aside(skipped)
        return end

    def _set_aside(self, skipped: int) -> None:
        assert self._path is not None
        aside = self._path.with_suffix(".damaged")
        shutil.copyfile(self._path, aside)
        self._rewrite = True
        _log.error("%s is damaged: %d bytes of it are skipped. It is kept as %s.", self._path, skipped, aside)

    def _apply(self, record: list[Any]) -> None:
        match record:
            case ["stream", source, stream, state]:
                self._streams[source][stream] = state
                self._drop_cuts_before(stream, state["offset"])
            case ["forget", source, stream]:
                self._streams[source].pop(stream, None)
                self._forget_stream(stream)
            case ["cut", output, stream, start, end]:
                self._cuts[stream].setdefault(output, []).append((start, end))
            case ["accept", output, stream, end]:
                self._accepted[stream][output] = end
            case ["note", output, key, ""]:
                self._notes[output].pop(key, None)
            case ["note", output, key, text]:
                self._notes[output][key] = text

    def _drop_cuts_before(self, stream: str, offset: int) -> None:
        for output, spans in self._cuts.get(stream, {}).items():
            self._cuts[stream][output] = [span for span in spans if span[1] > offset]

    def _forget_stream(self, stream: str) -> None:
        self._cuts.pop(stream, None)
        self._accepted.pop(stream, None)

    def _records(self) -> Iterator[list[Any]]:
        for source, streams in self._streams.items():
            for stream, state in streams.items():
                yield ["stream", source, stream, state]
        for stream, outputs in self._cuts.items():
            for output, spans in outputs.items():
                for start, end in spans:
                    yield ["cut", output, stream, start, end]
        for stream, ends in self._accepted.items():
            for output, end in ends.items():
                yield ["accept", output, stream, end]
        for output, notes in self._notes.items():
            for key, text in notes.items():
                yield ["note", output, key, text]

    def _compact(self) -> None:
        """Rewrite the journal to what still matters; the old one stays until the new one is whole."""
        assert self._path is not None
        data = _MAGIC + b"".join(map(_frame, self._records()))
        new_path = self._path.with_suffix(".new")
        fd = os.open(new_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, data)
            os.fdatasync(fd)
            new_path.replace(self._path)
        except OSError:
            os.close(fd)
            new_path.unlink(missing_ok=True)
            raise
        os.close(self._fd)
        self._fd, self._size, self._compacted_size = fd, len(data), len(data)
        self._rewrite = False
        _sync_directory(self._path.parent)


def _frame(record: list[Any]) -> bytes:
    payload = _encode(record)
    return _FRAME.pack(len(payload), _checksum(payload)) + payload


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where every whole record starts and stops; what is between them is damage."""
    start = len(_MAGIC)
    while start + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, start)
        stop = start + _FRAME.size + length
        if length and stop <= len(data) and _checksum(data[start + _FRAME.size : stop]) == checksum:
            yield start, stop
            start = stop
        else:
            start += 1


def _sync_directory(path: Path) -> None:
    """Make a rename in the directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
