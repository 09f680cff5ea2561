"""Parser regex."""

from __future__ import annotations

from collections.abc import Callable

from logflow.component import Parser
from logflow.event import EventTime

NGINX = (
    r'^(?P<remote>[^ ]*) - (?P<user>[^ ]*) \[(?P<time>[^\]]*)\] "(?P<method>\S+) (?P<path>[^ "]*) [^"]*" '
    r'(?P<status>[0-9]+) (?P<size>[^ ]*)(?: "(?P<referer>[^"]*)" "(?P<agent>[^"]*)")?$'
)


def test_an_access_log(make_parser: Callable[..., Parser]) -> None:
    """Groups in order, types converted, the time taken."""
    parser = make_parser(
        "regex", pattern=NGINX, types={"status": "int", "size": "int"}, time_key="time",
        time_format="%d/%b/%Y:%H:%M:%S %z",
    )  # fmt: skip
    found = parser.parse(b'10.0.0.1 - - [01/Jan/1970:01:00:02 +0100] "GET /a HTTP/1.1" 200 12')
    assert found == (
        EventTime(2 * 10**9),
        {"remote": "10.0.0.1", "user": "-", "method": "GET", "path": "/a", "status": 200, "size": 12},
    )


def test_groups_that_took_no_part_are_left_out(make_parser: Callable[..., Parser]) -> None:
    """An empty group is text, a missing one is nothing."""
    parser = make_parser("regex", pattern="^(?P<a>x)?(?P<b>y*)")
    assert parser.parse(b"z") == (None, {"b": ""})


def test_patterns_are_searched(make_parser: Callable[..., Parser]) -> None:
    """Anywhere in the line, unless bound."""
    assert make_parser("regex", pattern=r"id=(?P<id>\d+)").parse(b"a id=5 b") == (None, {"id": "5"})
    assert make_parser("regex", pattern=r"^id=(?P<id>\d+)").parse(b"a id=5 b") is None


def test_long_lines_do_not_match(make_parser: Callable[..., Parser]) -> None:
    """What bounds the time that matching can take."""
    parser = make_parser("regex", pattern="^(?P<a>.*)$", max_length="10B")
    assert parser.parse(b"x" * 10) == (None, {"a": "x" * 10})
    assert parser.parse(b"x" * 11) is None


def test_invalid_utf8_is_matched_as_it_is_shown(make_parser: Callable[..., Parser]) -> None:
    """Escaped first, then matched."""
    assert make_parser("regex", pattern="^(?P<a>.*)$").parse(b"\xff") == (None, {"a": "\\xff"})
