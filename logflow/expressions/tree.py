"""What an expression consists of: constants, fields, and operations on them.

Operators and functions are both operations, told apart by name; ``operations`` says what each means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

Key: TypeAlias = str | int
"""A step of a path: a key of a mapping, or an index of a list."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is the same for every event: None, bool, int, float, str, or a list or dict of these."""

    value: Any


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the record.

    Attributes:
        keys: the steps from the top of the record.
        dotted: the path as dotted text if it was written so; a top-level key of exactly this text wins.
    """

    keys: tuple[Key, ...]
    dotted: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator or a function with its arguments."""

    name: str
    arguments: tuple[Node, ...]


Node: TypeAlias = Constant | Field | Operation


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and every node below it."""
    yield node
    if isinstance(node, Operation):
        for argument in node.arguments:
            yield from walk(argument)
