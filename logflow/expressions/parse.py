"""Python's syntax to a tree of operations: what is allowed, and errors that point at the place.

The text is parsed by Python's own ``ast``; nothing of it is ever run. Operations whose arguments are all
constant are computed here, once.
"""

from __future__ import annotations

import ast
import re
import warnings
from difflib import get_close_matches

from logflow.expressions import values
from logflow.expressions.evaluate import evaluator
from logflow.expressions.event import Event
from logflow.expressions.expression import Expression, ExpressionError
from logflow.expressions.operations import FUNCTIONS, OPERATORS, OperationSpec
from logflow.expressions.tree import Constant, Field, Node, Operation

MAX_SOURCE = 64 * 1024
"""Most characters of an expression."""
MAX_NODES = 2_000
"""Most operations, fields and constants of an expression."""
MAX_DEPTH = 60
"""Most levels of nesting."""

_SHOWN = 120
"""A longer line of an expression is not shown where it has a mistake."""

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "truediv", ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.In: "in",
    ast.Is: "is",
}  # fmt: skip
_UNARY: dict[type[ast.unaryop], str] = {ast.Not: "not", ast.USub: "neg", ast.UAdd: "pos"}
_INSTEAD: dict[type[ast.AST], str] = {
    ast.Lambda: "a lambda",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.Await: "await",
    ast.Yield: "yield",
    ast.NamedExpr: "an assignment",
    ast.Starred: "a starred argument",
    ast.Set: "a set; write a list, such as [1, 2]",
}


