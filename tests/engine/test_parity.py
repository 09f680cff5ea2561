"""The native engine and its Python twin give the same bytes, counts, errors and carry for any input."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.component import Context, Parser
from logflow.engine import load_engine
from logflow.engine._adapter import NativeEngine
from logflow.engine._python import PythonEngine
from logflow.engine.api import Engine, LineFormat
from logflow.errors import ComponentError, MalformedData
from logflow.multiline import PRESETS, custom, of_presets
from logflow.packing import pack_entry
from logflow.testing import build_parser, make_context
from tools import strategies as data

CORPUS = (Path(__file__).parents[2] / "native/tests/corpus/lines").read_bytes()
NOW_NS = 1_770_000_000_123_456_789
MAX_LINE = 60

FACTOR = int(os.environ.get("LOGFLOW_PARITY", "1"))
"""How many times more examples are tried: set it to 20 or more after a change of an engine."""

PYTHON = PythonEngine()

PARSERS: dict[str, dict[str, Any]] = {
    "json": {"name": "json"},
    "json time": {"name": "json", "time_key": "time"},
    "json kept time": {"name": "json", "time_key": "time", "keep_time": True, "timezone": "+05:30"},
    "json unix": {"name": "json", "time_key": "time", "time_format": "unix"},
    "json unix_ms": {"name": "json", "time_key": "a", "time_format": "unix_ms"},
    "json unix_ns": {"name": "json", "time_key": "stream", "time_format": "unix_ns"},
    "json clf": {"name": "json", "time_key": "time", "time_format": "%d/%b/%Y:%H:%M:%S %z"},
    "json pattern": {"name": "json", "time_key": "time", "time_format": "%Y-%m-%dT%H:%M:%S.%N%z"},
    "json seconds": {"name": "json", "time_key": "time", "time_format": "%s"},
    "raw": {"name": "raw"},
    "raw stream": {"name": "raw", "key": "stream"},
    "logfmt": {"name": "logfmt", "types": {"n": "int", "cached": "bool"}, "time_key": "time"},
    "ltsv": {"name": "ltsv", "types": {"status": "float"}, "time_key": "time", "time_format": "unix"},
    "csv": {
        "name": "csv",
        "columns": ["n", "a", "b", "f", "e", "t"],
        "types": {"n": "int", "t": "bool", "f": "float"},
    },
    "csv other": {"name": "csv", "columns": ["a", "b", "c"], "delimiter": " ", "quote": "'"},
    "regex": {
        "name": "regex",
        "pattern": r"^(?P<remote>[^ ]*) (?P<host>[^ ]*) (?P<user>[^ ]*) \[(?P<time>[^\]]*)\] "
        r'"(?P<method>\S+)(?: +(?P<path>[^ "]*)(?: +[^ "]*)?)?" '
        r"(?P<code>[^ ]*) (?P<size>[^ ]*)"
        r'(?: "(?P<referer>[^\"]*)" "(?P<agent>[^\"]*)")?$',
        "types": {"code": "int"},
        "time_key": "time",
        "time_format": "%d/%b/%Y:%H:%M:%S %z",
    },
    "regex chain": {
        "name": "regex",
        "pattern": r'^(?P<remote>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)" '
        r'(?P<status>\d{3}) (?P<size>\d+|-)(?: "(?P<referer>[^"]*)" "(?P<agent>[^"]*)")?$',
        "types": {"status": "int", "size": "int"},
    },
    "regex search": {"name": "regex", "pattern": r"(?i)(?P<word>[a-z_]+)=(?P<value>\d+)\b", "max_length": 40},
    "cri": {"name": "cri"},
    "docker": {"name": "docker"},
}


@pytest.fixture(scope="module")
def native() -> Engine:
    """The native engine; without it there is nothing to compare."""
    try:
        engine = load_engine("native")
    except ComponentError as error:
        pytest.skip(str(error))
    if engine.name != "native":
        pytest.skip(f"LOGFLOW_ENGINE={engine.name}")
    return engine


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return make_context(tmp_path_factory.mktemp("parity"), engine="python")


def parity(examples: int = 30) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(
        max_examples=examples * FACTOR,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.function_scoped_fixture,
        ],
    )


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the type of what it raises."""
    try:
        return call()
    except (MalformedData, ValueError) as error:
        return type(error)


