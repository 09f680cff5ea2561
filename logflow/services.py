"""Tasks that several components share: the host runs them, starts those that fail again, and ends them.

::

    class Watch:                                    # one connection for every filter that needs it
        async def run(self) -> None: ...            # until cancelled

    watch = context.services.share(("watch", url), lambda: Watch(url))          # in open()
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

from logflow.clock import Clock, SystemClock

_RESTART_S = 5.0

_log = logging.getLogger("logflow.services")


class SharedTask(Protocol):
    """What can be shared."""

    async def run(self) -> None:
        """Work until cancelled. If it raises it is logged and called again; returning is the end of it."""
        ...


T = TypeVar("T", bound=SharedTask)


class Services:
    """The shared tasks of one service."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._shared: dict[Hashable, tuple[Any, asyncio.Task[None]]] = {}

    def share(self, key: Hashable, make: Callable[[], T]) -> T:
        """Find what is shared under ``key``, or make it and run it. Call it in ``open``."""
        if key not in self._shared:
            made = make()
            self._shared[key] = (made, asyncio.get_running_loop().create_task(self._run(key, made)))
        shared: T = self._shared[key][0]
        return shared

    async def close(self) -> None:
        """End them all. Safe twice."""
        tasks = [task for _, task in self._shared.values()]
        self._shared.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Hashable, shared: SharedTask) -> None:
        while True:
            try:
                await shared.run()
            except Exception as error:
                _log.error(
                    "The shared task %s failed and is started again: %s: %s.",
                    key,
                    type(error).__name__,
                    error,
                )
                await self._clock.sleep(_RESTART_S)
            else:
                return
