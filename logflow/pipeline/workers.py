"""How many deliveries are under way at once, and of which kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Workers:
    """Places for deliveries; retries may hold at most half of them (one, if there is only one).

    Args:
        most: how many there are.
        bearable: how many of them the destination bears now; asked anew whenever one is wanted.
    """

    def __init__(self, most: int, bearable: Callable[[], int | None] = lambda: None) -> None:
        self._most = most
        self._bearable = bearable
        self._busy = 0
        self._retrying = 0
        self._freed = asyncio.Event()

    async def wait(self, *, retries: bool) -> None:
        """Wait until one is free for this kind, without taking it."""
        while not self._free(retries=retries):
            await self._freed.wait()

    async def take(self, *, retries: bool) -> None:
        """Take one, waiting if need be."""
        await self.wait(retries=retries)
        self._busy += 1
        self._retrying += retries

    def give_back(self, *, retries: bool) -> None:
        """One is free again."""
        self._busy -= 1
        self._retrying -= retries
        self._freed.set()
        self._freed.clear()

    def _free(self, *, retries: bool) -> bool:
        bearable = self._bearable()
        most = self._most if bearable is None else max(1, min(bearable, self._most))
        return self._busy < most and (not retries or self._retrying < max(1, most // 2))
