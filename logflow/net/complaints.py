"""Log lines about what goes wrong with peers; a flood of them becomes a number."""

from __future__ import annotations

from collections import Counter

from logflow.component import Context

_PER_PEER = 10
_PER_MINUTE = 100


class Complaints:
    """Logs one sentence about a peer, unless there were too many lately.

    What one peer does does not hide what the others do: each has its own number of lines.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._minute = -1
        self._logged: Counter[str] = Counter()
        self._suppressed = 0
        self._traced_minute = -1

    def __call__(self, sentence: str, peer: str = "") -> None:
        """Log a sentence, at most ten a minute for a peer; how many were not is said with the next one.

        Args:
            sentence: what is wrong.
            peer: whose fault it is: an address without its port.
        """
        if sentence := self._bounded(sentence, peer):
            self._context.log.warning("Source %s: %s", self._context.name, sentence)

    def fault(self, sentence: str, peer: str = "") -> None:
        """Log a sentence about an error of ours that is being handled, once a minute with its traceback."""
        if sentence := self._bounded(sentence, peer):
            traced, self._traced_minute = self._traced_minute, self._minute
            trace = traced != self._minute
            self._context.log.error("Source %s: %s", self._context.name, sentence, exc_info=trace)

    def _bounded(self, sentence: str, peer: str) -> str:
        """Return what to log; nothing if there was too much lately."""
        minute = int(self._context.clock.monotonic() // 60)
        if minute != self._minute:
            self._minute = minute
            self._logged.clear()
        if self._logged[peer] >= _PER_PEER or self._logged.total() >= _PER_MINUTE:
            self._suppressed += 1
            return ""
        self._logged[peer] += 1
        if self._suppressed:
            sentence += f" {self._suppressed} more were not logged."
            self._suppressed = 0
        return sentence
