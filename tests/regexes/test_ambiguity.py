"""The bound on what a search costs a matcher that backtracks."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.regexes.ambiguity import cost
from logflow.regexes.syntax import Alternation, Concatenation, Group, Look, Node, One, Repeat, parse_pattern


@pytest.mark.parametrize(
    ("pattern", "power"),
    [
        ("error", 1), ("^a+b+$", 1), (r"^\S+ \S+ \[[^\]]*\] .*$", 1), ("^.*,.*;", 2), ("a+b", 2),
        ("^(?:a+b)+", 1),
        (r"(?P<k>\w+)=(?P<v>.*)", 2), ("^.* .* .*$", 3), (".*a.*b.*c", 4), ("^a{1,3}a{1,3}", 2),
        ("^a{3}a{3}", 1),
        ("(a+)+", math.inf), ("(?:ab|abab)*", math.inf), ("(?:a|b)*a(?:a|b)*", 3), ("^(?:a|b)*a(?:a|b)*", 2),
        ("|".join("ab" for _ in range(2000)), math.inf),
    ],
)  # fmt: skip
def test_the_power_of_the_length(pattern: str, power: float) -> None:
    assert cost(parse_pattern(pattern)).power == power


class _Enough(Exception):  # noqa: N818, RUF100
    pass


class _Backtracking:
    """Matches as Python's ``re`` does, one way after another, and counts what it looks at."""

    def __init__(self, text: str, limit: int) -> None:
        self.text, self.limit, self.steps = text, limit, 0

    def search(self, tree: Node) -> None:
        for start in range(len(self.text) + 1):
            if self._match(tree, start, lambda _: True):
                return

    def _match(self, node: Node, at: int, go_on: Callable[[int], bool]) -> bool:
        self.steps += 1
        if self.steps > self.limit:
            raise _Enough
        match node:
            case One(ranges):
                return at < len(self.text) and _holds(ranges, self.text[at]) and go_on(at + 1)
            case Look(kind):
                return (kind != "start" or at == 0) and (kind != "end" or at == len(self.text)) and go_on(at)
            case Group(_, _, body):
                return self._match(body, at, go_on)
            case Alternation(branches):
                return any(self._match(branch, at, go_on) for branch in branches)
            case Concatenation(parts):
                return self._row(parts, at, go_on)
            case Repeat():
                return self._repeat(node, node.least, node.most, at, go_on)

    def _row(self, parts: tuple[Node, ...], at: int, go_on: Callable[[int], bool]) -> bool:
        if not parts:
            return go_on(at)
        return self._match(parts[0], at, lambda after: self._row(parts[1:], after, go_on))

    def _repeat(
        self, node: Repeat, least: int, most: int | None, at: int, go_on: Callable[[int], bool]
    ) -> bool:
        def again(after: int) -> bool:
            return self._repeat(node, max(least - 1, 0), None if most is None else most - 1, after, go_on)

        if least:
            return self._match(node.body, at, again)
        return (most != 0 and self._match(node.body, at, again)) or go_on(at)


def _holds(ranges: tuple[tuple[int, int], ...], char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in ranges)


ATOMS = st.sampled_from(["a", "b", "ab", "[ab]", ".", "a?", "(?:a|ab)", "(?:b|ba)?", "a{1,2}", "^", "$"])
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{1,3}", "{2}", "+?", "{0,2}"])
INNER = st.lists(st.tuples(ATOMS, REPEATS), min_size=1, max_size=3)


def joined(parts: list[tuple[str, str]]) -> str:
    return "".join(f"(?:{atom}){repeat}" for atom, repeat in parts)


PATTERNS = st.lists(st.tuples(st.one_of(ATOMS, INNER.map(joined)), REPEATS), min_size=1, max_size=5).map(
    joined
)


@settings(max_examples=400, deadline=None)
@given(PATTERNS, st.lists(st.sampled_from(["a", "b", "ab", "aab"]), min_size=1, max_size=3), st.booleans())
def test_no_search_takes_more_steps_than_the_bound_says(pattern: str, words: list[str], fails: bool) -> None:
    """Searched for among patterns and texts that are likely to be slow."""
    try:
        tree = parse_pattern(pattern + ("c" if fails else ""))
    except ValueError:
        return
    power, factor = cost(tree)
    if power > 4:
        return
    text = "".join(words * 20)[:40]
    allowed = 40 * len(pattern) * factor * int((len(text) + 1) ** power)
    matcher = _Backtracking(text, min(allowed, 3_000_000))
    if allowed > matcher.limit:
        return
    try:
        matcher.search(tree.tree)
    except _Enough:
        pytest.fail(f"{pattern!r} takes more than {allowed} steps on {text!r}")
