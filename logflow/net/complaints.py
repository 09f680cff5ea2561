"""Log lines about what peers do wrong; a flood of them becomes a number."""

from __future__ import annotations

from logflow.component import Context

_PER_MINUTE = 10


class Complaints:
    """Logs one sentence about a peer, unless there were too many lately."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._minute = -1
        self._logged = 0
        self._suppressed = 0

    def __call__(self, sentence: str) -> None:
        """Log a sentence, at most ten a minute; how many were not is said with the next one."""
        minute = int(self._context.clock.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._logged = minute, 0
        if self._logged >= _PER_MINUTE:
            self._suppressed += 1
            return
        self._logged += 1
        if self._suppressed:
            sentence += f" {self._suppressed} more were not logged."
            self._suppressed = 0
        self._context.log.warning("Source %s: %s", self._context.name, sentence)
