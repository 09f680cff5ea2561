"""Events that were seen a short while ago."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from logflow.engine._python.groups import each_value
from logflow.engine.keyed import Repeated
from logflow.event import NANOSECOND
from logflow.expressions import Event, Expression
from logflow.packing import pack_value

MOST_KEPT = 16 << 20
"""Most bytes of entries that are kept to tell of repeats."""


@dataclass(slots=True)
class _Window:
    """A time in which events of one key are repeats."""

    end_ns: int
    repeats: int = 0
    kept: tuple[str, bytes] | None = None


class PythonRepeats:
    """See :class:`logflow.engine.keyed.Repeats`. All windows take the same time: they end as they began."""

    def __init__(self, expressions: Sequence[Expression], within_s: float, most: int, *, tells: bool) -> None:
        self._expressions = expressions
        self._within_ns = round(within_s * NANOSECOND)
        self._most = most
        self._tells = tells
        self._windows: OrderedDict[bytes, _Window] = OrderedDict()
        self._ended: list[Repeated] = []
        self._kept_bytes = 0
        self._forgotten = 0
        self._lock = threading.Lock()

    def apply(
        self, entries: bytes, tag: str, source: str | None, now_ns: int, at_ns: int
    ) -> tuple[bytes, int]:
        """Return the events that are no repeats, and their number."""
        event = Event({}, tag, 0, source, now_ns)
        kept: list[bytes] = []
        repeats = 0
        with self._lock:
            self._end(at_ns)
            for start, end, values in each_value(self._expressions, entries, event):
                key = hashlib.blake2b(pack_value(values) + tag.encode(), digest_size=16).digest()
                if values.count(None) == len(values) or self._is_new(key, at_ns, tag, entries[start:end]):
                    kept.append(entries[start:end])
                else:
                    repeats += 1
        return (b"".join(kept) if repeats else entries), len(kept)

    def _is_new(self, key: bytes, at_ns: int, tag: str, entry: bytes) -> bool:
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Window(at_ns + self._within_ns)
            if len(self._windows) > self._most:
                self._end_first()
                self._forgotten += 1
            return True
        window.repeats += 1
        if self._tells and window.kept is None and self._kept_bytes + len(entry) <= MOST_KEPT:
            window.kept = (tag, entry)
            self._kept_bytes += len(entry)
        return False

    def ended(self, at_ns: int | None) -> list[Repeated]:
        """What was repeated and has ended at a time; None: all ends."""
        with self._lock:
            self._end(at_ns)
            ended, self._ended = self._ended, []
            self._kept_bytes -= sum(len(one.entry) for one in ended)
        return ended

    def forgotten(self) -> int:
        """How many windows ended early, as there were too many."""
        return self._forgotten

    def _end(self, at_ns: int | None) -> None:
        while self._windows and (at_ns is None or next(iter(self._windows.values())).end_ns <= at_ns):
            self._end_first()

    def _end_first(self) -> None:
        _, window = self._windows.popitem(last=False)
        if window.kept is not None:
            self._ended.append(Repeated(*window.kept, window.repeats))
