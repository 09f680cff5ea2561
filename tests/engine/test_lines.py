"""Blocks of container lines: joins, carry, truncation, and what becomes of nasty lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.engine.api import Engine, LineParser, Parsed
from logflow.errors import MalformedData
from logflow.packing import unpack_entries
from tools.strategies import blocks, cri_lines, deep_json, docker_lines

NOW_NS = 7
MakeLineParser = Callable[..., LineParser]
drawn_often = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def events(parsed: Parsed) -> list[tuple[int, dict[str, Any]]]:
    found = [(int(time), record) for time, record in unpack_entries(parsed.entries)]
    assert len(found) == parsed.events
    return found


def cri(content: bytes, stream: str = "stdout", tag: str = "F", second: int = 1) -> bytes:
    return f"1970-01-01T00:00:0{second}Z {stream} {tag} ".encode() + content + b"\n"


def docker(log: str, stream: str = "stdout", second: int = 1, **more: Any) -> bytes:
    line = {"log": log, "stream": stream, **more, "time": f"1970-01-01T00:00:0{second}Z"}
    return json.dumps(line).encode() + b"\n"


# -- what records look like ---------------------------------------------------------------------


def test_a_json_message_gives_its_fields(make_lines: MakeLineParser) -> None:
    """At the top level, in order, then the stream."""
    parsed = make_lines("cri").parse(cri(b'{"b":1,"a":{"c":[true,null,1.5]}}'), b"", NOW_NS)
    assert events(parsed) == [(10**9, {"b": 1, "a": {"c": [True, None, 1.5]}, "stream": "stdout"})]
    assert parsed._replace(entries=b"") == Parsed(b"", 1, 64, b"", 1, 0, 0, 0)


def test_any_other_message_is_kept(make_lines: MakeLineParser) -> None:
    """And counted as unparsed."""
    parsed = make_lines("cri").parse(cri(b"hello \xff") + cri(b"[1]", "stderr"), b"", NOW_NS)
    assert events(parsed) == [
        (10**9, {"message": "hello \\xff", "stream": "stdout"}),
        (10**9, {"message": "[1]", "stream": "stderr"}),
    ]
    assert (parsed.unparsed, parsed.malformed) == (2, 0)


def test_own_fields_are_never_overwritten(make_lines: MakeLineParser) -> None:
    """Not by the stream, not by attrs, not by truncated, not by a message that did not parse."""
    own = b'{"stream":"s","attrs":1}'
    assert events(make_lines("cri").parse(cri(own), b"", NOW_NS))[0][1] == {"stream": "s", "attrs": 1}
    line = docker('{"attrs":1}\n', attrs={"x": 2})
    assert events(make_lines("docker").parse(line, b"", NOW_NS))[0][1] == {"attrs": 1, "stream": "stdout"}
    cut = make_lines("cri", ("raw", {"key": "truncated"}), max_line=2).parse(cri(b"abc"), b"", NOW_NS)
    assert events(cut)[0][1] == {"truncated": "ab", "stream": "stdout"}
    plain = make_lines("plain", stream="stdout", message_key="stream").parse(b"text\n", b"", NOW_NS)
    assert events(plain)[0][1] == {"stream": "text"}


def test_plain_lines_have_the_time_of_now(make_lines: MakeLineParser) -> None:
    """Even empty ones are events; a stream is only added when it is known."""
    parsed = make_lines("plain").parse(b'{"a":1}\n\ntext\r\n', b"", NOW_NS)
    assert events(parsed) == [(7, {"a": 1}), (7, {"message": ""}), (7, {"message": "text"})]
    named = make_lines("plain", stream="stderr").parse(b'{"a":1}\n', b"", NOW_NS)
    assert events(named) == [(7, {"a": 1, "stream": "stderr"})]


def test_the_time_of_the_message_wins(make_lines: MakeLineParser) -> None:
    """Where the parser finds one."""
    lines = make_lines("cri", ("json", {"time_key": "t", "time_format": "unix"}))
    parsed = lines.parse(cri(b'{"t":5,"a":1}') + cri(b'{"t":"x"}'), b"", NOW_NS)
    assert events(parsed) == [
        (5 * 10**9, {"a": 1, "stream": "stdout"}),
        (10**9, {"t": "x", "stream": "stdout"}),
    ]


def test_docker_attrs_become_a_field(make_lines: MakeLineParser) -> None:
    """Before the stream."""
    parsed = make_lines("docker").parse(docker("x\r\n", attrs={"k": [1]}, extra=1), b"", NOW_NS)
    assert events(parsed) == [(10**9, {"message": "x", "attrs": {"k": [1]}, "stream": "stdout"})]
    assert list(events(parsed)[0][1]) == ["message", "attrs", "stream"]


# -- lines that are not of the format -------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"", b"text", b"1970-01-01T00:00:01Z stdout", b"1970-01-01T00:00:01Z stdin F x",
        b"1970-01-01T00:00:01Z stdout Q x", b"1970-01-01T00:00:01 stdout F x",
        b"1970-13-01T00:00:01Z stdout F x", b"1969-12-31T23:59:59Z stdout F x",
        b"2106-02-07T06:28:16Z stdout F x", b"1970-01-01T00:00:01Z  stdout F x", b"\0" * 50, b"\xff\xfe",
        b'{"log":"x\\n"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("line_format", ["cri", "docker"])
def test_malformed_lines_are_kept_whole(make_lines: MakeLineParser, line_format: str, line: bytes) -> None:
    """As the message, with the time of now, without a stream; the lines beside them are not touched."""
    good = cri(b"x") if line_format == "cri" else docker("x\n")
    parsed = make_lines(line_format).parse(good + line + b"\r\n" + good, b"", NOW_NS)
    found = events(parsed)
    assert found[1] == (7, {"message": line.decode("utf-8", "backslashreplace")})
    assert found[0] == found[2] == (10**9, {"message": "x", "stream": "stdout"})
    assert (parsed.malformed, parsed.unparsed, parsed.lines) == (1, 2, 3)


@pytest.mark.parametrize(
    "line",
    [
        b'{"log":"x\\n","stream":"x","time":"1970-01-01T00:00:01Z"}',
        b'{"log":"x\\n","stream":["stdout"],"time":"1970-01-01T00:00:01Z"}',
        b'{"log":null,"stream":"stdout","time":"1970-01-01T00:00:01Z"}',
        b'{"log":"x\\n","stream":"stdout","time":1}',
        b'{"log":"x\\n","stream":"stdout","time":"1970-01-01T00:00:01Z"',
        b'{"log":"\\ud80\\n","stream":"stdout","time":"1970-01-01T00:00:01Z"}',
    ],
)
def test_malformed_docker_lines(make_lines: MakeLineParser, line: bytes) -> None:
    """Each of the keys has its type."""
    parsed = make_lines("docker").parse(line + b"\n", b"", NOW_NS)
    assert events(parsed) == [(7, {"message": line.decode()})]
    assert parsed.malformed == 1


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b'{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}),
        (b'{"a":18446744073709551615,"b":-9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}),
        (b'{"a":18446744073709551616,"b":[-9223372036854775809]}',
         {"a": "18446744073709551616", "b": ["-9223372036854775809"]}),
        (b'{"a":"\xff\xc3\xa9\\u0000"}', {"a": "\\xffé\0"}),
        (b'{"\xff":1}', {"\\xff": 1}),
        (b'{"a":-0,"b":1e2}', {"a": 0, "b": 100.0}),
        (b' {"a":1} ', {"a": 1}),
        (b"{}", {}),
    ],
)  # fmt: skip
def test_nasty_json_that_parses(make_lines: MakeLineParser, message: bytes, expected: dict[str, Any]) -> None:
    """Duplicate keys, numbers beyond 64 bits, invalid UTF-8, NUL."""
    parsed = make_lines("plain").parse(message + b"\n", b"", NOW_NS)
    assert events(parsed) == [(7, expected)]
    assert list(events(parsed)[0][1]) == list(expected)
    assert parsed.unparsed == 0


@pytest.mark.parametrize(
    "message",
    [
        b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e999}', b'{"a":"\\ud80"}', b'{"a":"\x01"}',
        b'{"a":1}{"b":1}', b"\xef\xbb\xbf{}", b'{"a":"\\\xff"}', b"[{}]", b'{"a":01}', b"\0\0",
        deep_json(129), deep_json(200),
        b'{"a":' * 100_000,
    ],
)  # fmt: skip
def test_nasty_json_that_does_not(make_lines: MakeLineParser, message: bytes) -> None:
    """NaN, broken escapes, two values, 200 levels: kept as text, beside good lines."""
    parsed = make_lines("plain").parse(b'{"a":1}\n' + message + b'\n{"b":2}\n', b"", NOW_NS)
    text = message.decode("utf-8", "backslashreplace")
    assert [record for _, record in events(parsed)] == [{"a": 1}, {"message": text}, {"b": 2}]
    assert parsed.unparsed == 1


def test_keys_stay_unique_after_a_line_that_breaks_off(make_lines: MakeLineParser) -> None:
    """One of many keys comes twice, in a line that is no JSON in the end, and then in one that is."""
    many = ",".join(f'"k{number}":{number}' for number in range(30))
    broken, line = (f'{{{many},"k3":{value}}}\n'.encode() for value in ("oops", '"twice"'))
    block = broken + line + b'{"message":"what stands near the end of a block is read with more care"}\n'
    apart = b"".join(
        make_lines("plain").parse(text, b"", NOW_NS).entries for text in block.splitlines(keepends=True)
    )
    assert make_lines("plain").parse(block, b"", NOW_NS).entries == apart


def test_128_levels_parse(make_lines: MakeLineParser) -> None:
    """The object itself is the first."""
    assert make_lines("plain").parse(deep_json(128) + b"\n", b"", NOW_NS).unparsed == 0


# -- joins ----------------------------------------------------------------------------------------


def test_partial_lines_are_joined(make_lines: MakeLineParser) -> None:
    """With the time of the first piece, and parsed as one message."""
    block = cri(b'{"a":', tag="P") + cri(b'"x', tag="P:t", second=2) + cri(b'y"}', second=3)
    parsed = make_lines("cri").parse(block, b"", NOW_NS)
    assert events(parsed) == [(10**9, {"a": "xy", "stream": "stdout"})]
    assert parsed.lines == 3


def test_streams_are_joined_apart(make_lines: MakeLineParser) -> None:
    """However they interleave."""
    block = (
        cri(b"a", "stdout", "P") + cri(b"1", "stderr", "P", 2) + cri(b"b", "stdout", "P")
        + cri(b"2", "stderr") + cri(b"c", "stdout")
    )  # fmt: skip
    found = events(make_lines("cri").parse(block, b"", NOW_NS))
    assert found == [
        (2 * 10**9, {"message": "12", "stream": "stderr"}),
        (10**9, {"message": "abc", "stream": "stdout"}),
    ]


def test_docker_lines_are_joined_until_a_newline(make_lines: MakeLineParser) -> None:
    """The attrs are the last piece's."""
    block = docker("a", attrs={"n": 1}) + docker("x\n", "stderr") + docker("b\n", second=2, attrs={"n": 2})
    found = events(make_lines("docker").parse(block, b"", NOW_NS))
    assert found == [
        (10**9, {"message": "x", "stream": "stderr"}),
        (10**9, {"message": "ab", "attrs": {"n": 2}, "stream": "stdout"}),
    ]


