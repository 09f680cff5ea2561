"""A tree as plain values, which the native engine compiles."""

from __future__ import annotations

from typing import Any

from logflow.expressions.operations import FUNCTIONS
from logflow.expressions.tree import Constant, Field, Node, Operation


def program(node: Node) -> list[Any]:
    """Describe a tree.

    ``["constant", value]``, ``["field", [key, ...], dotted or None]``, ``["operation", name, [node, ...]]``.
    """
    match node:
        case Constant(value):
            return ["constant", value]
        case Field(keys, dotted):
            return ["field", list(keys), dotted]
        case Operation(name, arguments):
            spec = FUNCTIONS.get(name)
            described = [program(argument) for argument in arguments]
            if spec is not None and spec.native is not None:
                # Written arguments were checked to be constants when the tree was made.
                constants = [arg.value for arg in arguments[spec.written[0] :] if isinstance(arg, Constant)]
                described[spec.written[0] :] = [["constant", value] for value in spec.native(*constants)]
            return ["operation", name, described]
