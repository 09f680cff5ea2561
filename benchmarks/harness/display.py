"""Progress while the suite runs: one line that is kept fresh on a terminal, plain lines in a pipe."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TextIO

_FRESH_S = 0.2
_LINE_S = 10.0


class Display:
    """Says which run of how many is on, how far it is, and how long the rest will take.

    Args:
        stream: where to write.
        plan: (case, subject) of every run that is to be made, in order.
        clock: seconds that only grow.
    """

    def __init__(
        self, stream: TextIO, plan: Sequence[tuple[str, str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._plan = plan
        self._clock = clock
        self._begun_s = self._run_begun_s = self._shown_s = clock()
        self._durations: list[tuple[tuple[str, str], float]] = []
        self._text = ""
        self._width = 0

    def begin(self, text: str) -> None:
        """Say that the next run begins."""
        self._text = text
        self._run_begun_s = self._clock()
        self._show("")

    def update(self, share: float) -> None:
        """Say how much of the run is done, from 0 to 1; cheap to call often."""
        fresh_s = _FRESH_S if self._stream.isatty() else _LINE_S
        if self._clock() - self._shown_s >= fresh_s:
            self._show(f"{share:4.0%}, ")

    def end(self, outcome: str) -> None:
        """Say what became of the run."""
        self._write(f"{self._place}{self._text}: {outcome}", last=True)
        self._durations.append((self._plan[len(self._durations)], self._clock() - self._run_begun_s))

    @property
    def _place(self) -> str:
        return f"[{len(self._durations) + 1}/{len(self._plan)}] "

    def _show(self, state: str) -> None:
        now_s = self._clock()
        self._shown_s = now_s
        spent_s = now_s - self._run_begun_s
        rest_s = expected_s(self._durations, self._plan[len(self._durations) :], spent_s)
        rest = "" if rest_s is None else f", about {minutes(rest_s)} to go"
        elapsed = minutes(now_s - self._begun_s)
        self._write(f"{self._place}{state}{elapsed} elapsed{rest}: {self._text}", last=False)

    def _write(self, line: str, *, last: bool) -> None:
        if not self._stream.isatty():
            print(line, file=self._stream, flush=True)
            return
        if not last:  # a line that wraps could not be written over
            line = line[: shutil.get_terminal_size().columns - 1]
        padding = " " * max(self._width - len(line), 0)
        self._width = 0 if last else len(line)
        print(f"\r{line}{padding}", end="\n" if last else "", file=self._stream, flush=True)


def expected_s(
    durations: Sequence[tuple[tuple[str, str], float]], rest: Sequence[tuple[str, str]], spent_s: float
) -> float | None:
    """How long the rest will take, the run that is on included; None before any run has ended.

    A run takes as long as the same subject took in the same case, else as the subject took on average,
    else as all did.

    Args:
        durations: (case, subject) and seconds of the runs that have ended.
        rest: those that have not, beginning with the one that is on.
        spent_s: seconds since that one began.
    """
    if not durations:
        return None

    def guess(wanted: tuple[str, str]) -> float:
        same = [seconds for key, seconds in durations if key == wanted]
        like = [seconds for key, seconds in durations if key[1] == wanted[1]]
        return fmean(same or like or [seconds for _, seconds in durations])

    guesses = [guess(wanted) for wanted in rest]
    return max(guesses[0] - spent_s, 0.0) + sum(guesses[1:]) if guesses else 0.0


def minutes(seconds: float) -> str:
    """Seconds as ``m:ss``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