def test_the_carry_is_the_open_joins(make_lines: MakeLineParser) -> None:
    """Sorted, as msgpack, the same for both engines."""
    block = cri(b"out", "stdout", "P") + cri(b"err", "stderr", "P", 2)
    parsed = make_lines("cri").parse(block, b"", NOW_NS)
    assert parsed.events == 0
    assert parsed.carry == msgpack.packb(
        {"stderr": [2 * 10**9, b"err", False], "stdout": [10**9, b"out", False]}
    )


def test_a_join_goes_on_in_the_next_block(make_lines: MakeLineParser) -> None:
    """Lines that are whole in themselves pass by it."""
    lines = make_lines("cri")
    first = lines.parse(cri(b"a", tag="P"), b"", NOW_NS)
    second = lines.parse(cri(b'{"x":1}', "stderr"), first.carry, NOW_NS)
    third = lines.parse(cri(b"b"), second.carry, NOW_NS)
    assert second.events == third.events == 1
    assert events(third) == [(10**9, {"message": "ab", "stream": "stdout"})]
    assert third.carry == b""


def test_flush_gives_joins_that_were_never_finished(make_lines: MakeLineParser) -> None:
    """A container that died leaves a P without an F."""
    lines = make_lines("cri")
    carry = lines.parse(cri(b'{"a":1}', "stdout", "P", 2) + cri(b"x\r", "stderr", "P"), b"", NOW_NS).carry
    parsed = lines.flush(carry, NOW_NS)
    assert events(parsed) == [
        (10**9, {"message": "x\r", "stream": "stderr"}),
        (2 * 10**9, {"a": 1, "stream": "stdout"}),
    ]
    assert (parsed.consumed, parsed.carry, parsed.lines, parsed.unparsed) == (0, b"", 0, 1)
    assert lines.flush(b"", NOW_NS) == Parsed(b"", 0, 0, b"", 0, 0, 0, 0)


