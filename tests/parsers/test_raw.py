"""Parser raw."""

from __future__ import annotations

from collections.abc import Callable

from logflow.component import Parser


def test_the_line_is_the_message(make_parser: Callable[..., Parser]) -> None:
    """Even when it is empty or not UTF-8."""
    parser = make_parser("raw", key="line")
    assert parser.parse(b"") == (None, {"line": ""})
    assert parser.parse(b"a\xff") == (None, {"line": "a\\xff"})
