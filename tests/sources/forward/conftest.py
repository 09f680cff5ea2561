"""A forward source that runs, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from logflow.sources.forward import ForwardSource
from logflow.telemetry.metrics import Metrics
from logflow.testing import Collector, FakeClock, make_context, run_source
from logflow.testing.forwarding import RawClient


@dataclass
class Running:
    """A source that runs, and what it emits into."""

    source: ForwardSource
    emit: Collector
    metrics: Metrics
    task: asyncio.Task[None]

    @property
    def port(self) -> int:
        return self.source.port

    async def connect(self, **options: Any) -> RawClient:
        return await RawClient.connect(self.port, **options)

    async def wait_for_connections(self, count: int) -> None:
        """Wait until there are so many."""
        while len(self.source._shared.receivers) < count:
            await asyncio.sleep(0.005)

    def counted(self, name: str) -> int:
        return sum(cell.value for cell in self.metrics.counters() if cell.name == name)


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    @asynccontextmanager
    async def run(
        emit: Collector | None = None, clock: FakeClock | None = None, **options: Any
    ) -> AsyncIterator[Running]:
        metrics = Metrics()
        context = make_context(tmp_path, metrics=metrics, clock=clock)
        if "unix" not in options:
            options = {"listen": "127.0.0.1:0", **options}
        source = ForwardSource(ForwardSource.Config.model_validate({"type": "forward", **options}), context)
        emit = emit or Collector()
        async with run_source(source, emit) as task:
            yield Running(source, emit, metrics, task)

    return run