def test_the_offset_of_an_event_is_that_of_its_first_line(make_lines: MakeLineParser) -> None:
    """Also of joins that go on in later blocks, of lines of no format, and of what is never finished."""
    lines = make_lines("cri", offset_key="at")
    pieces = [cri(b"a", tag="P"), cri(b'{"x":1}', "stderr"), b"torn\n", cri(b"b"), cri(b"c", "stderr", "P")]
    starts = [1000 + sum(map(len, pieces[:index])) for index in range(6)]
    first = lines.parse(b"".join(pieces), b"", NOW_NS, 1000)
    second = lines.parse(cri(b'{"at":"mine"}'), first.carry, NOW_NS, starts[5])
    found = [record for _, record in events(first) + events(second) + events(lines.flush(second.carry, 0))]
    assert found == [
        {"x": 1, "stream": "stderr", "at": starts[1]},
        {"message": "torn", "at": starts[2]},
        {"message": "ab", "stream": "stdout", "at": 1000},
        {"at": "mine", "stream": "stdout"},
        {"message": "c", "stream": "stderr", "at": starts[4]},
    ]


@pytest.mark.parametrize(("key", "value"), [("stream", "stdout"), ("truncated", True), ("attrs", {"n": 1})])
def test_an_offset_takes_no_other_fields_place(make_lines: MakeLineParser, key: str, value: Any) -> None:
    line = b'{"log":"abcdefgh\\n","stream":"stdout","attrs":{"n":1},"time":"2026-01-31T12:00:00Z"}\n'
    parsed = make_lines("docker", offset_key=key, max_line=3).parse(line, b"", NOW_NS, 5)
    assert events(parsed)[0][1] == {
        "message": "abc", "attrs": {"n": 1}, "stream": "stdout", "truncated": True, key: value,
    }  # fmt: skip


