"""The window of accepted deliveries: how a resend is recognised.

A peer that saw no ack sends its chunk again, under the same key. The buffer remembers the keys that
it accepted for a while; how long, and how many, bounds both the memory and the promise: a resend
is recognised if it comes within ``window_s`` seconds and before ``max_keys`` other deliveries.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from logflow.clock import Clock

MAX_KEYS = 200_000
"""Keys that are remembered unless told otherwise: about 35 MB of memory when they are all in use."""


class AcceptedKeys:
    """Recently accepted keys, oldest first. Every operation takes constant time (amortised).

    Ages are told by the wall clock, because they must survive a restart. Where it jumps back, keys
    are kept longer; ``max_keys`` still bounds them.
    """

    def __init__(self, clock: Clock, window_s: float, max_keys: int = MAX_KEYS) -> None:
        """Remember keys for ``window_s`` seconds, but never more than ``max_keys`` of them."""
        self._clock = clock
        self._window_ns = int(window_s * 1e9)
        self._max_keys = max_keys
        self._times: dict[bytes, int] = {}
        self._order: deque[bytes] = deque()

    def seen(self, key: bytes) -> bool:
        """Whether ``key`` was added and is not yet forgotten."""
        time_ns = self._times.get(key)
        return time_ns is not None and not self._expired(time_ns)

    def add(self, key: bytes, time_ns: int | None = None) -> None:
        """Remember ``key`` as accepted now, or at ``time_ns`` (wall clock) when it is read back.

        Keys that are read back must come in the order of their times.
        """
        self._forget()
        if key not in self._times:
            self._order.append(key)
        self._times[key] = self._clock.time_ns() if time_ns is None else time_ns
        if len(self._order) > self._max_keys:
            del self._times[self._order.popleft()]

    def items(self) -> Iterator[tuple[bytes, int]]:
        """Every remembered key with the wall-clock nanoseconds of its acceptance, oldest first."""
        return ((key, self._times[key]) for key in self._order if self.seen(key))

    def __len__(self) -> int:
        return len(self._order)

    def _expired(self, time_ns: int) -> bool:
        return self._clock.time_ns() - time_ns > self._window_ns

    def _forget(self) -> None:
        """Drop what is too old; the oldest stands first."""
        while self._order and self._expired(self._times[self._order[0]]):
            del self._times[self._order.popleft()]
