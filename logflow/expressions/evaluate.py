"""A tree as a Python function of an event: the specification of the native evaluator."""

from __future__ import annotations

from collections.abc import Callable

from logflow.event import NANOSECOND
from logflow.expressions import values
from logflow.expressions.event import Evaluate, Event
from logflow.expressions.operations import FUNCTIONS, OPERATORS, OperationSpec
from logflow.expressions.tree import Constant, Field, Node, Operation
from logflow.expressions.values import Value

_OF_EVENT: dict[str, Evaluate] = {
    "tag": lambda event: event.tag,
    "time": lambda event: event.time_ns / NANOSECOND,
    "source": lambda event: event.source,
    "now": Event.now_s,
}


def evaluator(node: Node) -> Evaluate:
    """Compile a tree; the function never raises.

    Raises:
        ValueError: an argument that must be written out cannot be used.
    """
    match node:
        case Constant(value):
            return lambda _: value
        case Field():
            return _field(node)
        case Operation(name, arguments):
            return _operation(name, arguments)


def _field(field: Field) -> Evaluate:
    first, rest = str(field.keys[0]), field.keys[1:]
    if not rest:
        return lambda event: values.finite(event.record.get(first))

    def nested(event: Event) -> Value:
        value = event.record.get(first)
        for key in rest:
            if value is None:
                return None
            value = values.item(value, key)
        return value

    dotted = field.dotted
    if dotted is None:
        return nested
    return lambda event: values.finite(event.record[dotted]) if dotted in event.record else nested(event)


def _operation(name: str, arguments: tuple[Node, ...]) -> Evaluate:
    lazy = _LAZY.get(name)
    if lazy is not None:
        return lazy([evaluator(argument) for argument in arguments])
    if name in _OF_EVENT:
        return _OF_EVENT[name]
    spec = OPERATORS.get(name) or FUNCTIONS[name]
    call = prepared(spec, arguments)
    parts = [evaluator(argument) for index, argument in enumerate(arguments) if not _is_written(spec, index)]
    match parts:
        case [one]:
            return lambda event: call(one(event))
        case [left, right]:
            return lambda event: call(left(event), right(event))
        case _:
            return lambda event: call(*[part(event) for part in parts])


def _is_written(spec: OperationSpec, index: int) -> bool:
    # A variadic tail belongs to the last place that is named.
    return index in spec.written or (spec.most is None and bool(spec.written) and index > spec.written[-1])


def prepared(spec: OperationSpec, arguments: tuple[Node, ...]) -> Callable[..., Value]:
    """The function that computes an operation from the values of those arguments that differ by event.

    Raises:
        ValueError: an argument that must be written out is not, or cannot be used.
    """
    if spec.prepare is None:
        assert spec.call is not None
        return spec.call
    written = []
    for index, argument in enumerate(arguments):
        if _is_written(spec, index):
            if not isinstance(argument, Constant):
                raise ValueError(f"argument {index + 1} of {spec.name} must be written out, not computed")
            written.append(argument.value)
    return spec.prepare(*written)


def _and(parts: list[Evaluate]) -> Evaluate:
    def call(event: Event) -> Value:
        value: Value = None
        for part in parts:
            value = part(event)
            if not value:
                break
        return value

    return call


def _or(parts: list[Evaluate]) -> Evaluate:
    def call(event: Event) -> Value:
        value: Value = None
        for part in parts:
            value = part(event)
            if value:
                break
        return value

    return call


def _if(parts: list[Evaluate]) -> Evaluate:
    condition, then, otherwise = parts
    return lambda event: then(event) if condition(event) else otherwise(event)


def _coalesce(parts: list[Evaluate]) -> Evaluate:
    def call(event: Event) -> Value:
        for part in parts:
            if (value := part(event)) is not None:
                return value
        return None

    return call


_LAZY: dict[str, Callable[[list[Evaluate]], Evaluate]] = {
    "and": _and,
    "or": _or,
    "if": _if,
    "coalesce": _coalesce,
}
