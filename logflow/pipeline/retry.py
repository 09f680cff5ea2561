"""How long to wait before the next attempt."""

from __future__ import annotations

import random

from logflow.config.options import RetryOptions


class Backoff:
    """Exponential back-off with jitter: initial, initial·factor, initial·factor², ... up to max.

    Jitter spreads the retries of many agents, so that a destination that comes back is not hit by
    all of them at once.
    """

    def __init__(self, options: RetryOptions, random_source: random.Random | None = None) -> None:
        self._options = options
        self._random = random_source or random.Random()  # noqa: S311 - not for secrets
        self._attempt = 0

    def next_delay_s(self) -> float:
        """Seconds to wait now; every call waits longer."""
        self._attempt += 1
        return self.delay_s(self._attempt)

    def delay_s(self, attempts: int) -> float:
        """Seconds to wait after so many attempts, at least one."""
        options = self._options
        # The exponent is bounded, as factor ** attempts would overflow after days of outage.
        delay_s = min(options.max, options.initial * options.factor ** min(attempts - 1, 64))
        return delay_s * self._random.uniform(1 - options.jitter, 1 + options.jitter)

    def reset(self) -> None:
        """The next wait is the initial one again."""
        self._attempt = 0
