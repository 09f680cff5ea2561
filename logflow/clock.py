"""Time as components see it, so that tests can turn it by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something that will happen later."""

    def cancel(self) -> None:
        """It will not happen. Safe when it has."""
        ...


class Clock(Protocol):
    """What tells the time and waits for it."""

    def time_ns(self) -> int:
        """Wall-clock nanoseconds since the epoch: the time of events."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back: for timeouts and ages."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` on the event loop in ``seconds``; costs no task."""
        ...


class SystemClock:
    """The machine's clock."""

    def time_ns(self) -> int:
        """Wall-clock nanoseconds since the epoch."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Have the event loop call ``callback``."""
        return asyncio.get_running_loop().call_later(seconds, callback)
