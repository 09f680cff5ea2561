"""Who waits for what, and for how long."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable


class BlockedOn(Counter[str]):
    """How many readers of a source wait for each output now; remembers since when one always did."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nobody waits; ``monotonic`` tells the time in seconds."""
        super().__init__()
        self._monotonic = monotonic
        self._since: dict[str, float] = {}

    def __setitem__(self, output: str, readers: int) -> None:
        """Note how many wait."""
        super().__setitem__(output, readers)
        if not readers:
            self._since.pop(output, None)
        elif output not in self._since:
            self._since[output] = self._monotonic()

    def waits(self) -> dict[str, float]:
        """For how many seconds each output has been waited for without a break."""
        now_s = self._monotonic()
        return {output: now_s - since_s for output, since_s in sorted(self._since.items())}