def same(native: Engine, call: Callable[[Engine], Any]) -> Any:
    """Check that both engines do the same, and return it."""
    expected = outcome(lambda: call(PYTHON))
    assert outcome(lambda: call(native)) == expected
    return expected


def known_parser(name: str, context: Context) -> Parser:
    options = dict(PARSERS[name])
    return build_parser(context, options.pop("name"), **options)


LINES: dict[LineFormat, st.SearchStrategy[bytes]] = {
    "cri": data.cri_lines(),
    "docker": data.docker_lines(),
    "plain": data.messages(),
}


@pytest.mark.parametrize("line_format", ["cri", "docker", "plain"])
@given(drawn=st.data())
@parity()
def test_lines_and_their_joins(
    native: Engine, context: Context, line_format: LineFormat, drawn: st.DataObject
) -> None:
    """Blocks of container lines, with the carry from block to block, then the flush."""
    parser = known_parser(drawn.draw(st.sampled_from(sorted(PARSERS))), context)
    options = {
        "max_line": drawn.draw(st.sampled_from([MAX_LINE, 7, 1 << 20])),
        "stream": drawn.draw(st.sampled_from([None, "stdout"])),
        "message_key": drawn.draw(st.sampled_from(["message", "truncated"])),
        "offset_key": drawn.draw(st.sampled_from([None, "offset", "a", "attrs", "stream", "truncated"])),
    }
    carry, offset = b"", drawn.draw(st.sampled_from([0, 7, 1 << 40]))
    for block in drawn.draw(st.lists(data.blocks(LINES[line_format]), max_size=3)):
        parsed = same(
            native,
            lambda engine, block=block, carry=carry, at=offset: engine.line_parser(
                line_format, parser, **options
            ).parse(block, carry, NOW_NS, at),
        )
        assert PYTHON.count(parsed.entries) == parsed.events
        carry, offset = parsed.carry, offset + parsed.consumed
    same(native, lambda engine: engine.line_parser(line_format, parser, **options).flush(carry, NOW_NS))


MULTILINES = [
    of_presets(sorted(PRESETS)),
    of_presets(["go", "python"], max_lines=3, max_bytes=50),
    custom("^[a{T]", None, "[}e]$", timeout_ns=10**9),
    custom(None, r"^\s|^at", None, max_lines=2),
    custom(None, None, "x"),
]
TRACE_LINES = st.one_of(
    st.sampled_from(
        [
            "Traceback (most recent call last):", '  File "x", line 1', "KeyError: 'x'", "", "\r", "panic: x",
            "During handling of the above exception, another exception occurred:", "goroutine 1 [running]:",
            "main.main()", "\t/a.go:1", "java.lang.Error: \x00é", "\tat a.b(C.java)", '{"a":1}',
            "exit status 2",
        ]
    ).map(str.encode),
    data.messages(),
)  # fmt: skip


def wrapped(line_format: LineFormat, lines: list[tuple[bytes, int, str, str]]) -> bytes:
    block = b""
    for line, second, stream, tag in lines:
        text = line.replace(b"\n", b" ")
        time = f"2026-01-31T12:00:{second:02}Z"
        if line_format == "cri":
            block += f"{time} {stream} {tag} ".encode() + text + b"\n"
        elif line_format == "docker":
            log = text.decode("utf-8", "replace") + "\n" * (tag == "F")
            attrs = {"attrs": {"n": second}} if second % 2 else {}
            block += json.dumps({"log": log, "stream": stream, **attrs, "time": time}).encode() + b"\n"
        else:
            block += text + b"\n"
    return block


