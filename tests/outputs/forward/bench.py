"""What tests of the forward output share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from logflow.batch import Batch, Chunk
from logflow.outputs.forward import ForwardOutput
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock
from logflow.testing.forwarding import ScriptedServer

ENTRIES = Batch.from_events("app", [(1_000_000_007, {"a": 1}), (2_000_000_000, {"a": 2})]).entries


def make_chunk(number: int = 0, tag: str = "app", *parts: bytes) -> Chunk:
    """Two events, unless other parts are given."""
    return Chunk(number.to_bytes(16, "big"), tag, parts or (ENTRIES,), 2)


def where(server: ScriptedServer, **options: Any) -> dict[str, Any]:
    """A server, as the configuration names it."""
    return {"address": f"127.0.0.1:{server.port}", **options}


class Opened(ForwardOutput):
    """The output, with its counters."""

    metrics: Metrics

    def counted(self, name: str) -> int:
        return sum(cell.value for cell in self.metrics.counters() if cell.name == name)

    def server(self, server: ScriptedServer) -> Any:
        return next(s for s in self._servers if s.options.endpoint.port == server.port)


Open = Callable[..., AbstractAsyncContextManager[Opened]]
Pair = tuple[Opened, ScriptedServer, ScriptedServer]
OpenPair = Callable[..., AbstractAsyncContextManager[Pair]]


async def pass_time(clock: FakeClock, seconds: float) -> None:
    """Let time pass in the steps in which missing acks are looked for."""
    for _ in range(round(seconds / 0.25)):
        await clock.advance(0.25)
        await asyncio.sleep(0)


async def begin(output: Opened, server: ScriptedServer, chunk: Chunk) -> asyncio.Task[None]:
    """Write a chunk as far as the server."""
    task = asyncio.create_task(output.write(chunk))
    await server.wait_for(requests=len(server.requests) + 1)
    return task


async def settle() -> None:
    """Let what was sent arrive."""
    for _ in range(20):
        await asyncio.sleep(0.001)
