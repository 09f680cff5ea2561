"""Regular expressions of the configuration: the dialect, and what each engine takes."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest
from hypothesis import given, settings

from logflow.regexes import MAX_STEPS, compile_regex, parse_pattern
from tools.strategies import PATTERN_TEXTS, patterns

EXPONENTIAL = [
    r"(?:ab|abab)*c", r"(?:a{1,5}){1,40}b", r"(?:a+){2,20}b", r"(?:[ab]c|ac)*d", r"(?:ab|ab)*c", r"(a+)+",
    r"(.*,)*x", r"(a|aa)*b", r"(\w+\s?)+$", r'(\\.|[^"])*"', r"(?i)(a+A)+", r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(\d+[.\d])+", r"(x+x+)+y", r"(a{1,3})+", r"((?:\d{1,3}\.){3}\d+)*x?", "a?" * 30 + "b", r"(a|b|ab)+c",
]  # fmt: skip
POLYNOMIAL = [
    r"(?P<k>\w+)\s*=\s*(?P<v>.*)\s*;\s*$",
    r"^(?P<time>.*) (?P<level>.*) \[(?P<thread>.*)\] (?P<logger>.*) - (?P<msg>.*)$",
    r"^.*a.*b.*c.*d$",
    r"a{0,9}a{0,9}a{0,9}a{0,9}b",
]
REFUSED = [
    (r"(?:a?){30}b", "may be empty"), (r"(a*)*$", "may be empty"), (r"((a+)?b?)*", "may be empty"),
    (r"(?=(a+)+b)", "looks ahead"), (r"(?!x)", "looks ahead"), (r"(?<=a)b", "looks behind"),
    (r"(?<!a)b", "looks"),
    (r"(a)\1", "refers to a group"), (r"(?P<a>x)(?P=a)", "refers to a group"), (r"(?>a+)", "atomic"),
    (r"a++", "possessive"), (r"(?(1)a|b)", "asks for a group"), (r"(?P<a>x)+", "inside a repeat"),
    ("(", "has no )"), ("a)", "without its ("), ("a{2,1}", "no number of repeats"), ("*", "nothing before"),
    ("(?P<a>x)(?P<a>y)", "two groups"), ("[z-a]", "range"), ("(?P<1>x)", "not the name"), ("[a", "has no ]"),
    (r"a\q", r"\q is not known"), (r"\xzz", "is not a character"), ("(?x)a", "flag x"),
    ("a**", "two repeats"),
    ("^*", "a place"), ("a(?i)", "flags within"), ("a{99999}{2}", "two repeats"),
    ("(?:a{9999}){9999}", "more than"),
    ("(" * 70 + ")" * 70, "nested deeper"), ("a\\", "ends in the middle"), (r"\ud800", "is not a character"),
]  # fmt: skip
LINEAR = [
    r"^a+b+$", r"^(?P<a>\S+) (?P<b>.*)$", r'"[^"\\]*(?:\\.[^"\\]*)*"', r"([^,]*,)*",
    r"(\w+\s)+", "error", "^debug$",
    r"(?:GET|POST|PUT)+", r'(?:\\.|[^"\\])*"', r"(\d+(,\d+)*)?", r"(?:(?:a+b)c)*", r"error.*timeout",
    r"(?P<k>\w+)=(?P<v>\S*)(?: (?P<r>.*))?$", r"^\d{1,3}(?:\.\d{1,3}){3}$", r"(?<a>x)-(?<b>[[:alpha:]]+)",
]  # fmt: skip


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
        (r"(?i)K", "\u212a", False),
        (r"(?i)[^k]", "K", False),
        (r"^.$", "é", True),
        (r"a.b", "a\nb", False),
        (r"(?s)a.b", "a\nb", True),
        (r"(?s:a.)b", "a\nb", True),
        (r"(?i:A)a", "aA", False),
        (r"^[[:digit:]]+[^[:space:]]$", "12x", True),
        (r"^[\]\-a]+$", "]-a", True),
        (r"^[]a-]+$", "]-a", True),
        (r"^a{,2}$", "aaa", False),
        (r"^a{b}$", "a{b}", True),
        (r"^\x41\u00e9\.\n\011$", "Aé.\n\t", True),
        (r"a(?#no b)c", "ac", True),
        (r"\bT\d\z", "-T1", True),
        (r"^(?<year>\d{4})", "2026", True),
        (r"^[&~]{2}$", "&~", True),
        (r"^[^\x00-\U0010ffff]", "a", False),
    ],
)
def test_the_dialect_is_one_for_both_engines(engine, pattern, text, found):
    assert engine.regex(pattern).found(text) is found


@pytest.mark.parametrize(("pattern", "why"), REFUSED)
def test_what_is_not_of_the_dialect_is_refused_with_a_reason(engine, pattern, why):
    for compile_it in (parse_pattern, engine.regex):
        with pytest.raises(ValueError, match=re.escape(why)) as refused:
            compile_it(pattern)
        assert repr(pattern)[:200] in str(refused.value)


@pytest.mark.parametrize("pattern", EXPONENTIAL + POLYNOMIAL)
def test_slow_patterns_are_refused_where_only_re_could_match_them(pattern, monkeypatch):
    monkeypatch.setitem(sys.modules, "re2", None)
    compile_regex.cache_clear()
    with pytest.raises(ValueError, match=r"without the native engine .* google-re2"):
        compile_regex(pattern)


@pytest.mark.parametrize("pattern", EXPONENTIAL + POLYNOMIAL)
def test_the_native_engine_matches_them_in_linear_time(engine, pattern):
    """A mebibyte of what is worst for a backtracking matcher, which would not come back."""
    if engine.name != "native":
        pytest.skip("only the native engine takes them")
    regex = engine.regex(pattern)
    for hostile in ("a", "ab", "1", "x = ", "a b [c] d - ", "aA", "=;", '\\"', "1.1.1.1"):
        text = hostile * ((1 << 20) // len(hostile))
        regex.found(text + "\n")
        regex.fields(text + "\n")


@pytest.mark.parametrize("pattern", LINEAR)
def test_patterns_with_one_way_to_match_are_accepted(engine, pattern):
    regex = engine.regex(pattern)
    assert regex.found("\0") is (regex.fields("\0") is not None)


def test_groups_that_took_part_are_fields_in_their_order(engine):
    regex = engine.regex(r"^(?P<b>\w+)(?:=(?<a>\w*))?(?: (?P<c>.))?$")
    assert list(regex.fields("k=v").items()) == [("b", "k"), ("a", "v")]
    assert regex.fields("é") is None
    assert regex.fields("k=v é") == {"b": "k", "a": "v", "c": "é"}


def test_google_re2_takes_what_re_would_be_slow_for(monkeypatch):
    """A stand-in, as it is not installed where the tests run."""
    re2 = ModuleType("re2")
    re2.compile, re2.error = re.compile, re.error
    monkeypatch.setitem(sys.modules, "re2", re2)
    compile_regex.cache_clear()
    regex = compile_regex(r"(a+)+b")
    assert regex.fields("aab") == {}
    compile_regex.cache_clear()
    re2.compile = lambda text: (_ for _ in ()).throw(re.error("too large"))
    with pytest.raises(ValueError, match=r"google-re2 refuses .*too large"):
        compile_regex(r"(a+)+b")


def test_a_text_too_long_for_re_is_searched_in_part():
    """So that the steps stay below the bound, whatever the text."""
    regex = compile_regex("a.*b")
    assert regex.max_length**2 <= MAX_STEPS
    assert regex.found("a b" + "a" * 100_000)
    assert not regex.found("c" * regex.max_length + "ab")
    assert regex.fields("ab" + "c" * regex.max_length) is None


@settings(max_examples=300, deadline=None)
@given(patterns(), PATTERN_TEXTS)
def test_a_pattern_means_what_it_means_to_python(pattern, text):
    """Where Python's own reading is the same: ASCII classes, and no newline at the end."""
    try:
        ours = re.compile(parse_pattern(pattern).write("re"), re.ASCII)
    except ValueError:
        return
    match = ours.search(text.replace("\n", "?"))
    expected = re.compile(pattern, re.ASCII).search(text.replace("\n", "?"))
    assert (match and match.groupdict()) == (expected and expected.groupdict())
