r"""One incarnation of a log file: its bytes, how far they were read, and how far they are safe.

::

    0            safe                      point                          end of the file
    |-------------|-- batches in flight ----|~~~~ block ~~~\n~~ no newline yet ~~|
                  saved in the checkpoints   read up to here

A file that will not grow any more ends with one byte that does not exist, at the offset of its size: the
newline that its last line may lack and the end of joins that will never be finished. So what these
make has a span of its own too.

Open joins that were taken for whole while their file goes on, or when it is gone, are a file of their own: a
*leftover*, which has no bytes but that one. It stays known until it is safe, whatever becomes of the file.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import msgspec

from logflow.engine.api import LineFormat, LineParser, Parsed
from logflow.receipt import Receipt
from logflow.sources.parsed import together
from logflow.sources.recoding import UTF8, Units, units_of
from logflow.sources.tail import rotated
from logflow.sources.tail.content import Content, NoContent
from logflow.sources.tail.identity import (
    HEAD_BYTES,
    LEAST_COPY_BYTES,
    NOTHING,
    TAIL_BYTES,
    FileState,
    Mark,
    Point,
    Verdict,
)

LINE_OVERHEAD_BYTES = 64 * 1024
"""What a line may have around a message of ``max_line`` bytes: the container's format, escapes."""

_BYTES = units_of(UTF8, b"")
_SEARCH_BYTES = 64 << 20
"""How far one call looks for the end of a very long line."""


class ReplacedError(Exception):
    """The file's content is not what it was: it was truncated or written anew."""


class RewrittenError(ReplacedError):
    """Only what was not read yet is not what it was: it was written anew, unless a copy says otherwise."""


class ReadStep(NamedTuple):
    """What one block gave."""

    parsed: Parsed
    start: int
    point: Point
    """After it."""
    head: bytes = b""
    """The file's beginning, as far as it is known then."""
    skipped: int = 0
    """Bytes of a hole that were left out."""


class Sizes(NamedTuple):
    """How much is read at once.

    Attributes:
        block_bytes: of a block of lines.
        line_bytes: of a line that is longer than a block; what is beyond is cut off.
    """

    block_bytes: int
    line_bytes: int


@dataclass(slots=True)
class _Flight:
    point: Point
    receipt: Receipt
    safe: bool = False