@pytest.mark.parametrize("line_format", ["cri", "docker", "plain"])
@given(
    lines=st.lists(
        st.tuples(
            TRACE_LINES, st.integers(0, 9), st.sampled_from(["stdout", "stderr"]), st.sampled_from("FFFP")
        ),
        max_size=14,
    ),
    multiline=st.sampled_from(MULTILINES),
    name=st.sampled_from(["json", "raw", "json time"]),
    max_line=st.sampled_from([7, MAX_LINE, 1 << 20]),
    cut=st.integers(0, 14),
    offset_key=st.sampled_from([None, "offset"]),
)
@parity(60)
def test_multiline(
    native: Engine, context: Context, line_format: LineFormat, lines: Any, multiline: Any, name: str,
    max_line: int, cut: int, offset_key: str | None,
) -> None:  # fmt: skip
    """Lines of several events and streams: whole, and cut into two blocks."""
    parser = known_parser(name, context)

    made = {
        engine.name: engine.line_parser(
            line_format, parser, max_line=max_line, multiline=multiline, offset_key=offset_key
        )
        for engine in (PYTHON, native)
    }

    def make(engine: Engine) -> Any:
        return made[engine.name]

    carry, entries, offset = b"", b"", 0
    for block in (wrapped(line_format, lines[:cut]), wrapped(line_format, lines[cut:])):
        parsed = same(
            native,
            lambda engine, block=block, carry=carry, at=offset: make(engine).parse(block, carry, NOW_NS, at),
        )
        carry, entries, offset = parsed.carry, entries + parsed.entries, offset + parsed.consumed
    flushed = same(native, lambda engine: make(engine).flush(carry, NOW_NS))
    whole = same(native, lambda engine: make(engine).parse(wrapped(line_format, lines), b"", NOW_NS))
    assert whole.entries == entries
    assert whole.carry == carry
    assert PYTHON.count(flushed.entries) == flushed.events


@pytest.mark.parametrize("name", sorted(PARSERS))
@given(lines=st.lists(data.messages(), max_size=4))
@parity(12)
def test_message_parsers(native: Engine, context: Context, name: str, lines: list[bytes]) -> None:
    """Every parser on what it knows and what it does not."""
    parser = known_parser(name, context)
    block = b"".join(line.replace(b"\n", b" ") + b"\n" for line in (*lines, *data.SAMPLE_LINES))
    same(
        native, lambda engine: engine.line_parser("plain", parser, max_line=1 << 20).parse(block, b"", NOW_NS)
    )


@pytest.mark.parametrize("line_format", ["cri", "docker", "plain"])
@pytest.mark.parametrize("name", sorted(PARSERS))
def test_corpus(native: Engine, context: Context, line_format: LineFormat, name: str) -> None:
    """The nasty lines that the fuzzer starts from: together, and each by itself."""
    parser = known_parser(name, context)

    def parse(engine: Engine, block: bytes) -> Any:
        return engine.line_parser(line_format, parser, max_line=5000).parse(block, b"", NOW_NS)

    entries = same(native, lambda engine: parse(engine, CORPUS)).entries
    for line in CORPUS.splitlines(keepends=True) if name == "json time" else []:
        same(native, lambda engine, line=line: parse(engine, line))
    same(native, lambda engine: engine.to_ndjson(entries, "t"))


@pytest.mark.parametrize("name", sorted(set(PARSERS) - {"cri", "docker"}))
@pytest.mark.usefixtures("native")
def test_parsers_run_natively(context: Context, name: str) -> None:
    """None of them is left to the Python engine."""
    engine = load_engine("native")
    assert isinstance(engine, NativeEngine)
    engine.line_parser("plain", known_parser(name, context), max_line=99)
    assert engine.fallbacks == []


