"""How the parts of the disk buffer call functions that touch the disk, and run tasks beside each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import ParamSpec, Protocol, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class InThread(Protocol):
    """Calls a function in a thread, so that the event loop goes on meanwhile."""

    def __call__(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Awaitable[_T]:
        """Return what the function returns."""
        ...


def run_beside(work: Coroutine[object, object, None], log: logging.Logger) -> asyncio.Task[None]:
    """Run ``work`` as a task; a bug in it is logged, as nobody waits for its result."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("A task of the disk buffer has failed.", exc_info=error)

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    return task
