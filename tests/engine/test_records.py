"""splice, grep and modify on packed records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from logflow.component import Parser
from logflow.engine.api import Engine
from logflow.errors import LimitExceeded
from logflow.packing import pack_entries, pack_entry, unpack_entries

RAW = b"\xdf\x00\x00\x00\x02\xd9\x01a\xcd\x00\x01\xc4\x01b\xa1\xff"
"""A record with long headers, a bin key and a string that is not UTF-8."""


def entry(record: bytes) -> bytes:
    return pack_entry(5, {})[:-1] + record


def records(entries: bytes) -> list[Any]:
    return [record for _, record in unpack_entries(entries)]


# -- splice -------------------------------------------------------------------------------------


def test_fields_are_added_at_the_end(engine: Engine) -> None:
    """Of every record, whose time stays."""
    entries = pack_entries([1, 2], [{"a": 1}, {}])
    spliced = engine.splice(entries, {"host": "n", "kubernetes": {"pod": "p"}})
    assert list(unpack_entries(spliced)) == [
        (1, {"a": 1, "host": "n", "kubernetes": {"pod": "p"}}),
        (2, {"host": "n", "kubernetes": {"pod": "p"}}),
    ]
    assert engine.splice(entries, {}) == entries


@pytest.mark.parametrize("record", [b"\x81\xa4host\x01", b"\x81\xc4\x04host\x01", b"\x81\xd9\x04host\x01"])
def test_fields_that_are_there_are_not_touched(engine: Engine, record: bytes) -> None:
    """Be the key str or bin."""
    assert engine.splice(entry(record), {"host": "n"}) == entry(record)


def test_a_value_that_looks_like_a_key_is_none(engine: Engine) -> None:
    """Only keys of the top level count."""
    entries = pack_entries([0, 0], [{"a": "host"}, {"host": 1}])
    assert records(engine.splice(entries, {"host": "n"})) == [{"a": "host", "host": "n"}, {"host": 1}]


@pytest.mark.parametrize("size", [14, 15, 16, 65534, 65535, 65536])
def test_map_headers_grow(engine: Engine, size: int) -> None:
    """Over 15 and over 65,535 pairs."""
    record = {f"k{index}": index for index in range(size)}
    assert records(engine.splice(pack_entry(0, record), {"x": 1, "y": 2})) == [{**record, "x": 1, "y": 2}]


def test_the_rest_stays_byte_for_byte(engine: Engine) -> None:
    """Only the map's header is the shortest then."""
    assert engine.splice(entry(RAW), {"x": 1}) == entry(b"\x83" + RAW[5:] + b"\xa1x\x01")


# -- grep -----------------------------------------------------------------------------------------


RECORDS: list[dict[str, Any]] = [
    {"level": "info", "n": 5, "k": {"pod": "web-1"}, "ok": True},
    {"level": "error", "n": 50, "k": {"pod": "db-1"}, "none": None, "k.pod": "dotted"},
    {"message": "error\n", "list": [1, "a"], "f": 1.5, "b": b"\xff", "ext": msgpack.ExtType(0, bytes(8))},
]
ENTRIES = b"".join(b"\x92\xd7\0" + bytes(8) + msgpack.packb(record) for record in RECORDS)