@given(
    carry=data.damaged(
        st.sampled_from(
            [
                msgpack.packb({"stderr": [5, b"abc", False], "stdout": [2**63, b"\xff" * 70, True]}),
                msgpack.packb({"other": [-1, b"", False]}),
                msgpack.packb({"stdout": [1.0, b"", False]}),
                msgpack.packb(
                    {
                        "stdout+": [5, 6, b"Traceback", False, 1, 2, b"\x81\xa1a\x01", [[7, b"", True]]],
                        "+": [5, 6, b"x", True, 99, 0, b"", []],
                    }
                ),
            ]
        )
    )
)
@parity()
def test_a_damaged_carry(native: Engine, context: Context, carry: bytes) -> None:
    parser = known_parser("json", context)
    block = b"2026-01-31T12:00:00Z stdout P x\n2026-01-31T12:00:01Z stderr F y\n"
    same(native, lambda engine: engine.line_parser("cri", parser, max_line=9).parse(block, carry, NOW_NS))
    same(native, lambda engine: engine.line_parser("plain", parser, max_line=9).parse(block, carry, NOW_NS))
    same(native, lambda engine: engine.line_parser("cri", parser, max_line=9).flush(carry, NOW_NS))


@given(data.variants(data.json_objects()))
@parity(80)
def test_json(native: Engine, context: Context, texts: list[bytes]) -> None:
    """Much the same object several times, as the native engine remembers keys from record to record."""
    parser = known_parser("json", context)
    block = b"".join(text.replace(b"\n", b" ") + b"\n" for text in texts)
    same(
        native, lambda engine: engine.line_parser("plain", parser, max_line=1 << 20).parse(block, b"", NOW_NS)
    )


@given(
    st.lists(
        st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]),
        min_size=50,
    )
)
@parity(10)
def test_floats_are_read_and_written_exactly(native: Engine, context: Context, values: list[float]) -> None:
    finite = [value for value in values if math.isfinite(value)]
    parser = known_parser("json", context)
    block = b"".join(b'{"a":%s,"b":%r}\n' % (msgspec.json.encode(value), value) for value in finite)
    entries = same(
        native,
        lambda engine: engine.line_parser("plain", parser, max_line=1 << 20).parse(block, b"", 0).entries,
    )
    lines = same(native, lambda engine: engine.to_ndjson(entries, "t"))
    assert [msgspec.json.decode(line)["a"] for line in lines.splitlines()] == finite


TIME_FORMATS = [
    "%Y-%m-%d %H:%M:%S,%f",
    "%b %e %H:%M:%S %Y",
    "%a %b %d %H:%M:%S.%N %Z %y",
    "%I:%M %p %d/%m/%Y",
    "%s.%L",
    "%D %T",
    "%F %R%z",
    "%d-%B-%Y %H",
    "%% %Y%m%d%H%M%S",
    "%h/%d/%Y",
    "iso8601",
    "unix",
    "unix_us",
]
PIECES = (
    "2026 1999 26 70 01 1 12 13 00 0 31 30 29 59 60 24 Jan feb MARCH May Sept December Mon friday AM pm "
    "Z UTC GMT +0130 -02:00 +02 +24:00 5 123456789 1769860800 . , : - / % T"
)
TIME_PIECES = st.sampled_from([" ", *PIECES.split()])
WHOLE_TIMES = st.sampled_from(
    [
        "2026-01-31 12:34:56,789",
        "Jan  3 01:02:03 2026",
        "Sat Jan 31 12:00:00.123456789 UTC 26",
        "12:30 am 31/1/2026",
        "1769860800.250",
        "01/31/26 23:59:59",
        "2026-02-28 12:30+0130",
        "29-february-2024 7",
        "% 20260131120000",
        "2026-01-31T12:00:00.5 +01:00",
        "1769860800.1234567890",
        "jul/4/1976",
        "\u0661769860800",
    ]
)


