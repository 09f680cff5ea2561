"""The files that were found at one path, one after another: what one container wrote.

They are read in this order, and buffers hand out the events of one tag in the order in which they came.

::

    0.log.A  ──handed──►  0.log.B  ──handed──►  0.log         never read side by side
    lingers, then         at its end            waits
    finished, forgotten

    at the end of a file
      it has a successor: quiet for SETTLE ──► its open joins are handed on, the successor is read
                          then quiet for rotate_wait, everything safe ──► finished: forgotten, closed
      it was deleted:     quiet for rotate_wait ──► its rest and open joins become events ──► finished
      otherwise:          wait for more
      its content is another now (truncated): go on in a copy of the old one if there is one
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Protocol

from logflow.batch import Batch, Span
from logflow.component import Emit
from logflow.engine.api import LineFormat, LineParser, Parsed
from logflow.errors import ComponentError
from logflow.kubernetes.names import links, read_names
from logflow.receipt import Receipt
from logflow.sources.tail import rotated
from logflow.sources.tail.content import Content, NoContent
from logflow.sources.tail.file import LogFile, ReadStep, ReplacedError, RewrittenError
from logflow.sources.tail.formats import DETECT_BYTES, detect
from logflow.sources.tail.identity import FileState
from logflow.sources.tail.shared import Shared
from logflow.sources.tail.tags import shown

_SETTLE_S = 0.05
"""How long a rotated file must be quiet before its successor is read: the runtime may still be writing
to it when the new one is there."""

_PRECISION_S = 0.001

UNTERMINATED = "unterminated"
"""Marks an event that was taken for whole because nothing came for long."""

_THREAD_BYTES = 64 * 1024
"""Blocks above this are parsed in a thread where the engine runs beside the event loop."""


class Host(Protocol):
    """What the catalogue of all lanes does for one."""

    async def look_before(self, lane: Lane, file: LogFile) -> bool:
        """Insert what was rotated away unseen before ``file`` into the lane; whether there was any."""

    async def look_after(self, lane: Lane) -> bool:
        """Append what came unseen after the last file of the lane; whether there was any."""

    async def start_over(self, lane: Lane, content: Content) -> None:
        """Append what is in a truncated file now to the lane, as a file of its own."""

    def adopt(self, file: LogFile, lane: Lane) -> None:
        """Know a file by its inode, and watch it."""

    def reopen(self, file: LogFile) -> None:
        """Open a file that was closed because it was idle."""

    def close(self, file: LogFile) -> None:
        """A file is finished and safe: close it. Safe twice."""

    def forget(self, file: LogFile) -> None:
        """Nothing need be known of a finished file any more."""

    def wake_later(self, lane: Lane, delay_s: float) -> None:
        """Have the lane look again after ``delay_s``."""


class Lane:
    """Reads the files at one path, one after another."""

    def __init__(
        self, shared: Shared, host: Host, *, path: str, real: str, tag: str, line_format: LineFormat | None
    ) -> None:
        self.path = path
        self.real = real
        self.tag = tag
        self.files: list[LogFile] = []
        self.last: FileState | None = None
        """The last file with content that was here and is finished."""
        self.taking_up = asyncio.Lock()
        """Held while files are looked for that came after those that are known."""
        self.gone = False
        """Nothing is at the path now."""
        self.running = False
        self.woken = False
        self.due_s: float | None = None
        """When it is to be woken next, by the clock."""
        self.timer: asyncio.Task[None] | None = None
        self._shared = shared
        self._shown = shown(path)
        self._attributes: dict[str, Any] = {"source": shared.context.name, "path": self._shown}
        if container := read_names([*links(path), real]):
            self._attributes["container"] = container
        self._host = host
        self._format = line_format
        self._complained = False
        self._last_order = -1
        """Order of the last file that was forgotten."""

    def append(self, file: LogFile, before: LogFile | None = None) -> None:
        """Add the file that continues the last one, or the one before ``before``."""
        now_s = self._shared.context.clock.monotonic()
        if self.files and before is None:
            self.files[-1].quiet_since_s = now_s
        file.quiet_since_s = now_s
        self._format = file.format = self._format or file.format
        self.files.insert(self.files.index(before) if before else len(self.files), file)
        self._renumber()
        if before and before.point.carry:
            file.take_carry(before.point.carry)
            before.take_carry(b"")
        self._host.adopt(file, self)

    def _renumber(self) -> None:
        order = self._last_order
        for file in self.files:
            order = file.order = max(file.order, order + 1)

    def latest(self, before: LogFile | None = None) -> FileState | None:
        """The last file (before another one) that can be told by its content, as far as it was read."""
        candidates = self.files[: self.files.index(before)] if before else self.files
        known = [file for file in candidates if file.has_content()]
        return known[-1].state(known[-1].point) if known else self.last

    async def run(self, emit: Emit) -> None:
        """Read what there is to read, then end; :attr:`woken` makes it look again."""
        self.running = True
        try:
            while self.woken:
                self.woken = False
                await self._turn(emit)
        except OSError as error:
            self._complain(error.strerror or str(error))
        except ComponentError:
            raise
        except Exception as error:  # a bug that one file shows must not stop the others
            self._shared.context.log.debug("Reading %s raised.", self.path, exc_info=True)
            self._complain(f"{type(error).__name__}: {error}")
        finally:
            self.running = False

    async def _turn(self, emit: Emit) -> None:
        for file in tuple(self.files):
            if not file.finished and not (await self._read(file, emit) and await self._passed(file, emit)):
                break
        self.retire()

    def _complain(self, why: str) -> None:
        """Say once that a file cannot be read; the next scan tries again."""
        self._shared.counters.unreadable()
        if not self._complained:
            self._complained = True
            self._shared.context.log.warning(
                "The file %s cannot be read now: %s. It is tried again.", shown(self.path), why
            )

    # -- reading -----------------------------------------------------------------------------------

    async def _read(self, file: LogFile, emit: Emit) -> bool:
        """Read a file to its end; ``False`` when it turned out that its bytes are elsewhere now."""
        try:
            if file.suspended:
                self._host.reopen(file)
            if file.refresh() and not await self._greet(file):
                return file.lost
            lines = self._lines(file)
            while lines is not None:
                await emit.ready(self.tag)
                if not await self._read_block(file, lines, emit) or file.read_up:
                    break
                await asyncio.sleep(0)  # other files' turn
        except ReplacedError as error:
            await self._replaced(file, sure=not isinstance(error, RewrittenError))
            return False
        except OSError as error:
            if file.content.grows:
                raise
            self._abandon(file, error)
        return True

    async def _greet(self, file: LogFile) -> bool:
        """A file has its first bytes, or had some: look for others; whether it can be read now."""
        if self.is_copied(file.content, self.files.index(file) + 1):
            self._give_up(file)
            return False
        # Before these bytes it may have had others, which were copied away and truncated. After that it is
        # known by its content, also to whoever starts after a kill.
        inserted = await self._host.look_before(self, file)
        file.fresh = not file.size
        self._shared.positions.save(file, names=True)
        self.woken |= inserted
        return not inserted

    async def _read_block(self, file: LogFile, lines: LineParser, emit: Emit) -> bool:
        """Hand on the next block; whether there may be more. Its memory is not held any longer then."""
        step = await self._step(file, lines)
        if step is None:
            return file.searching
        await self._emit(file, step, emit)
        file.quiet_since_s = self._shared.context.clock.monotonic()
        return True

    def _lines(self, file: LogFile, *, whole: bool = False) -> LineParser | None:
        """The parser of the lane's lines; ``None`` as long as the first line is not whole."""
        units = file.look_at_units(self._shared.encoding)
        if self._format is None:
            head = units.readable(file.head_bytes(DETECT_BYTES * units.width))
            self._format = detect(head, whole=whole or not file.content.grows)
        file.format = self._format
        return self._shared.parser_for(self._format, units) if self._format else None

    async def _step(self, file: LogFile, lines: LineParser) -> ReadStep | None:
        shared = self._shared
        now_ns = shared.context.clock.time_ns()
        if file.slow or (shared.parallel and file.size - file.point.offset > _THREAD_BYTES):
            return await shared.in_thread(lambda: file.read(lines, shared.sizes, now_ns))
        return file.read(lines, shared.sizes, now_ns)

    async def _emit(self, file: LogFile, step: ReadStep, emit: Emit) -> None:
        parsed, start, end = step.parsed, step.start, step.point.offset
        span = Span(file.stream, start, end)
        receipt = await self._give(file, parsed, span, emit, broken=end == file.broken)
        # Only now: were this cancelled or the batch refused, it would be read again.
        self._shared.counters.add(parsed, end - start)
        self._shared.counters.skipped(step.skipped)
        file.advance(step, receipt, self._on_safe)

    async def _give(
        self, file: LogFile, parsed: Parsed, span: Span, emit: Emit, *, broken: bool = False
    ) -> Receipt:
        entries = self._shared.with_path(parsed.entries, self._shown)
        if broken or (file.leftover and self._shared.marks_joins):
            entries = self._shared.context.engine.splice(entries, {UNTERMINATED: True})
        try:
            return await emit(Batch(self.tag, entries, parsed.events, span, self._attributes))
        except Exception as error:  # not to be taken for an error of the file
            raise ComponentError(f"lines of {shown(self.path)} are not accepted: {error}") from error

    def _on_safe(self, file: LogFile) -> None:
        self._shared.positions.save_soon(file)
        if file.finished:
            self.retire()
        if file.leftover:  # the next joins waited for this
            self._wait(0)

    # -- from one file to the next -----------------------------------------------------------------

    async def _passed(self, file: LogFile, emit: Emit) -> bool:
        """Move a file on that was read to its end; whether its successor may be read."""
        heir = self._successor(file)
        grows, is_open = file.content.grows, bool(file.point.carry or file.unterminated)
        if not grows and (heir is not None or file.leftover or not is_open):
            await self._finish(file, heir, emit)
            return True
        if heir is None and grows and not file.deleted:
            await self._idle(file, emit)
            return False
        handing = heir is not None and file.handed is None and (heir.takes_carry or not file.point.carry)
        quick = handing and (not file.unterminated or heir is not self.files[-1])
        wait_s = _SETTLE_S if quick else self._shared.rotate_wait_s
        left_s = file.quiet_since_s + wait_s - self._shared.context.clock.monotonic()
        if left_s > _PRECISION_S:
            self._wait(left_s)
        elif quick or self._is_found(file):
            if heir is not None and handing:
                self._hand_on(file, heir)
            self._wait(self._shared.rotate_wait_s)
        elif heir is None and await self._host.look_after(self):
            self.woken = True
        else:
            await self._finish(file, heir, emit)
        return file.finished or file.handed is not None

    async def _idle(self, file: LogFile, emit: Emit) -> None:
        """Emit what is not whole and has not gone on for long: it may be somebody's last words."""
        shared, now_s = self._shared, self._shared.context.clock.monotonic()
        if file.size != file.quiet_size:
            file.quiet_size, file.quiet_since_s = file.size, now_s
        flushed = any(each.leftover and not each.all_safe for each in self.files)
        wait_s = shared.join_wait_s if file.point.carry and not flushed else None
        if wait_s is None and file.unterminated and file.broken != file.size:
            wait_s = shared.line_wait_s
        if wait_s is None or (lines := self._lines(file, whole=True)) is None:
            return
        left_s = file.quiet_since_s + wait_s - now_s
        if left_s > _PRECISION_S:
            self._wait(left_s)
        elif file.point.carry:
            await self._flush_carry(file, emit)
        elif step := file.break_line(lines, shared.sizes, shared.context.clock.time_ns()):
            self._shared.positions.save(file)  # with the place of the break, before what it made is emitted
            await self._emit(file, step, emit)

    async def _flush_carry(self, file: LogFile, emit: Emit) -> None:
        """Emit open joins as they are. After a kill they are emitted again, the same under the same name."""
        leftover = file.flush_carry()
        self.files.insert(self.files.index(file), leftover)
        self._renumber()
        self._shared.positions.save(leftover)
        self._shared.positions.save(file)
        await self._finish(leftover, file, emit)

    def _successor(self, file: LogFile) -> LogFile | None:
        index = self.files.index(file) + 1
        return next((file for file in self.files[index:] if not file.leftover), None)

    def _is_found(self, file: LogFile) -> bool:
        """Whether a configured path still leads to the file: then it must not be taken for a new one."""
        return file.content.grows and not file.deleted and file.seen >= self._shared.scans

    def _hand_on(self, file: LogFile, heir: LogFile) -> None:
        """Give the open joins to the successor; one record of the journal follows the other at once."""
        if carry := file.hand_carry():
            heir.take_carry(carry)
        if file.deleted:
            heir.go_on_from(file)
        self._shared.positions.save(heir)
        self._shared.positions.save(file)

    async def _finish(self, file: LogFile, heir: LogFile | None, emit: Emit) -> None:
        """Make events of what is left of a file; its open joins go to its successor if it has one."""
        flush = heir is None or file.leftover or file.lost or file.handed is not None
        flush = flush or not (heir is None or heir.takes_carry)
        if (lines := self._lines(file, whole=True)) is not None:
            now_ns = self._shared.context.clock.time_ns()
            step = file.read_rest(lines, self._shared.sizes, now_ns, flush=flush)
            if step is not None:
                await self._emit(file, step, emit)
                file.ended = True
        if heir is not None and not flush:
            self._hand_on(file, heir)
        file.finished = True

    async def _replaced(self, file: LogFile, *, sure: bool) -> None:
        """The content is another now: the rest of the old one may be in a copy; the new one starts over."""
        shared = self._shared
        again = await shared.in_thread(lambda: rotated.locate(file.state(file.point), copies_only=True))
        if again is None and not sure:
            file.accept()
            self.woken = True
            return
        shared.counters.truncations()
        content, file.content = file.content, again.content if again else NoContent()
        unread = max(file.size - file.point.offset, 0)
        if again:
            shared.context.log.info(
                "The file %s was truncated at byte %d; the rest of what it held is read from %s.",
                shown(self.path), file.point.offset, shown(again.sibling.path),
            )  # fmt: skip
            file.device, file.inode = again.sibling.device, again.sibling.inode
        else:
            file.lost = unread > 0
            shared.counters.bytes_unread(unread)
            shared.context.log.warning(
                "The file %s was truncated at byte %d and is read anew; %d bytes had not been read.",
                shown(self.path), file.point.offset, unread,
            )  # fmt: skip
        if not self._is_live(content) and self.is_copied(content):
            content.close()  # the place of the file is that of a copy now, which is still being made
        else:
            await self._host.start_over(self, content)
        self.woken = True

    def _is_live(self, content: Content) -> bool:
        """Whether a file is the one that is written to, at the path without links."""
        try:
            return os.path.samestat(os.stat(self.real), os.fstat(content.fd))  # noqa: PTH116 - paths are text here
        except OSError:
            return False

    def _abandon(self, file: LogFile, error: OSError) -> None:
        """A compressed file is damaged: what follows it is not held up."""
        self._shared.counters.unreadable()
        self._shared.context.log.warning(
            "A rotated file of %s cannot be read beyond byte %d: %s. Reading goes on after it.",
            shown(self.path), file.point.offset, error.strerror or error,
        )  # fmt: skip
        self._give_up(file)

    @staticmethod
    def _give_up(file: LogFile) -> None:
        """Read no more of a file."""
        file.content.close()
        file.content = NoContent()
        file.lost = True

    def is_copied(self, content: Content, start: int = 0) -> bool:
        """Whether a file holds the beginning of one of the lane's, as a copy does while it is made."""
        return any(
            file.content.grows
            and not (file.closed or file.suspended)
            and rotated.is_beginning(content, file.content)
            for file in self.files[start:]
        )

    def _wait(self, delay_s: float) -> None:
        due_s = self._shared.context.clock.monotonic() + delay_s
        if self.due_s is None or due_s < self.due_s - _PRECISION_S:
            self.due_s = due_s
            self._host.wake_later(self, delay_s)

    def retire(self) -> None:
        """Close the files that are finished and safe, and forget what need not be known any more.

        The last file that can be told by its content stays known: new ones are those that came after it.
        """
        for leftover in [file for file in self.files if file.leftover and _is_done(file)]:
            self.files.remove(leftover)
            self._host.forget(leftover)
        files = tuple(self.files)
        for file in filter(_is_done, files):
            self._host.close(file)
        for index, file in enumerate(files):
            later = files[index + 1 :]
            if not _is_done(file) or (later and all(each.fresh or each.leftover for each in later)):
                break
            self.files.pop(0)
            self._last_order = file.order
            if file.has_content() or self.last is None:
                self.last = file.state()
            self._host.forget(file)


def _is_done(file: LogFile) -> bool:
    return file.finished and file.all_safe
