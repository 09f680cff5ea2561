"""Which queue has its next chunk when."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from logflow.buffers.disk.index import Queue
from logflow.buffers.pacing import Pacer
from logflow.clock import Clock


class Schedule:
    """Queues with something to deliver, in the order in which they are due."""

    def __init__(self, flush_interval_s: float, chunk_limit: int, clock: Clock) -> None:
        """A chunk that is not full is made when ``flush_interval_s`` says; see :class:`Pacer`."""
        self._pacer = Pacer(flush_interval_s)
        self._chunk_limit = chunk_limit
        self._clock = clock
        self._due: list[tuple[float, int, Queue]] = []
        self._order = count()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()

    def add(self, queue: Queue) -> None:
        """Note when the queue may have its next chunk, and tell whoever waits for one."""
        if queue.busy or queue.empty:
            return
        now_s = self._clock.monotonic()
        ready = bool(queue.returned or queue.cuts) or queue.uncut_bytes >= self._chunk_limit
        due_s = now_s if ready else self._pacer.due(queue.tag, now_s)
        if queue.due_s is not None and queue.due_s <= due_s:
            return
        queue.due_s = due_s
        heapq.heappush(self._due, (due_s, next(self._order), queue))
        self._changed.set()
        self._changed.clear()

    async def next(self) -> Queue:
        """Wait for a queue that is due, and mark it busy."""
        # One waits for queues, the others for their turn: otherwise each chunk would wake all of them.
        async with self._turn:
            while True:
                now_s = self._clock.monotonic()
                while self._due and self._due[0][0] <= now_s:
                    queue = heapq.heappop(self._due)[2]
                    queue.due_s = None
                    if not (queue.busy or queue.empty):
                        queue.busy = True
                        self._pacer.took(queue.tag, now_s)
                        return queue
                await self._wait(self._due[0][0] - now_s if self._due else None)

    async def _wait(self, delay_s: float | None) -> None:
        """Wait until something changes, or until the earliest queue is due."""
        if delay_s is None:
            await self._changed.wait()
            return
        timer = asyncio.get_running_loop().call_later(delay_s, self._wake)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()
