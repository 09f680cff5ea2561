"""Hypothesis strategies for what the engine reads: valid, nearly valid and arbitrary.

Most inputs are made whole and then damaged in a place or two, because what breaks parsers is almost
right.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from typing import Any

import msgpack
from hypothesis import strategies as st

_NAMES = "a b level message msg stream truncated attrs time log a.b é \\xff @timestamp @tag"
KEYS = st.sampled_from(
    ["", "a key that is longer than thirty-two bytes", "\n", '"', "x" * 40, *_NAMES.split()]
)
"""Keys that mean something somewhere, are long, or need escapes."""

_NUMBERS = """
    0 -0 -0.0 0.0 1e5 1E+5 1e-7 1e16 123456789.25 9007199254740993.0 1e308 1e309 -1e400 5e-324 1e-400 0.1
    2.2250738585072011e-308 00 01 -01 1. .5 +1 - 1e 1e+ 0x1 NaN Infinity -Infinity
    9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809
    18446744073709551615 18446744073709551616 123456789012345678901234567890
    127 128 -32 -33 255 256 65535 65536 4294967295 4294967296 -128 -129 -32768 -32769
"""
NUMBERS = st.sampled_from(
    ["1" * 4300, "1" * 4301, "-" + "1" * 4300, f"0.{'0' * 320}1e320", "1" * 310 + "e-5", *_NUMBERS.split()]
)
"""Numbers of JSON at every limit, and what is none."""

_TIMES = """
    2026-01-31T12:00:00.123456789Z 2026-01-31T12:00:00Z 2026-01-31T12:00:00.5+01:30 1970-01-01T00:00:00Z
    1969-12-31T23:59:59Z 2106-02-07T06:28:15.999999999Z 2106-02-07T06:28:16Z 2024-02-29T00:00:00-00:00
    2023-02-29T00:00:00Z 2026-13-01T00:00:00Z 2026-01-31T24:00:00Z 2026-01-31T23:59:60Z
    0000-01-01T00:00:00Z 2026-01-31t12:00:00z 2026-01-31_12:00:00,25_+0130 2026-01-31T12:00:00.Z
    2026-01-31T12:00:00.1234567891234Z 2026-01-31T12:00:00+24:00 2026-01-31T12:00:00+00:60
    2026-01-31T12:00:00 2026-01-31T12:00:00-01 1970-01-01T00:30:00+01:00 31/Jan/2026:12:00:00_+0100
    1769860800 1769860800.123456789 -1 1e9
"""
TIMES = st.sampled_from([time.replace("_", " ") for time in _TIMES.split()])
"""Times as they should be, and as they should not."""

_texts = st.one_of(
    st.text(max_size=20),
    st.text(string.ascii_letters + ' "\\/\n', max_size=70),
    KEYS,
    TIMES,
)
_chars = st.integers(0, 0xFFFF).map(lambda code: f"\\u{code:04x}")


@st.composite
def json_strings(draw: Callable[..., Any]) -> str:
    """A JSON string, with escapes that may be wrong."""
    text: str = json.dumps(draw(_texts), ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 7)) == 0:
        place = draw(st.integers(1, len(text) - 1))
        text = (
            text[:place] + draw(st.one_of(_chars, st.sampled_from(["\\x", "\\/", "\\", "\t"]))) + text[place:]
        )
    return text


def _container(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    blank = st.sampled_from(["", "", "", " ", "\t\r\n "])
    pairs = st.lists(st.tuples(blank, json_strings(), blank, blank, children, blank), max_size=5)
    return st.one_of(
        pairs.map(lambda found: "{" + ",".join(f"{a}{k}{b}:{c}{v}{d}" for a, k, b, c, v, d in found) + "}"),
        st.lists(children, max_size=4).map(lambda found: "[" + ",".join(found) + "]"),
    )


_scalars = st.one_of(
    json_strings(),
    NUMBERS,
    st.integers().map(str),
    st.floats(allow_nan=False).map(lambda value: repr(value).replace("inf", "1e999")),
    st.sampled_from(["true", "false", "null", "nul", "True", ""]),
)
_values = st.recursive(_scalars, _container, max_leaves=8)


@st.composite
def json_objects(draw: Callable[..., Any]) -> bytes:
    """The text of a JSON object, most of the time; often with keys that repeat."""
    keys = st.one_of(KEYS.map(json.dumps), json_strings())
    members = [f"{draw(keys)}:{draw(_values)}" for _ in range(draw(st.integers(0, 4)))]
    for number in range(draw(st.sampled_from([0, 0, 0, 4, 16, 30]))):
        members.insert(number // 2, f'"key{number}":{number}')
    if members and draw(st.booleans()):
        members.append(draw(st.sampled_from(members)))
    comma: str = draw(st.sampled_from([",", ", "]))
    text = "{" + comma.join(members) + "}"
    before: str = draw(st.sampled_from(["", " ", "\ufeff"]))
    return (before + text).encode("utf-8", "surrogatepass")


def deep_json(levels: int) -> bytes:
    """A JSON object of so many levels."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@st.composite
