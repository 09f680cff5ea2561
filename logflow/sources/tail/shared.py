"""What all files of a ``tail`` source work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from logflow.component import Context, Counter
from logflow.engine.api import LineFormat, LineParser
from logflow.sources.lines import LineCounters
from logflow.sources.recoding import Units
from logflow.sources.tail.file import LogFile, Sizes

_SAVE_S = 0.15
"""Positions are saved at most this often."""

_THREADS = 2
"""Most files that are read and parsed at once. Each thread parses hundreds of megabytes a second, and has
a heap of its own that grows with what waits; the second one is there for when the first is slow."""

_T = TypeVar("_T")


class Counters(LineCounters):
    """What the source counts."""

    def __init__(self, counter: Callable[[str, str], Counter]) -> None:
        super().__init__(counter)
        self.opened = counter("files_opened", "Files opened.")
        self.closed = counter("files_closed", "Files closed.")
        self.unreadable = counter("files_unreadable", "Times that a file could not be opened or read.")
        self.truncations = counter("truncations", "Files found truncated or written anew.")
        self.skipped = counter(
            "bytes_skipped", "NULs that were left out: holes in files that were truncated."
        )
        self.bytes_unread = counter("bytes_unread", "Bytes that were gone before they were read.")


class Positions:
    """Saves how far files are safe, a little later than it is known, many at once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._unsaved: set[LogFile] = set()
        self._wanted = asyncio.Event()

    def save_soon(self, file: LogFile) -> None:
        """More of a file is safe."""
        self._unsaved.add(file)
        self._wanted.set()

    def save(self, file: LogFile, *, names: bool = False) -> None:
        """Record at once how far a file is safe; ``names``: and by what its stream is known from now on."""
        self._unsaved.discard(file)
        self._context.checkpoints.save(self._context.name, file.stream, file.state().dump(), names=names)

    def save_all(self) -> None:
        """Record what is not recorded yet."""
        for file in tuple(self._unsaved):
            self.save(file)

    def forget(self, stream: str, file: LogFile | None = None) -> None:
        """A file will never be read again."""
        if file is not None:
            self._unsaved.discard(file)
        self._context.checkpoints.forget(self._context.name, stream)

    def forget_unsaved(self, file: LogFile) -> None:
        """Somebody else saves what is known of a file from now on."""
        self._unsaved.discard(file)

    async def run(self) -> None:
        """Save when needed, until cancelled."""
        while True:
            await self._wanted.wait()
            await self._context.clock.sleep(_SAVE_S)
            self._wanted.clear()
            self.save_all()


@dataclass(eq=False)
class Shared:
    """What all files of one source work with.

    Attributes:
        context: of the source.
        counters: of the source.
        positions: where files' progress goes.
        rotate_wait_s: how long a file that was rotated or deleted is kept after its last byte came.
        sizes: how much is read at once.
        parser_for: compiles (once) the parser of a line format, of text that is made of some units.
        encoding: of the files.
        join_wait_s: how long an open join waits for more; ``None``: for ever.
        marks_joins: whether an open join that is taken for whole is marked.
        line_wait_s: how long a line without a newline waits for more; ``None``: for ever.
        path_key: a field that takes the file's path.
        scans: how many scans of the configured paths were completed.
        threads: read and parse.
    """

    context: Context
    counters: Counters
    positions: Positions
    rotate_wait_s: float
    sizes: Sizes
    parser_for: Callable[[LineFormat, Units], LineParser]
    encoding: str
    path_key: str | None = None
    join_wait_s: float | None = None
    line_wait_s: float | None = None
    marks_joins: bool = True
    scans: int = 0
    threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, "tail"))

    @property
    def parallel(self) -> bool:
        """Whether the engine lets the event loop go on while it works in a thread."""
        return self.context.engine.name == "native"

    def with_path(self, entries: bytes, path: str) -> bytes:
        """Add the path to the entries, if that is wanted."""
        return self.context.engine.splice(entries, {self.path_key: path}) if self.path_key else entries

    async def in_thread(self, function: Callable[[], _T]) -> _T:
        """Call a function in a thread; when cancelled, wait until it has come to its end."""
        future = asyncio.get_running_loop().run_in_executor(self.threads, function)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise
