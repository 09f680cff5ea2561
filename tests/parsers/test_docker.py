"""Parser docker: single lines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from logflow.component import Parser
from logflow.event import EventTime


def test_a_full_line(make_parser: Callable[..., Parser]) -> None:
    """Unknown keys are left out, attrs kept."""
    line = b'{"log":"a\\r\\n","x":1,"stream":"stderr","attrs":{"k":"v"},"time":"1970-01-01T00:00:01Z"}'
    assert make_parser("docker").parse(line) == (
        EventTime(10**9),
        {"message": "a", "attrs": {"k": "v"}, "stream": "stderr"},
    )


def test_a_partial_line_is_marked(make_parser: Callable[..., Parser]) -> None:
    """It is one whose text does not end with a newline."""
    line = b'{"log":"a","stream":"stdout","time":"1970-01-01T00:00:00Z"}'
    assert make_parser("docker").parse(line) == (
        EventTime(0),
        {"message": "a", "stream": "stdout", "partial": True},
    )


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"log":"a","stream":"stdout"}',
        b'{"log":1,"stream":"stdout","time":"1970-01-01T00:00:00Z"}',
        b'{"log":"a","stream":"x","time":"1970-01-01T00:00:00Z"}',
        b'{"log":"a","stream":["stdout"],"time":"1970-01-01T00:00:00Z"}',
        b'{"log":"a","stream":"stdout","time":"now"}',
        b'{"log":"a","stream":"stdout","time":"1970-01-01T00:00:00\xc3\xa9Z"}',
    ],
)
def test_other_lines_do_not_match(make_parser: Callable[..., Parser], line: bytes) -> None:
    """The format is strict."""
    assert make_parser("docker").parse(line) is None