@pytest.mark.parametrize(
    ("keep", "exclude", "mode", "kept"),
    [
        ([], [], "and", [0, 1, 2]),
        ([("level", "^error$")], [], "and", [1]),
        ([("level", "r")], [], "and", [1]),
        ([("level", "")], [], "and", [0, 1]),
        ([("n", "^5")], [("level", "info")], "and", [1]),
        ([("n", "^5$"), ("level", "error")], [], "and", []),
        ([("n", "^5$"), ("level", "error")], [], "or", [0, 1]),
        ([], [("missing", "")], "and", [0, 1, 2]),
        ([], [("level", "info"), ("f", ".")], "and", [1]),
        ([("k.pod", "web")], [], "and", [0]),
        ([("k.pod", "dotted")], [], "and", [1]),
        ([("k.pod.x", "")], [], "and", []),
        ([("k", '^{"pod":"db-1"}$')], [], "and", [1]),
        ([("list", r'^\[1,"a"\]$')], [], "and", [2]),
        ([("none", "^null$")], [], "and", [1]),
        ([("ok", "^true$")], [], "and", [0]),
        ([("f", r"^1\.5$")], [], "and", [2]),
        ([("b", r"^\\xff$")], [], "and", [2]),
        ([("ext", "^1970-01-01T")], [], "and", [2]),
        ([("message", "error$")], [], "and", []),
        ([("message", r"error\n$")], [], "and", [2]),
        ([("message", "(?m)error$")], [], "and", [2]),
        ([("level", "(?i)INFO")], [], "and", [0]),
    ],
)
def test_which_events_are_kept(
    engine: Engine, keep: list[Any], exclude: list[Any], mode: Any, kept: list[int]
) -> None:
    """Patterns are searched in the text of values."""
    found, count = engine.grep(keep, exclude, mode).apply(ENTRIES)
    assert count == len(kept)
    offsets = [*engine.offsets(ENTRIES), len(ENTRIES)]
    assert found == b"".join(ENTRIES[offsets[index] : offsets[index + 1]] for index in kept)


def test_when_all_are_kept_nothing_is_copied(engine: Engine) -> None:
    """The very object comes back."""
    assert engine.grep([], [], "or").apply(ENTRIES)[0] is ENTRIES
    assert engine.grep([("level", "x")], []).apply(b"") == (b"", 0)


def test_many_entries_odd_ones_among_them(engine: Engine) -> None:
    """Each is judged by itself."""
    entries = (pack_entry(0, {"a": "x"}) * 130 + entry(RAW) + pack_entry(0, {"a": "y"})) * 3
    assert engine.grep([("a", "^[1y]$")], []).apply(entries) == (
        (entry(RAW) + pack_entry(0, {"a": "y"})) * 3,
        6,
    )


@pytest.mark.parametrize("pattern", ["(", "(?=a)", "(a*)*"])
def test_patterns_that_cannot_be_used(engine: Engine, pattern: str) -> None:
    """In either engine."""
    with pytest.raises(ValueError, match="regular expression"):
        engine.grep([("a", pattern)], [])


RECORD = {"user": {"name": "ann", "password": "x"}, "l": [1, {"x": 2}], "a.b": 0}
USER = RECORD["user"]


# -- modify -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], {"a": 1, "b": {"c": "x"}}),
        ([("set", "a", 2)], {"a": 2, "b": {"c": "x"}}),
        ([("set", "n", [1, {"y": None}])], {"a": 1, "b": {"c": "x"}, "n": [1, {"y": None}]}),
        ([("default", "a", 2), ("default", "d", 3)], {"a": 1, "b": {"c": "x"}, "d": 3}),
        ([("remove", "a", None), ("remove", "zzz", None)], {"b": {"c": "x"}}),
        ([("rename", "a", "z")], {"z": 1, "b": {"c": "x"}}),
        ([("rename", "a", "b")], {"b": 1}),
        ([("rename", "b", "a")], {"a": {"c": "x"}}),
        ([("rename", "a", "a")], {"a": 1, "b": {"c": "x"}}),
        ([("rename", "zzz", "a")], {"a": 1, "b": {"c": "x"}}),
        ([("copy", "a", "z")], {"a": 1, "b": {"c": "x"}, "z": 1}),
        ([("copy", "a", "b")], {"a": 1, "b": 1}),
        ([("copy", "zzz", "a")], {"a": 1, "b": {"c": "x"}}),
        ([("set", "t", "{tag}/{host}")], {"a": 1, "b": {"c": "x"}, "t": "the.tag/n1"}),
        ([("set", "t", "{a} {b.c} {b} {zzz}.")], {"a": 1, "b": {"c": "x"}, "t": '1 x {"c":"x"} .'}),
        ([("set", "t", "{{a}} {} { } }{")], {"a": 1, "b": {"c": "x"}, "t": "{a} {}  }{"}),
        ([("set", "x", "{a}"), ("remove", "a", None), ("set", "y", "{x}{a}")],
         {"b": {"c": "x"}, "x": "1", "y": "1"}),
        ([("set", "l", ["{a}"])], {"a": 1, "b": {"c": "x"}, "l": ["{a}"]}),
        ([("set", "host", "own"), ("set", "x", "{host}")],
         {"a": 1, "b": {"c": "x"}, "host": "own", "x": "n1"}),
    ],
)  # fmt: skip
def test_changes(engine: Engine, changes: list[Any], expected: dict[str, Any]) -> None:
    """Applied in order; time and number of events stay."""
    entries = pack_entry(5, {"a": 1, "b": {"c": "x"}})
    modified = engine.modify(changes, {"host": "n1", "tag": "not this"}).apply(entries * 3, "the.tag")
    assert list(unpack_entries(modified)) == [(5, expected)] * 3
    assert list(records(modified)[0]) == list(expected)