@pytest.mark.parametrize("time_format", TIME_FORMATS)
@given(
    texts=st.lists(
        st.one_of(
            WHOLE_TIMES,
            data.damaged(WHOLE_TIMES.map(str.encode)).map(lambda text: text.decode("utf-8", "replace")),
            st.lists(TIME_PIECES, max_size=12).map("".join),
            st.floats(0, 5e9),
            st.integers(-5, 2**70),
        ),
        min_size=4,
        max_size=8,
    )
)
@parity(15)
def test_time_formats(native: Engine, context: Context, time_format: str, texts: list[Any]) -> None:
    """Times by pattern, as they should be and not."""
    parser = build_parser(context, "json", time_key="time", time_format=time_format, timezone="-03:30")
    block = b"".join(b'{"time":%s}\n' % json.dumps(text).encode() for text in texts)
    same(native, lambda engine: engine.line_parser("plain", parser, max_line=999).parse(block, b"", NOW_NS))


ENTRIES = st.one_of(data.canonical_entries(), data.damaged(data.canonical_entries()))
FOREIGN = data.damaged(st.one_of(data.canonical_entries(), data.foreign_entries()))


@given(FOREIGN, st.none() | st.integers(0, 500), st.sampled_from([None, b"", b"\x81\xa1a\x05"]))
@parity(100)
def test_normalize(native: Engine, packed: bytes, limit: int | None, group: bytes | None) -> None:
    same(native, lambda engine: engine.normalize(packed, NOW_NS, limit=limit, group=group))
    assert same(native, lambda engine: engine.normalize(bytearray(packed), NOW_NS)) is not None


@given(ENTRIES)
@parity(40)
def test_counting(native: Engine, packed: bytes) -> None:
    same(native, lambda engine: engine.count(packed))
    same(native, lambda engine: engine.offsets(memoryview(packed)))
    same(native, lambda engine: engine.time_range(packed))


@given(ENTRIES, st.sampled_from(["@timestamp", "a", "é\n", None]), st.sampled_from(["@tag", "a", None]))
@parity(80)
def test_json_lines(native: Engine, packed: bytes, time_key: str | None, tag_key: str | None) -> None:
    same(native, lambda engine: engine.to_ndjson(packed * 2, 'tag "é"', time_key, tag_key))


FIELDS = st.dictionaries(
    st.one_of(data.KEYS, st.text(max_size=4)),
    st.one_of(st.text(max_size=5), st.integers(), st.floats(), st.none(), st.just({"x": [b"y"]})),
    max_size=20,
)


@given(ENTRIES, FIELDS)
@parity(40)
def test_splice(native: Engine, packed: bytes, fields: dict[str, Any]) -> None:
    same(native, lambda engine: engine.splice(packed, fields))


PATHS = st.one_of(
    data.KEYS,
    st.sampled_from(
        [
            "a.a",
            "a.b.a",
            "a.0",
            "null",
            "5",
            "1.0",
            ".",
            "a.",
            '["[1,\\"\\\\xff\\"]"]',
            "a[0]",
            "a[-1].a",
            'a["b"]',
            "a[1][0]",
            "b.a[0].b",
            '["a.a"]',
            '["\\\\xff"].a',
        ]
    ),
)
PATTERNS = st.sampled_from(
    [
        "",
        "a",
        "^a",
        "a$",
        "^$",
        r"\d+",
        r"^\w+$",
        r"(?i)INFO|E",
        "é",
        r"\\xff",
        r"[^a-z]",
        "^.{3,5}$",
        r"\bT\d",
        "null|true",
        r"^[\[{]",
        "(?s)a.*b",
        r"\Z",
        "(?m)^a$",
        "(a",
        "x{2,}",
        r"[a\]\[&&b~~]",
        r"\.",
        "(?:ab?)+c",
        "(?=a)a",
    ]
)
RULES = st.lists(st.tuples(PATHS, PATTERNS), max_size=3)


