"""What an expression reads, and what a compiled one is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from logflow.event import NANOSECOND
from logflow.expressions.values import Value


@dataclass(slots=True)
class Event:
    """What an expression can read.

    Attributes:
        record: the fields, as JSON can hold them (``engine._python.plain``).
        tag: the event's tag.
        time_ns: the event's time.
        source: name of the source it came from; None if it is not known.
        now_ns: the time at which expressions are computed; the machine's clock unless given.
    """

    record: Mapping[str, Any]
    tag: str = ""
    time_ns: int = 0
    source: str | None = None
    now_ns: int | None = None

    def now_s(self) -> float:
        """The current time in seconds since 1970."""
        return (time.time_ns() if self.now_ns is None else self.now_ns) / NANOSECOND


Evaluate: TypeAlias = Callable[[Event], Value]
