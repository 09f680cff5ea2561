r"""Regular expressions from the configuration, in the dialect that both engines share.

It is Python's ``re`` over text, with these rules, so that the engines agree:

- ``\d \w \s \b`` and case-insensitivity are about ASCII; ``.`` is any character but ``\n``.
- ``$`` is the very end of the text (or of a line after ``(?m)``), not the place before a last ``\n``.
- Patterns are searched anywhere in the text; ``^`` and ``$`` bind them.

The native engine matches in linear time. Python's matcher backtracks, and takes exponential time on
hostile text where a repeat can divide the same characters in several ways: ``(a+)+``, ``(.*,)*``,
``(a|aa)*``. Such patterns are refused. It still takes quadratic time, or worse, for patterns like
``.*a.*b``; who matches hostile text bounds its length.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from itertools import combinations
from re import _constants as _sre  # type: ignore[attr-defined]
from re import _parser as _sre_parser  # type: ignore[attr-defined]
from typing import Any, TypeAlias

_Chars: TypeAlias = frozenset[int]
"""Characters below 256; 256 stands for all the others."""

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?#[^)]*\)|\$|.", re.DOTALL)
_ALL = frozenset(range(257))
_LETTERS = frozenset(range(ord("a"), ord("z") + 1))
_CATEGORIES = {
    _sre.CATEGORY_DIGIT: r"\d", _sre.CATEGORY_NOT_DIGIT: r"\D", _sre.CATEGORY_SPACE: r"\s",
    _sre.CATEGORY_NOT_SPACE: r"\S", _sre.CATEGORY_WORD: r"\w", _sre.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip
_REPEATS = (_sre.MAX_REPEAT, _sre.MIN_REPEAT)


def compile_regex(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of the configuration.

    Raises:
        ValueError: it is not a regular expression, or it may take exponential time.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # FutureWarning for sets that look nested
            tree = _sre_parser.parse(pattern, re.ASCII)
            multiline = bool(tree.state.flags & re.MULTILINE)
            compiled = re.compile(_strict_end(pattern, multiline=multiline), re.ASCII)
            ambiguous = _is_ambiguous(tree)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    if ambiguous:
        raise ValueError(
            f"{pattern!r} may take exponential time on hostile text, because a repeat in it can divide the "
            "same characters in several ways; write (a+)+ as a+, (.*,)* as ([^,]*,)*, (a|aa)* as a*"
        )
    return compiled


def _strict_end(pattern: str, *, multiline: bool) -> str:
    if multiline or "$" not in pattern:
        return pattern
    return _TOKEN.sub(lambda match: r"\Z" if match[0] == "$" else match[0], pattern)


def _is_ambiguous(tree: Any) -> bool:
    """Whether an unbounded repeat can divide the same characters in several ways.

    It can when a repeat inside it could go on into the next round, as nothing that every round must
    match stops it; or when two branches begin alike and one of them is a single character.
    """
    for operator, argument in _walk(tree):
        if operator not in _REPEATS or argument[1] is not _sre.MAXREPEAT:
            continue
        body = argument[2]
        required = list(_required(body))
        for inner, inner_argument in _walk(body):
            if inner in _REPEATS and inner_argument[1] is _sre.MAXREPEAT:
                chars = _chars(inner_argument[2])
                if chars and not any(chars.isdisjoint(other) for other in required):
                    return True
            if inner is _sre.BRANCH and _overlap(inner_argument[1]):
                return True
    return False


def _overlap(branches: list[Any]) -> bool:
    return any(
        1 in {one.getwidth()[1], other.getwidth()[1]} and not _first(one).isdisjoint(_first(other))
        for one, other in combinations(branches, 2)
    )


def _children(operator: Any, argument: Any) -> list[Any]:
    """Return the parts of a node that consume text and may be divided in several ways."""
    if operator in _REPEATS:
        return [argument[2]]
    if operator is _sre.SUBPATTERN:
        return [argument[3]]
    if operator is _sre.BRANCH:
        return list(argument[1])
    if operator is _sre.GROUPREF_EXISTS:
        return [part for part in argument[1:] if part is not None]
    return []  # atomic groups and possessive repeats are never divided again


def _walk(tree: Any) -> Iterator[tuple[Any, Any]]:
    for operator, argument in tree:
        yield operator, argument
        for child in _children(operator, argument):
            yield from _walk(child)


def _required(body: Any) -> Iterator[_Chars]:
    """Yield, for each thing that a body must match, the characters it can consist of."""
    for operator, argument in body:
        if operator is _sre.SUBPATTERN:
            yield from _required(argument[3])
        elif operator in _REPEATS and argument[0] > 0:
            yield from _required(argument[2])
        elif operator is _sre.BRANCH or _one(operator, argument) is not None:
            yield _chars([(operator, argument)])


def _chars(body: Any) -> _Chars:
    """Characters that a body can consume."""
    found: _Chars = frozenset()
    for operator, argument in _walk(body):
        found |= _one(operator, argument) or frozenset()
        if operator in {_sre.GROUPREF, _sre.ATOMIC_GROUP, _sre.POSSESSIVE_REPEAT}:
            return _ALL
    return found


def _first(body: Any) -> _Chars:
    """Characters that a body can begin with; all of them where that is not plain."""
    for operator, argument in body:
        chars = _one(operator, argument)
        if chars is not None:
            return chars
        if operator is not _sre.AT:
            return _ALL
    return _ALL


def _one(operator: Any, argument: Any) -> _Chars | None:
    """Characters that a node for one character matches, in either case; ``None`` for other nodes."""
    if operator is _sre.LITERAL:
        return _both_cases({min(argument, 256)})
    if operator is _sre.NOT_LITERAL:
        return _ALL - {argument}
    if operator is _sre.ANY:
        return _ALL - {0x0A}
    if operator is not _sre.IN:
        return None
    found: set[int] = set()
    for kind, value in argument:
        if kind is _sre.LITERAL:
            found.add(min(value, 256))
        elif kind is _sre.RANGE:
            found.update(range(min(value[0], 256), min(value[1], 256) + 1))
        elif kind is _sre.CATEGORY:
            category = re.compile(_CATEGORIES[value], re.ASCII)
            found.update(code for code in range(257) if category.match(chr(code)))
    return _ALL - found if argument[0][0] is _sre.NEGATE else _both_cases(found)


def _both_cases(codes: set[int]) -> _Chars:
    upper = {code - 32 for code in codes if code in _LETTERS}
    lower = {code + 32 for code in codes if code + 32 in _LETTERS}
    return frozenset(codes | upper | lower)
