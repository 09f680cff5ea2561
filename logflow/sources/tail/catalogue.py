"""Every file that is followed: by path, by inode, and how it came to be followed.

::

    configured path ──► lane ──► files, one after another
    inode ────────────► file     a file that is renamed is still the same
"""

# Paths are text here: there are thousands in a scan, and links must stay as they are written.
# ruff: noqa: PTH120

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial

import msgspec

from logflow.engine.api import LineFormat
from logflow.kubernetes.names import is_container_log
from logflow.sources.recoding import units_of
from logflow.sources.tail import rotated
from logflow.sources.tail.content import Content, is_compressed, open_content
from logflow.sources.tail.copies import COPYING_S, Copies, CopyKind
from logflow.sources.tail.descriptors import Descriptors
from logflow.sources.tail.discovery import Finder, FoundFile, Search
from logflow.sources.tail.file import LogFile, is_leftover, leftover_of
from logflow.sources.tail.findings import Told, tell
from logflow.sources.tail.identity import HEAD_BYTES, TAIL_BYTES, FileState, Known, Mark, Verdict
from logflow.sources.tail.lane import Lane
from logflow.sources.tail.listing import Sibling, bases, origins
from logflow.sources.tail.rotated import Again, Until
from logflow.sources.tail.saved import (
    by_place,
    is_unknowable,
    locate_all,
    saved_states,
    state_of,
    unread_of,
)
from logflow.sources.tail.shared import Shared
from logflow.sources.tail.tags import TagTemplate, shown
from logflow.sources.tail.watcher import Watcher

_LISTINGS = 3
"""How often a directory is listed when what it held is gone before it can be opened."""

_FILES_AT_ONCE = 64
"""How many files are taken up before the event loop has its turn."""