def compile_expression(text: str) -> Expression:
    """Check an expression and make its tree.

    Raises:
        ExpressionError: it is not one; the text begins with the place.
    """
    if len(text) > MAX_SOURCE:
        raise ExpressionError(
            f"an expression has at most {MAX_SOURCE:,} characters, and this one has {len(text):,}"
        )
    if not text.strip():
        raise ExpressionError("the expression is empty")
    # On one line an expression may be broken anywhere, as in a YAML block; every place stays the same.
    source = text.replace("\n", " ").replace("\r", " ")
    indent = len(source) - len(source.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = ast.parse(source[indent:], mode="eval")
    except SyntaxError as error:
        raise ExpressionError(_syntax(text, indent, error)) from None
    except (RecursionError, MemoryError):
        raise ExpressionError(f"the expression is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        raise ExpressionError(f"the expression cannot be read: {error}") from None
    return Expression(text, _Parser(text, indent).parse(parsed.body))


def _syntax(text: str, indent: int, error: SyntaxError) -> str:
    reason = (error.msg or "invalid syntax").replace("f-string: ", "").partition(". ")[0]
    single_equals = re.search(r"[^=<>!]=[^=]", text) is not None
    hint = "; to compare, write ==" if single_equals else ""
    return _mistake(text, indent + max((error.offset or 1) - 1, 0), reason + hint)


def _mistake(text: str, offset: int, reason: str) -> str:
    """What is wrong and where, for people: places are counted from 1."""
    offset = min(offset, max(len(text.rstrip()) - 1, 0))
    start = text.rfind("\n", 0, offset) + 1
    place = f"column {offset - start + 1}"
    if "\n" in text.strip():
        place = f"line {text.count(chr(10), 0, offset) + 1}, {place}"
    line = text[start:].partition("\n")[0].strip()
    # Whole or not at all: of what came from the environment, a part would not be recognised as a secret.
    return f"{place}: {reason}" + (f", in `{line}`" if len(line) <= _SHOWN else "")


class _Parser:
    """Makes the tree of one expression."""

    def __init__(self, text: str, indent: int) -> None:
        self._text = text
        self._indent = indent
        self._nodes = 0
        self._depth = 0

    def parse(self, node: ast.expr) -> Node:
        """Make the tree of a node.

        Raises:
            ExpressionError: it is not allowed.
        """
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._error(node, f"the expression has more than {MAX_NODES:,} parts")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(node, f"the expression is nested more than {MAX_DEPTH} levels deep")
        try:
            return self._parse(node)
        finally:
            self._depth -= 1

    def _parse(self, node: ast.expr) -> Node:
        match node:
            case ast.Constant(value):
                return self._constant(node, value)
            case ast.Name(name):
                return Field((name,))
            case ast.Attribute() | ast.Subscript():
                return self._path(node)
            case ast.BoolOp() | ast.UnaryOp() | ast.BinOp() | ast.Compare() | ast.IfExp():
                return self._operator(node)
            case ast.List(items) | ast.Tuple(items):
                return self._make(node, "list", [self.parse(item) for item in items])
            case ast.Dict(keys, items):
                return self._dict(node, keys, items)
            case ast.JoinedStr(parts):
                return self._make(node, "join", [self._f_string_part(part) for part in parts])
            case ast.Call():
                return self._call(node)
            case _:
                what = _INSTEAD.get(type(node), type(node).__name__)
                raise self._error(node, f"expressions do not have {what}")

    def _operator(self, node: ast.BoolOp | ast.UnaryOp | ast.BinOp | ast.Compare | ast.IfExp) -> Node:
        match node:
            case ast.BoolOp(operator, operands):
                name = "and" if isinstance(operator, ast.And) else "or"
                return self._make(node, name, [self.parse(operand) for operand in operands])
            case ast.UnaryOp(operator, operand) if type(operator) in _UNARY:
                return self._make(node, _UNARY[type(operator)], [self.parse(operand)])
            case ast.BinOp(left, operator, right) if type(operator) in _BINARY:
                return self._binary(node, _BINARY[type(operator)], self.parse(left), self.parse(right))
            case ast.IfExp(test, body, orelse):
                return self._make(node, "if", [self.parse(test), self.parse(body), self.parse(orelse)])
            case ast.Compare():
                return self._compare(node)
            case _:
                symbol = _SYMBOLS.get(type(node.op), type(node.op).__name__)
                raise self._error(node, f"expressions do not have the operator {symbol}")

    def _constant(self, node: ast.expr, value: object) -> Constant:
        if isinstance(value, bytes | complex) or value is Ellipsis:
            raise self._error(
                node, f"{ast.unparse(node)} is not a value that a record can hold; write text or a number"
            )
        if isinstance(value, int | float) and values.number(value) is None:
            raise self._error(node, "a number must fit into 64 bits")
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise self._error(node, "text must be valid Unicode; a lone surrogate is not") from None
        return Constant(value)

    def _path(self, node: ast.Attribute | ast.Subscript) -> Node:
        """A field with a path, or a part of a computed value."""
        if isinstance(node, ast.Attribute):
            base, key = self.parse(node.value), node.attr
            if isinstance(base, Field):
                dotted = base.dotted or (
                    base.keys[0] if len(base.keys) == 1 and isinstance(node.value, ast.Name) else None
                )
                return Field((*base.keys, key), f"{dotted}.{key}" if dotted is not None else None)
            return self._make(node, "item", [base, Constant(key)])
        base = self.parse(node.value)
        if isinstance(node.slice, ast.Slice):
            if node.slice.step is not None:
                raise self._error(node, "a slice has a start and a stop, and no step")
            bounds = [
                self.parse(bound) if bound is not None else Constant(None)
                for bound in (node.slice.lower, node.slice.upper)
            ]
            return self._make(node, "slice", [base, *bounds])
        index = self.parse(node.slice)
        if isinstance(base, Field) and isinstance(index, Constant) and _is_key(index.value):
            return Field((*base.keys, index.value))
        return self._make(node, "item", [base, index])

    def _binary(self, node: ast.expr, name: str, left: Node, right: Node) -> Node:
        texts = [isinstance(side, Constant) and isinstance(side.value, str) for side in (left, right)]
        if name == "mul" and any(texts):
            raise self._error(node, "text cannot be repeated with *")
        if name == "mod" and texts[0]:
            raise self._error(node, "text is not formatted with %; write an f-string, such as f'{a} of {b}'")
        return self._make(node, name, [left, right])

    def _compare(self, node: ast.Compare) -> Node:
        sides = [self.parse(side) for side in (node.left, *node.comparators)]
        parts = [
            self._comparison(node, operator, left, right)
            for operator, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True)
        ]
        return parts[0] if len(parts) == 1 else self._make(node, "and", parts)

    def _comparison(self, node: ast.Compare, operator: ast.cmpop, left: Node, right: Node) -> Node:
        if isinstance(operator, ast.Is | ast.IsNot) and not (
            isinstance(right, Constant) and any(right.value is known for known in (None, True, False))
        ):
            raise self._error(node, "`is` compares with None, True or False; for other values write ==")
        if isinstance(operator, ast.NotIn):
            return self._make(node, "not", [self._make(node, "in", [left, right])])
        if isinstance(operator, ast.IsNot):
            return self._make(node, "not", [self._make(node, "is", [left, right])])
        return self._make(node, _COMPARE[type(operator)], [left, right])

    def _dict(self, node: ast.Dict, keys: list[ast.expr | None], items: list[ast.expr]) -> Node:
        parts: list[Node] = []
        for key, item in zip(keys, items, strict=True):
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                raise self._error(key or node, "the keys of a mapping are text, written out")
            parts += [self.parse(key), self.parse(item)]
        return self._make(node, "dict", parts)

    def _f_string_part(self, part: ast.expr) -> Node:
        if not isinstance(part, ast.FormattedValue):
            return self.parse(part)
        if part.format_spec is not None or part.conversion != -1:
            raise self._error(part, "f-strings have no formats; write {round(x, 2)} for {x:.2f}")
        return self.parse(part.value)

    def _call(self, node: ast.Call) -> Node:
        if isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if name in FUNCTIONS:
                raise self._error(
                    node, f"values have no methods; write {name}({ast.unparse(node.func.value)[:40]}, …)"
                )
            raise self._error(node, "values have no methods, only functions such as lower(text)")
        if not isinstance(node.func, ast.Name):
            raise self._error(node, "only a named function can be called")
        if node.keywords:
            raise self._error(node, f"arguments of {node.func.id} are given by position, without names")
        spec = FUNCTIONS.get(node.func.id)
        if spec is None:
            near = get_close_matches(node.func.id, FUNCTIONS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(FUNCTIONS))}"
            raise self._error(node, f"unknown function {node.func.id!r}{hint}")
        self._check_count(node, spec)
        arguments = [self.parse(argument) for argument in node.args]
        if spec.name == "field":
            key = arguments[0]
            if not (isinstance(key, Constant) and isinstance(key.value, str)):
                raise self._error(node, "field takes a name, written out, such as field('key.with.dots')")
            return Field((key.value,))
        return self._make(node, spec.name, arguments)

    def _check_count(self, node: ast.Call, spec: OperationSpec) -> None:
        count = len(node.args)
        if count < spec.least or (spec.most is not None and count > spec.most):
            raise self._error(node, f"{spec.name} takes {_count(spec)}, not {count}: {spec.signature}")

    def _make(self, node: ast.expr, name: str, arguments: list[Node]) -> Node:
        """An operation; if nothing in it differs by event, the constant that it gives."""
        operation = Operation(name, tuple(arguments))
        spec = OPERATORS.get(name) or FUNCTIONS[name]
        try:
            evaluate = evaluator(operation)
        except ValueError as error:
            raise self._error(node, str(error)) from None
        if spec.folds and all(isinstance(argument, Constant) for argument in arguments):
            return Constant(evaluate(Event({})))
        return operation

    def _error(self, node: ast.AST, reason: str) -> ExpressionError:
        # ast counts bytes of UTF-8, people count characters.
        before = self._text[self._indent :].encode()[: getattr(node, "col_offset", 0)]
        offset = self._indent + len(before.decode(errors="ignore"))
        return ExpressionError(_mistake(self._text, offset, reason))


_SYMBOLS: dict[type[ast.AST], str] = {
    ast.Pow: "**", ast.BitAnd: "&; write and", ast.BitOr: "|; write or", ast.BitXor: "^", ast.LShift: "<<",
    ast.RShift: ">>", ast.Invert: "~; write not", ast.MatMult: "@",
}  # fmt: skip


def _is_key(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _count(spec: OperationSpec) -> str:
    if spec.most is None:
        return f"{spec.least} or more arguments"
    if spec.least == spec.most:
        return f"{spec.least} argument{'s' * (spec.least != 1)}" if spec.least else "no arguments"
    return f"{spec.least} to {spec.most} arguments"
