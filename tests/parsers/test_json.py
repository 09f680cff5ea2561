"""Parser json."""

from __future__ import annotations

from collections.abc import Callable

from logflow.component import Parser
from logflow.event import EventTime


def test_members_become_fields_in_their_order(make_parser: Callable[..., Parser]) -> None:
    """Nested values stay nested."""
    found = make_parser("json").parse(b'{"b":{"c":[1]},"a":null}')
    assert found == (None, {"b": {"c": [1]}, "a": None})
    assert list(found[1]) == ["b", "a"]


def test_anything_but_an_object_does_not_match(make_parser: Callable[..., Parser]) -> None:
    """The engine keeps such lines as they were."""
    parser = make_parser("json")
    assert parser.parse_many([b"[1]", b"plain text", b"", b'{"a":1}']) == [None, None, None, (None, {"a": 1})]


def test_times_are_read_in_lines_together(make_parser: Callable[..., Parser]) -> None:
    """Each with its own."""
    parser = make_parser("json", time_key="t", time_format="unix_ms")
    assert parser.parse_many([b'{"t":1}', b'{"t":"x"}']) == [(EventTime(10**6), {}), (None, {"t": "x"})]
