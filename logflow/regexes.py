r"""Regular expressions from the configuration, in the dialect that both engines share.

It is Python's ``re`` over text, with these rules, so that the engines agree:

- ``\d \w \s \b`` and case-insensitivity are about ASCII; ``.`` is any character but ``\n``.
- ``$`` is the very end of the text (or of a line after ``(?m)``), not the place before a last ``\n``.
- Patterns are searched anywhere in the text; ``^`` and ``$`` bind them.

Python's matcher backtracks, so that a pattern can take exponential time on hostile text when a
repeat stands inside a repeat and both can share the same characters in several ways, like
``(a+)+``. Such a pattern is refused, as are those that only Python has (look-around, back-references) is
for the native engine to say.
"""

from __future__ import annotations

import re
import warnings
from re import _constants as _sre  # type: ignore[attr-defined]
from re import _parser as _sre_parser  # type: ignore[attr-defined]
from typing import Any

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?#[^)]*\)|\$|.", re.DOTALL)


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
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    if _ambiguous(tree):
        raise ValueError(
            f"{pattern!r} may take exponential time on hostile text, because a repeat stands inside a "
            "repeat; write (a+)+ as a+, or make the inner one possessive (a++)"
        )
    return compiled


def _strict_end(pattern: str, *, multiline: bool) -> str:
    if multiline or "$" not in pattern:
        return pattern
    return _TOKEN.sub(lambda match: r"\Z" if match[0] == "$" else match[0], pattern)


def _ambiguous(tree: Any) -> bool:
    """Whether an unbounded repeat of the tree directly repeats what may itself be repeated without bound."""
    for operator, argument in tree:
        if operator in (_sre.MAX_REPEAT, _sre.MIN_REPEAT):
            _, most, body = argument
            if most is _sre.MAXREPEAT and _only_repeats(body):
                return True
            if _ambiguous(body):
                return True
        elif any(_ambiguous(part) for part in _parts(operator, argument)):
            return True
    return False


def _parts(operator: Any, argument: Any) -> list[Any]:
    if operator is _sre.SUBPATTERN:
        return [argument[3]]
    if operator is _sre.BRANCH:
        return list(argument[1])
    if operator in (_sre.ASSERT, _sre.ASSERT_NOT):
        return [argument[1]]
    if operator is _sre.ATOMIC_GROUP:
        return [argument]
    if operator is _sre.GROUPREF_EXISTS:
        return [part for part in argument[1:] if part is not None]
    return []


def _only_repeats(body: Any) -> bool:
    """Whether a body can match through nothing but unbounded repeats and what may be empty."""
    found = False
    for operator, argument in body:
        if operator in (_sre.MAX_REPEAT, _sre.MIN_REPEAT):
            least, most, inner = argument
            if most is _sre.MAXREPEAT or _only_repeats(inner):
                found = True
            elif least > 0:
                return False
        elif operator is _sre.SUBPATTERN:
            if not _only_repeats(argument[3]):
                return False
            found = True
        elif operator is _sre.BRANCH:
            return any(_only_repeats(branch) for branch in argument[1])
        elif operator is not _sre.AT:
            return False
    return found
