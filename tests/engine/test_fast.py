"""The Python engine's fast path gives what its exact path gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.component import Parser
from logflow.engine._python.fast import LINES, FastLines, FastPlain, Texts
from logflow.engine._python.fast_cri import FastCri
from logflow.engine._python.fast_docker import FastDocker
from logflow.engine._python.lines import PythonLineParser
from logflow.engine.api import LineFormat
from logflow.packing import unpack_entries
from logflow.parsers.json import JsonParser
from logflow.parsers.raw import RawParser
from logflow.testing import make_context
from tools.strategies import KEYS, cri_lines, docker_lines, messages

JSON, RAW = Texts("message", unless_json=True), Texts("line", unless_json=False)
NOW_NS = 1_769_860_800_000_000_001
MESSAGES = st.one_of(
    st.sampled_from(
        [b'{"a":1}', b'{"stream":"own","a":[{"b":[[1.5,null]]}]}', b"{}", b'{"a":"\xc3\xa9\xff"}',
         b'{"a":1}{"b":2}', b'{"a":[1,', b"{}]}", b'{"a":123456789012345678901234567890}',
         b'{"a":[[[[[1]]]]]}',
         b'{"a":1} ', b'{"attrs":1,"truncated":0}', b'{"a":"' + b"x" * 90 + b'"}', b'{"a":1e999}',
         b'{"a":"\\ud80"}', b"", b"text"]
    ),
    st.dictionaries(KEYS, st.one_of(st.integers(), st.text(max_size=5), st.none()), max_size=4).map(
        lambda record: json.dumps(record).encode()
    ),
    messages(),
)  # fmt: skip
FRACTIONS = st.sampled_from(
    ["", ".", ".1", ".12345678", ".123456789", ".000000000", ".1234567891", ".12345678a"]
)
SECONDS = st.sampled_from(
    ["2026-01-31T12:00:00", "2026-01-31T12:00:01", "2106-02-07T06:28:15", "1970-01-01T00:00:00",
     "2026-02-30T12:00:00", "2026-01-31 12:00:00"]
)  # fmt: skip
CARRIES = [b"", b"\x81\xa6stderr\x93\x01\xc4\x01x\xc2", b"\x81\xa6stdout\x93\x01\xc4\x01{\xc2"]


@st.composite
def lots(draw: Callable[..., Any], line_format: LineFormat) -> bytes:
    """Lines that are alike, with a few that are not."""
    count = draw(st.sampled_from([1, 2, 3, 15, 16, 40]))
    usual = (
        draw(MESSAGES),
        draw(SECONDS),
        draw(FRACTIONS),
        draw(st.sampled_from(["Z", "Z", "+01:00", "-10:30"])),
    )
    lines = [_line(line_format, usual, "stdout", "F")] * count
    for _ in range(draw(st.integers(0, 4))):
        changed = (
            draw(MESSAGES),
            draw(SECONDS),
            draw(FRACTIONS),
            draw(st.sampled_from([usual[3], "Z", "+01:01"])),
        )
        kept = draw(st.sets(st.integers(0, 3)))
        parts = tuple(usual[i] if i in kept else changed[i] for i in range(4))
        stream = draw(st.sampled_from(["stdout", "stderr", "stderr", "srderr", "studer"]))
        tags = draw(st.sampled_from(["F", "F", "F", "P", "F:x", "X"]))
        lines[draw(st.integers(0, count - 1))] = _line(line_format, parts, stream, tags)
    if draw(st.integers(0, 5)) == 0:
        lines.append(draw({"cri": cri_lines(), "docker": docker_lines(), "plain": messages()}[line_format]))
    return b"".join(
        line.replace(b"\n", b" ") + draw(st.sampled_from([b"\n", b"\n", b"\r\n"])) for line in lines
    )


def _line(line_format: LineFormat, parts: Any, stream: str, tags: str) -> bytes:
    message, second, fraction, offset = parts
    if line_format == "cri":
        return f"{second}{fraction}{offset} {stream} {tags} ".encode() + message
    if line_format == "plain":
        return message
    log = message.decode("utf-8", "backslashreplace") + {"P": "", "X": "\r\n"}.get(tags, "\n")
    line = {"log": log, "stream": stream, "time": f"{second}{fraction}{offset}"}
    if tags == "F:x":
        line["attrs"] = {"tag": tags}
    return json.dumps(line).encode()


@pytest.fixture(scope="module")
def parsers(tmp_path_factory: pytest.TempPathFactory) -> list[Parser]:
    context = make_context(Path(tmp_path_factory.mktemp("fast")), engine="python")
    raw = RawParser(RawParser.Config(key="truncated"), context)
    return [JsonParser(JsonParser.Config(), context), raw]


@pytest.mark.slow
@pytest.mark.parametrize("line_format", ["cri", "docker", "plain"])
@given(drawn=st.data())
@settings(max_examples=60, deadline=None)
def test_both_paths_agree(parsers: list[Parser], line_format: LineFormat, drawn: st.DataObject) -> None:
    """Bytes, counts and carry, whatever is unlike."""
    block = drawn.draw(lots(line_format))
    carry = drawn.draw(
        st.sampled_from([b"", b"\x81\xa6stderr\x93\x01\xc4\x01x\xc2", b"\x81\xa6stdout\x93\x01\xc4\x01{\xc2"])
    )
    max_line = drawn.draw(st.sampled_from([1 << 20, 60]))
    stream = drawn.draw(st.sampled_from([None, "stdout"]))
    parser = drawn.draw(st.sampled_from(parsers))
    key = drawn.draw(st.sampled_from(["message", "stream"]))
    fast = PythonLineParser(line_format, parser, max_line=max_line, stream=stream, message_key=key)
    exact = PythonLineParser(line_format, parser, max_line=max_line, stream=stream, message_key=key)
    exact._fast = None
    assert fast.parse(block, carry, NOW_NS) == exact.parse(block, carry, NOW_NS)


CRI = b'2026-01-31T12:00:00.123456789Z stdout F {"message":1}\n'
DOCKER = b'{"log":"{\\"a\\":1}\\n","stream":"stdout","time":"2026-01-31T12:00:00.123456789Z"}\n'


@pytest.mark.parametrize(
    ("fast", "lines"),
    [
        (FastCri(JSON, 100), [CRI]),
        (FastCri(JSON, 100), [CRI] * LINES),
        (FastCri(JSON, 100), [CRI, CRI.replace(b"stdout", b"stderr"), CRI.replace(b"00:00.", b"00:01.")]),
        (FastCri(JSON, 100), [CRI.replace(b"stdout", b"stderr"), CRI]),
        (FastCri(JSON, 100), [CRI.replace(b"89Z", b"8Z"), CRI.replace(b".123456789", b""), CRI]),
        (FastCri(JSON, 100), [CRI.replace(b"Z", b"+01:00"), CRI.replace(b"89Z", b"+01:00")]),
        (FastDocker(100), [DOCKER, DOCKER.replace(b"stdout", b"stderr"), DOCKER.replace(b"9Z", b"Z")]),
        (FastDocker(100), [DOCKER.replace(b'"stream"', b'"attrs":{"a":"b"},"stream"')] * 2),
        (FastPlain(JSON, 100, "stdout"), [b'{"a":1}\n'] * 300),
        (FastPlain(JSON, 100, None), [b"text\n", b"\n", b"[1]\n"]),
        (FastPlain(RAW, 100, None), [b"{}\n", b" \n", b"\xc3\xa9\n"]),
        (FastCri(JSON, 100), [CRI.replace(b"{", b"text {"), CRI.replace(b'{"message":1}', b"")]),
        (FastCri(RAW, 100), [CRI, CRI.replace(b"{", b"text {")]),
    ],
)  # fmt: skip
def test_lines_that_are_alike_take_the_fast_path(fast: FastLines, lines: list[bytes]) -> None:
    """Both streams, trailing zeros left out, other offsets, other seconds."""
    packed = fast.pack(lines, (), NOW_NS)
    assert packed is not None
    assert packed.entries.count(b"\x92\xd7\x00") == len(lines)


@pytest.mark.parametrize(
    ("fast", "lines", "busy"),
    [
        (FastCri(JSON, 100), [CRI.replace(b"F {", b"P {")], ()),
        (FastCri(JSON, 100), [CRI, CRI.replace(b"Z", b"+01:00")], ()),
        (FastCri(JSON, 100), [CRI.replace(b"Z", b"+01:00"), CRI.replace(b"Z", b"+01:01")], ()),
        (FastCri(JSON, 100), [CRI, CRI.replace(b"stdout", b"studer")], ()),
        (FastCri(JSON, 100), [CRI], {"stdout"}),
        (FastCri(JSON, 100), [CRI, CRI.replace(b"stdout", b"stderr")], {"stderr"}),
        (FastCri(JSON, 20), [CRI] * 3, ()),
        (FastDocker(100), [DOCKER], {"stderr"}),
        (FastDocker(100), [DOCKER.replace(b'"time"', b'"x":1,"time"')], ()),
        (FastPlain(JSON, 100, None), [b"text\n", b" {}\n"], ()),
        (FastPlain(JSON, 100, None), [b"text\xff\n"], ()),
        (FastPlain(RAW, 100, None), [b"text\r\n"], ()),
        (FastCri(JSON, 100), [CRI, CRI.replace(b"{", b"text {")], ()),
    ],
)  # fmt: skip
def test_lines_that_are_not_take_the_exact_path(fast: FastLines, lines: list[bytes], busy: Any) -> None:
    """Nothing is guessed."""
    assert fast.pack(lines, busy, NOW_NS) is None


@pytest.mark.parametrize(
    "unlike", [b"text\n", CRI.replace(b" F ", b" P "), CRI.replace(b"stdout F", b"stderr P")]
)
@pytest.mark.parametrize("at", [0, 31, 32, 150, 299])
def test_one_line_that_is_unlike_changes_nothing_for_the_others(
    parsers: list[Parser], unlike: bytes, at: int
) -> None:
    """Whether it stands at a seam of the few lines that are then tried together, or leaves a join open."""
    lines = [CRI.replace(b"1}", b"%d}" % number) for number in range(300)]
    lines[at] = unlike
    fast = PythonLineParser("cri", parsers[0], max_line=1000, stream=None, message_key="message")
    exact = PythonLineParser("cri", parsers[0], max_line=1000, stream=None, message_key="message")
    exact._fast = None
    assert fast.parse(b"".join(lines), b"", NOW_NS) == exact.parse(b"".join(lines), b"", NOW_NS)


@given(st.lists(st.integers(0, 999_999_999), min_size=1, max_size=300))
@settings(max_examples=50, deadline=None)
def test_nanoseconds_are_read_exactly(nanoseconds: list[int]) -> None:
    """However many are read together."""
    lines = [CRI.replace(b"123456789", b"%09d" % each) for each in nanoseconds]
    packed = FastCri(JSON, 1000).pack(lines, (), NOW_NS)
    assert packed is not None
    assert [time.nanoseconds for time, _ in unpack_entries(packed.entries)] == nanoseconds


def test_the_caches_are_bounded() -> None:
    """However many offsets and seconds a hostile file has."""
    fast = FastCri(JSON, 1000)
    for minute in range(60):
        assert fast.pack([CRI.replace(b"Z", b"+00:%02d" % minute)], (), 0) is not None
    assert len(fast._layouts) <= 8
    seconds = fast._layouts[b"+00:59", b"{"].seconds
    for index in range(5000):
        assert seconds[b"2026-01-31T%02d:%02d:%02d" % (index // 3600, index // 60 % 60, index % 60)]
    assert len(seconds) <= 4096
