"""The values of expressions, and how operators treat each kind of them.

A value is one that JSON can hold: ``None``, a bool, an integer in [-2**63, 2**64), a finite float, text, a
list or a mapping whose keys are text. Binary fields are text, and times within a record are RFC 3339 text, as
in JSON Lines. An operation gives ``None`` if it can make nothing of its operands, and in place of an integer
out of that range, of a float that is infinite or not a number, and of text longer than ``MAX_TEXT``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from logflow.jsontext import MAX_DEPTH, json_text

Value: TypeAlias = Any
"""One of the kinds above."""

MAX_TEXT = 1 << 20
"""Most characters of text that an operation may make."""

_MIN_INT, _END_INT = -(1 << 63), 1 << 64
_Number = int | float
"""A bool is the number 0 or 1, as in Python."""


def number(value: Value) -> Value:
    """A result of arithmetic, or None if a record could not hold it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if _MIN_INT <= value < _END_INT else None


def finite(value: Value) -> Value:
    """A value of a record as it is, except that a float which JSON cannot hold is None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def limited(text: str) -> str | None:
    """Text that was made, or None if it is too long."""
    return text if len(text) <= MAX_TEXT else None


def nested(container: Value) -> Value:
    """A list or mapping that was made, or None if it is nested more deeply than a record may be."""
    return container if _depth(container) <= MAX_DEPTH else None


def _depth(value: Value) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def text_of(value: Value) -> str:
    """Text of a value as a record's text has it: nothing for None, compact JSON for what is not text."""
    return "" if value is None else json_text(value)


def _arithmetic(operator: Callable[[Any, Any], Any]) -> Callable[[Value, Value], Value]:
    def apply(left: Value, right: Value) -> Value:
        if not (isinstance(left, _Number) and isinstance(right, _Number)):
            return None
        try:
            return number(operator(left, right))
        except (ZeroDivisionError, OverflowError):
            return None

    return apply


subtract = _arithmetic(lambda left, right: left - right)
multiply = _arithmetic(lambda left, right: left * right)
divide = _arithmetic(lambda left, right: left / right)
floor_divide = _arithmetic(lambda left, right: left // right)
modulo = _arithmetic(lambda left, right: left % right)
_add_numbers = _arithmetic(lambda left, right: left + right)


def add(left: Value, right: Value) -> Value:
    """Add two numbers, or join two texts or two lists."""
    if isinstance(left, str) and isinstance(right, str):
        return limited(left + right)
    if isinstance(left, list) and isinstance(right, list):
        return left + right
    return _add_numbers(left, right)


def negate(value: Value) -> Value:
    """Minus a number."""
    return number(-value) if isinstance(value, _Number) else None


def plus(value: Value) -> Value:
    """A number as it is; a bool becomes 0 or 1."""
    return +value if isinstance(value, _Number) else None


def ordered(left: Value, right: Value) -> bool:
    """Whether two values can be put in order: two numbers, or two texts."""
    if isinstance(left, str):
        return isinstance(right, str)
    return isinstance(left, _Number) and isinstance(right, _Number)


def contains(container: Value, item: Value) -> bool:
    """Whether text holds a text, a list an equal item, or a mapping a key."""
    if isinstance(container, str | dict):
        return isinstance(item, str) and item in container
    return isinstance(container, list) and item in container


def item(container: Value, key: Value) -> Value:
    """The value under a key of a mapping, at an index of a list, or the character at an index of text."""
    if isinstance(container, dict):
        return finite(container.get(key)) if isinstance(key, str) else None
    if isinstance(container, list | str) and isinstance(key, int) and not isinstance(key, bool):
        return finite(container[key]) if -len(container) <= key < len(container) else None
    return None


def cut(container: Value, start: Value, stop: Value) -> Value:
    """A slice of text or of a list; None as a bound is the beginning or the end."""
    if not isinstance(container, list | str):
        return None
    if not all(
        bound is None or (isinstance(bound, int) and not isinstance(bound, bool)) for bound in (start, stop)
    ):
        return None
    return container[start:stop]
