"""Entries to JSON Lines."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.engine.api import Engine
from logflow.event import MAX_TIME_NS
from logflow.packing import pack_entries, pack_entry, unpack_entries
from tools.strategies import canonical_entries

drawn_often = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def fields(engine: Engine, record: bytes) -> str:
    """The JSON of a packed record."""
    return engine.to_ndjson(pack_entry(0, {})[:-1] + record, "", None, None).decode()[:-1]


def test_time_and_tag_come_first(engine: Engine) -> None:
    """Then the fields in order."""
    entries = pack_entries([1, MAX_TIME_NS], [{"b": 1, "a": [True, None]}, {}])
    assert engine.to_ndjson(entries, 'a"b') == (
        b'{"@timestamp":"1970-01-01T00:00:00.000000001Z","@tag":"a\\"b","b":1,"a":[true,null]}\n'
        b'{"@timestamp":"2106-02-07T06:28:15.999999999Z","@tag":"a\\"b"}\n'
    )
    assert engine.to_ndjson(b"", "t") == b""


@pytest.mark.parametrize(
    ("time_key", "tag_key", "expected"),
    [
        ("time", "tag", '{"time":"1970-01-01T00:00:00.000000000Z","tag":"t","a":1}'),
        (None, "tag", '{"tag":"t","a":1}'),
        ("time", None, '{"time":"1970-01-01T00:00:00.000000000Z","a":1}'),
        (None, None, '{"a":1}'),
        ("é%d\n", "%b", '{"é%d\\n":"1970-01-01T00:00:00.000000000Z","%b":"t","a":1}'),
        ("same", "same", '{"same":"t","a":1}'),
    ],
)
def test_both_names_can_be_changed(
    engine: Engine, time_key: str | None, tag_key: str | None, expected: str
) -> None:
    """Or left out."""
    assert engine.to_ndjson(pack_entry(0, {"a": 1}), "t", time_key, tag_key).decode() == expected + "\n"


NOW = '"@timestamp":"1970-01-01T00:00:00.000000000Z"'


def test_a_record_keeps_its_own_fields_of_these_names(engine: Engine) -> None:
    """Ours are written where it has none; records that have some, all or none may come in any order."""
    records: dict[str, dict[str, object]] = {
        f'{{{NOW},"@tag":"t","a":2}}': {"a": 2},
        '{"@tag":1,"a":2,"@timestamp":3}': {"@tag": 1, "a": 2, "@timestamp": 3},
        f'{{{NOW},"a":2,"@tag":null}}': {"a": 2, "@tag": None},
        '{"@tag":"t","@timestamp":"mine"}': {"@timestamp": "mine"},
        f'{{{NOW},"@tag":"t"}}': {},
    }
    for packed in itertools.permutations(records.items(), 3):
        expected = [line for line, _ in packed for _ in range(3)]
        entries = b"".join(pack_entry(0, record) * 3 for _, record in packed)
        assert engine.to_ndjson(entries, "t").decode().splitlines() == expected


def test_own_fields_may_be_bin_or_come_twice(engine: Engine) -> None:
    empty = pack_entry(0, {})[:-1]
    entries = empty + b"\x81\xc4\x04@tag\x01" + empty + b"\x82\xa4@tag\x01\xa4@tag\x02"
    assert engine.to_ndjson(entries, "t").decode().splitlines() == [
        f'{{{NOW},"@tag":1}}',
        f'{{{NOW},"@tag":2}}',
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "null"),
        (float("-inf"), "null"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (1e-5, "0.00001"),
        (1e-7, "1e-7"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e16"),
        (1.5e300, "1.5e300"),
        (5e-324, "5e-324"),
        (0.1, "0.1"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
        (b"a\xff", '"a\\\\xff"'),
        ('a"\\/\b\f\n\r\t\0\x1f\x7fé\u2028😀', '"a\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7fé\u2028😀"'),
        ([b"x", {"y": b"z"}], '["x",{"y":"z"}]'),
        (msgpack.ExtType(0, b"\0\0\0\1\0\0\0\2"), '"1970-01-01T00:00:01.000000002Z"'),
        (msgpack.ExtType(0, b"abc"), '"YWJj"'),
        (msgpack.ExtType(5, b"12345678"), '"MTIzNDU2Nzg="'),
    ],
)
def test_values(engine: Engine, value: Any, expected: str) -> None:
    """What JSON cannot hold becomes null or text; floats are their shortest form."""
    assert fields(engine, msgpack.packb({"a": value})) == f'{{"a":{expected}}}'


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (1, "1"), (-1.5, "-1.5"), (float("nan"), "null"), (None, "null"), (True, "true"),
        (b"\xff", "\\\\xff"),
        (msgpack.ExtType(5, b"abc"), "YWJj"), ((1, "x"), '[1,\\"x\\"]'),
    ],
)  # fmt: skip
def test_keys_that_are_no_strings_are_their_json(engine: Engine, key: Any, expected: str) -> None:
    """In a string."""
    assert fields(engine, b"\x81" + msgpack.packb(key) + b"\x01") == f'{{"{expected}":1}}'


def test_keys_that_become_equal(engine: Engine) -> None:
    """The first one's place, the last one's value; 1 and true differ, 1 and "1" do not."""
    record = b"\x85\xa11\x01\xa1a\x02\x01\x03\xc3\x04\xa1a\x05"
    assert fields(engine, record) == '{"1":3,"a":5,"true":4}'


def test_float32_is_the_float64_of_the_same_value(engine: Engine) -> None:
    """Its digits are then many."""
    assert fields(engine, b"\x81\xa1a\xca\x3d\xcc\xcc\xcd") == '{"a":0.10000000149011612}'


def test_strings_that_are_not_utf8(engine: Engine) -> None:
    """Escaped, beside those that are."""
    assert fields(engine, b"\x82\xa2\xc3\xa9\xa1\xff\xa1b\xa2\xc3\xa9") == '{"é":"\\\\xff","b":"é"}'


def test_what_is_odd_in_one_entry_does_not_touch_the_others(engine: Engine) -> None:
    """Nor does what looks like an entry's header within one."""
    records: list[dict[Any, Any]] = [{"n": index, "text": "x" * 80} for index in range(1000)]
    records[300] = {"b": b"\x92\xd7\x00" * 20, "n": 300}
    records[700] = {1: float("inf")}
    records[701] = {}
    lines = engine.to_ndjson(pack_entries([0] * 1000, records), "t", None).splitlines()
    assert len(lines) == 1000
    for index, line in enumerate(lines):
        found = json.loads(line)
        assert found.pop("@tag") == "t"
        if index not in {300, 700, 701}:
            assert found == records[index]
    assert json.loads(lines[700]) == {"@tag": "t", "1": None}


