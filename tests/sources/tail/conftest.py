"""A directory of log files, a clock that is turned by hand, and the source that follows the files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from logflow.batch import Batch, Span
from logflow.event import Record
from logflow.sources.tail import TailSource
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.metrics import Metrics
from logflow.testing import Collector, FakeClock, make_context, run_source


class Tail:
    """What a test of the source works with; files are found by scans unless ``inotify`` is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "logs"
        self.logs.mkdir()
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.checkpoints = Checkpoints(None)
        self.collector = Collector()
        self.engine = "python"
        self._source: TailSource | None = None

    @property
    def log(self) -> Path:
        """The usual log file."""
        return self.logs / "app.log"

    def source(self, **options: Any) -> TailSource:
        """Make a source."""
        options = {
            "paths": [f"{self.logs}/*.log"],
            "tag": "{name}",
            "inotify": False,
            "rotate_wait": 5,
            "idle_flush": None,
            "idle_flush_line": None,
        } | options
        context = make_context(
            self.root / "data",
            engine=self.engine,
            clock=self.clock,
            metrics=self.metrics,
            checkpoints=self.checkpoints,
        )
        self._source = TailSource(TailSource.Config(type="tail", **options), context)
        return self._source

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[TailSource]:
        """Run a source until the block is left."""
        source = self.source(**options)
        async with run_source(source, self.collector) as task:
            await asyncio.sleep(0)
            yield source
            assert not task.done(), task.exception()

    async def until(self, condition: Callable[[], Any], *, step_s: float = 0.5) -> None:
        """Let time go on until ``condition`` holds.

        Raises:
            TimeoutError: it does not.
        """
        async with asyncio.timeout(10):
            while not condition():
                await self.clock.advance(step_s)
                await asyncio.sleep(0.001)

    async def lines(self, count: int, *, step_s: float = 0.5) -> list[Record]:
        """Let time go on until so many events have come; returns all records."""
        await self.until(lambda: self.collector.count >= count, step_s=step_s)
        return self.collector.records()

    def messages(self) -> list[str]:
        """The messages so far."""
        return [record["message"] for record in self.collector.records()]

    async def read(self, *messages: str) -> None:
        """Let time go on until exactly these messages have come, and a little longer."""
        await self.lines(len(messages))
        await self.rest()
        assert self.messages() == list(messages)

    async def rest(self, seconds: float = 3.0) -> None:
        """Let time go on."""
        for _ in range(int(seconds / 0.5)):
            await self.clock.advance(0.5)
            await asyncio.sleep(0.002)
            for _ in range(20):  # one that nobody takes anything from stays busy
                if not self._is_busy():
                    break
                await asyncio.sleep(0.001)

    def _is_busy(self) -> bool:
        lanes = self._source._catalogue.lanes.values() if self._source else ()
        return any(lane.running for lane in lanes) or bool(self._source and self._source._looking.locked())

    def states(self) -> list[dict[str, Any]]:
        """The saved states of the files that are followed."""
        return [state for state in self.checkpoints.streams("test").values() if not state["left_ns"]]

    def counter(self, name: str) -> int:
        """The value of a counter."""
        return next(cell.value for cell in self.metrics.counters() if cell.name == name)

    def spans(self) -> list[tuple[int, int]]:
        """The spans of all batches."""
        return [(span.start, span.end) for span in map(span_of, self.collector.batches)]


def span_of(batch: Batch) -> Span:
    """The span of a batch."""
    assert isinstance(batch.origin, Span)
    return batch.origin


@pytest.fixture
def tail(tmp_path: Path) -> Tail:
    """See :class:`Tail`."""
    return Tail(tmp_path)
