"""How long acks take, and from when on a missing one is suspicious.

The mean and the mean deviation are kept as TCP keeps those of round trips (RFC 6298, section 2), and so is
the bound: what takes longer than the mean and a multiple of the deviation is not usual. Acks of a receiver
that syncs come in milliseconds, those of one that waits for a store in seconds; a fixed bound would be wrong
for both.
"""

from __future__ import annotations

_LEAST_S = 1.0
"""A shorter silence may be a disk, a scheduler or a garbage collector."""
_MEANS = 4.0
_DEVIATIONS = 8.0


class AckTimes:
    """The times that a server's acks take, in seconds."""

    def __init__(self) -> None:
        self._mean_s: float | None = None
        self._deviation_s = 0.0

    def took(self, seconds: float) -> None:
        """Note how long an ack took."""
        if self._mean_s is None:
            self._mean_s, self._deviation_s = seconds, seconds / 2
            return
        self._deviation_s += (abs(seconds - self._mean_s) - self._deviation_s) / 4
        self._mean_s += (seconds - self._mean_s) / 8

    @property
    def patience_s(self) -> float:
        """How long an ack may take before its absence is suspicious."""
        mean_s = self._mean_s or 0.0
        return max(_LEAST_S, _MEANS * mean_s, mean_s + _DEVIATIONS * self._deviation_s)
