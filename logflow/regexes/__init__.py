r"""Regular expressions from the configuration: one dialect for both engines, matched in linear time.

::

    syntax      the dialect, and how a pattern is written for each matcher
    ambiguity   what a pattern may cost a matcher that backtracks

The native engine matches in linear time whatever the pattern. Without it Python's ``re`` does the work,
which backtracks: it is used for patterns that are proven to take no more than ``MAX_STEPS`` for a text of a
sane length. All others are matched by ``google-re2`` where that is installed, else they are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache, partial
from importlib import import_module
from typing import Any, Literal

from logflow.regexes.ambiguity import cost
from logflow.regexes.syntax import Pattern, parse_pattern

__all__ = ["Pattern", "PythonRegex", "compile_regex", "parse_pattern"]

MAX_STEPS = 1 << 27
"""Most steps of a search with ``re``: they take about half a second."""

MIN_LENGTH = 4096
"""A pattern that cannot be searched in so many characters within ``MAX_STEPS`` is not given to ``re``."""


class PythonRegex:
    """A compiled pattern without the native engine; see :class:`logflow.engine.changes.Regex`.

    Attributes:
        names: named groups, in order.
        groups: numbers and names of all groups but those that are repeated; 0 is the whole match.
        max_length: only so many characters of a text are searched.
    """

    def __init__(self, pattern: Pattern, target: Literal["re", "re2"], max_length: int) -> None:
        self.names = pattern.names
        self.max_length = max_length
        self._pattern = pattern
        self._names: dict[int | str, int | str] = {**pattern.groups(), 0: 0}
        self.groups = frozenset(self._names)
        self._compile = (
            partial(re.compile, flags=re.ASCII) if target == "re" else import_module("re2").compile
        )
        self._target = target
        self._search = self._compile(pattern.write(target)).search

    def found(self, text: str) -> bool:
        """Whether the pattern is found in a text."""
        return self._search(text[: self.max_length]) is not None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the pattern is found, one place after another, but for empty ones."""
        at = 0
        while at <= len(text) and (match := self._search(text, at)) is not None:
            start, end = match.span()
            if end > start:
                yield start, end
            at = end + (end == start)

    def fields(self, text: str) -> dict[str, str] | None:
        """Texts of the named groups that took part, in order; ``None`` if the pattern is not found."""
        match = self._search(text) if len(text) <= self.max_length else None
        if match is None:
            return None
        return {name: value for name, value in match.groupdict().items() if value is not None}

    def group(self, text: str, group: int | str) -> str | None:
        """Text of one of ``groups``; ``None`` if it took no part or the pattern is not found."""
        match = self._search_numbered(text) if len(text) <= self.max_length else None
        return None if match is None else match.group(self._names[group])

    @cached_property
    def _search_numbered(self) -> Callable[[str], Any]:
        search: Callable[[str], Any] = self._compile(self._pattern.write_numbered(self._target)).search
        return search


@lru_cache(maxsize=1024)
def compile_regex(text: str) -> PythonRegex:
    """Compile a pattern for the Python engine.

    Raises:
        ValueError: it is not of the dialect, or only a matcher that is not installed matches it in time.
    """
    pattern = parse_pattern(text)
    power, factor = cost(pattern)
    max_length = int((MAX_STEPS / factor) ** (1 / power))
    if max_length >= MIN_LENGTH:
        return PythonRegex(pattern, "re", max_length)
    try:
        re2 = import_module("re2")
    except ImportError:
        raise ValueError(_refusal(text, power)) from None
    try:
        return PythonRegex(pattern, "re2", 1 << 62)
    except re2.error as error:
        raise ValueError(f"google-re2 refuses {text!r}: {error}") from None


def _refusal(text: str, power: float) -> str:
    how = "time that grows exponentially" if power > 99 else f"time that grows with the power of {power:.0f}"
    if power <= 2:
        how = "too long"
    return (
        f"without the native engine {text!r} may take {how} on hostile text, as the same characters can be "
        "divided in several ways: write [^,]* or \\S+ where .* comes before a comma or a blank, and "
        "(?:a|b)+ for (?:a+|b)+; or install google-re2 (pip install google-re2), or the native engine"
    )
