"""Messages of several lines: see :mod:`logflow.multiline`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from logflow.event import Record
from logflow.multiline import END, Multiline
from logflow.packing import to_text
from logflow.regexes import compile_regex

OPEN_MARK = "+"
"""What follows the stream in the carry's key of an open event."""


@dataclass(slots=True)
class Held:
    """A line that may turn out not to belong to the event, or a message."""

    time_ns: int
    text: bytes
    cut: bool
    at: int | None = None
    """Offset of its beginning in the file, where that is wanted."""


Sink: TypeAlias = Callable[[Held, Record], None]
"""Takes a finished message, and the fields to add to it."""


@dataclass(slots=True)
class Open:
    """An event that is not finished."""

    time_ns: int
    last_ns: int
    text: bytes
    cut: bool
    state: int
    extra: Record
    lines: int = 1
    held: list[Held] = field(default_factory=list)
    at: int | None = None

    @property
    def message(self) -> Held:
        """What is in it so far."""
        return Held(self.time_ns, self.text, self.cut, self.at)


class Joiner:
    """Joins messages of several streams; the open events are given in and out with each block."""

    def __init__(self, multiline: Multiline, max_line: int, *, timed: bool) -> None:
        """``timed``: whether the lines carry their times."""
        self._rules = [
            (rule.states, compile_regex(rule.pattern).found, rule.negate, rule.to) for rule in multiline.rules
        ]
        self._held = multiline.held
        self._timeout_ns = multiline.timeout_ns if timed else None
        self._max_lines = multiline.max_lines
        self._max_bytes = min(multiline.max_bytes, max_line)
        self.spares_json = multiline.spares_json
        hints = "|".join(map(re.escape, multiline.hints))
        self._hint = re.compile(hints) if hints else None
        self._hint_in_bytes = re.compile(hints.encode()) if hints else None

    def is_idle(self, lines: list[bytes]) -> bool:
        """Whether none of these lines, which are not escaped, can begin an event."""
        return self._hint_in_bytes is not None and self._hint_in_bytes.search(b"".join(lines)) is None

    def add(self, opens: dict[str, Open], key: str, line: Held, extra: Record, sink: Sink) -> None:
        """Take a line of a stream."""
        if self._timeout_ns is not None:
            for other in sorted(opens):
                if line.time_ns - opens[other].last_ns > self._timeout_ns:
                    close(opens, other, sink)
        text = to_text(line.text)
        event = opens.get(key)
        if event is not None:
            state = self._next(event.state, text)
            if state is not None:
                self._go_on(opens, key, line, state, sink)
                return
            close(opens, key, sink)
        spared = self.spares_json and text.startswith("{")
        spared = spared or (self._hint is not None and self._hint.search(text) is None)
        state = None if spared else self._next(0, text)
        if state is None or state == END:
            sink(line, extra)
        else:
            opens[key] = Open(line.time_ns, line.time_ns, line.text, line.cut, state, extra, at=line.at)

    def _next(self, state: int, text: str) -> int | None:
        for states, found, negate, to in self._rules:
            if state in states and found(text) is not negate:
                return to
        return None

    def _go_on(self, opens: dict[str, Open], key: str, line: Held, state: int, sink: Sink) -> None:
        event = opens[key]
        event.last_ns, event.state = line.time_ns, state
        if state in self._held and event.lines + len(event.held) < self._max_lines:
            event.held.append(line)
            return
        lines = [*event.held, line]
        text = b"\n".join([part.text for part in lines])
        cut = any(part.cut for part in lines)
        event.held = []
        if event.lines + len(lines) > self._max_lines or len(event.text) + 1 + len(text) > self._max_bytes:
            sink(event.message, event.extra)
            event.time_ns, event.text, event.cut, event.lines = lines[0].time_ns, text, cut, len(lines)
            event.at = lines[0].at
        else:
            event.text += b"\n" + text
            event.cut = event.cut or cut
            event.lines += len(lines)
        if state == END:
            close(opens, key, sink)


def close(opens: dict[str, Open], key: str, sink: Sink) -> None:
    """Finish the event of a stream."""
    event = opens.pop(key)
    for message in (event.message, *event.held):
        sink(message, event.extra)