def test_a_carry_without_offsets_goes_on_with_them(make_lines: MakeLineParser) -> None:
    """And the other way round: the option may change while something is open."""
    without, with_offsets = make_lines("cri"), make_lines("cri", offset_key="at")
    carry = without.parse(cri(b"a", tag="P"), b"", NOW_NS).carry
    assert events(with_offsets.parse(cri(b"b"), carry, NOW_NS, 9))[0][1] == {
        "message": "ab",
        "stream": "stdout",
    }
    carry = with_offsets.parse(cri(b"a", tag="P"), b"", NOW_NS, 9).carry
    assert events(without.parse(cri(b"b"), carry, NOW_NS))[0][1] == {"message": "ab", "stream": "stdout"}


def test_carriage_returns(make_lines: MakeLineParser) -> None:
    """One is removed where a message ends; in pieces and in the middle they are text."""
    block = cri(b"a\r\r") + cri(b"b\r", tag="P") + cri(b"c\r")
    found = [record["message"] for _, record in events(make_lines("cri").parse(block, b"", NOW_NS))]
    assert found == ["a\r\r", "b\rc\r"]


@pytest.mark.parametrize(
    "carry",
    [
        b"\xc1", b"\x90", b"x", b"\x81\xa6stdout\x92\x01\xc4\x00", b"\x81\xa6stdout\x93\x01\xa1x\xc2\x00",
        b"\x81\xa6stdout\x94\x01\xc4\x01x\xc2\xff", b"\x81\xa6stdout\x95\x01\xc4\x01x\xc2\x01\x01",
    ],
)  # fmt: skip
def test_a_damaged_carry_is_an_error(make_lines: MakeLineParser, carry: bytes) -> None:
    """It comes from a file of ours."""
    with pytest.raises(MalformedData):
        make_lines("cri").parse(cri(b"x"), carry, NOW_NS)


