"""Paths of fields: ``a.b``, ``a["key.with.dots"]``, ``a[0]``, ``a[-1].b``; one syntax everywhere.

::

    path = key {"." key | "[" text "]" | "[" number "]"}      or it begins with a text in brackets
    key  = characters other than . [ ] and quotes
    text = a string in double or single quotes, with backslash escapes

A key leads into a map, a number into an array (from its end if negative). If a record has a top-level key
exactly as the path is written, that is meant: ``log.level`` is the field ``log.level`` where there is one, as
loggers of the Elastic Common Schema write it, and the field ``level`` of ``log`` where there is not.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TypeAlias

Step: TypeAlias = str | int

MAX_STEPS = 32

_KEY = re.compile(r"""[^.\[\]"']+""")
_IN_BRACKETS = re.compile(
    r"""\[(?:(?P<index>-?[0-9]{1,9})|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))\]""", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A path that was read.

    Attributes:
        text: as it is written.
        steps: keys and indices, from the record inwards.
        exact: the top-level key that would be meant in place of the steps; ``None`` where there is none.
    """

    text: str
    steps: tuple[Step, ...]
    exact: str | None = None


def parse_path(text: str) -> FieldPath:
    """Read a path.

    Raises:
        ValueError: it is not one; the text says how keys with odd characters are written.
    """
    steps: list[Step] = []
    at = 0
    while at < len(text) or not steps:
        match = _IN_BRACKETS.match(text, at)
        if match is not None:
            steps.append(_step(match))
        else:
            if steps:
                at += text.startswith(".", at) or len(text) + 1
            match = _KEY.match(text, at)
            if match is None:
                raise ValueError(
                    f'{text!r} is not the path of a field; write a.b, a[0], or ["..."] for a key that holds '
                    ". [ ] or quotes"
                    ". [ ] or quotes"
                )
            steps.append(match[0])
        at = match.end()
    if len(steps) > MAX_STEPS:
        raise ValueError(f"{text[:50]!r}... is not the path of a field: it has more than {MAX_STEPS} steps")
    if isinstance(steps[0], int):
        raise ValueError(f"{text!r} is not the path of a field: a record has keys, not numbers")
    exact = text if len(steps) > 1 and "[" not in text else None
    return FieldPath(text, tuple(steps), exact)


def _step(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return int(match["index"])
    try:
        text: str = ast.literal_eval(match["text"])
        text.encode()
    except (SyntaxError, ValueError):
        raise ValueError(f"{match[0]} is not a key that can be read") from None
    return text