def damaged(draw: Callable[..., Any], whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes with a few places changed: cut, doubled, overwritten or inserted."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "drop", "double", "set", "insert"])):
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + draw(st.integers(1, 4))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 20))]
            case "set":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case _:
                data[at:at] = draw(st.binary(min_size=1, max_size=4))
    return bytes(data)


@st.composite
def variants(draw: Callable[..., Any], whole: st.SearchStrategy[bytes]) -> list[bytes]:
    """The same bytes several times, each time damaged in another way or not at all."""
    data = draw(whole)
    return [draw(damaged(st.just(data))) for _ in range(draw(st.integers(2, 5)))]


def messages() -> st.SearchStrategy[bytes]:
    """What containers print: JSON, logfmt, ltsv, csv, access logs, or anything."""
    return st.one_of(
        damaged(json_objects()),
        damaged(st.sampled_from(SAMPLE_LINES)),
        st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.binary(max_size=40),
        st.integers(126, 131).map(deep_json),
    )


SAMPLE_LINES = [
    b'level=info msg="it \\"works\\" \\u00e9 \\ud83d\\ude00 \\ud83d" n=5 cached time=2026-01-31T12:00:00Z n=',
    b'a= b="" c=d=e "=" =x',
    b"host:10.0.0.1\tstatus:200\ttime:1769860800.5\t\thost:again:x",
    b'1,two,"three, ""quoted""",4.5,"",true',
    b'10.0.0.1 - frank [31/Jan/2026:12:00:00 +0100] "GET /a?b=c HTTP/1.1" 200 2326 "http://a/" "Mozilla (X)"',
    b'10.0.0.1 - - [31/Jan/2026:12:00:00 +0100] "-" 400 0 "-" "\xff"',
    b"2026-01-31T12:00:00.5Z stdout F inner line",
    b'{"log":"inner\\n","stream":"stderr","time":"2026-01-31T12:00:00Z","attrs":{"a":1}}',
    b"",
    b"\r",
]
"""Lines that parsers know."""


def _line(parts: list[bytes]) -> bytes:
    return b"".join(parts).replace(b"\n", b" ")


def cri_lines() -> st.SearchStrategy[bytes]:
    """Lines as a container runtime writes them; damaged ones among them."""
    whole = st.tuples(
        TIMES.map(str.encode),
        st.sampled_from([b" stdout ", b" stderr ", b" stdin "]),
        st.sampled_from([b"F ", b"P ", b"F:x ", b"P:a:b ", b"F", b"X "]),
        messages(),
        st.sampled_from([b"", b"\r"]),
    ).map(lambda parts: _line(list(parts)))
    return damaged(whole).map(lambda line: line.replace(b"\n", b" "))


