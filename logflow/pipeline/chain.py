"""The filters and stages that stand before a route's outputs, or before one output, as one thing to call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from logflow.clock import Clock
from logflow.component import Filter, Stage
from logflow.pipeline.flow import Flow, Passage
from logflow.pipeline.guard import GuardedFilter
from logflow.pipeline.staging import Boundaries, StageHost

T = TypeVar("T")

_INLINE_BYTES = 64 * 1024
"""Batches above this are filtered in a thread, so that the event loop is not held up."""


class Chain:
    """Filters and stages in their order.

    One call at a time, in the order in which they came: on the event loop for small batches, in the chain's
    own thread for large ones and for those that come meanwhile, and for all if a step may hang.
    """

    def __init__(
        self, steps: Sequence[Filter | Stage], clock: Clock, boundaries: Boundaries, *, reroute: bool
    ) -> None:
        """Chain the steps; with ``reroute``, batches whose tag a stage changes leave the chain there."""
        self.steps: list[GuardedFilter | StageHost] = [
            StageHost(step, clock, boundaries, reroute=reroute)
            if isinstance(step, Stage)
            else GuardedFilter(step, clock)
            for step in steps
        ]
        self.staged = any(isinstance(step, StageHost) for step in self.steps)
        self.speaks = self.staged or any(
            isinstance(step, GuardedFilter) and step.tells for step in self.steps
        )
        """Whether something may come out that did not just come in."""
        may_hang = any(isinstance(step, GuardedFilter) and step.may_hang for step in self.steps)
        self._inline_bytes = 0 if may_hang else _INLINE_BYTES
        self._thread: ThreadPoolExecutor | None = None
        self._last: Future[Any] | None = None
        self._turn = asyncio.Lock()

    async def run(self, flow: Flow, passage: Passage) -> list[Flow]:
        """Pass a batch through; returns what comes out. Never raises for what a step does."""
        if not self.staged:
            return await self._call(len(flow.batch.entries), lambda: self._filter(flow, passage))
        async with self._turn:
            return await self._run([flow], 0, passage)

    async def flush(self, now_s: float | None, passage: Passage) -> list[Flow]:
        """Take what stages held for long enough and what filters have to tell; ``None``: everything."""
        out: list[Flow] = []
        async with self._turn:
            for index, step in enumerate(self.steps):
                if isinstance(step, StageHost):
                    flows = step.flush(now_s, passage)
                elif step.tells:
                    flows = await self._call(0, lambda step=step: step.summaries(now_s, passage))  # type: ignore[misc]
                else:
                    continue
                if flows:
                    out += await self._run(flows, index + 1, passage)
        return out

    def _filter(self, flow: Flow, passage: Passage) -> list[Flow]:
        for step in self.steps:
            assert isinstance(step, GuardedFilter)
            (flow,) = step.apply(flow, passage)
        return [flow]

    async def _run(self, flows: list[Flow], start: int, passage: Passage) -> list[Flow]:
        for step in self.steps[start:]:
            out: list[Flow] = []
            for flow in flows:
                out += await self._pass(step, flow, passage)
            flows = out
        return flows

    async def _pass(self, step: GuardedFilter | StageHost, flow: Flow, passage: Passage) -> list[Flow]:
        size = len(flow.batch.entries)
        if isinstance(step, StageHost):
            return await step.apply(flow, passage, lambda ask: self._call(size, ask))
        return await self._call(size, lambda: step.apply(flow, passage))

    def _call(self, size: int, function: Callable[[], T]) -> Awaitable[T]:
        if size < self._inline_bytes and (self._last is None or self._last.done()):
            return _done(function())
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="filters")
        call = self._thread.submit(function)
        self._last = call
        # Shielded, as a call that was cancelled would count as done while those before it go on.
        return asyncio.shield(asyncio.wrap_future(call))

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None
        for step in self.steps:
            if isinstance(step, GuardedFilter):
                step.close()


async def _done(value: T) -> T:
    return value