@pytest.mark.parametrize(
    ("changes", "expected", "present"),
    [
        ([("remove", "user.password", None)], {"user": {"name": "ann"}, "l": [1, {"x": 2}], "a.b": 0}, [2]),
        ([("remove", "l[0]", None)], {"user": USER, "l": [{"x": 2}], "a.b": 0}, [2]),
        ([("remove", "l[-1].x", None)], {"user": USER, "l": [1, {}], "a.b": 0}, [2]),
        ([("remove", "l[2]", None), ("remove", "user[0]", None)], RECORD, [0, 0]),
        ([("remove", "user.zzz.name", None), ("remove", "user.name.zzz", None)], RECORD, [0, 0]),
        ([("set", "user.password", "*")], {**RECORD, "user": {"name": "ann", "password": "*"}}, [2]),
        ([("set", "user.x.y", 1)], {**RECORD, "user": {**USER, "x": {"y": 1}}}, [2]),
        ([("set", "new.x.y", 1)], {**RECORD, "new": {"x": {"y": 1}}}, [2]),
        ([("set", "user.name.x", 1), ("set", "l[5]", 1), ("set", "l.x", 1)], RECORD, [0, 0, 0]),
        ([("set", "l[1].x", "{user.name}{l[0]}")], {**RECORD, "l": [1, {"x": "ann1"}]}, [2]),
        ([("set", "a.b", 1)], {**RECORD, "a.b": 1}, [2]),
        ([("set", '["a.c"]', 1)], {**RECORD, "a.c": 1}, [2]),
        ([("default", "user.name", 1), ("default", "user.id", 2)],
         {**RECORD, "user": {**USER, "id": 2}}, [2, 2]),
        ([("rename", "user.name", "name")],
         {"user": {"password": "x"}, "l": [1, {"x": 2}], "a.b": 0, "name": "ann"}, [2]),
        ([("rename", "a.b", "user.id")], {"user": {**USER, "id": 0}, "l": [1, {"x": 2}]}, [2]),
        ([("rename", "user", "user.old")], {"l": [1, {"x": 2}], "a.b": 0, "user": {"old": USER}}, [2]),
        ([("rename", "user", "l.x")], RECORD, [0]),
        ([("rename", "user.name", "user.name")], RECORD, [2]),
        ([("copy", "l[1]", "user.l")], {**RECORD, "user": {**USER, "l": {"x": 2}}}, [2]),
    ],
)  # fmt: skip
def test_paths_lead_into_maps_and_arrays(
    engine: Engine, changes: list[Any], expected: dict[str, Any], present: list[int]
) -> None:
    """And it can be seen which of them led nowhere."""
    modify = engine.modify(changes, {})
    modified = modify.apply(pack_entry(5, RECORD) * 2, "t")
    assert [list(record.items()) for _, record in unpack_entries(modified)] == [list(expected.items())] * 2
    assert modify.present() == present