@st.composite
def docker_lines(draw: Callable[..., Any]) -> bytes:
    """Lines of Docker's json-file driver; damaged ones among them."""
    text = draw(messages()).decode("utf-8", "backslashreplace") + draw(
        st.sampled_from(["\n", "\n", "\r\n", ""])
    )
    line: dict[str, Any] = {"log": text, "stream": draw(st.sampled_from(["stdout", "stderr", "x"]))}
    if draw(st.booleans()):
        line["attrs"] = draw(st.sampled_from([{}, {"a": [1, 2.5]}, None, "x"]))
    line["time"] = draw(TIMES)
    if draw(st.integers(0, 9)) == 0:
        line[draw(st.sampled_from(["log", "stream", "time", "extra"]))] = draw(
            st.sampled_from([1, 2**70, None, {"a": 1}])
        )
    data = json.dumps(line, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    line_data: bytes = draw(damaged(st.just(data)))
    return line_data.replace(b"\n", b" ")


def blocks(lines: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Blocks of lines; the last one may lack its newline."""
    ends = st.sampled_from([b"\n", b"\n", b"\n", b""])
    return st.tuples(st.lists(lines, max_size=6), ends).map(lambda found: b"\n".join(found[0]) + found[1])


_packable = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(max_size=40),
        st.binary(max_size=40),
        TIMES,
        st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
        st.binary(min_size=8, max_size=8).map(lambda data: msgpack.ExtType(0, data)),
    ),
    lambda children: st.one_of(
        st.lists(children, max_size=4),
        st.lists(children, max_size=4).map(lambda v: v * 5),
        st.dictionaries(st.text(max_size=4), children, max_size=4),
    ),
    max_leaves=6,
)
_odd_keys = st.one_of(
    st.integers(-40, 300),
    st.floats(),
    st.none(),
    st.booleans(),
    st.binary(max_size=4),
    st.just([1, b"\xff"]),
    st.just({"a": b"b"}),
    st.just(msgpack.ExtType(0, bytes(8))),
    st.just(msgpack.ExtType(5, b"abcd")),
)

_single_floats = st.binary(min_size=4, max_size=4).map(lambda bits: b"\xca" + bits)


@st.composite
def packed_maps(draw: Callable[..., Any]) -> bytes:
    """A packed record: keys of any kind, repeated ones, long and short headers."""
    pack = msgpack.Packer(use_bin_type=draw(st.booleans())).pack
    values = st.one_of(_packable.map(pack), _packable.map(pack), _single_floats)
    keys = st.one_of(KEYS, KEYS, KEYS.map(str.encode), st.text(max_size=5), _odd_keys)
    count = draw(st.integers(0, 4))
    pairs = b"".join(pack(draw(keys)) + draw(values) for _ in range(count))
    more = draw(st.sampled_from([0, 0, 0, 6, 17, 30]))
    pairs += b"".join(pack(f"key{number}") + pack(number) for number in range(more))
    count += more
    heads = [b"\xde" + count.to_bytes(2, "big"), b"\xdf" + count.to_bytes(4, "big")]
    if count < 16:
        heads += [bytes((0x80 | count,))] * 4
    return bytes(draw(st.sampled_from(heads)) + pairs)


_event_times = st.one_of(
    st.binary(min_size=8, max_size=8).map(lambda data: b"\xd7\x00" + data),
    st.integers(0, 2**32 - 1).map(lambda s: b"\xd7\x00" + s.to_bytes(4, "big") + bytes(4)),
)
_other_times = st.one_of(
    st.binary(min_size=8, max_size=8).map(lambda data: b"\xc7\x08\x00" + data),
    st.integers(-(2**63), 2**64 - 1).map(msgpack.packb),
    st.floats().map(msgpack.packb),
    st.floats(-10, 5e9).map(msgpack.packb),
    _single_floats,
    st.sampled_from(
        [b"\xc0", b"\xa1x", b"\xd7\x01" + bytes(8), b"\xd6\x00" + bytes(4), b"\xc7\x09\x00" + bytes(9)]
    ),
)


def canonical_entries() -> st.SearchStrategy[bytes]:
    """Entries in canonical form."""
    entry = st.tuples(_event_times, packed_maps()).map(lambda parts: b"\x92" + b"".join(parts))
    return st.lists(entry, max_size=5).map(b"".join)


@st.composite
def foreign_entries(draw: Callable[..., Any]) -> bytes:
    """Entries as others send them."""
    entries = []
    for _ in range(draw(st.integers(0, 4))):
        time = draw(st.one_of(_event_times, _other_times))
        if draw(st.booleans()):
            time = draw(st.sampled_from([b"\x92", b"\xdc\x00\x02", b"\x91"])) + time + draw(packed_maps())
        entries.append(draw(st.sampled_from([b"\x92", b"\x92", b"\xdc\x00\x02", b"\xdd\0\0\0\2"])) + time)
        entries.append(draw(packed_maps()))
    return b"".join(entries)


@st.composite
def frames(draw: Callable[..., Any]) -> bytes:
    """Forward frames of all modes, one after another."""
    found = []
    for _ in range(draw(st.integers(0, 4))):
        tag = draw(st.sampled_from([b"\xa1t", b"\xc4\x01t", b"\xd9\x01t", b"\xa0", b"\x01", b"\xc0"]))
        option = draw(st.sampled_from([b"", b"\xc0", b"\x80", b"\x81\xa5chunk\xa1x", b"\x01"]))
        elements = 2
        match draw(st.sampled_from(["message", "forward", "packed", "other"])):
            case "message":
                content = draw(st.one_of(_event_times, _other_times)) + draw(packed_maps())
                elements = 3
            case "forward":
                head = draw(st.sampled_from([b"\x92", b"\xdc\x00\x02", b"\xdd\x00\x00\x00\x02"]))
                content = head + draw(packed_maps()) + draw(packed_maps())
            case "packed":
                entries = draw(canonical_entries())
                content = (
                    draw(st.sampled_from([b"\xdb", b"\xc6"])) + len(entries).to_bytes(4, "big") + entries
                )
            case _:
                found.append(draw(st.sampled_from([b"\xc0", b"\x80", b"\xa3abc", b"\x05"])))
                continue
        elements += bool(option) + draw(st.sampled_from([0, 0, 0, 0, 1]))
        found.append(bytes((0x90 | elements,)) + tag + content + option)
    return b"".join(found)


_atoms = st.sampled_from(
    [
        "a",
        "b",
        "é",
        " ",
        "1",
        r"\.",
        "[ab]",
        "[^a]",
        r"[^\s\"]",
        r"\w",
        r"\d",
        r"\S",
        ".",
        "[a-c1é]",
        "ab",
        r"\b",
        "^",
        "$",
    ]
)
_repeats = st.sampled_from(["", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{,2}", "{2,}"])


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(st.tuples(inner, _repeats).map("".join), min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda branches: f"(?:{'|'.join(branches)})"),
        st.tuples(inner, _repeats).map(lambda parts: f"(?:{parts[0]}){parts[1]}"),
        inner.map(lambda part: f"(?P<group>{part})"),
    )


@st.composite
def patterns(draw: Callable[..., Any]) -> str:
    """Regular expressions with named groups, some of which are refused."""
    flags: str = draw(st.sampled_from(["", "", "", "(?i)", "(?s)", "(?m)", "(?x)"]))
    parts = [draw(st.recursive(_atoms, _larger, max_leaves=6)) for _ in range(draw(st.integers(1, 3)))]
    text: str = "^" * draw(st.booleans()) + f"(?P<whole>{''.join(parts)})" + "$" * draw(st.booleans())
    number = text.count("(?P<group>")
    for index in range(number):
        text = text.replace("(?P<group>", f"(?P<group{index}>", 1)
    return flags + text


PATTERN_TEXTS = st.text('ab\u00e9 1-."\nAKkſ', max_size=12)
"""Texts that patterns match now and then."""