# -- limits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abcd", "abcd"),
        ("abcde", "abcd"),
        ("abcé", "abc"),
        ("abé", "abé"),
        ("abéd", "abé"),
        ("a€x", "a€"),
        ("ab€", "ab"),
        ("a😀", "a"),
        ("😀😀", "😀"),
    ],
)
def test_long_messages_are_cut_between_characters(
    make_lines: MakeLineParser, text: str, expected: str
) -> None:
    """At max_line bytes or before, marked and counted."""
    parsed = make_lines("cri", max_line=4).parse(cri(text.encode()), b"", NOW_NS)
    record = events(parsed)[0][1]
    cut = text != expected
    assert record == {"message": expected, "stream": "stdout"} | ({"truncated": True} if cut else {})
    assert parsed.truncated == cut


def test_invalid_bytes_do_not_move_the_cut(make_lines: MakeLineParser) -> None:
    """Continuation bytes without a beginning are cut where they are."""
    parsed = make_lines("plain", max_line=4).parse(b"\x80" * 6 + b"\n", b"", NOW_NS)
    assert events(parsed)[0][1]["message"] == "\\x80" * 4


def test_a_join_is_bounded(make_lines: MakeLineParser) -> None:
    """The carry keeps no more than max_line bytes however many pieces come; the end is lost and marked."""
    lines = make_lines("cri", max_line=10)
    carry = b""
    for _ in range(50):
        carry = lines.parse(cri(b"abc", tag="P"), carry, NOW_NS).carry
        assert len(carry) < 40
    parsed = lines.parse(cri(b"end"), carry, NOW_NS)
    assert events(parsed) == [(10**9, {"message": "abcabcabca", "stream": "stdout", "truncated": True})]
    assert parsed.truncated == 1


@pytest.mark.slow
def test_a_message_of_50_megabytes_is_cut(make_lines: MakeLineParser) -> None:
    """And the file goes on."""
    block = cri(b"x" * 50_000_000) + cri(b'{"a":1}')
    parsed = make_lines("cri", max_line=1000).parse(block, b"", NOW_NS)
    assert [len(record.get("message", "")) for _, record in events(parsed)] == [1000, 0]
    assert (parsed.truncated, parsed.consumed) == (1, len(block))


def test_a_block_without_a_newline_gives_nothing(make_lines: MakeLineParser) -> None:
    """The carry stays what it was."""
    lines = make_lines("cri")
    carry = lines.parse(cri(b"a", tag="P"), b"", NOW_NS).carry
    for block in (b"", b"1970-01-01T00:00:01Z stdout F x"):
        assert lines.parse(block, carry, NOW_NS) == Parsed(b"", 0, 0, carry, 0, 0, 0, 0)


def test_any_buffer_of_bytes_will_do(make_lines: MakeLineParser) -> None:
    """Without a copy by the caller."""
    block = cri(b'{"a":1}')
    expected = make_lines("cri").parse(block, b"", NOW_NS)
    around = b"before\n" + block + b"aft"
    spread = b"".join(bytes([byte, 0]) for byte in block)
    for same in (
        bytearray(block), memoryview(block), memoryview(around)[7:-3],
        memoryview(bytearray(around))[7:-3], memoryview(spread)[::2],
    ):  # fmt: skip
        assert make_lines("cri").parse(same, b"", NOW_NS) == expected


