"""Copies of log files: what ``copytruncate`` leaves beside the file that it truncates.

A copy holds what was read elsewhere, and nothing tells that but its content. While it is being made it holds
a part of that, or nothing, so a file of unknown content whose name says that it is a rotation is not read
before it has kept its size for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from enum import Enum, auto
from typing import NamedTuple

from logflow.clock import Clock
from logflow.sources.tail.discovery import FoundFile

COPYING_S = 1.0
"""How long a file of unknown content, whose name says that it is a rotation of a known one, must not have
grown before it is read: it may be a copy that is not whole yet."""


class CopyKind(Enum):
    """What a file beside a known one is."""

    COPY = auto()
    UNCERTAIN = auto()
    """It may become a copy: look again."""
    OTHER = auto()


class _Seen(NamedTuple):
    size: int
    mtime_ns: int
    since_s: float
    """Since when it has not grown."""
    is_copy: bool


class Copies:
    """Remembers what was found out about files, as long as they are as they were."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[tuple[int, int], _Seen] = {}

    def keep(self, places: Container[tuple[int, int]]) -> None:
        """Forget all files but those."""
        self._seen = {place: seen for place, seen in self._seen.items() if place in places}

    def is_done(self, found: FoundFile) -> bool:
        """Whether nothing of a file need be read, as it has not changed since that was found out."""
        seen = self._seen.get(found.place)
        return (
            seen is not None and seen.is_copy and (seen.size, seen.mtime_ns) == (found.size, found.mtime_ns)
        )

    def done(self, found: FoundFile) -> None:
        """What a file holds now is read, or need not be."""
        now_s = self._clock.monotonic()
        self._seen[found.place] = _Seen(found.size, found.mtime_ns, now_s, is_copy=True)

    def judge(self, found: FoundFile, is_read: Callable[[], bool]) -> CopyKind:
        """Say what a file is; ``is_read``: whether all that it holds was read elsewhere."""
        now_s = self._clock.monotonic()
        seen = self._seen.get(found.place)
        if seen is None or (seen.size, seen.mtime_ns) != (found.size, found.mtime_ns):
            seen = _Seen(found.size, found.mtime_ns, now_s, is_copy=False)
        if not seen.is_copy and is_read():
            seen = seen._replace(is_copy=True)
        self._seen[found.place] = seen
        if seen.is_copy:
            return CopyKind.COPY
        rests = found.size > 0 and now_s - seen.since_s >= COPYING_S
        return CopyKind.OTHER if rests else CopyKind.UNCERTAIN