class Catalogue:
    """Finds files, recognises those that were renamed, and keeps a lane for each path."""

    def __init__(
        self,
        shared: Shared,
        finder: Finder,
        tag: TagTemplate,
        line_format: LineFormat | None,
        *,
        from_end: bool,
        most_open: int,
        close_inactive_s: float | None,
        ignore_older_s: float | None,
        wake: Callable[[Lane], None],
        wake_later: Callable[[Lane, float], None],
        look_later: Callable[[str, float], None],
    ) -> None:
        """Begin with nothing.

        Args:
            shared: what files work with.
            finder: finds files.
            tag: of a file's events.
            line_format: of all files; ``None``: each shows its own.
            from_end: where to begin with files that are there at the start and were never seen before.
            most_open: files that may be open; beyond, the ones that are idle for longest are closed.
            close_inactive_s: after how long an idle file is closed until it grows; ``None``: never.
            ignore_older_s: files that were not written to for so long are left alone; ``None``: none.
            wake: has a lane read what there is to read.
            wake_later: the same, after some seconds.
            look_later: looks at a path after some seconds.
        """
        self.lanes: dict[str, Lane] = {}
        self.watcher: Watcher | None = None
        self.wake_later = wake_later
        self._wake = wake
        self._look_later = look_later
        self._known = Known()
        self._copies = Copies(shared.context.clock)
        self._shared = shared
        self._finder = finder
        self._tag = tag
        self._format = line_format
        self._from_end = from_end
        self._by_real: dict[str, Lane] = {}
        self._by_inode: dict[tuple[int, int], tuple[LogFile, Lane]] = {}
        self._unreadable: set[str] = set()
        self._descriptors = Descriptors(shared, self.lanes, most_open)
        self._close_inactive_s = close_inactive_s
        self._ignore_older_s = ignore_older_s
        self._links: set[str] = set()
        self._said: Told | None = None
        self._restored = False
        self._since_ns = 0
        """What was rotated away before this time is left alone: reading began at the end then."""
        self._awaited: dict[str, str] = {}
        """Where links lead at whose end nothing is now, and these links."""

    @property
    def files(self) -> list[LogFile]:
        """Every file."""
        return [file for lane in self.lanes.values() for file in lane.files]

    def paths_of(self, name: str) -> set[str]:
        """The configured paths that lead to ``name``."""
        paths = {name} if self._finder.wants(name) else set()
        if name in self._awaited:
            paths.add(self._awaited[name])
        return paths | {lane.path for lane in (self._by_real.get(name),) if lane is not None}

    # -- looking -----------------------------------------------------------------------------------

    async def scan(self) -> None:
        """Search the configured paths and look at every file there."""
        search = await self._search()
        found = search.files
        self._links = search.links
        self._awaited = search.awaited
        self._said = tell(self._shared.context.log, search, self._said)
        first = not self._restored
        if first:
            await self._restore(found)
            self._restored = True
            self._since_ns = self._shared.context.clock.time_ns() if self._from_end else 0
        self._copies.keep({file.place for file in found})
        self._forget_all(self._known.expire(self._shared.context.clock.time_ns()))
        for index, file in enumerate(found):
            await self._see(file, first=first)
            if index % _FILES_AT_ONCE == _FILES_AT_ONCE - 1:
                await asyncio.sleep(0)
        self._shared.scans += 1
        for path in self.lanes.keys() - {file.path for file in found}:
            self._miss(path)
        if self._close_inactive_s is not None:
            self._descriptors.close_idle(self._close_inactive_s)
        if first:  # only now: the successor of a file is taken up after it, but before it is read
            for lane in self.lanes.values():
                self._wake(lane)

    def is_link(self, name: str) -> bool:
        """Whether a name is that of a link on the way to files: where it leads may have changed."""
        return name in self._links

    async def _search(self) -> Search:
        while True:
            stopped = threading.Event()
            try:
                search = await asyncio.to_thread(self._finder.search, stopped.is_set)
            finally:
                stopped.set()  # when this is cancelled, the thread ends too
            # A directory may have filled between being searched and being watched: then search again.
            if self.watcher is None or not self.watcher.watch_directories(search.directories):
                return search

    async def look(self, path: str) -> None:
        """Look at one path that something happened to."""
        found = self._finder.look(path)
        if found is not None:
            await self._see(found, first=False)
        else:
            self._miss(path)

    async def _see(self, found: FoundFile, *, first: bool) -> None:
        """A file is at a configured path: go on with it, or take it up."""
        known = self._by_inode.get(found.place)
        if known is None:
            if not self._is_old(found):
                await self._see_new(found, first=first)
            return
        file, lane = known
        file.seen = self._shared.scans + 1
        if found.path == lane.path:
            lane.gone = False
        if found.size != file.point.offset or found.mtime_ns != file.mtime_ns:
            self._wake(lane)

    async def _see_new(self, found: FoundFile, *, first: bool) -> None:
        """A file that is not followed is at a configured path, which may be that of a rotated file."""
        if is_compressed(found.path):
            await self._see_packed(found, first=first)
            return
        lane = next((self.lanes[base] for base in bases(found.path) if base in self.lanes), None)
        if lane is not None:
            kind = self._copies.judge(found, lambda: self._is_read(lane, found))
            if kind is CopyKind.UNCERTAIN and found.size:
                self._look_later(found.path, COPYING_S)
            if kind is not CopyKind.OTHER:
                return
            last = lane.files[-1] if lane.files else None
            if lane.gone:  # it may be what was there last
                await self._take_up_rotated(lane)
            elif last is not None and last.fresh and not lane.running:  # or before this had any content
                await self.look_before(lane, last)
            self._wake(lane)
        if found.place not in self._by_inode:
            await self._take_up(found.path, first=first)

    async def _see_packed(self, found: FoundFile, *, first: bool) -> None:
        """A compressed file is read once and whole, unless what it holds was read as it was written."""
        if self._copies.is_done(found):
            return
        if first and self._from_end:
            self._copies.done(found)
            return
        states: list[FileState] = []
        for path in origins(found.path):
            lane = self.lanes.get(path)
            files = lane.files if lane is not None else ()
            states += [file.state(file.point) for file in files if file.has_content()]
            states += self._known.finished(path)
        is_read = await self._shared.in_thread(partial(rotated.is_read, found.path, states))
        kind = self._copies.judge(found, lambda: is_read)
        if kind is CopyKind.OTHER:
            self._copies.done(found)
            await self._take_up(found.path, first=False)
        elif kind is CopyKind.UNCERTAIN and found.size:
            self._look_later(found.path, COPYING_S)

    def reopen(self, file: LogFile) -> None:
        """Open a file that was closed because it was idle."""
        self._descriptors.reopen(file)

    def _miss(self, path: str) -> None:
        """Nothing is at a configured path."""
        self._unreadable.discard(path)
        lane = self.lanes.get(path)
        if lane is None:
            return
        lane.gone = True
        if lane.files:
            self._wake(lane)
        else:
            del self.lanes[path]
            self._by_real.pop(lane.real, None)

    # -- taking up ---------------------------------------------------------------------------------

    async def _take_up(self, path: str, *, first: bool) -> None:
        """Open a file that is new at its path, and before it what was rotated away unseen."""
        self._descriptors.make_room()
        content = self._open_content(path)
        if content is None:
            return
        # Whoever may make links can change one after it was looked at: what was opened counts.
        if not self._finder.allows(os.path.realpath(f"/proc/self/fd/{content.fd}")):
            content.close()
            return
        status = os.fstat(content.fd)
        inode = (status.st_dev, status.st_ino)
        lane = self._lane(path, os.path.realpath(path))
        lane.gone = False
        if not lane.files and lane.last is None:
            await self._come_back(lane)
        never_seen = not lane.files and lane.last is None
        from_end = first and self._from_end and never_seen
        until = Until(content, lambda: state_of(lane.path, lane.real, content))
        if never_seen and not from_end and is_container_log(lane.real):
            await self._take_up_unseen(lane, inode, until)
        else:
            await self._take_up_rotated(lane, until)
        if inode in self._by_inode:  # renamed, or taken up by another task, in this moment
            content.close()
            return
        if not await self._go_on(lane, content):
            self._begin(lane, content, from_end=from_end)
        self._wake(lane)

    async def _come_back(self, lane: Lane) -> None:
        """Find files again that were away, now that there is something at their path."""
        away = tuple(self._known.away(lane.path))
        told_by_content = any(state.known.size for _, state in away)
        for stream, state in away:
            again = await self._shared.in_thread(partial(rotated.locate, state))
            if is_unknowable(state, again, told_by_content=told_by_content):
                self._known.take(stream)
                self._restore_empty(lane, stream, state, again, replaced=True)
                continue
            if again is None:
                continue
            if again.sibling.place in self._by_inode:
                again.content.close()
                continue
            self._known.take(stream)
            self._reopen(lane, stream, state, again)
        lane.last = lane.last or self._known.latest(lane.path)

    async def _go_on(self, lane: Lane, content: Content) -> bool:
        """Go on with a file that was left, if this is one; whether it is."""
        status = os.fstat(content.fd)
        packed = content.slow
        candidates = self._known.candidates(lane.path, lane.real, (status.st_dev, status.st_ino))
        for path in origins(lane.path) if packed else ():
            candidates += self._known.away(path)
        for stream, state in candidates:
            if packed:
                verdict, tail = await self._shared.in_thread(partial(rotated.examine, content, state))
            else:
                verdict, tail = rotated.examine(content, state)
            if verdict is Verdict.COPY and not packed and rotated.lies_beside(state):
                continue
            if verdict in rotated.THE_SAME and state.offset:
                self._known.take(stream)
                sibling = Sibling(lane.path, status.st_dev, status.st_ino, status.st_mtime_ns)
                here = msgspec.structs.replace(state, path=lane.path, real=lane.real)
                self._reopen(lane, stream, here, Again(content, sibling, tail))
                return True
        return False

    def _is_old(self, found: FoundFile) -> bool:
        """Whether a file that was never seen is too old to be looked at."""
        if self._ignore_older_s is None:
            return False
        age_ns = self._shared.context.clock.time_ns() - found.mtime_ns
        place = found.place
        return age_ns > self._ignore_older_s * 1e9 and not self._known.candidates(
            found.path, found.path, place
        )

    def _is_read(self, lane: Lane, found: FoundFile) -> bool:
        """Whether all that a file holds, or its beginning, was read as one of the lane's."""
        content = self._open_content(found.path)
        if content is None:
            return True
        try:
            if rotated.is_one_of(content, self._read_of(lane, found.place)):
                return True
            head = content.read(0, HEAD_BYTES)
            return any(file.covers(head, found.size) for file in lane.files) or lane.is_copied(content)
        except OSError:
            return False
        finally:
            content.close()

    def _read_of(self, lane: Lane, place: tuple[int, int] = (-1, -1)) -> list[FileState]:
        """What is known of the files of a lane, as far as they were read; and of one of that place."""
        states = [file.state(file.point) for file in lane.files if file.has_content()]
        known = self._known.candidates(lane.path, lane.real, place)
        return states + [state for _, state in known if state.known.size]

    async def start_over(self, lane: Lane, content: Content) -> None:
        """Append what is in a truncated file now to the lane, as a file of its own."""
        await self._take_up_rotated(lane, Until(content, lambda: state_of(lane.path, lane.real, content)))
        self._begin(lane, content)

    async def look_before(self, lane: Lane, file: LogFile) -> bool:
        """Insert what was rotated away unseen before ``file`` into the lane; whether there was any."""
        return await self._take_up_rotated(lane, Until(file.content, lambda: file.state(file.point)), file)

    async def look_after(self, lane: Lane) -> bool:
        """Append what came unseen after the last file of the lane; whether there was any."""
        known = set(lane.files)
        found = self._finder.look(lane.path)
        if found is not None and found.place not in self._by_inode:
            await self._take_up(lane.path, first=False)
        else:
            await self._take_up_rotated(lane)
        return not known.issuperset(lane.files)

    async def _take_up_rotated(
        self, lane: Lane, until: Until | None = None, before: LogFile | None = None
    ) -> bool:
        """Add the files that were at the lane's path for too short a time to be seen there."""
        async with lane.taking_up:
            known = set(lane.files)  # some of them may be retired meanwhile
            for _ in range(_LISTINGS):
                latest = lane.latest(before)
                if latest is None:
                    break
                look = partial(rotated.newer, latest, until, self._read_of(lane))
                siblings = await self._shared.in_thread(look)
                if all(self._begin_rotated(lane, sibling, before) for sibling in siblings):
                    break
            return not known.issuperset(lane.files)

    async def _take_up_unseen(self, lane: Lane, current: tuple[int, int], until: Until) -> None:
        """Add what a container wrote and had rotated away before its file was first seen.

        Only a container's: other paths come back, and what lies beside them may have been read long ago.
        """
        for _ in range(_LISTINGS):
            async with lane.taking_up:
                if lane.files:
                    return
                look = partial(rotated.unseen, lane.real, current, self._oldest_ns(), self._read_of(lane))
                siblings = await self._shared.in_thread(look)
                if all(self._begin_rotated(lane, sibling, None) for sibling in siblings):
                    return
            if lane.files:  # one was compressed in this moment: what came after the last of these is found
                await self._take_up_rotated(lane, until)
                return

    def _oldest_ns(self) -> int:
        """The time before which a rotated file of a new container is left alone."""
        if self._ignore_older_s is None:
            return self._since_ns
        now_ns = self._shared.context.clock.time_ns()
        return max(self._since_ns, now_ns - int(self._ignore_older_s * 1e9))

    def _begin_rotated(self, lane: Lane, sibling: Sibling, before: LogFile | None) -> bool:
        """Add a rotated file; ``False`` when it is not there any more: compressed by now, say."""
        if sibling.place in self._by_inode:
            return True
        content = self._open_content(sibling.path)
        if content is None:
            return False
        status = os.fstat(content.fd)
        if (status.st_dev, status.st_ino) != sibling.place:
            content.close()
            return False
        self._begin(lane, content, before=before)
        return True

    def _open_content(self, path: str) -> Content | None:
        """Open a file; one that cannot be opened is counted, and reported the first time."""
        try:
            content, _ = open_content(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._shared.counters.unreadable()
            if path not in self._unreadable:
                self._unreadable.add(path)
                self._shared.context.log.warning(
                    "The file %s cannot be opened: %s. It is tried again with every scan.",
                    shown(path), error.strerror or error,
                )  # fmt: skip
            return None
        self._unreadable.discard(path)
        return content

    def _lane(self, path: str, real: str) -> Lane:
        lane = self.lanes.get(path)
        if lane is None:
            tag = self._tag.render(path, real)
            lane = Lane(self._shared, self, path=path, real=real, tag=tag, line_format=self._format)
            self.lanes[path] = lane
        elif self._by_real.get(lane.real) is lane:
            del self._by_real[lane.real]
        lane.real = real
        self._by_real[real] = lane
        if self.watcher is not None:
            self.watcher.watch_directories({os.path.dirname(real)})
        return lane

    # -- files: what lanes ask for -----------------------------------------------------------------

    def _begin(
        self, lane: Lane, content: Content, *, from_end: bool = False, before: LogFile | None = None
    ) -> None:
        """Append a file that was never seen before to the lane."""
        offset = self._last_line_end(content, os.fstat(content.fd).st_size) if from_end else 0
        tail = content.read(max(offset - TAIL_BYTES, 0), min(offset, TAIL_BYTES))
        state = msgspec.structs.replace(
            state_of(lane.path, lane.real, content),
            offset=offset,
            tail=Mark.of(tail),
            order=0 if before else self._known.next_order(lane.path),
        )
        file = LogFile(uuid.uuid4().hex, state, content, tail)
        lane.append(file, before)
        for each in lane.files:  # what those before it can be told by, and the order of all
            each.has_content()
            self._shared.positions.save(each)

    def _last_line_end(self, content: Content, size: int) -> int:
        """Where the last whole line ends, as the rest of a line would be no line."""
        units = units_of(self._shared.encoding, content.read(0, 2))
        start = units.whole(max(size - self._shared.sizes.line_bytes, 0))
        return start + units.after_last(content.read(start, size - start))

    def adopt(self, file: LogFile, lane: Lane) -> None:
        """Know a file by its inode, and watch it."""
        if not file.closed:
            self._shared.counters.opened()
        self._descriptors.count += file.content.fd >= 0
        file.seen = self._shared.scans + 1
        if file.content.fd >= 0:
            self._by_inode[file.device, file.inode] = (file, lane)
        self._watch(file, lane)

    def _watch(self, file: LogFile, lane: Lane) -> None:
        if file.content.grows and not file.suspended and self.watcher is not None:
            file.watch = self.watcher.watch_file(file.content.fd, lane)

    def resume(self, watcher: Watcher) -> None:
        """Have the watcher tell of what is followed already, and read on."""
        self.watcher = watcher
        for lane in self.lanes.values():
            lane.due_s = lane.timer = None  # what an earlier run of the source had planned
            for file in lane.files:
                self._watch(file, lane)
            self._wake(lane)

    def close(self, file: LogFile) -> None:
        """A file is finished and safe: close it. Safe twice."""
        if file.closed:
            return
        inode = (file.device, file.inode)
        if self._by_inode.get(inode, (None,))[0] is file:
            del self._by_inode[inode]
            if self.watcher is not None:
                self.watcher.unwatch_file(file.watch)
        self._descriptors.count -= not file.suspended and file.content.fd >= 0
        file.closed = True
        if file.content.deleted:
            self._shared.threads.submit(file.content.close)
        else:
            file.content.close()
        self._shared.counters.closed()

    def forget(self, file: LogFile) -> None:
        """Follow a finished file no longer; while it exists, it must be known again."""
        gone = file.deleted and not self._finder.names_packed  # else it may come back compressed
        if file.lost or gone or not file.has_content():
            self._shared.positions.forget(file.stream, file)
        elif file.ended:  # the byte that does not exist was the last one of this name
            self._shared.positions.forget(file.stream, file)
            state = file.state()
            self._keep(uuid.uuid4().hex, msgspec.structs.replace(state, offset=state.offset - 1), done=True)
        else:
            self._shared.positions.forget_unsaved(file)
            self._keep(file.stream, file.state(), done=True)

    def _keep(self, stream: str, state: FileState, *, done: bool) -> None:
        """Keep the position of a file that is not followed now."""
        now_ns = self._shared.context.clock.time_ns()
        state = msgspec.structs.replace(state, left_ns=state.left_ns or now_ns, done=done)
        self._shared.context.checkpoints.save(self._shared.context.name, stream, state.dump())
        self._forget_all(self._known.add(stream, state))

    def _forget_all(self, streams: Sequence[str]) -> None:
        for stream in streams:
            self._shared.positions.forget(stream)

    def close_all(self) -> None:
        """Close every file; what is not read of a deleted one is lost, and said to be."""
        for file in self.files:
            if file.newly_has_content():
                self._shared.positions.save(file)
            unread = file.unread_if_closed()
            if unread:
                self._shared.counters.bytes_unread(unread)
                self._shared.context.log.warning(
                    "The file %s was deleted and %d bytes of it had not been read.", shown(file.path), unread
                )
            self.close(file)
        self.lanes.clear()

    # -- after a restart ---------------------------------------------------------------------------

    async def _restore(self, found: Sequence[FoundFile]) -> None:
        """Find the files again whose positions were saved."""
        states = saved_states(self._shared.context, self._finder)
        for stream, state in states:
            if state.done:
                self._forget_all(self._known.add(stream, state))
        states = [(stream, state) for stream, state in states if not state.done]
        paths = {file.place: file.path for file in found}
        present = {file.path for file in found}
        owners = by_place(states)
        told_by_content = {state.path for _, state in states if state.known.size}
        away: dict[Lane, bool] = {}
        async for stream, state, again in self._located(states, paths):
            lane = self.lanes.get(state.path) or self._lane(state.path, state.real)
            if is_leftover(stream):
                self._restore_leftover(lane, stream, state)
                continue
            away[lane] = again is None or again.sibling.path != state.real
            if is_unknowable(state, again, told_by_content=state.path in told_by_content):
                self._restore_empty(lane, stream, state, again, replaced=state.path in present)
            else:
                self._restore_one(lane, stream, state, again, owners, replaced=state.path in present)
        for lane, is_away in away.items():
            if is_away and lane.path not in present:  # else they are looked for when that is taken up
                await self._take_up_rotated(lane)

    def _restore_leftover(self, lane: Lane, stream: str, state: FileState) -> None:
        """Emit joins again that were taken for whole and are not known to be safe."""
        if state.carry:
            lane.append(LogFile.of_joins(stream, state, state.carry))
        else:
            self._shared.positions.forget(stream)

    def _restore_empty(
        self, lane: Lane, stream: str, state: FileState, again: Again | None, *, replaced: bool
    ) -> None:
        """Go on with the open joins of a file that cannot be found again, as it had no content."""
        if again is not None:
            again.content.close()
        lane.last = lane.last or self._known.latest(lane.path) or state
        if not replaced and not lane.files:
            self._leave(lane, stream, state, replaced=False)
        elif state.carry:
            lane.append(LogFile.of_joins(stream, state, state.carry))
        else:
            self._shared.positions.forget(stream)

    async def _located(
        self, states: Sequence[tuple[str, FileState]], paths: dict[tuple[int, int], str]
    ) -> AsyncIterator[tuple[str, FileState, Again | None]]:
        """Find files again, no more of them at once than may be open."""
        at_once = max(self._descriptors.most // 2, 1)
        for start in range(0, len(states), at_once):
            part = states[start : start + at_once]
            self._descriptors.make_room(len(part))
            located = await asyncio.to_thread(locate_all, part, paths)
            for (stream, state), again in zip(part, located, strict=True):
                yield stream, state, again

    def _restore_one(
        self,
        lane: Lane,
        stream: str,
        state: FileState,
        again: Again | None,
        owners: Mapping[tuple[int, int], Sequence[FileState]],
        *,
        replaced: bool,
    ) -> None:
        """Go on with a file, or leave it; ``owners`` are the files that were last seen at each place."""
        if again is None:
            self._leave(lane, stream, state, replaced=replaced)
            return
        place = again.sibling.place
        others = () if place == (state.device, state.inode) else owners.get(place, ())
        # The inode of a file that is gone may be that of any other now, so the content has to say so too.
        owned = any(rotated.is_still(again.content, other) for other in others)
        if owned and state.handed is not None:
            # Its successor goes on in this copy from where it was handed over.
            again.content.limit(state.handed)
            self._append(lane, LogFile(stream, state, again.content, again.tail))
        elif owned or place in self._by_inode:
            again.content.close()
            self._leave(lane, stream, state, replaced=True)
        else:
            self._reopen(lane, stream, state, again)

    def _reopen(self, lane: Lane, stream: str, state: FileState, again: Again) -> None:
        moved = msgspec.structs.replace(
            state, device=again.sibling.device, inode=again.sibling.inode, left_ns=0, done=False
        )
        self._append(lane, LogFile(stream, moved, again.content, again.tail))

    def _append(self, lane: Lane, file: LogFile) -> None:
        file.keep_boundaries(self._shared.context.checkpoints.boundaries(file.stream))
        lane.append(file)

    def _leave(self, lane: Lane, stream: str, state: FileState, *, replaced: bool) -> None:
        """A file is not there: keep its position. Its open joins end where another one has its place."""
        log, where = self._shared.context.log, shown(state.path)
        if unread := unread_of(state, replaced=replaced):
            self._shared.counters.bytes_unread(unread)
            log.warning("The file %s was deleted and %d bytes of it had not been read.", where, unread)
        elif replaced:
            log.info(
                "Another file is at %s now. Should the old one come back within a week, it is read on from "
                "byte %d.", where, state.offset,
            )  # fmt: skip
        else:
            log.info("The file %s is away. Its position, byte %d, is kept for a week.", where, state.offset)
        if state.known.size or lane.last is None:
            lane.last = state
        if replaced and state.carry:
            leftover = LogFile.of_joins(leftover_of(stream, state.offset), state, state.carry)
            lane.append(leftover)
            self._shared.positions.save(leftover)
            state = msgspec.structs.replace(state, carry=b"", flushed=(state.offset, *state.flushed))
        self._keep(stream, state, done=False)