def test_entries_with_chance_headers_in_numbers(engine: Engine) -> None:
    """A float whose bytes look like one, where a lot would be cut."""
    float_ = msgpack.unpackb(b"\xcb\x00\x92\xd7\x00\x00\x00\x00\x05")
    entries = pack_entries([0] * 3000, [{"f": float_, "n": 5}] * 3000)
    one = engine.to_ndjson(entries[: len(entries) // 3000], "t", None, None)
    assert engine.to_ndjson(entries, "t", None, None) == one * 3000


@pytest.mark.slow
@given(canonical_entries(), st.text(max_size=5))
@drawn_often
def test_every_line_is_json(engine: Engine, entries: bytes, tag: str) -> None:
    """One line for each entry."""
    lines = engine.to_ndjson(entries, tag).split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == engine.count(entries)
    for line, (_, record) in zip(lines, unpack_entries(entries), strict=True):
        found = json.loads(line)
        assert {"@timestamp", "@tag"} <= found.keys()
        if not {"@tag", b"@tag"} & record.keys():
            assert found["@tag"] == tag


@pytest.mark.parametrize(
    ("ext", "text"),
    [
        (b"\xd6\xff\x00\x00\x00\x01", "1970-01-01T00:00:01.000000000Z"),
        (b"\xd7\xff" + (5 << 34 | 1).to_bytes(8, "big"), "1970-01-01T00:00:01.000000005Z"),
        (b"\xc7\x0c\xff\0\0\0\x07" + (2).to_bytes(8, "big"), "1970-01-01T00:00:02.000000007Z"),
        (b"\xd7\x00\x00\x00\x00\x01\x00\x00\x00\x02", "1970-01-01T00:00:01.000000002Z"),
        (b"\xd7\xff" + (10**9 << 34).to_bytes(8, "big"), "7msoAAAAAAA="),
        (b"\xd7\xff" + (1 << 33).to_bytes(8, "big"), "AAAAAgAAAAA="),
        (b"\xc7\x0c\xff" + b"\xff" * 12, "////////////////"),
        (b"\xc7\x05\xff" + b"12345", "MTIzNDU="),
        (b"\xd4\xff\x01", "AQ=="),
    ],
)
def test_times_within_records_are_text(engine: Engine, ext: bytes, text: str) -> None:
    """EventTime and msgpack's own timestamp; where they are no times, they are bytes like others."""
    record = b"\x83\xa1a" + ext + b"\xa1l\x92" + ext + b"\xc4\x01\xff" + ext + b"\x01"
    line = engine.to_ndjson(pack_entries([0], [{}])[:-1] + record, "t", None, None)
    assert json.loads(line) == {"a": text, "l": [text, "\\xff"], text: 1}
