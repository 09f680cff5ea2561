"""The phi accrual failure detector: suspicion that grows with silence.

With exponentially distributed intervals between signs of life, the probability that the next one is
still to come after ``t`` seconds is ``exp(-t / mean)``, and

    phi(t) = -log10(exp(-t / mean)) = t / (mean * ln 10)

so that a server given up at phi = 16 is given up wrongly once in 10^16 times. The mean is over the last
1000 intervals, newer ones weighing more, as in Fluentd.
N. Hayashibara et al., "The phi accrual failure detector", 2004.
"""

from __future__ import annotations

import math
from collections import deque

_SAMPLES = 1000


class FailureDetector:
    """Watches the signs of life of one server. Times are seconds on any steady clock."""

    def __init__(self, interval_s: float, now_s: float) -> None:
        """Expect a sign of life every ``interval_s`` seconds, until more is known."""
        self._interval_s = interval_s
        self.restart(now_s)

    def restart(self, now_s: float) -> None:
        """Forget what was learnt: after an outage the old intervals mean nothing."""
        self._intervals = deque([self._interval_s], maxlen=_SAMPLES)
        self._last_s = now_s

    def heard(self, now_s: float) -> None:
        """A sign of life came."""
        self._intervals.append(max(now_s - self._last_s, 0.0))
        self._last_s = now_s

    def phi(self, now_s: float) -> float:
        """How suspicious the silence is by now."""
        weights = len(self._intervals) * (len(self._intervals) + 1) / 2
        mean_s = sum(i * gap for i, gap in enumerate(self._intervals, 1)) / weights
        # Many signs of life in a row must not make an honest pause of one interval suspicious.
        mean_s = max(mean_s, self._interval_s)
        return max(now_s - self._last_s, 0.0) / (mean_s * math.log(10))
