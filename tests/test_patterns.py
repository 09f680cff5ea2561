"""Tag patterns."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.patterns import compile_pattern


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
