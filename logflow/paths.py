"""Paths of fields: ``a.b``, ``a["key.with.dots"]``, ``a[0]``, ``a[-1].b``; one syntax everywhere.

::

    path = key {"." key | "[" text "]" | "[" number "]"}      or it begins with a text in brackets
    key  = characters other than . [ ] and quotes
    text = a string in double or single quotes, with backslash escapes

A key leads into a map, a number into an array (from its end if negative). If a record has a top-level key
exactly as the path is written, that is meant: ``log.level`` is the field ``log.level`` where there is one, as
loggers of the Elastic Common Schema write it, and the field ``level`` of ``log`` where there is not.

A *glob* is a path that may match several fields: in a key that is not quoted ``*`` stands for any text,
``**`` alone for any number of steps (none too), ``[*]`` for any item. ``*_token``, ``kubernetes.labels.*``,
``**.password``, ``items[*].id``. A top-level key that matches the glob as it is written is meant, too.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Step: TypeAlias = str | int

MAX_STEPS = 32

_KEY = re.compile(r"""[^.\[\]"']+""")
_INSIDE = r"""(?P<index>-?[0-9]{1,9})|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_IN_BRACKETS = re.compile(rf"\[(?:{_INSIDE})\]", re.DOTALL)
_IN_BRACKETS_OF_GLOB = re.compile(rf"\[(?:{_INSIDE}|\*)\]", re.DOTALL)


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

    def find(self, record: dict[str, Any], missing: Any = None) -> Any:
        """The value at the path in a decoded record; ``missing`` if there is none."""
        if self.exact is not None and self.exact in record:
            return record[self.exact]
        found: Any = record
        for step in self.steps:
            if isinstance(step, str):
                found = found.get(step, missing) if isinstance(found, dict) else missing
            else:
                inside = isinstance(found, list) and -len(found) <= step < len(found)
                found = found[step] if inside else missing
        return found


def parse_path(text: str) -> FieldPath:
    """Read a path.

    Raises:
        ValueError: it is not one; the text says how keys with odd characters are written.
    """
    steps = tuple(match[0] if match.re is _KEY else _step(match) for match in _matches(text, _IN_BRACKETS))
    exact = text if len(steps) > 1 and "[" not in text else None
    return FieldPath(text, steps, exact)


def _matches(text: str, in_brackets: re.Pattern[str]) -> list[re.Match[str]]:
    """The steps of a path as they are written."""
    found: list[re.Match[str]] = []
    at = 0
    while at < len(text) or not found:
        match = in_brackets.match(text, at)
        if match is None:
            if found:
                at += text.startswith(".", at) or len(text) + 1
            match = _KEY.match(text, at)
        if match is None:
            raise ValueError(
                f'{text!r} is not the path of a field; write a.b, a[0], or ["..."] for a key that holds '
                ". [ ] or quotes"
            )
        found.append(match)
        at = match.end()
    if len(found) > MAX_STEPS:
        raise ValueError(f"{text[:50]!r}... is not the path of a field: it has more than {MAX_STEPS} steps")
    if found[0].re is not _KEY and found[0]["text"] is None:
        raise ValueError(f"{text!r} is not the path of a field: a record has keys, not numbers")
    return found


@dataclass(frozen=True, slots=True)
class Like:
    """Text with gaps: between the pieces there may be any text. One piece is that text itself."""

    pieces: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """Whether a text is of this form."""
        if len(self.pieces) == 1:
            return text == self.pieces[0]
        first, *middle, last = self.pieces
        if not text.startswith(first):
            return False
        at = len(first)
        for piece in middle:
            at = text.find(piece, at) + len(piece)
            if at < len(piece):
                return False
        return len(text) - at >= len(last) and text.endswith(last)

    @property
    def prefix(self) -> str:
        """What comes before the first gap; nothing if there is none."""
        return self.pieces[0] if len(self.pieces) > 1 else ""


DEEP: Literal["**"] = "**"
ANY_ITEM: Literal["*"] = "*"
GlobStep: TypeAlias = Like | int | Literal["*", "**"]
"""A key, an index, any item, or any number of steps."""


@dataclass(frozen=True, slots=True)
class FieldGlob:
    """A glob that was read.

    Attributes:
        text: as it is written.
        steps: from the record inwards.
        whole: top-level keys that are meant besides; ``None`` where that is what the steps say anyway.
    """

    text: str
    steps: tuple[GlobStep, ...]
    whole: Like | None = None

    def native(self) -> tuple[list[str] | None, list[list[str] | int | None]]:
        """Describe the glob to the native engine: ``None`` is any item, ``[]`` any number of steps."""

        def described(step: GlobStep) -> list[str] | int | None:
            if isinstance(step, Like):
                return list(step.pieces)
            return [] if step == DEEP else None if step == ANY_ITEM else int(step)

        return None if self.whole is None else list(self.whole.pieces), list(map(described, self.steps))


def parse_glob(text: str) -> FieldGlob:
    """Read a glob.

    Raises:
        ValueError: it is not one.
    """
    matches = _matches(text, _IN_BRACKETS_OF_GLOB)
    steps = tuple(_glob_step(match) for match in matches)
    several = len(steps) > 1 and "[" not in text
    return FieldGlob(text, steps, Like(tuple(text.split("*"))) if several else None)


def parse_name(text: str) -> Like:
    """Read a glob of one key, for fields of the top level.

    Raises:
        ValueError: it is not one.
    """
    steps = parse_glob(text).steps
    if len(steps) > 1 or not isinstance(steps[0], Like):
        raise ValueError(f'{text!r} is not the name of a field; write name, http_*, or ["..."] for odd names')
    return steps[0]


def _glob_step(match: re.Match[str]) -> GlobStep:
    if match.re is _KEY:
        return DEEP if match[0] == DEEP else Like(tuple(match[0].split("*")))
    if match[0] == "[*]":
        return ANY_ITEM
    step = _step(match)
    return Like((step,)) if isinstance(step, str) else step


def _step(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return int(match["index"])
    try:
        text: str = ast.literal_eval(match["text"])
        text.encode()
    except (SyntaxError, ValueError):
        raise ValueError(f"{match[0]} is not a key that can be read") from None
    return text
