"""What all parsers have in common: times, types, and that nothing makes them raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from logflow import registry
from logflow.component import Parser
from logflow.event import EventTime
from logflow.parsers.base import FieldType, convert
from tools.strategies import messages

MakeParser = Callable[..., Parser]
OPTIONS: dict[str, dict[str, Any]] = {
    "json": {"time_key": "time"},
    "raw": {},
    "cri": {},
    "docker": {},
    "logfmt": {"time_key": "time", "types": {"n": "int", "a": "float", "b": "bool"}},
    "ltsv": {"time_key": "time", "time_format": "unix"},
    "csv": {"columns": ["a", "b", "c", "d", "e", "f"], "types": {"a": "int"}},
    "regex": {"pattern": r"(?P<a>\S+) (?P<b>.*)", "time_key": "a"},
    "grok": {"pattern": "%{WORD:a} %{GREEDYDATA:b}"},
    "preset": {"name": "klog"},
}


def test_every_parser_is_tried_here() -> None:
    """A new parser needs its options above."""
    assert set(registry.built_in("parser")) == set(OPTIONS)


@pytest.mark.slow
@given(lines=st.lists(st.one_of(messages(), st.binary(max_size=200)), max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_line_raises(make_parser: MakeParser, lines: list[bytes]) -> None:
    """And many lines at once are parsed as each by itself."""
    for name, options in OPTIONS.items():
        parser = make_parser(name, **options)
        found = parser.parse_many(lines)
        assert repr(found) == repr([parser.parse(line) for line in lines])
        for result in found:
            if result is not None:
                time, record = result
                assert time is None or isinstance(time, EventTime)
                assert all(isinstance(key, str) for key in record)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_parser_describes_itself_in_plain_values(make_parser: MakeParser, name: str) -> None:
    """So that the native engine can compile it."""
    description = make_parser(name, **OPTIONS[name]).native()
    made_of = {"grok": "regex", "preset": "regex"}
    assert description["type"] == made_of.get(name, name)

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(item) for key, item in value.items())
        return plain_list(value) if isinstance(value, list) else isinstance(value, str | int | bool | None)

    def plain_list(values: list[Any]) -> bool:
        return all(map(plain, values))

    assert plain(description)


def test_a_time_is_taken_out_of_the_record(make_parser: MakeParser) -> None:
    """Unless it is to be kept."""
    line = b'{"time":"1970-01-01T00:00:01Z","a":1}'
    assert make_parser("json", time_key="time").parse(line) == (EventTime(10**9), {"a": 1})
    kept = make_parser("json", time_key="time", keep_time=True).parse(line)
    assert kept == (EventTime(10**9), {"time": "1970-01-01T00:00:01Z", "a": 1})


@pytest.mark.parametrize("line", [b'{"time":"yesterday"}', b'{"time":5}', b'{"a":1}'])
def test_a_time_that_cannot_be_read_stays(make_parser: MakeParser, line: bytes) -> None:
    """The line still counts as parsed; the time of the line holds."""
    found = make_parser("json", time_key="time").parse(line)
    assert found is not None
    assert found[0] is None
    assert found == make_parser("json").parse(line)


def test_zone_of_times_without_offset(make_parser: MakeParser) -> None:
    """``timezone`` says where they were written."""
    parser = make_parser("json", time_key="t", timezone="+01:00")
    assert parser.parse(b'{"t":"1970-01-01T01:00:00"}') == (EventTime(0), {})


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("5", "int", 5),
        ("-5", "int", -5),
        ("+05", "int", 5),
        ("18446744073709551615", "int", 2**64 - 1),
        ("18446744073709551616", "int", "18446744073709551616"),
        ("-9223372036854775809", "int", "-9223372036854775809"),
        ("5.0", "int", "5.0"),
        ("٣", "int", "٣"),
        ("1_000", "int", "1_000"),
        ("", "int", ""),
        ("9" * 5000, "int", "9" * 5000),
        ("1.5", "float", 1.5),
        ("5", "float", 5.0),
        (".5e-3", "float", 0.0005),
        ("5.", "float", 5.0),
        ("1e999", "float", "1e999"),
        ("nan", "float", "nan"),
        ("inf", "float", "inf"),
        ("1_0.0", "float", "1_0.0"),
        ("True", "bool", True),
        ("off", "bool", False),
        ("1", "bool", True),
        ("2", "bool", "2"),
        ("ON", "bool", True),
        ("true ", "bool", "true "),
        ("5", "str", "5"),
    ],
)
def test_types(text: str, kind: FieldType, expected: object) -> None:
    """Text that is not of the type stays text."""
    found = convert(text, kind)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("json", {"time_format": "nonsense", "time_key": "t"}, "does not give month and day"),
        ("json", {"timezone": "Mars", "time_key": "t"}, "not a time zone"),
        ("json", {"time_keys": "t"}, "Extra inputs"),
        ("json", {"time_key": ""}, "must not be empty"),
        ("logfmt", {"types": {"a": "integer"}}, "Input should be"),
        ("regex", {}, "Field required"),
        ("regex", {"pattern": "(a"}, "not a regular expression"),
        ("regex", {"pattern": "a+"}, "no named group"),
        ("regex", {"pattern": r"(?P<a>b)\1"}, "refers to a group"),
        ("csv", {}, "Field required"),
        ("csv", {"columns": []}, "at least 1 item"),
        ("csv", {"columns": ["a", "a"]}, "duplicate name 'a'"),
        ("csv", {"columns": ["a"], "delimiter": ",,"}, "one ASCII character"),
        ("csv", {"columns": ["a"], "delimiter": "'", "quote": "'"}, "must differ"),
    ],
)
def test_mistakes_are_found_when_the_configuration_is_read(
    name: str, options: dict[str, Any], problem: str
) -> None:
    """Each with a text that says what to write."""
    with pytest.raises(ValidationError, match=problem):
        registry.load("parser", name).Config(type=name, **options)
