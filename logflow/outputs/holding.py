"""How long parts of chunks have been held, because of something that somebody will mend."""

from __future__ import annotations

from logflow.batch import Chunk
from logflow.clock import Clock

_MOST_CHUNKS = 4096


class Holding:
    """Since when chunks are held; after ``hold_for_s`` it is over, and what is held becomes dead letters."""

    def __init__(self, hold_for_s: float, clock: Clock) -> None:
        self._hold_for_s = hold_for_s
        self._clock = clock
        self._since_s: dict[bytes, float] = {}

    def is_over(self, chunk: Chunk) -> bool:
        """Whether a chunk, something of which is held now, has been held for long enough."""
        now_s = self._clock.monotonic()
        name = chunk.places.chunk
        if len(self._since_s) >= _MOST_CHUNKS and name not in self._since_s:
            del self._since_s[next(iter(self._since_s))]
        return now_s - self._since_s.setdefault(name, now_s) >= self._hold_for_s

    def let_go(self, chunk: Chunk) -> None:
        """Nothing of the chunk is held any more."""
        self._since_s.pop(chunk.places.chunk, None)
