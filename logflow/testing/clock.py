"""A clock that stands still until it is told to move."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count


class FakeClock:
    """Implements :class:`logflow.clock.Clock`; :meth:`advance` moves time and wakes sleepers in order."""

    def __init__(self, time_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_s = 0.0
        self._epoch_ns = time_ns
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._sequence = count()

    def time_ns(self) -> int:
        """Wall-clock nanoseconds."""
        return self._epoch_ns + round(self._now_s * 1e9)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        """Wait until :meth:`advance` has gone that far."""
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_s + seconds, next(self._sequence), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move time on; whoever wakes runs, and may sleep again, before time moves further."""
        target = self._now_s + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            self._now_s, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self._now_s = target
        await self._settle()

    @property
    def sleepers(self) -> int:
        """How many are waiting."""
        return sum(not future.done() for _, _, future in self._sleepers)

    @staticmethod
    async def _settle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
