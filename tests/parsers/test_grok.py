"""Grok patterns."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from logflow.formats import GROK, expand
from logflow.parsers.grok import GrokParser
from logflow.regexes import parse_pattern
from logflow.testing import build_parser, make_context


def parse(tmp_path, line, pattern, engine="auto", **options):
    """Without the native engine, patterns that could take too long are refused, or left to google-re2."""
    if engine == "python" and any(name in pattern for name in ("IP", "APACHE")):
        pytest.importorskip("re2")
    context = make_context(tmp_path, engine=engine)
    parser = build_parser(context, "grok", pattern=pattern, **options)
    parser.native()
    found = parser.parse(line.encode())
    return None if found is None else found[1]


def test_names_become_fields_and_types(tmp_path, engine):
    pattern = "^%{IP:client} %{WORD:method} %{URIPATHPARAM:path} %{NUMBER:bytes:int} %{NUMBER:seconds:float}$"
    assert parse(tmp_path, "192.0.2.1 GET /a?b=c 1500 0.25", pattern, engine.name) == {
        "client": "192.0.2.1", "method": "GET", "path": "/a?b=c", "bytes": 1500, "seconds": 0.25,
    }  # fmt: skip


@pytest.mark.parametrize("name", GROK)
def test_every_pattern_can_be_used(name):
    pattern, _ = expand(f"^%{{{name}}}$", {})
    parse_pattern(pattern).write("native")


@pytest.mark.parametrize(
    ("name", "matches", "does_not"),
    [
        ("IP", ["192.0.2.1", "::1", "2001:db8::8a2e:370:7334", "::ffff:192.0.2.1"], ["256.1.1.1", "1.2.3"]),
        ("NUMBER", ["1", "-1.5", ".5"], ["a", "."]),
        ("HOSTNAME", ["a", "web-1.example.com"], ["-a", "a b"]),
        ("UUID", ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567"]),
        ("TIMESTAMP_ISO8601", ["2026-03-01T10:00:00.123Z", "2026-03-01 10:00:00,5+01:00"], ["2026-13-01"]),
        ("HTTPDATE", ["10/Oct/2000:13:55:36 -0700"], ["10/Okt/2000"]),
        ("SYSLOGTIMESTAMP", ["Mar  1 10:00:00"], ["March"]),
        ("LOGLEVEL", ["INFO", "warn", "Error"], ["loud"]),
        ("QS", ['"a \\" b"', "'x'"], ['"']),
        ("URI", ["https://user:pw@example.com:8080/a/b?c=d", "ftp://host"], ["example"]),
        ("MAC", ["00:1b:44:11:3a:b7", "00-1B-44-11-3A-B7", "001b.4411.3ab7"], ["00:1b"]),
        ("JAVACLASS", ["com.example.Shop$Cart"], ["9a"]),
    ],
)
def test_patterns_match_what_their_names_say(tmp_path, name, matches, does_not):
    for text in matches:
        assert parse(tmp_path, text, f"^%{{{name}:x}}$") == {"x": text}
    for text in does_not:
        assert parse(tmp_path, text, f"^%{{{name}:x}}$") is None


def test_the_combined_log_of_apache(tmp_path, engine):
    line = '192.0.2.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.0" 200 23 "http://x/" "curl"'
    record = parse(tmp_path, line, "%{COMBINEDAPACHELOG}", engine.name)
    assert record["verb"] == "GET"
    assert record["request"] == "/a"
    assert record["agent"] == '"curl"'


def test_patterns_of_ones_own_and_fields_as_logstash_writes_them(tmp_path):
    options = {"patterns": {"CODE": "[A-Z]{2}%{INT:number:int}"}}
    assert parse(tmp_path, "x AB12 y", "%{CODE:[error][code]}", **options) == {
        "error_code": "AB12",
        "number": 12,
    }


@pytest.mark.parametrize(
    ("pattern", "patterns", "said"),
    [
        ("%{NOPE:a}", {}, "there is no pattern 'NOPE'"),
        ("%{INT}", {}, "makes no field"),
        ("%{INT:a}%{INT:a}", {}, "twice"),
        ("%{INT:a:money}", {}, "not a type"),
        ("%{INT:a-b}", {}, "not a name of a field"),
        ("%{A:a}", {"A": "%{B}", "B": "%{A}"}, "circle"),
        ("%{A:a}", {"A": "%{B}" * 40, "B": "%{C}" * 40, "C": "x" * 40}, "longer than"),
        ("(%{INT:a}", {}, "pattern|parenthesis|closed"),
    ],
)
def test_mistakes_are_named(pattern, patterns, said):
    with pytest.raises(ValidationError, match=said):
        GrokParser.Config(pattern=pattern, patterns=patterns)
