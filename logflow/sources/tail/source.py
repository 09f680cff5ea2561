"""The ``tail`` source: follows log files, and never loses a line to rotation or a restart."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Sequence
from functools import cache, partial

from logflow.batch import Batch
from logflow.component import Context, Emit, Source
from logflow.config.multiline import rules_of
from logflow.engine.api import LineFormat, LineParser
from logflow.errors import Unsupported
from logflow.sources.recoding import UTF8, RecodedLines, Units, units_of
from logflow.sources.tail.catalogue import Catalogue
from logflow.sources.tail.config import TailOptions
from logflow.sources.tail.discovery import Finder
from logflow.sources.tail.file import LINE_OVERHEAD_BYTES, Sizes
from logflow.sources.tail.formats import DETECT_BYTES, detect
from logflow.sources.tail.lane import Lane
from logflow.sources.tail.shared import Counters, Positions, Shared
from logflow.sources.tail.tags import TagTemplate, shown
from logflow.sources.tail.watcher import Watcher

_SCANS_WITH_INOTIFY = 10
"""With inotify a scan is only a safety net: so many times less often."""

_BLOCK_BYTES = {"native": 1 << 20, "python": 256 << 10}
"""The Python engine works on the event loop, so its block is what takes a few milliseconds."""


def _most_open() -> int:
    """How many files may be open: the process needs descriptors for its outputs, buffers and clients too."""
    return max(resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 32, 8)


class TailSource(Source):
    """Follows files. What happens to each is told in :mod:`logflow.sources.tail.lane`."""

    class Config(TailOptions):
        """Log files to follow."""

    keeps_state = True
    config: TailSource.Config

    def __init__(self, config: TailSource.Config, context: Context) -> None:
        super().__init__(config, context)
        line_bytes = (config.max_line + LINE_OVERHEAD_BYTES) * units_of(config.encoding, b"").width
        self._parser = context.parser(config.parse)
        self._positions = Positions(context)
        self._shared = Shared(
            context,
            Counters(context.counter),
            self._positions,
            config.rotate_wait,
            Sizes(_BLOCK_BYTES[context.engine.name], line_bytes),
            cache(self._parser_for),
            config.encoding,
            config.path_key,
            config.multiline.timeout if config.multiline else config.idle_flush,
            config.idle_flush_line,
            marks_joins=config.multiline is None,
        )
        self._catalogue = Catalogue(
            self._shared,
            Finder(config.paths, config.exclude, within=config.follow_links == "within"),
            TagTemplate(config.tag),
            None if config.format == "auto" else config.format,
            from_end=config.read_from == "end",
            most_open=_most_open(),
            close_inactive_s=config.close_inactive,
            ignore_older_s=config.ignore_older,
            wake=self.wake,
            wake_later=self.wake_later,
            look_later=self.look_later,
        )
        self._watcher = Watcher(self, context.log, enabled=config.inotify)
        self._looking = asyncio.Lock()
        self._told = asyncio.Event()
        self._names: set[str] = set()
        self._everywhere = False
        self._emit: Emit | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._most_at_once = max(_most_open() // 2, 1)
        """Lanes that read: each has its files open."""
        self._reading: set[asyncio.Task[None]] = set()
        self._queue: dict[Lane, None] = {}

    def _parser_for(self, line_format: LineFormat, units: Units) -> LineParser:
        lines = self.context.engine.line_parser(
            line_format,
            self._parser,
            max_line=self.config.max_line,
            stream=self.config.stream,
            message_key=self.config.message_key,
            multiline=rules_of(self.config.multiline),
            offset_key=self.config.offset_key,
        )
        if units.encoding == UTF8:
            return lines
        return RecodedLines(lines, units, offsets=self.config.offset_key is not None)

    def tag_of(self, path: str) -> str | None:
        """Return the tag of a file's events; None if no glob names the file."""
        if not Finder(self.config.paths, self.config.exclude).wants(path):
            return None
        return TagTemplate(self.config.tag).render(path, path)

    def cautions(self) -> Sequence[str]:
        """Return the paths that match nothing now."""
        searches = ((path, Finder([path], self.config.exclude).search()) for path in self.config.paths)
        return [f"no file matches {shown(path)} now" for path, search in searches if not search.files]

    async def preview(self, data: bytes, path: str | None = None) -> Sequence[Batch]:
        """Return what would be read from a file that holds ``data`` and no more.

        Raises:
            Unsupported: there is no path, or no glob names it.
        """
        tag = self.tag_of(path) if path else None
        if path is None or tag is None:
            globs = ", ".join(self.config.paths)
            raise Unsupported(f"the source {self.context.name} reads {globs}; give file a path of these")
        configured = self.config.format
        units = units_of(self.config.encoding, data[:2])
        head = units.readable(data[: DETECT_BYTES * units.width])
        found = (detect(head, whole=True) or "plain") if configured == "auto" else configured
        lines = self._parser_for(found, units)
        now_ns = self.context.clock.time_ns()
        text, newline = data.removeprefix(units.bom), units.newline
        parsed = lines.parse(text if text.endswith(newline) else text + newline, b"", now_ns)
        rest = lines.flush(parsed.carry, now_ns)
        entries, count = parsed.entries + rest.entries, parsed.events + rest.events
        return [Batch(tag, entries, count, None, {"path": path})]

    async def open(self) -> None:
        """Allow as many open files as the system lets us have."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def run(self, emit: Emit) -> None:
        """Follow the files until cancelled."""
        self._emit = emit
        self._queue.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._watcher.open()
                self._catalogue.resume(self._watcher)
                tasks.create_task(self._positions.run())
                tasks.create_task(self._look_when_told())
                tasks.create_task(self._scan_regularly())
                try:
                    await asyncio.get_running_loop().create_future()
                finally:  # while the tasks end, nothing that happens to a file may start another one
                    self._tasks = None
                    self._watcher.close()
        finally:
            self._watcher.close()

    async def drain(self) -> None:
        """Save the last positions and close the files."""
        self._positions.save_all()
        self._catalogue.close_all()
        self._shared.threads.shutdown(wait=False)

    async def _scan_regularly(self) -> None:
        while True:
            await self.scan()
            times = _SCANS_WITH_INOTIFY if self._watcher.complete else 1
            await self.context.clock.sleep(self.config.scan_interval * times)

    async def scan(self) -> None:
        """Search the configured paths now."""
        async with self._looking:
            await self._catalogue.scan()

    # -- told by the watcher -----------------------------------------------------------------------

    async def _look_when_told(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            names, self._names = self._names, set()
            if self._everywhere:
                self._everywhere = False
                await self.scan()
                continue
            async with self._looking:
                for path in {path for name in names for path in self._catalogue.paths_of(name)}:
                    await self._catalogue.look(path)

    def look_at(self, name: str) -> None:
        """Something happened to the name of a file."""
        if self._catalogue.is_link(name):
            self._everywhere = True
        self._names.add(name)
        self._told.set()

    def look_later(self, name: str, delay_s: float) -> None:
        """Look at the name of a file after ``delay_s``."""

        async def look() -> None:
            await self.context.clock.sleep(delay_s)
            self.look_at(name)

        if self._tasks is not None:
            self._tasks.create_task(look())

    def look_everywhere(self) -> None:
        """A directory appeared, or we were not told everything."""
        self._everywhere = True
        self._told.set()

    def wake(self, lane: Lane) -> None:
        """Have a lane read what there is to read."""
        lane.woken = True
        if lane.running or self._tasks is None or self._emit is None:
            return
        if len(self._reading) >= self._most_at_once:
            self._queue[lane] = None
            return
        lane.running = True
        task = self._tasks.create_task(lane.run(self._emit))
        self._reading.add(task)
        task.add_done_callback(partial(self._rested, lane))

    def _rested(self, lane: Lane, task: asyncio.Task[None]) -> None:
        """A lane has read what there was: the next one's turn."""
        self._reading.discard(task)
        if task.cancelled():
            lane.running = False  # it may not even have begun
            return
        if self._queue and self._tasks is not None:
            following = next(iter(self._queue))
            del self._queue[following]
            self.wake(following)
        elif lane.woken:
            self.wake(lane)

    def wake_later(self, lane: Lane, delay_s: float) -> None:
        """Have a lane look again after ``delay_s``; an earlier wish is forgotten."""

        async def wake() -> None:
            await self.context.clock.sleep(delay_s)
            lane.due_s = lane.timer = None
            self.wake(lane)

        if self._tasks is None:
            return
        if lane.timer is not None:
            lane.timer.cancel()
        lane.timer = self._tasks.create_task(wake())
