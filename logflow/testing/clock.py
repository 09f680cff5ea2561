"""A clock that stands still until it is told to move."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count


@dataclass(eq=False)
class _Timer:
    """What happens when its time has come, unless it was cancelled before."""

    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True

    def ring(self) -> None:
        if not self.cancelled:
            self.callback()


class FakeClock:
    """Implements :class:`logflow.clock.Clock`; :meth:`advance` moves time and wakes sleepers in order."""

    def __init__(self, time_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_s = 0.0
        self._epoch_ns = time_ns
        self._timers: list[tuple[float, int, _Timer]] = []
        self._asleep: set[asyncio.Future[None]] = set()
        self._sequence = count()

    def time_ns(self) -> int:
        """Wall-clock nanoseconds."""
        return self._epoch_ns + round(self._now_s * 1e9)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        """Wait until :meth:`advance` has gone that far."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asleep.add(future)
        future.add_done_callback(self._asleep.discard)
        self.call_later(seconds, lambda: None if future.done() else future.set_result(None))
        await future

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _Timer:
        """Have :meth:`advance` call ``callback`` when it has gone that far."""
        timer = _Timer(callback)
        heapq.heappush(self._timers, (self._now_s + seconds, next(self._sequence), timer))
        return timer

    async def advance(self, seconds: float) -> None:
        """Move time on; whoever wakes runs, and may sleep again, before time moves further."""
        target = self._now_s + seconds
        await self._settle()
        while self._timers and self._timers[0][0] <= target:
            self._now_s, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                timer.ring()
                await self._settle()
        self._now_s = target
        await self._settle()

    @property
    def sleepers(self) -> int:
        """How many are waiting."""
        return len(self._asleep)

    @staticmethod
    async def _settle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
