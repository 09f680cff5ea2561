"""An expression that was checked, and what it reads.

This much is imported by everything that may be given an expression. What computes and compiles them takes
a tenth of the time that logflow takes to start, and is imported when there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from logflow.errors import LogflowError
from logflow.expressions.event import Evaluate
from logflow.expressions.tree import Node, Operation, walk


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
