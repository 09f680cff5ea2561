"""Parser cri: single lines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from logflow.component import Parser
from logflow.event import EventTime


def test_a_full_line(make_parser: Callable[..., Parser]) -> None:
    """Its time, stream and content."""
    found = make_parser("cri").parse(b"1970-01-01T00:00:01.5Z stdout F hello  world ")
    assert found == (EventTime(1_500_000_000), {"message": "hello  world ", "stream": "stdout"})


def test_a_partial_line_is_marked(make_parser: Callable[..., Parser]) -> None:
    """More tags may follow after colons."""
    found = make_parser("cri").parse(b"1970-01-01T00:00:00Z stderr P:x:y part\r")
    assert found == (EventTime(0), {"message": "part\r", "stream": "stderr", "partial": True})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"1970-01-01T00:00:00Z stdout",
        b"1970-01-01T00:00:00Z stdin F x",
        b"1970-01-01T00:00:00Z stdout X x",
        b"1970-01-01T00:00:00Z stdout FP x",
        b"1970-01-01 stdout F x",
        b" 1970-01-01T00:00:00Z stdout F x",
    ],
)
def test_other_lines_do_not_match(make_parser: Callable[..., Parser], line: bytes) -> None:
    """The format is strict."""
    assert make_parser("cri").parse(line) is None