# -- any input ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("line_format", "lines"), [("cri", cri_lines()), ("docker", docker_lines())])
@given(drawn=st.data())
@drawn_often
def test_cutting_blocks_anywhere_changes_nothing(
    make_lines: MakeLineParser,
    engine: Engine,
    line_format: str,
    lines: st.SearchStrategy[bytes],
    drawn: st.DataObject,
) -> None:
    """The carry and what was not consumed are all that is needed."""
    data = drawn.draw(blocks(lines))
    offset_key = drawn.draw(st.sampled_from([None, "at"]))
    parser = make_lines(line_format, max_line=drawn.draw(st.sampled_from([9, 1000])), offset_key=offset_key)
    whole = parser.parse(data, b"", NOW_NS)
    entries, carry, rest, counts = b"", b"", b"", [0] * 5
    cuts = sorted(drawn.draw(st.lists(st.integers(0, len(data)), max_size=4)))
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        block = rest + data[start:end]
        parsed = parser.parse(block, carry, NOW_NS, start - len(rest))
        entries += parsed.entries
        carry, rest = parsed.carry, block[parsed.consumed :]
        seen = (parsed.events, parsed.lines, parsed.unparsed, parsed.malformed, parsed.truncated)
        counts = [a + b for a, b in zip(counts, seen, strict=True)]
    assert (entries, carry, rest) == (whole.entries, whole.carry, data[whole.consumed :])
    assert counts == [whole.events, whole.lines, whole.unparsed, whole.malformed, whole.truncated]
    assert engine.count(entries) == whole.events


@pytest.mark.slow
@given(drawn=st.data())
@drawn_often
def test_interleaved_streams_are_joined_properly(make_lines: MakeLineParser, drawn: st.DataObject) -> None:
    """Each stream's messages come out whole and in order."""
    texts = st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), max_size=8), max_size=4)
    wanted = {stream: drawn.draw(texts) for stream in ("stdout", "stderr")}
    queues = {
        stream: [
            cri(piece, stream, "F" if index == len(pieces) - 1 else "P")
            for text in found
            for pieces in [_pieces(drawn, text.encode())]
            for index, piece in enumerate(pieces)
        ]
        for stream, found in wanted.items()
    }
    order = drawn.draw(st.permutations([stream for stream, queue in queues.items() for _ in queue]))
    block = b"".join(queues[stream].pop(0) for stream in order)
    parsed = make_lines("cri", "raw").parse(block, b"", NOW_NS)
    for stream, texts_wanted in wanted.items():
        got = [record["message"] for _, record in events(parsed) if record["stream"] == stream]
        assert got == texts_wanted


def _pieces(drawn: st.DataObject, text: bytes) -> list[bytes]:
    cuts = sorted(drawn.draw(st.lists(st.integers(0, len(text)), max_size=2)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@pytest.mark.slow
@given(data=st.binary(max_size=300), carry=st.just(b""))
@drawn_often
def test_arbitrary_bytes_never_raise(
    make_lines: MakeLineParser, engine: Engine, data: bytes, carry: bytes
) -> None:
    """Every line becomes an event or part of a join, and the entries are canonical."""
    for line_format in ("cri", "docker", "plain"):
        parsed = make_lines(line_format).parse(data + b"\n", carry, NOW_NS)
        assert engine.count(parsed.entries) == parsed.events == len(events(parsed))
        assert parsed.lines == data.count(b"\n") + 1
        assert engine.count(parsed.entries) == parsed.events


def test_half_of_a_surrogate_pair_costs_that_character_alone(make_lines: MakeLineParser) -> None:
    """It becomes U+FFFD, in keys too, and whatever comes behind it."""
    line = rb'{"a":"x\ud83d","\udE00":"\ud83d\ude00\uD83D\u0041","c":"\\ud83d"}'
    parsed = make_lines("plain").parse(line + b"\n", b"", NOW_NS)
    assert events(parsed) == [(7, {"a": "x\ufffd", "\ufffd": "\U0001f600\ufffdA", "c": r"\ud83d"})]
    assert parsed.unparsed == 0


@pytest.mark.parametrize("head", ["stdout F", "stdout F ", "stdout F:x", "stdout F:x "])
def test_a_cri_line_without_content_is_an_empty_message(make_lines: MakeLineParser, head: str) -> None:
    """With or without the blank behind the tag."""
    parsed = make_lines("cri", "raw").parse(f"1970-01-01T00:00:01Z {head}\n".encode(), b"", NOW_NS)
    assert events(parsed) == [(10**9, {"message": "", "stream": "stdout"})]
    assert parsed.malformed == 0
