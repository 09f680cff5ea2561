"""How many requests at once a server bears: found out from its answers.

As congestion control does it (RFC 5681; Vector's adaptive concurrency is of the same kind): each round of
good answers allows one request more, what says "too much" halves the number, and answers that take clearly
longer than usual take a tenth off::

    429, 503, no answer in time     limit / 2, at most once per usual time of an answer
    slower than usual by far        limit * 0.9
    anything else                   limit + 1 / limit, while the limit is made use of
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from logflow.clock import Clock

_WEIGHT = 0.2
"""Of the newest time in the average."""
_DEVIATIONS = 4.0
_LEAST_SLOW_S = 0.05
"""Differences below this are noise."""


class Pressure:
    """Keeps the number of requests within what the server bears.

    Args:
        most: the limit that is never exceeded, and with which it begins.
        clock: tells how long answers take.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = float(most)
        self._limit = float(most)
        self._clock = clock
        self._under_way = 0
        self._mean_s: float | None = None
        self._deviation_s = 0.0
        self._lowered_s = -1.0

    @property
    def limit(self) -> int:
        """How many requests may be under way."""
        return int(self._limit)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Measure a request; call :meth:`too_much` within it if the server says so."""
        began_s = self._clock.monotonic()
        self._under_way += 1
        used = self._under_way >= self.limit
        lowered_s = self._lowered_s
        try:
            yield
        finally:
            self._under_way -= 1
        if self._lowered_s == lowered_s:
            self._answered(self._clock.monotonic() - began_s, used=used)

    def too_much(self) -> None:
        """The server asked for less, or gave no answer in time."""
        now_s = self._clock.monotonic()
        if self._lowered_s < 0 or now_s - self._lowered_s >= (self._mean_s or 0.0):
            self._limit = max(1.0, self._limit / 2)
            self._lowered_s = now_s

    def _answered(self, took_s: float, *, used: bool) -> None:
        if self._mean_s is None:
            self._mean_s, self._deviation_s = took_s, took_s / 2
        off_s = took_s - self._mean_s
        if off_s > max(_DEVIATIONS * self._deviation_s, _LEAST_SLOW_S):
            self._limit = max(1.0, self._limit * 0.9)
        elif used:
            self._limit = min(self._most, self._limit + 1 / self._limit)
        self._mean_s += _WEIGHT * off_s
        self._deviation_s += _WEIGHT * (abs(off_s) - self._deviation_s)
