"""Whether a server is used: up, down, and on its way back.

::

              failed: connection refused, reset, no ack       ┌──────┐
       ┌──────────────────────────────────────────────────────│  up  │◄─┐
       ▼            silent: phi over the threshold            └──────┘  │ heard, `recover_wait` after
    ┌──────┐                                                            │ the last failure; or a chunk
    │ down │────────────────────────────────────────────────────────────┘ was delivered
    └──────┘

Without heartbeats nothing is heard: then the time alone brings a server back, and the next chunk tries it.
"""

from __future__ import annotations

from dataclasses import dataclass

from logflow.forward.detector import FailureDetector


@dataclass(frozen=True)
class HealthOptions:
    """When a server counts as failed and as recovered.

    Attributes:
        heartbeat_s: interval of the heartbeats; ``None`` when there are none.
        phi_threshold: suspicion at which a silent server is down.
        recover_wait_s: how long a server must have been fine before it is used again.
    """

    heartbeat_s: float | None
    phi_threshold: float
    recover_wait_s: float


class Health:
    """The state of one server. Times are seconds on any steady clock.

    Attributes:
        reason: why it is down; ``None`` while it is up.
    """

    def __init__(self, options: HealthOptions, now_s: float) -> None:
        self._options = options
        self._detector = FailureDetector(options.heartbeat_s or 1.0, now_s)
        self._failed_s = now_s
        self.reason: str | None = None

    def up(self, now_s: float) -> bool:
        """Whether it is to be used."""
        if self.reason is not None and self._options.heartbeat_s is None:
            return self._recovered(now_s)
        return self.reason is None

    def failed(self, now_s: float, reason: str) -> bool:
        """It did not do what was asked of it; returns whether that brought it down."""
        was_up = self.up(now_s)
        self._failed_s = now_s
        self.reason = reason
        return was_up

    def heard(self, now_s: float) -> bool:
        """A heartbeat succeeded; returns whether that brought it up."""
        if self.reason is None:
            self._detector.heard(now_s)
            return False
        return self._recovered(now_s) and self.delivered(now_s)

    def delivered(self, now_s: float) -> bool:
        """It took a chunk, which is better than any heartbeat; returns whether that brought it up."""
        if self.reason is None:
            return False
        self.reason = None
        self._detector.restart(now_s)
        return True

    def check(self, now_s: float) -> bool:
        """Look for suspicious silence; returns whether that brought it down."""
        if self.reason is not None or self._options.heartbeat_s is None:
            return False
        if self._detector.phi(now_s) <= self._options.phi_threshold:
            return False
        return self.failed(now_s, "it has been silent for too long")

    def _recovered(self, now_s: float) -> bool:
        return now_s - self._failed_s >= self._options.recover_wait_s
