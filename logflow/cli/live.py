"""A live view of counts and their rates, for commands that take a while."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TextIO

_TERMINAL_S = 0.5
_PLAIN_S = 2.0
_UP_AND_CLEAR = "\x1b[{lines}A\x1b[J"


class LiveView:
    """A table that is drawn over itself on a terminal; elsewhere a line every two seconds."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._started_s = self._drawn_s = time.monotonic()
        self._last: Mapping[str, int] = {}
        self._height = 0

    def note(self, text: str) -> None:
        """Say that something happened; it stays above the table."""
        self._print(self._stamped(text))

    def update(self, counts: Mapping[str, int]) -> None:
        """Show the counts and their rates, if it is time to."""
        now_s = time.monotonic()
        passed_s = now_s - self._drawn_s
        if passed_s < (_TERMINAL_S if self._terminal else _PLAIN_S):
            return
        rates = {name: (count - self._last.get(name, 0)) / passed_s for name, count in counts.items()}
        if self._terminal:
            rows = [f"  {name:<10}{counts[name]:>12,}{rate:>10,.0f}/s" for name, rate in rates.items()]
            self._print(self._stamped(""), *rows, height=len(rows) + 1)
        else:
            cells = [f"{name} {counts[name]:,} ({rate:,.0f}/s)" for name, rate in rates.items()]
            self._print(self._stamped(", ".join(cells)))
        self._drawn_s, self._last = now_s, dict(counts)

    def close(self) -> None:
        """Leave the table as it is and go on below it."""
        self._height = 0

    def _stamped(self, text: str) -> str:
        return f"{time.monotonic() - self._started_s:5.1f} s  {text}".rstrip()

    def _print(self, *lines: str, height: int = 0) -> None:
        if self._height:
            self._out.write(_UP_AND_CLEAR.format(lines=self._height))
        self._out.write("\n".join(lines) + "\n")
        self._out.flush()
        self._height = height
