"""Regular expressions of the configuration: the dialect, and what is refused."""

from __future__ import annotations

import pytest

from logflow.regexes import compile_regex


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"a$", "a\n", False),
        (r"a$", "ba", True),
        (r"(?m)^a$", "b\na\nb", True),
        (r"^a", "b\na", False),
        (r"[$]\$$", "$$", True),
        (r"[^]$]$", "]", False),
        (r"\d", "٣", False),
        (r"\w", "é", False),
        (r"(?i)é", "É", False),
        (r"^.$", "é", True),
        (r"a.b", "a\nb", False),
    ],
)
def test_dialect(pattern: str, text: str, found: bool) -> None:
    """ASCII classes, and a dollar that is the very end."""
    assert (compile_regex(pattern).search(text) is not None) is found


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+", r"(a*)*$", r"(.*)*", r"(.*,)*x", r"(a|aa)*b", r"(\w+\s?)+$", r'(\\.|[^"])*"', r"(?i)(a+A)+",
        r"^(([a-z])+.)+[A-Z]([a-z])+$", r"((a+)?b?)*", r"(\d+[.\d])+", r"(x+x+)+y", r"(a+\1)+|(b)",
    ],
)  # fmt: skip
def test_exponential_patterns_are_refused(pattern: str) -> None:
    """A repeat that can divide the same characters in several ways."""
    with pytest.raises(ValueError, match=r"exponential|invalid group reference|cannot refer"):
        compile_regex(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^a+b+$", r"^(?P<a>\S+) (?P<b>.*)$", r'"[^"\\]*(?:\\.[^"\\]*)*"', r"([^,]*,)*", r"(\w+\s)+",
        r"(?:GET|POST|PUT)+", r'(?:\\.|[^"\\])*"', r"(a++)+", r"(?>a+)+", r"(a{1,3})+", r"(\d+(,\d+)*)?",
        r"((?:\d{1,3}\.){3}\d+)*x?", r"(?:(?:a+b)c)*", r"(?P<k>\w+)=(?P<v>\S*)(?: (?P<r>.*))?$",
    ],
)  # fmt: skip
def test_patterns_with_one_way_to_match_are_accepted(pattern: str) -> None:
    """Repeats inside repeats whose rounds something keeps apart."""
    assert compile_regex(pattern)


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "(?P<a>x)(?P<a>y)", "*", "[z-a]", "(?P<1>x)"])
def test_what_is_no_pattern_is_said_to_be_none(pattern: str) -> None:
    """The error quotes the pattern."""
    with pytest.raises(ValueError, match="not a regular expression"):
        compile_regex(pattern)
