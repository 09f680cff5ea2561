"""Checkpoints: how far every stream has been read, and where its chunks were cut.

One append-only journal per data directory carries both, because they only make sense together: a
stream (one incarnation of one log file) may be read again from its position, and what is read
again must be cut into the very same chunks, so that their ids are the same and no destination
stores them twice. The log file is thus the write-ahead log of an agent with memory buffers.

Records of the :mod:`journal <logflow.storage.journal>`, which is called ``LFCP``::

    ["stream", source, stream, state]      position of a stream; state is the source's own dict
    ["forget", source, stream]             the stream is finished and gone
    ["cut", output, stream, start, end]    a chunk of this span is about to be sent to the output
    ["accept", output, stream, end]        the output is responsible for everything before `end`
    ["note", output, key, text]            what an output must not forget about a chunk; "" forgets it
    ["mark", output, size, events]         what the output's disk buffer held: bytes of its files, events

Damage costs the records that it hit: a stream is read again from its position before, a chunk under way
may come again under another id. When the journal has grown to twice what it needs, it is rewritten; so
it is after a write that failed (a full disk), as all that matters is in memory too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from logflow.storage.fs import Fs
from logflow.storage.journal import Journal, Record

_KIND = b"LFCP"
_NAMES = ("stream", "forget", "cut", "accept", "note", "mark")
_COMPACT_BYTES = 8 << 20
"""A journal smaller than this is not worth rewriting."""

_log = logging.getLogger("logflow.checkpoints")


class BufferMark(NamedTuple):
    """What a disk buffer held, so that it is noticed when something of it is gone without a trace.

    Attributes:
        size: bytes of its segments.
        events: that waited in them.
    """

    size: int
    events: int


class Checkpoints:
    """The journal of one data directory. All calls are made on the event loop's thread.

    Everything is collected and written by :meth:`flush`. Buffers call it when they have made cuts, which must
    precede their chunks, once for all of a group; the service calls it several times a second. What a
    ``kill -9`` takes of the rest leads to reading again, which the cuts make harmless.
    """

    def __init__(self, path: Path | None, *, fs: Fs | None = None, executor: Executor | None = None) -> None:
        """Use the journal at ``path``; ``None`` keeps everything in memory only (tests).

        Args:
            path: of the journal.
            fs: file operations; the real ones unless given.
            executor: where the disk is waited for; the event loop's own threads unless given.
        """
        self._journal = (
            Journal(path, _KIND, _NAMES, compact_bytes=_COMPACT_BYTES, fs=fs or Fs(), log=_log)
            if path is not None
            else None
        )
        self.problem: str | None = None
        """Why nothing can be recorded now; ``None`` while all is well."""
        self._executor = executor
        self._pending: list[Record] = []
        self._rewrite = False
        """The file is not what it should be: the next flush writes it anew from memory."""
        self._unwritten_streams = False
        """Something that sources recorded is pending."""
        self._namings = self._namings_synced = 0
        """Records by which a stream is recognised: those made, and those that a power cut cannot take."""
        self._streams: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._cuts: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(dict)
        self._accepted: dict[str, dict[str, int]] = defaultdict(dict)
        self._notes: dict[str, dict[bytes, str]] = defaultdict(dict)
        self._marks: dict[str, BufferMark] = {}
        self._unwritten_marks: set[str] = set()
        self._changed = asyncio.Event()

    def open(self) -> None:
        """Read the journal and mend it.

        Raises:
            ComponentError: it cannot be used, or a later version wrote it.
        """
        if self._journal is not None and not self._journal.is_open:
            for record in self._journal.open():
                self._apply(record)

    def close(self) -> None:
        """Write and sync what is pending. Safe twice.

        Raises:
            OSError: it cannot be written; the journal is closed all the same.
        """
        if self._journal is not None:
            try:
                self.flush()
                self._journal.sync()
            finally:
                self._journal.close()

    @property
    def damaged_bytes(self) -> int:
        """Bytes of damage that were found when the journal was opened."""
        return self._journal.damaged_bytes if self._journal is not None else 0

    # -- streams: kept by sources ---------------------------------------------------------------

    def streams(self, source: str) -> dict[str, dict[str, Any]]:
        """Every known stream of a source with its last state."""
        return dict(self._streams[source])

    def save(self, source: str, stream: str, state: dict[str, Any], *, names: bool = False) -> None:
        """Record a stream's state; ``state["offset"]`` is how far its events are safe.

        A source saves what a stream is recognised by before it emits the first batch of it, with ``names``
        where that changes; a stream that was not known before is named by its first state.
        """
        self._namings += names or stream not in self._streams[source]
        self._unwritten_streams = True
        self._streams[source][stream] = state
        self._append(["stream", source, stream, state])
        self._drop_cuts_before(stream, state["offset"])

    def forget(self, source: str, stream: str) -> None:
        """The stream will never be read again."""
        self._streams[source].pop(stream, None)
        self._forget_stream(stream)
        self._unwritten_streams = True
        self._append(["forget", source, stream])

    async def secure_streams(self, *, synced: bool) -> None:
        """Have what sources recorded outlive the process, before events of theirs are stored elsewhere.

        Otherwise a stream might come back under another name, and its events would be new. With ``synced``
        its name survives a power cut too.

        Raises:
            OSError: it cannot be written; the events must not be stored.
        """
        if synced and self._namings > self._namings_synced:
            await self.sync()
        elif self._unwritten_streams:
            self.flush()

    # -- cuts: kept by buffers, obeyed by sources ------------------------------------------------
    # Here a stream is named with its lane (``Span.name``), except for `boundaries`, as sources know no lanes.

    def cut(self, output: str, stream: str, start: int, end: int) -> None:
        """A chunk of exactly this span is about to be sent to ``output``, once :meth:`flush` has returned.

        Where that raises, the chunk must not be sent. It stays planned: try again.
        """
        output, stream = _in_lane(output, stream)
        spans = self._cuts[stream].setdefault(output, [])
        if (start, end) not in spans:
            spans.append((start, end))
            self._append(["cut", output, stream, start, end])

    def accept(self, output: str, stream: str, end: int) -> None:
        """``output`` (or its disk buffer) is responsible for everything before ``end``."""
        output, stream = _in_lane(output, stream)
        if end > self._accepted[stream].get(output, -1):
            self._accepted[stream][output] = end
            self._append(["accept", output, stream, end])

    def accepted(self, output: str, stream: str) -> int:
        """Up to which offset ``output`` is responsible for the stream; 0 for none of it."""
        output, stream = _in_lane(output, stream)
        return self._accepted[stream].get(output, 0) if stream in self._accepted else 0

    def planned(self, output: str, stream: str) -> list[tuple[int, int]]:
        """Spans of the chunks that were cut for ``output`` and may be in flight, in order."""
        output, stream = _in_lane(output, stream)
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

    # -- marks: made by disk buffers --------------------------------------------------------------

    def mark(self, output: str, mark: BufferMark) -> None:
        """Note what the buffer of an output holds; only the last mark is kept."""
        if self._marks.get(output) != mark:
            self._marks[output] = mark
            self._unwritten_marks.add(output)
            self._changed.set()

    def marked(self, output: str) -> BufferMark | None:
        """What the buffer of an output held a moment ago; ``None`` if that is not known."""
        return self._marks.get(output)

    # -- the journal -----------------------------------------------------------------------------

    async def changed(self) -> None:
        """Wait until there is something to :meth:`flush`."""
        if self.problem is None:
            await self._changed.wait()

    def flush(self) -> None:
        """Hand everything recorded so far to the operating system: it then survives ``kill -9``.

        Raises:
            OSError: it cannot be written (a full disk). Nothing is lost: the next call tries again.
        """
        self._pending += [["mark", output, *self._marks[output]] for output in self._unwritten_marks]
        self._unwritten_marks.clear()
        self._changed.clear()
        pending, self._pending = self._pending, []
        journal = self._journal
        if journal is None or not journal.is_open:
            return
        try:
            self._write(journal, pending)
        except OSError as error:
            self.problem = str(error)
            raise
        self.problem = None
        self._unwritten_streams = False
        if journal.grown:
            with suppress(OSError):  # no room for a second journal now: this one is whole, and goes on
                journal.rewrite(self._records())

    def _write(self, journal: Journal, pending: list[Record]) -> None:
        if self._rewrite or journal.suspect:
            journal.rewrite(self._records())
            self._rewrite = False
        elif pending:
            # What cannot be written need not be kept: it is in the memory that the journal is then
            # written anew from.
            self._rewrite = True
            journal.append(pending)
            self._rewrite = False

    async def sync(self) -> None:
        """Flush, then wait until it survives a power cut as well.

        Raises:
            OSError: it cannot be written.
        """
        namings = self._namings
        self.flush()
        if self._journal is not None:
            try:
                await asyncio.get_running_loop().run_in_executor(self._executor, self._journal.sync)
            except OSError as error:
                self.problem = str(error)
                raise
        self._namings_synced = max(self._namings_synced, namings)

    def _append(self, record: Record) -> None:
        self._pending.append(record)
        self._changed.set()

    def _apply(self, record: Record) -> None:
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
            case ["mark", output, size, events]:
                self._marks[output] = BufferMark(size, events)
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

    def _records(self) -> Iterator[Record]:
        for source, streams in self._streams.items():
            yield from (["stream", source, stream, state] for stream, state in streams.items())
        for stream, outputs in self._cuts.items():
            for output, spans in outputs.items():
                yield from (["cut", output, stream, start, end] for start, end in spans)
        for stream, ends in self._accepted.items():
            yield from (["accept", output, stream, end] for output, end in ends.items())
        for output, notes in self._notes.items():
            yield from (["note", output, key, text] for key, text in notes.items())
        yield from (["mark", output, *mark] for output, mark in self._marks.items())


def _in_lane(output: str, name: str) -> tuple[str, str]:
    """The output's key for a lane of a stream, and the stream."""
    stream, _, lane = name.partition("\0")
    return (f"{output}\0{lane}" if lane else output), stream
