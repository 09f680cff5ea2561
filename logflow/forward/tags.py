"""A bound on the number of different tags, which are nearly free for a sender and cost every buffer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from logflow.batch import Batch
from logflow.component import Counter
from logflow.engine.api import Engine

FALLBACK = "overflow"
"""Tag of events whose own tag is one too many; it becomes their field ``tag``."""

_FORGOTTEN_S = 3600.0


class Tags:
    """The tags that came lately; one that did not come for an hour or two makes room for another."""

    def __init__(self, most: int, engine: Engine, now: Callable[[], float], overflowed: Counter) -> None:
        """Let ``most`` tags through, and count the events of others."""
        self._most = most
        self._engine = engine
        self._now = now
        self._overflowed = overflowed
        self._recent: set[str] = set()
        self._older: set[str] = set()
        self._since_s = now()

    def limit(self, batch: Batch) -> Batch:
        """Return the batch; with another tag if its own is one too many."""
        tag = batch.tag
        if tag in self._recent:
            return batch
        now_s = self._now()
        if now_s - self._since_s >= _FORGOTTEN_S:
            self._older, self._recent, self._since_s = self._recent, set(), now_s
        if tag not in self._older and len(self._recent) + len(self._older) >= self._most:
            self._overflowed(batch.count)
            return replace(batch, tag=FALLBACK, entries=self._engine.splice(batch.entries, {"tag": tag}))
        self._older.discard(tag)
        self._recent.add(tag)
        return batch
