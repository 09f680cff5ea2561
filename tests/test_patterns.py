"""Tag patterns."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.patterns import compile_pattern, covers, may_match


@pytest.mark.parametrize(
    ("pattern", "tag", "matches"),
    [
        ("**", "anything.at.all", True),
        ("**", "", True),
        ("app", "app", True),
        ("app", "app.web", False),
        ("app.*", "app.web", True),
        ("app.*", "app", False),
        ("app.*", "app.web.error", False),
        ("app.**", "app", True),
        ("app.**", "app.web.error", True),
        ("**.error", "error", True),
        ("**.error", "app.web.error", True),
        ("a.**.z", "a.z", True),
        ("a.**.z", "a.b.c.z", True),
        ("a.**.m.**.z", "a.m.b.m.z", True),
        ("{app,db}.*", "db.slow", True),
        ("{app,db}.*", "cache.slow", False),
        ("{a.b,c}.d", "a.b.d", True),
        ("{a,{b,c}}", "c", True),
        ("web-*", "web-7", True),
        ("web-*", "api-7", False),
        ("kube.kube-system.**", "kube.kube-system.dns.main", True),
        ("a+b", "aab", False),
        ("a+b", "a+b", True),
    ],
)
def test_matches(pattern: str, tag: str, *, matches: bool) -> None:
    """A pattern matches the tags that its description says."""
    assert compile_pattern(pattern)(tag) is matches


@pytest.mark.parametrize("pattern", ["", " a", "a{b", "a}b", "a.**b", "{a,b}" * 20])
def test_refuses_what_cannot_be_meant(pattern: str) -> None:
    """Patterns that are empty, unbalanced or explode are refused."""
    with pytest.raises(ValueError):
        compile_pattern(pattern)


def _reference(pattern: str, tag: str) -> bool:
    """The same rules as a regular expression over the parts, each followed by a dot."""
    expression = "".join(
        r"(?:[^.]*\.)*" if part == "**" else part.replace("*", "[^.]*") + r"\." for part in pattern.split(".")
    )
    return re.fullmatch(expression, tag + ".") is not None


@given(
    st.lists(st.sampled_from(["a", "b", "*", "**", "a*"]), min_size=1, max_size=6).map(".".join),
    st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=6).map(".".join),
)
def test_agrees_with_a_regular_expression(pattern: str, tag: str) -> None:
    """Any pattern matches just what its translation into a regular expression matches."""
    assert compile_pattern(pattern)(tag) == _reference(pattern, tag)


def test_takes_no_exponential_time() -> None:
    """Many `**` against a long tag that does not match end quickly."""
    matches = compile_pattern(".".join(["**", "a"] * 30 + ["b"]))
    assert not matches(".".join(["a"] * 300))


PATTERNS = st.lists(
    st.sampled_from(["a", "b", "*", "**", "a*", "{a,b}", "{a.b,*}"]), min_size=1, max_size=5
).map(".".join)
TAGS = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=5).map(".".join)


@given(PATTERNS, PATTERNS, TAGS)
def test_a_pattern_that_covers_another_matches_all_that_it_matches(wide: str, narrow: str, tag: str) -> None:
    assert covers(narrow, narrow)
    if covers(wide, narrow) and compile_pattern(narrow)(tag):
        assert compile_pattern(wide)(tag)


@given(
    PATTERNS, st.lists(st.sampled_from(["a", "b", "{x}", "a{x}"]), min_size=1, max_size=5).map(".".join), TAGS
)
def test_a_template_that_can_make_a_tag_may_be_matched(pattern: str, template: str, value: str) -> None:
    tag = template.replace("{x}", value)
    if compile_pattern(pattern)(tag):
        assert may_match(pattern, template)


def test_covering_takes_no_exponential_time() -> None:
    assert not covers(".".join(["**", "a"] * 30 + ["b"]), ".".join(["a"] * 60))


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_stars_within_a_part_stand_for_any_text(part: str, tag: str) -> None:
    """As a regular expression would have it, but in linear time."""
    if not part or "**" in part or not tag:
        return
    expected = re.fullmatch(".*".join(map(re.escape, part.split("*"))), tag) is not None
    assert compile_pattern(part)(tag) is expected


def test_a_hostile_tag_is_matched_in_linear_time() -> None:
    """It would take a matcher that backtracks longer than anybody waits."""
    assert not compile_pattern("*a" * 30 + "*b")("a" * 100_000)