class LogFile:
    """One incarnation of a log file, and how far it was read and is safe."""

    def __init__(self, stream: str, state: FileState, content: Content, tail: bytes) -> None:
        """Go on with a file where ``state`` says; ``tail`` is what stands before that place."""
        self.stream = stream
        self.path = state.path
        self.real = state.real
        self.order = state.order
        self.device = state.device
        self.inode = state.inode
        self.mtime_ns = state.mtime_ns
        self.format: LineFormat | None = state.format or None  # type: ignore[assignment]
        self.handed = state.handed
        self.broken = state.broken
        self._flushed = state.flushed
        self.suspended = False
        """It is closed until there is more of it to read."""
        self.content = content
        self.units = _BYTES
        """What its text is made of; see :meth:`look_at_units`."""
        self._units_known = False
        self.point = self.safe = Point(state.offset, self._carry_at(state.offset, state.carry), tail)
        self.size = state.offset
        """Bytes that it is known to have."""
        self._had = state.size
        """Bytes that it was known to have before."""
        self.deleted = False
        self.lost = False
        """Bytes of it can no longer be read."""
        self.finished = False
        """Nothing more will be read."""
        self.leftover = is_leftover(stream)
        """It is joins that were taken for whole, and no file."""
        self.ended = False
        """The byte that does not exist was read."""
        self.closed = False
        self.quiet_since_s = 0.0
        self.quiet_size = -1
        """Its size since then."""
        self.seen = 0
        """Number of the last scan that found it under a configured path."""
        self.watch = -1
        self.searching = False
        """The last :meth:`read` ended in the middle of the search for a line's end."""
        self._head = self._begun(state)
        self._glimpse = state.known
        self.fresh = state.fresh or not self._glimpse.size
        """It had no content when it was taken up; what may have come before it was not looked for since."""
        self._boundaries: deque[int] = deque()
        self.keep_boundaries(self._flushed if self.broken is None else (self.broken, *self._flushed))
        self._searched = 0
        self._in_flight: deque[_Flight] = deque()

    @classmethod
    def of_joins(cls, stream: str, state: FileState, carry: bytes) -> LogFile:
        """Stand for open joins without any other content of their file."""
        bare = msgspec.structs.replace(
            state, offset=0, carry=carry, head=NOTHING, glimpse=NOTHING, tail=NOTHING,
            handed=None, broken=None, flushed=(),
        )  # fmt: skip
        file = cls(stream, bare, NoContent(), b"")
        file.fresh = False
        file.closed = True
        return file

    def _begun(self, state: FileState) -> bytes:
        """Load the beginning of what was read before."""
        try:
            return self.content.read(0, min(state.offset, HEAD_BYTES)) if state.offset else b""
        except OSError:  # compressed and damaged: reading it will tell
            return b""

    def keep_boundaries(self, offsets: Iterable[int]) -> None:
        """Never let a batch straddle these offsets: chunks were cut there in an earlier life."""
        self._boundaries = deque(sorted({*offsets, *self._boundaries}))

    # -- reading; may be called in a thread, by one at a time --------------------------------------

    def refresh(self) -> bool:
        """Look at the file's size and whether it still has a name.

        Returns:
            Whether a fresh one has its first bytes, or may have had some that are gone again.

        Raises:
            ReplacedError: its beginning is not what it was.
            RewrittenError: what was seen behind the position is not what it was.
            OSError: it cannot be read.
        """
        if not self.content.grows:
            return self.fresh
        before_ns = self.mtime_ns
        status = os.fstat(self.content.fd)
        head = self.content.read(0, HEAD_BYTES)
        if status.st_size < self.point.offset or not head.startswith(self._head):
            raise ReplacedError
        if len(self._head) < HEAD_BYTES and not self._glimpse.fits(head):
            raise RewrittenError
        self.size, self.mtime_ns, self.deleted = status.st_size, status.st_mtime_ns, not status.st_nlink
        if len(self._head) < HEAD_BYTES:
            self._glimpse = Mark.of(head)
        return self.fresh and (bool(head) or self.mtime_ns != before_ns)

    def look_at_units(self, encoding: str) -> Units:
        """Tell what its text is made of, if it is in this encoding: to be called before it is read."""
        if not self._units_known:
            head = self.content.read(0, 2) if encoding == "utf-16" else b"--"
            self.units, self._units_known = units_of(encoding, head), len(head) == 2
        return self.units

    def read(self, lines: LineParser, sizes: Sizes, now_ns: int) -> ReadStep | None:
        """Parse the next block of whole lines; ``None`` when there is no whole line now.

        The position does not change until :meth:`advance`.

        Raises:
            ReplacedError: what stands before the position is not what it was.
            OSError: it cannot be read.
        """
        if self._searched > self.point.offset:
            return self._read_long_line(lines, sizes, now_ns)
        start = self.point.offset
        boundary = self._next_boundary()
        data, first = self._load(min(self._known_bytes(sizes), boundary - start if boundary else 1 << 62))
        units = self.units
        if data.startswith(bytes(units.width), first):
            return self._skip_hole(boundary, sizes)
        used = units.after_last(data, first)
        if boundary and start + len(data) - first == boundary and used < len(data):
            if boundary != self.broken:
                self._boundaries.remove(boundary)  # no end of a line: the journal knows another file
                return self.read(lines, sizes, now_ns)
            if not used:
                return self._parse(lines, memoryview(data)[first:], boundary, now_ns, ending=units.newline)
        if used > 0:
            return self._parse(lines, memoryview(data)[first:used], start + used - first, now_ns)
        if len(data) - first == sizes.block_bytes:
            self._searched = start + len(units.without_nuls(data[first:]))
            return self._read_long_line(lines, sizes, now_ns)
        return None

    def _known_bytes(self, sizes: Sizes) -> int:
        """How much to read: of a file that grows what is known to be there, so that no read finds its end."""
        if not self.content.grows:
            return sizes.block_bytes
        return min(sizes.block_bytes, max(self.size - self.point.offset, 0))

    @property
    def read_up(self) -> bool:
        """Whether everything that it is known to have was read; of what comes later its watch tells."""
        return self.content.grows and self.size <= self.point.offset and not self.searching

    def _skip_hole(self, boundary: int | None, sizes: Sizes) -> ReadStep | None:
        """Step over NULs that something follows: truncating below a writer that does not append leaves them.

        NULs up to the end of the file are room that a writer has taken ahead; they are waited for.
        """
        start, carry, _ = self.point
        end = self._after_nuls(start, sizes.block_bytes)
        if end is None:
            return None
        end = min(end, boundary or end)
        tail_start = max(end - TAIL_BYTES, 0)
        point = Point(end, self._carry_at(end, carry), self.content.read(tail_start, end - tail_start))
        head = self._head + bytes(min(end - start, HEAD_BYTES - len(self._head)))
        return ReadStep(Parsed(b"", 0, 0, carry, 0, 0, 0, 0), start, point, head, end - start)

    def _after_nuls(self, offset: int, step_bytes: int) -> int | None:
        """Return where the NULs at ``offset`` end; ``None`` if nothing follows them yet."""
        while True:
            if self.content.grows:
                try:
                    offset = os.lseek(self.content.fd, offset, os.SEEK_DATA)  # over what was never written
                except OSError:
                    return None
            data = self.content.read(offset, step_bytes)
            if not data:
                return None
            nuls = self.units.nuls(data)
            if nuls < self.units.whole(len(data)):
                return offset + nuls
            if not nuls:
                return None
            offset += nuls

    def suspend(self) -> None:
        """Close it until there is more of it to read; its watch tells of that, or a scan."""
        self.content.close()
        self.suspended = True

    def resume(self) -> None:
        """Open it again, wherever it is now.

        Raises:
            OSError: it cannot be opened.
        """
        self.suspended = False
        content = rotated.reopen((self.path, self.real), (self.device, self.inode))
        if content is None:  # deleted, and what may have been written to it since it was closed with it
            content, self.deleted, self.lost = NoContent(), True, True
        self.content = content

    def break_line(self, lines: LineParser, sizes: Sizes, now_ns: int) -> ReadStep | None:
        """Take what stands after the last newline for a whole line; ``None`` if nothing does, or too much.

        Its end is kept, so that it ends there as well when it is read again.
        """
        data, first = self._load(sizes.block_bytes)
        text = self.units.without_nuls(data[first:])
        if not text or self.units.after_next(text) or len(text) >= sizes.block_bytes:
            return None
        self.broken = self.point.offset + len(text)
        return self._parse(lines, memoryview(text), self.broken, now_ns, ending=self.units.newline)

    def flush_carry(self) -> LogFile:
        """Take the open joins for whole, as a leftover."""
        offset = self.point.offset
        self._flushed += (offset,)
        leftover = self.of_joins(leftover_of(self.stream, offset), self.state(), self.point.carry)
        self.point = self.point._replace(carry=b"")
        return leftover

    def _read_long_line(self, lines: LineParser, sizes: Sizes, now_ns: int) -> ReadStep | None:
        """Find the end of a line that is longer than a block, and parse what of it may be kept."""
        start = self.point.offset
        end = self._search_newline(sizes.block_bytes)
        if end is None:
            return None
        newline, most = self.units.newline, self.units.whole(sizes.line_bytes)
        data, first = self._load(min(end - start, most))
        self._searched = 0
        line = data[first:]
        if end - start > most:
            line += newline
        elif not line.endswith(newline):
            return None  # it was written anew in this moment; the next turn sees that
        return self._parse(lines, memoryview(line), end, now_ns)

    def _search_newline(self, step_bytes: int) -> int | None:
        offset = self._searched
        self.searching = False
        while offset < self._searched + _SEARCH_BYTES:
            data = self.content.read(offset, step_bytes)
            size = self.units.whole(len(data))
            if not size:
                return None
            if found := self.units.after_next(data):
                return offset + found
            if text := self.units.without_nuls(
                data
            ):  # NULs may be room that was taken ahead: look there again
                self._searched = offset + len(text)
            offset += size
        self._searched = offset
        self.searching = True
        return None

    def _load(self, size: int) -> tuple[bytes, int]:
        """Read on, together with what stands before, so that no change in between is missed.

        Returns:
            What was read, and where in it the new bytes begin.
        """
        tail = self.point.tail if self.content.grows else b""
        data = self.content.read(self.point.offset - len(tail), len(tail) + size)
        if not data.startswith(tail):
            raise ReplacedError
        # As long as little stands before it, what was seen behind it tells as well.
        glimpsed = self.content.grows and len(self._head) < HEAD_BYTES
        if glimpsed and not self._glimpse.fits(self.content.read(0, HEAD_BYTES)):
            raise RewrittenError
        return data, len(tail)

    def _parse(
        self, lines: LineParser, block: memoryview, end: int, now_ns: int, *, ending: bytes = b""
    ) -> ReadStep:
        start = self.point.offset
        text = self._without_bom(block, start)
        offset = start + len(block) - len(text)
        parsed = lines.parse(bytes(text) + ending if ending else text, self.point.carry, now_ns, offset)
        point = Point(end, self._carry_at(end, parsed.carry), self._tail(block, end))
        return ReadStep(parsed, start, point, self._head_with(block))

    def _without_bom(self, block: memoryview, offset: int) -> memoryview:
        """Leave out the byte-order mark that a file may begin with; it is no text."""
        bom = self.units.bom
        return block[len(bom) :] if offset == 0 and bytes(block[: len(bom)]) == bom else block

    def _head_with(self, block: memoryview) -> bytes:
        missing = HEAD_BYTES - len(self._head)
        return self._head + bytes(block[:missing]) if missing else self._head

    def _tail(self, block: memoryview, end: int) -> bytes:
        if end - self.point.offset > len(block):  # a long line of which only the head was loaded
            return self.content.read(end - TAIL_BYTES, TAIL_BYTES)
        if len(block) >= TAIL_BYTES:
            return bytes(block[-TAIL_BYTES:])
        return (self.point.tail + bytes(block))[-TAIL_BYTES:]

    def _carry_at(self, offset: int, carry: bytes) -> bytes:
        return b"" if offset == self.handed or offset in self._flushed else carry

    def _next_boundary(self) -> int | None:
        while self._boundaries and self._boundaries[0] <= self.point.offset:
            self._boundaries.popleft()
        return self._boundaries[0] if self._boundaries else None

    def read_rest(self, lines: LineParser, sizes: Sizes, now_ns: int, *, flush: bool) -> ReadStep | None:
        """Parse what is left of a file that will not grow; ``None`` when nothing is.

        Args:
            lines: its parser.
            sizes: how much is read at once.
            now_ns: the time of lines without one.
            flush: open joins will never be finished: make events of them.
        """
        start, carry, _ = self.point
        units = self.units
        rest = b"" if self.lost else self.content.read(start, units.whole(sizes.line_bytes))
        end = max(start + len(rest), self._searched) + 1
        text = bytes(self._without_bom(memoryview(rest), start))
        text = text[units.nuls(text) :]
        offset = start + len(rest) - len(text)
        text, newline = units.without_nuls(text), units.newline
        results = [lines.parse(text.removesuffix(newline) + newline, carry, now_ns, offset)] if text else []
        if results:
            carry = results[0].carry
        carry = self._carry_at(end, carry)
        # In an earlier life it may have had no successor: its end was in a chunk then.
        if carry and (flush or end in self._boundaries):
            results.append(lines.flush(carry, now_ns))
            carry = b""
        if not results:
            return None
        return ReadStep(together(results, carry), start, Point(end, carry), self._head)

    def covers(self, head: bytes, size: int) -> bool:
        """Whether a file of this size that begins so holds a part of what was read, and nothing else."""
        return LEAST_COPY_BYTES <= size < self.point.offset and self._head.startswith(head[:size])

    def go_on_from(self, old: LogFile) -> None:
        """Leave out what was read of the file that this one has replaced, if it begins with all of that."""
        if self.point.offset == 0 and self.content.grows:
            state = old.state(old.point)
            verdict, tail = rotated.examine(self.content, state)
            if verdict is Verdict.COPY and not rotated.lies_beside(state):
                self.point = self.safe = Point(old.point.offset, self.point.carry, tail)
                self._head = old._head

    def accept(self) -> None:
        """Take what stands behind the position now for what the file holds."""
        self._glimpse = Mark.of(self.content.read(0, HEAD_BYTES))

    def has_content(self) -> bool:
        """Whether it ever had content, by which it can be told from others."""
        if not self._glimpse.size and self.content.grows and not (self.closed or self.suspended):
            with suppress(OSError):  # whoever reads it will be told
                self._glimpse = Mark.of(self.content.read(0, HEAD_BYTES))
        return self._glimpse.size > 0

    def newly_has_content(self) -> bool:
        """Whether it had no content when it was last looked at, and has some now."""
        return not self._glimpse.size and self.has_content()

    @property
    def slow(self) -> bool:
        """Whether :meth:`read` may take long: it is for a thread."""
        return self.content.slow or self._searched > self.point.offset

    @property
    def unterminated(self) -> bool:
        """Whether it ends in the middle of a line."""
        return self.size > self.point.offset

    def head_bytes(self, size: int) -> bytes:
        """The file's beginning, to tell its format; what follows the hole that it may begin with."""
        head = self.content.read(0, size)
        if head.startswith(bytes(self.units.width)):
            text = self._after_nuls(0, size)
            return b"" if text is None else self.content.read(text, size)
        return head

    def unread_if_closed(self) -> int:
        """Bytes that nobody can read any more once it is closed: it has no name left."""
        if self.finished or self.content.fd < 0:
            return 0
        status = os.fstat(self.content.fd)
        return 0 if status.st_nlink else max(status.st_size - self.point.offset, 0)

    # -- progress ----------------------------------------------------------------------------------

    def advance(self, step: ReadStep, receipt: Receipt, on_safe: Callable[[LogFile], None]) -> None:
        """Go on after a block that was admitted; it is safe once its receipt resolves."""
        self.point = step.point
        self._head = step.head
        flight = _Flight(step.point, receipt)
        self._in_flight.append(flight)
        receipt.add_done_callback(partial(self._landed, flight, on_safe))

    def _landed(self, flight: _Flight, on_safe: Callable[[LogFile], None]) -> None:
        flight.safe = True
        before = self.safe
        while self._in_flight and self._in_flight[0].safe:
            self.safe = self._in_flight.popleft().point
        if self.safe is not before:
            on_safe(self)

    @property
    def all_safe(self) -> bool:
        """Whether nothing is in flight."""
        return not self._in_flight

    @property
    def takes_carry(self) -> bool:
        """Whether it can begin with the open joins of another file: nothing of it was read or handed on."""
        untouched = not (self.point.offset or self.point.carry or self._in_flight)
        return untouched and self.handed is None and not (self.finished or self.leftover)

    def hand_carry(self) -> bytes:
        """Give the open joins away, to the file that continues this one."""
        carry = self.point.carry
        self.handed = self.point.offset
        self.point = self.point._replace(carry=b"")
        return carry

    def take_carry(self, carry: bytes) -> None:
        """Begin with the open joins of the file that this one continues."""
        self._flushed = tuple(offset for offset in self._flushed if offset != self.point.offset)
        self.point = self.safe = self.point._replace(carry=carry)

    def state(self, point: Point | None = None) -> FileState:
        """What is to be saved: how far the file is safe (or ``point``), and what it is known by."""
        offset, carry, tail = point or self.safe
        return FileState(
            offset=offset,
            carry=self._carry_at(offset, carry),
            path=self.path,
            real=self.real,
            order=self.order,
            device=self.device,
            inode=self.inode,
            head=Mark.of(self._head[:offset]),
            glimpse=self._glimpse if offset < HEAD_BYTES else NOTHING,
            tail=Mark.of(tail) if tail else NOTHING,
            mtime_ns=self.mtime_ns,
            handed=self.handed,
            fresh=self.fresh,
            broken=self.broken,
            flushed=tuple(flushed for flushed in self._flushed if flushed >= offset),
            format=self.format or "",
            size=max(self.size, self._had, offset),
        )


def leftover_of(stream: str, offset: int) -> str:
    """The stream of the joins that were open at an offset and were taken for whole."""
    return f"{stream}/{offset}"


def is_leftover(stream: str) -> bool:
    """Whether a stream is that of joins that were taken for whole."""
    return "/" in stream
