"""Whether a server is used: up, suspect, down, and on its way back.

::

                 an ack is overdue    ┌─────────┐   the ack came after all, or is waited for no more
            ┌────────────────────────►│ suspect │──────────────────────────────────┐
            │                         └────┬────┘                                  ▼
         ┌──────┐   refused, reset,        │ the same                           ┌──────┐
         │  up  │   silent (phi)     ┌─────▼────┐  heard, `recover_wait` after  │  up  │
         └──┬───┘───────────────────►│   down   │──────────────────────────────►└──────┘
                                     └──────────┘  the last failure; or a chunk was delivered

A server that is suspect may be stopped, or wait for what is behind it: it still accepts connections, so that
heartbeats say nothing about it. Without heartbeats nothing is heard from one that is down: then time alone
brings it back, and the next chunk tries it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from logflow.forward.detector import FailureDetector

State: TypeAlias = Literal["up", "suspect", "down"]


@dataclass(frozen=True)
class HealthOptions:
    """When a server counts as failed and as recovered.

    Attributes:
        heartbeat_s: interval of the heartbeats; ``None`` if there are none.
        phi_threshold: suspicion at which a silent server is down.
        recover_wait_s: how long a server must have been fine before it is used again.
    """

    heartbeat_s: float | None
    phi_threshold: float
    recover_wait_s: float


class Health:
    """The state of one server. Times are seconds on any steady clock.

    Attributes:
        reason: why it is down; ``None`` while it is not.
        suspicion: why it is suspect; ``None`` while it is not.
    """

    def __init__(self, options: HealthOptions, now_s: float) -> None:
        self._options = options
        self._detector = FailureDetector(options.heartbeat_s or 1.0, now_s)
        self._failed_s = now_s
        self._down_since_s = now_s
        self.reason: str | None = None
        self.suspicion: str | None = None

    def up(self, now_s: float) -> bool:
        """Whether it is to be used."""
        return self.state(now_s) == "up"

    def state(self, now_s: float) -> State:
        """Say how it is."""
        if self.reason is not None and (self._options.heartbeat_s is not None or not self._recovered(now_s)):
            return "down"
        return "up" if self.suspicion is None else "suspect"

    def phi(self, now_s: float) -> float:
        """Say how suspicious its silence to heartbeats is; 0 without heartbeats."""
        return self._detector.phi(now_s) if self._options.heartbeat_s is not None else 0.0

    def down_for_s(self, now_s: float) -> float:
        """Say for how long it has been down, the times when it was tried again in vain among them."""
        return now_s - self._down_since_s if self.reason is not None else 0.0

    def failed(self, now_s: float, reason: str) -> bool:
        """It did not do what was asked of it; returns whether that brought it down."""
        was_up = self.state(now_s) != "down"
        if self.reason is None:
            self._down_since_s = now_s
        self._failed_s = now_s
        self.reason = reason
        return was_up

    def suspect(self, suspicion: str | None) -> bool:
        """An ack is overdue, or (None) none is any more; returns whether that changed anything."""
        changed = (self.suspicion is None) != (suspicion is None)
        self.suspicion = suspicion
        return changed

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
