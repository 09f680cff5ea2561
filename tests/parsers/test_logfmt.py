"""Parser logfmt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from logflow.component import Parser
from logflow.parsers.logfmt import parse_logfmt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", {"a": "1"}),
        ("  a=1\t b=2 ", {"a": "1", "b": "2"}),
        ("a= b=", {"a": "", "b": ""}),
        ("a=1 flag", {"a": "1", "flag": True}),
        ("flag a=1", {"flag": True, "a": "1"}),
        ('a="b c"', {"a": "b c"}),
        ('a=""', {"a": ""}),
        (r'a="\"\\\/\b\f\n\r\t"', {"a": '"\\/\b\f\n\r\t'}),
        (r'a="\u00e9\ud83d\ude00"', {"a": "é😀"}),
        (r'a="\ud83d \x \u12"', {"a": "\\ud83d \\x \\u12"}),
        ("url=/x?a=b&c=d", {"url": "/x?a=b&c=d"}),
        ('a=b"c', {"a": 'b"c'}),
        ("a=1 b=2 a=3", {"a": "3", "b": "2"}),
        ("é=ü", {"é": "ü"}),
        ("a.b-c/d=1", {"a.b-c/d": "1"}),
        ("a=1\0b=2", {"a": "1", "b": "2"}),
        ("a==1", {"a": "=1"}),
        ("", None),
        ("   ", None),
        ("just some words", None),
        ('a="open', None),
        (r'a="open\"', None),
        ('a="b"c', None),
        ('"a"=1', None),
        ("=1", None),
        ('a=1 "b', None),
    ],
)
def test_lines(text: str, expected: dict[str, Any] | None) -> None:
    """The grammar, place by place."""
    found = parse_logfmt(text)
    assert found == expected
    assert found is None or list(found) == list(expected or {})


def test_types(make_parser: Callable[..., Parser]) -> None:
    """A key alone stays true, whatever its type."""
    parser = make_parser("logfmt", types={"n": "int", "ok": "bool", "flag": "int"})
    assert parser.parse(b"n=5 ok=no flag") == (None, {"n": 5, "ok": False, "flag": True})


def test_hostile_lines_take_linear_time() -> None:
    """A megabyte of what looks like a beginning."""
    for text in ('a="' + "\\" * 1_000_001, "a=" * 500_000, " " * 1_000_000, 'a="b' * 250_000):
        parse_logfmt(text)
