"""Parser ltsv."""

from __future__ import annotations

from typing import Any

import pytest

from logflow.parsers.ltsv import parse_ltsv


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:1", {"a": "1"}),
        ("a:1\tb:x:y", {"a": "1", "b": "x:y"}),
        ("a:\tb: ", {"a": "", "b": " "}),
        ("a:1\t\tb:2\t", {"a": "1", "b": "2"}),
        ("a:1\tb:2\ta:3", {"a": "3", "b": "2"}),
        ("a:1\tb", None),
        (":1", None),
        ("", None),
        ("\t\t", None),
        ("plain text", None),
    ],
)
def test_lines(text: str, expected: dict[str, Any] | None) -> None:
    """Labels up to the first colon, values up to the tab."""
    assert parse_ltsv(text) == expected