@given(ENTRIES, RULES, RULES, st.sampled_from(["and", "or"]))
@parity(60)
def test_grep(native: Engine, packed: bytes, keep: Any, exclude: Any, mode: Any) -> None:

    def keep_some(engine: Engine) -> Any:
        grep = engine.grep(keep, exclude, mode)
        return grep.apply(packed), grep.present()

    same(native, keep_some)


@given(pattern=data.patterns(), texts=st.lists(data.PATTERN_TEXTS, min_size=3, max_size=8))
@parity(120)
def test_regular_expressions(native: Engine, context: Context, pattern: str, texts: list[str]) -> None:
    """Groups are the same wherever both engines take the pattern."""
    try:
        parser = build_parser(context, "regex", pattern=pattern)
    except (ValueError, ComponentError):
        return
    block = b"".join(text.replace("\n", "?").encode() + b"\n" for text in texts)
    same(native, lambda engine: engine.line_parser("plain", parser, max_line=99).parse(block, b"", NOW_NS))
    entries = b"".join(pack_entry(index, {"a": text}) for index, text in enumerate(texts))
    same(native, lambda engine: engine.grep([("a", pattern)], []).apply(entries))


VALUES = st.one_of(
    st.sampled_from(
        [
            "{tag}",
            "{host}-{a}",
            "{{{a.b}}}",
            "{",
            "}}",
            "{}",
            "{level}{missing}x",
            "plain",
            "{a{b}",
            "é{é}",
            "{a[0]}{b.a}",
            "{a..b} {{",
            '{x} {"a": 1}',
        ]
    ),
    st.integers(),
    st.none(),
    st.floats(),
    st.lists(st.integers(), max_size=2),
)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["set", "default"]), PATHS, VALUES),
        st.tuples(st.just("remove"), PATHS, st.none()),
        st.tuples(st.sampled_from(["rename", "copy"]), PATHS, PATHS),
        st.tuples(st.just("drop"), data.KEYS, st.none()),
    ),
    max_size=6,
)


@given(ENTRIES, CHANGES)
@parity(60)
def test_modify(native: Engine, packed: bytes, changes: Any) -> None:
    variables = {"host": "node-1", "tag": "not this one"}

    def change(engine: Engine) -> Any:
        modify = engine.modify(changes, variables)
        return modify.apply(packed, "the.tag"), modify.present()

    same(native, change)


TEXTS = st.one_of(data.messages(), data.messages().map(lambda text: text.decode("utf-8", "replace")))


@pytest.mark.parametrize("name", sorted(PARSERS))
@given(drawn=st.data())
@parity(8)
def test_field_parser(native: Engine, context: Context, name: str, drawn: st.DataObject) -> None:
    """The text of a field, among other fields and in other places."""
    parser = known_parser(name, context)
    texts = drawn.draw(st.lists(TEXTS, max_size=3)) + list(data.SAMPLE_LINES)
    packed = b"".join(
        pack_entry(index, {"x": 1, "a": {"b": [text]}, "t": text}) for index, text in enumerate(texts)
    )
    packed = drawn.draw(ENTRIES) + packed
    field = drawn.draw(st.one_of(st.sampled_from(["a.b[0]", "t"]), PATHS))
    options = {
        "into": drawn.draw(st.one_of(st.none(), st.sampled_from(["p", "a.p"]), PATHS)),
        "keep_original": drawn.draw(st.booleans()),
        "drop_unparsed": drawn.draw(st.booleans()),
    }

    def parse(engine: Engine) -> Any:
        field_parser = engine.field_parser(parser, field, **options)
        return field_parser.apply(packed), field_parser.present()

    result = same(native, parse)
    if isinstance(result, tuple):
        assert PYTHON.count(result[0][0]) == result[0][1]
        same(native, lambda engine: engine.to_ndjson(result[0][0], "t"))


