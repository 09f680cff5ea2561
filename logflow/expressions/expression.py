"""An expression that was checked, and what it reads.

This much is imported by everything that may be given an expression. What computes and compiles them takes
a tenth of the time that logflow takes to start, and is imported when there is one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from logflow.errors import LogflowError
from logflow.event import NANOSECOND
from logflow.expressions.tree import Node, Operation, walk
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


class ExpressionError(LogflowError, ValueError):
    """An expression cannot be used; the text says where in it, why and what to write instead."""


@dataclass(frozen=True)
class Expression:
    """An expression that was checked.

    Attributes:
        text: as it was written.
        tree: what it means.
    """

    text: str
    tree: Node

    @cached_property
    def evaluate(self) -> Evaluate:
        """Compute it for an event; never raises."""
        from logflow.expressions.evaluate import evaluator  # noqa: PLC0415 - see the module's text

        return evaluator(self.tree)

    @cached_property
    def program(self) -> list[Any]:
        """The tree as plain values, for the native engine."""
        from logflow.expressions.program import program  # noqa: PLC0415

        return program(self.tree)

    @cached_property
    def needs(self) -> frozenset[str]:
        """What it reads besides the record: ``tag``, ``time``, ``source``, ``now``."""
        from logflow.expressions.operations import FUNCTIONS  # noqa: PLC0415

        found = (FUNCTIONS.get(node.name) for node in walk(self.tree) if isinstance(node, Operation))
        return frozenset(spec.needs for spec in found if spec is not None and spec.needs is not None)

    def __str__(self) -> str:
        return self.text
