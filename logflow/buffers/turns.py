"""Waiting for what comes at one time, without a timer: it is added in several turns of the event loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


async def until_quiet(
    count: Callable[[], int], goes_on: Callable[[], bool], *, quiet: int, most: float = math.inf
) -> None:
    """Return when nothing was added for a few turns of the event loop.

    Args:
        count: how much there is.
        goes_on: whether it is worth waiting.
        quiet: turns without an addition.
        most: turns in all.
    """
    turns = still = 0
    while still < quiet and turns < most and goes_on():
        before = count()
        await asyncio.sleep(0)
        turns += 1
        still = 0 if count() > before else still + 1
