"""Adaptive flushing: an idle output gets a chunk at once, a busy one gets fewer and bigger chunks.

Every chunk costs a write, an acknowledgement and some bookkeeping, so an output is given at most
about :data:`_CHUNKS_PER_S` chunks a second. With ``n`` busy queues each may have a chunk every
``n / _CHUNKS_PER_S`` seconds, but not more often than every :data:`_LEAST_S`, as nobody would notice;
none waits longer than ``flush_interval``. A queue that has been quiet is served at once.

Where the chunks of all queues are delivered in one go, what costs is the group: then all queues become due at
the same time, at most ten times a second (:class:`GroupPacer`). Where a group becomes an object, it is
worth waiting for others after a quiet time too (:class:`GatheringPacer`).
"""

from __future__ import annotations

from collections.abc import Hashable

_CHUNKS_PER_S = 200
_LEAST_S = 0.02
_BUSY_S = 1.0
"""A queue counts as busy for this long after its last chunk."""
_WORTH_BYTES = 1 << 20
"""A chunk of this size is worth a write of its own."""


class Pacer:
    """Tells when a queue may have its next chunk. Times are seconds on a monotonic clock."""

    def __init__(self, flush_interval_s: float) -> None:
        self._flush_interval_s = flush_interval_s
        self._last: dict[Hashable, float] = {}

    def took(self, queue: Hashable, now_s: float) -> None:
        """A chunk was taken from the queue."""
        self._last.pop(queue, None)  # so that the dict stays in order of time
        self._last[queue] = now_s
        while (oldest := next(iter(self._last))) != queue and self._last[oldest] < now_s - _BUSY_S:
            del self._last[oldest]

    def due(self, queue: Hashable, now_s: float, size: int = 0) -> float:  # noqa: ARG002 - of groups only
        """When the queue may have a chunk that is not full; not before ``now_s``."""
        last_s = self._last.get(queue)
        if last_s is None:
            return now_s
        interval_s = max(_LEAST_S, len(self._last) / _CHUNKS_PER_S)
        return max(now_s, last_s + min(self._flush_interval_s, interval_s))


class GroupPacer:
    """Tells when the next group may be taken. Times are seconds on a monotonic clock."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last_s = -interval_s

    def took(self, _queue: Hashable, now_s: float) -> None:
        """A chunk was taken; others of the group are at the same time, or soon after."""
        self._last_s = now_s

    def due(self, _queue: Hashable, now_s: float, size: int) -> float:
        """When a queue may have a chunk of ``size`` bytes that is not full; not before ``now_s``."""
        return now_s if size >= _WORTH_BYTES else max(now_s, self._last_s + self._interval_s)


class GatheringPacer:
    """Lets events gather: every wait begins with the first event after the last group.

    Times are seconds on a monotonic clock.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._since_s: float | None = None

    def took(self, _queue: Hashable, _now_s: float) -> None:
        """A chunk was taken; what comes now is for the next group."""
        self._since_s = None

    def due(self, _queue: Hashable, now_s: float, _size: int) -> float:
        """When a queue may have a chunk that is not full; not before ``now_s``."""
        if self._since_s is None:
            self._since_s = now_s
        return max(now_s, self._since_s + self._interval_s)