def test_nothing_is_put_where_it_would_nest_too_deep(engine: Engine) -> None:
    """What is made can be rendered."""
    deep: Any = []
    for _ in range(126):
        deep = [deep]
    entries = pack_entry(0, {"a": deep})
    modify = engine.modify([("copy", "a", "b"), ("copy", "a", "c.d"), ("rename", "a", "x.y.z")], {})
    modified = modify.apply(entries, "t")
    assert [list(record) for _, record in unpack_entries(modified)] == [["a", "b"]]
    assert modify.present() == [1, 0, 0]
    assert engine.to_ndjson(modified, "t")
    for changes in ([("set", "a", [deep])], [("default", "a.b", [deep])]):
        with pytest.raises(LimitExceeded):
            engine.modify(changes, {})


def test_a_grep_says_in_how_many_events_its_fields_were(engine: Engine) -> None:
    grep = engine.grep([("user.name", "ann"), ("l[1].x", "2")], [("zzz", "x")])
    assert grep.apply(pack_entry(0, RECORD) + pack_entry(0, {"l": []}))[1] == 1
    assert grep.present() == [1, 1, 0]


def test_a_field_is_parsed_in_place(engine: Engine, make_parser: Callable[..., Parser]) -> None:
    """Its neighbours stay byte for byte; what fails to parse is kept or dropped."""
    parser = make_parser("json", time_key="t", time_format="unix")
    field_parser = engine.field_parser(parser, "log.text")
    good = entry(b"\x82\xd9\x01a\xcd\x00\x05\xa3log\x81\xa4text\xad" + b'{"a":1,"t":3}')
    bad = pack_entry(0, {"log": {"text": "no"}}) + pack_entry(0, {"log": {"text": 5}})
    parsed, count, unparsed = field_parser.apply(good + bad + pack_entry(9, {"n": 1}))
    assert (count, unparsed, field_parser.present()) == (4, 2, [3])
    assert parsed == pack_entry(3_000_000_000, {})[
        :11
    ] + b"\x82\xd9\x01a\xcd\x00\x05\xa3log\x80" + bad + pack_entry(9, {"n": 1})
    dropping = engine.field_parser(
        parser, "log.text", into="log.found", keep_original=True, drop_unparsed=True
    )
    parsed, count, unparsed = dropping.apply(good + bad)
    assert (count, unparsed) == (1, 2)
    assert [record for _, record in unpack_entries(parsed)] == [
        {"a": 5, "log": {"text": '{"a":1,"t":3}', "found": {"a": 1}}}
    ]


def test_what_would_nest_too_deep_does_not_parse(engine: Engine, make_parser: Callable[..., Parser]) -> None:
    """Its neighbours are parsed, and all of it can be rendered."""
    deep = '{"a":' * 127 + "{}" + "}" * 127
    entries = pack_entry(0, {"message": deep}) + pack_entry(0, {"message": '{"a":1}'})
    parsed, count, unparsed = engine.field_parser(make_parser("json"), "message", into="p").apply(entries)
    assert (count, unparsed) == (2, 1)
    assert [record for _, record in unpack_entries(parsed)] == [{"message": deep}, {"p": {"a": 1}}]
    assert engine.to_ndjson(parsed, "t").count(b"\n") == 2


def test_odd_records_are_changed_where_they_are_to_be(engine: Engine) -> None:
    """What is not changed stays byte for byte; bin keys are keys."""
    modify = engine.modify([("rename", "b", "c"), ("set", "a", True), ("set", "t", "{c}{a}")], {})
    expected = b"\x83\xd9\x01a\xc3\xa1c\xa1\xff\xa1t\xa8\\xfftrue"
    assert modify.apply(entry(RAW), "t") == entry(expected)


def test_of_repeated_keys_the_first_is_meant(engine: Engine) -> None:
    """The others stay."""
    repeated = entry(b"\x82\xa1a\x01\xa1a\x02")
    assert engine.modify([("remove", "a", None)], {}).apply(repeated, "t") == entry(b"\x81\xa1a\x02")
    assert engine.modify([("set", "a", 3)], {}).apply(repeated, "t") == entry(b"\x82\xa1a\x03\xa1a\x02")


def test_an_unknown_action_is_an_error(engine: Engine) -> None:
    """When it is compiled."""
    with pytest.raises(ValueError, match="drop"):
        engine.modify([("drop", "a", None)], {})
