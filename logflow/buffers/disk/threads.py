"""How the parts of the disk buffer call functions that touch the disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ParamSpec, Protocol, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class InThread(Protocol):
    """Calls a function in a thread, so that the event loop goes on meanwhile."""

    def __call__(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Awaitable[_T]:
        """Return what the function returns."""
        ...
