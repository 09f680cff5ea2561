"""What a container says: events of one or several lines, each with a mark that no other event has."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from logflow.testing.containers import PIECE_BYTES


@dataclass(frozen=True)
class Event:
    """What is said at once, and should arrive as one.

    Attributes:
        mark: names it; stands in its first line, and in no other event.
        lines: its lines.
    """

    mark: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """What should arrive."""
        return "\n".join(self.lines)


def _plain(mark: str, rng: random.Random) -> list[str]:
    return [f"{mark} " + "x" * rng.randint(0, 200)]


def _long(mark: str, rng: random.Random) -> list[str]:
    return [f"{mark} " + "y" * rng.randint(PIECE_BYTES, 3 * PIECE_BYTES)]


def _java(mark: str, rng: random.Random) -> list[str]:
    frames = [f"\tat com.example.App.call{n}(App.java:{n})" for n in range(rng.randint(1, 12))]
    cause = ["Caused by: java.sql.SQLException: no connection", *frames, "\t... 4 more"]
    suppressed = ["\tSuppressed: java.lang.Exception: closing", "\t\tat com.example.Db.close(Db.java:9)"]
    head = f"java.lang.IllegalStateException: {mark}"
    return [
        head,
        *frames,
        *(suppressed if rng.random() < 0.3 else []),
        *(cause if rng.random() < 0.5 else []),
    ]


def _python(mark: str, rng: random.Random) -> list[str]:
    trace = ["Traceback (most recent call last):"]
    for n in range(rng.randint(1, 8)):
        trace += [f'  File "/app/m{n}.py", line {n + 1}, in f{n}', f"    f{n + 1}()"]
    first = [f"{mark} {trace[0]}", *trace[1:], "KeyError: 'x'"]
    if rng.random() < 0.5:
        return first
    during = ["", "During handling of the above exception, another exception occurred:", ""]
    return [*first, *during, *trace, "ValueError: y"]


def _go(mark: str, rng: random.Random) -> list[str]:
    lines = [f"panic: {mark}"]
    for n in range(1, rng.randint(2, 4)):
        lines += ["", f"goroutine {n} [running]:", f"main.f{n}(...)", f"\t/app/main.go:{n} +0x1d"]
    return lines


def _node(mark: str, rng: random.Random) -> list[str]:
    frames = [f"    at f{n} (/app/server.js:{n}:9)" for n in range(rng.randint(1, 8))]
    return [f"TypeError: {mark}", *frames]


KINDS: tuple[tuple[int, Callable[[str, random.Random], list[str]]], ...] = (
    (70, _plain), (2, _long), (7, _java), (7, _python), (7, _go), (7, _node),
)  # fmt: skip


class Speaker:
    """One stream of one container."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self._name = name
        self._rng = rng
        self._said = 0

    def say(self) -> Event:
        """Make the next event."""
        mark = f"<{self._name} {self._said}>"
        self._said += 1
        (make,) = self._rng.choices([kind for _, kind in KINDS], [weight for weight, _ in KINDS])
        return Event(mark, tuple(make(mark, self._rng)))