@given(data.damaged(data.frames()), st.sampled_from([5, 40, 1000, 1 << 30]))
@parity(80)
def test_scan_frames(native: Engine, frames: bytes, max_size: int) -> None:
    same(native, lambda engine: engine.scan_frames(frames, max_size))
    same(native, lambda engine: engine.scan_frames(frames, max_size, 2))


@given(st.lists(st.sampled_from([*b'{}[]",:\\ \n\r\t1a', 0xC3]), max_size=40).map(bytes), st.booleans())
@parity(100)
def test_json_objects_as_lines(native: Engine, text: bytes, array: bool) -> None:
    same(native, lambda engine: engine.json_lines(text, array=array))


@given(st.binary(max_size=60))
@parity(60)
def test_arbitrary_bytes(native: Engine, junk: bytes) -> None:
    """Bytes that nobody meant to be anything."""
    same(native, lambda engine: engine.normalize(junk, NOW_NS))
    for call in ("count", "offsets", "time_range"):
        same(native, lambda engine, call=call: getattr(engine, call)(junk))
    same(native, lambda engine: engine.scan_frames(junk, 1000))
    same(native, lambda engine: engine.to_ndjson(junk, "t"))


@pytest.mark.parametrize("levels", [126, 127, 128, 129, 130, 131])
def test_depth(native: Engine, levels: int) -> None:
    """Both refuse msgpack at the same level of nesting, as maps, arrays and keys."""
    for record in (
        b"\x81\xa1a" + b"\x91" * (levels - 2) + b"\x90",
        b"\x81" * (levels - 1) + b"\x80" + b"\xc0" * (levels - 1),
    ):
        entry = pack_entry(0, {})[:-1] + record
        same(native, lambda engine, entry=entry: engine.normalize(entry, NOW_NS))
        same(native, lambda engine, entry=entry: engine.count(entry))
        same(native, lambda engine, entry=entry: engine.to_ndjson(entry, "t"))
        for frame in (
            b"\x92\xa1t\x91" + entry,
            b"\x93\xa1t" + entry[1:],
            b"\x93\xa1t\xc0" + entry[11:],
            entry[11:],
        ):
            same(native, lambda engine, frame=frame: engine.scan_frames(frame, 1 << 20))


def test_large_blocks(native: Engine, context: Context) -> None:
    """Blocks that are worked on without the GIL, records with more keys than fit a short header."""
    parser = known_parser("json", context)
    wide = b"{" + b",".join(b'"key%d":%d' % (i % 70_000, i) for i in range(70_003)) + b"}"
    block = b"".join(b'2026-01-31T12:00:00.%09dZ stdout F {"n":%d}\n' % (i, i) for i in range(3000))
    block += b"2026-01-31T12:00:00Z stderr F " + wide + b"\n"
    parsed = same(
        native, lambda engine: engine.line_parser("cri", parser, max_line=1 << 24).parse(block, b"", 0)
    )
    same(native, lambda engine: engine.to_ndjson(parsed.entries, "t"))
    same(native, lambda engine: engine.splice(parsed.entries, {"a": 1}))


@pytest.mark.parametrize("multiline", MULTILINES)
@pytest.mark.parametrize("tail", [b"\xc0\xc0\0", b"\xe0\xe0\0", b"\xf0\x9f\xf0\x9f\0"])
def test_a_text_that_is_cut_twice_is_cut_as_once(
    native: Engine, context: Context, multiline: Any, tail: bytes
) -> None:
    """A line that is an event by itself may be cut as a line, and again as an event."""
    block = b"Traceback (most recent call last):\n" + b"\0" * (8 - len(tail)) + tail + b"\n"

    def parse(engine: Engine) -> Any:
        parser = build_parser(context, "raw")
        return engine.line_parser("plain", parser, max_line=7, multiline=multiline).parse(block, b"", 0)

    same(native, parse)
