"""Expressions over packed entries, in both engines."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.batch import Batch
from logflow.engine import load_engine
from logflow.engine.api import Engine
from logflow.errors import ComponentError, MalformedData
from logflow.event import MAX_TIME_NS
from logflow.expressions import ExpressionError, compile_expression

EVENTS: list[tuple[int, dict[str, Any]]] = [
    (1_700_000_000_000_000_000, {"level": "debug", "status": 200}),
    (1_700_000_001_000_000_000, {"level": "error", "status": 200}),
    (1_700_000_002_000_000_000, {"level": "info", "status": 503}),
    (1_700_000_003_000_000_000, {}),
]
ENTRIES = Batch.from_events("app", EVENTS).entries


def levels(entries: bytes) -> list[Any]:
    return [record.get("level") for _, record in Batch("app", entries, 0).events()]


def test_a_condition_divides_entries_and_keeps_their_order(engine: Engine) -> None:
    condition = engine.condition(compile_expression('level == "error" or status >= 500'))
    kept, count, rest = condition.split(ENTRIES, "app", None, 0)
    assert (levels(kept), count, levels(rest)) == (["error", "info"], 2, ["debug", None])
    assert condition.keep(ENTRIES, "app", None, 0) == (kept, 2)


@pytest.mark.parametrize(("text", "kept"), [("True", 4), ("missing", 0)])
def test_a_condition_that_is_true_for_all_or_none_copies_nothing(
    engine: Engine, text: str, kept: int
) -> None:
    wanted, count, rest = engine.condition(compile_expression(text)).split(ENTRIES, "app", None, 0)
    assert (wanted, count, rest) == ((ENTRIES, 4, b"") if kept else (b"", 0, ENTRIES))


def test_entries_are_divided_by_marks_and_put_back_into_their_order(engine: Engine) -> None:
    marks = engine.condition(compile_expression('level == "error" or status >= 500')).mark(
        ENTRIES, "app", None, 0
    )
    assert marks == b"\x00\x01\x01\x00"
    kept, rest = engine.divide(ENTRIES, marks)
    assert (levels(kept), levels(rest)) == (["error", "info"], ["debug", None])
    assert engine.interleave(kept, rest, marks) == ENTRIES
    with pytest.raises(MalformedData):
        engine.interleave(kept, b"", marks)


def test_a_computation_gives_a_packed_value_for_each_event(engine: Engine) -> None:
    computation = engine.computation(
        compile_expression("f'{tag()} {source()} {level}' if level else time() + 1")
    )
    values = computation.values(ENTRIES, "app", "files", 0)
    assert [msgpack.unpackb(value) for value in values] == [
        "app files debug", "app files error", "app files info", 1_700_000_004.0,
    ]  # fmt: skip


def test_fields_are_set_to_what_expressions_give(engine: Engine) -> None:
    """Each is of the event as it came in; nothing is set where the value is None."""
    fields = {
        "status": "status + 1",
        "was": "status",
        "a.b": "level",
        "never": "missing",
        "level": "upper(level)",
    }
    assignment = engine.assignment([(path, compile_expression(text)) for path, text in fields.items()])
    changed = Batch("app", assignment.apply(ENTRIES, "app", None, 0), 4)
    records = [record for _, record in changed.events()]
    assert records[0] == {"level": "DEBUG", "status": 201, "was": 200, "a": {"b": "debug"}}
    assert list(records[0]) == ["level", "status", "was", "a"]
    assert records[3] == {}


def test_binary_text_times_and_odd_keys_read_as_in_json_lines(engine: Engine) -> None:
    record = msgpack.packb({b"a": b"\xff!", 5: 1, "t": msgpack.ExtType(0, bytes(8)), "nan": float("nan")})
    entry = b"\x92\xd7\x00" + bytes(8) + record
    computation = engine.computation(compile_expression("[a, field('5'), t, nan]"))
    [packed] = computation.values(entry, "app", None, 0)
    assert msgpack.unpackb(packed) == ["\\xff!", 1, "1970-01-01T00:00:00.000000000Z", None]


def test_no_entries_are_no_values(engine: Engine) -> None:
    assert engine.condition(compile_expression("a")).split(b"", "app", None, 0) == (b"", 0, b"")
    assert engine.computation(compile_expression("a")).values(b"", "app", None, 0) == []


# -- both engines agree ---------------------------------------------------------------------------

NAMES = ["a", "b", "c", "missing"]
TEXT = st.text(st.characters(codec="utf-8", max_codepoint=0x2FF), max_size=6)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.sampled_from(
        ["10.1.2.3", "::ffff:10.0.0.1", "12", "-4.5e3", " 7 ", "2026-01-31T12:00:00Z", '{"k":[1,{}]}']
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["b", "c", "k.v", ""]), inner, max_size=3)
    ),
    max_leaves=5,
)
RECORDS = st.dictionaries(st.sampled_from(["a", "b", "c", "a.b", "x y"]), VALUES, max_size=5)
LITERALS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False) | TEXT
).map(repr)  # fmt: skip
PATHS = st.sampled_from(
    [*NAMES, "a.b", "a.b.c", "a['k.v']", "a[0]", "b[-1].c", "c[1]", "field('x y')", "field('a.b')"]
)
# One form a line; {0}, {1} and {2} are expressions again.
UNARY = r"""
not {0} | -{0} | +{0} | {0}[0] | {0}[-2] | {0}['b'] | {0}[1:] | {0}[:-1] | {0} is None | {0} is True
len({0}) | lower({0}) | upper({0}) | strip({0}) | strip({0}, 'ab') | split({0}) | split({0}, 'a', 1)
split({0}, None, 2) | int({0}) | float({0}) | str({0}) | bool({0}) | round({0}) | round({0}, 2)
abs({0}) | min({0}) | max({0})
to_json({0}) | parse_json({0}) | keys({0}) | sha256({0}) | hash({0}) | cidr({0}, 20) | [{0}, time()]
parse_time({0}) | parse_time({0}, 'unix') | parse_time({0}, '%Y-%m-%dT%H:%M:%SZ') | format_time({0})
format_time({0}, '%F %T.%L %j%%') | matches({0}, '[a-c]+$') | search({0}, '([0-9]+)(x)?', 1)
search({0}, '(?P<n>b)ba', 'n') | ip_in({0}, '10.0.0.0/8', '::/64')
{{'k': {0}, 'v': source()}} | f'{{{0}}}-{{tag()}}'
"""
BINARY = """
({0} and {1}) | ({0} or {1}) | ({0} == {1}) | ({0} != {1}) | ({0} < {1}) | ({0} <= {1})
({0} > {1}) | ({0} >= {1}) | ({0} in {1}) | ({0} not in {1}) | ({0} + {1}) | ({0} - {1})
({0} * {1}) | ({0} / {1})
({0} // {1}) | ({0} % {1}) | ({0} if {1} else {0}) | [{0}, {1}] | {0}[{1}] | ({0} < {1} <= 5)
startswith({0}, {1}) | endswith({0}, {1})
contains({0}, {1}) | truncate({0}, {1}) | coalesce({0}, {1}) | min({0}, {1}) | max({0}, {1})
get({0}, {1})
cidr({0}, {1}) | strip({0}, {1}) | sha256({0}, {1})
"""
TERNARY = """
replace({0}, {1}, {2}) | get({0}, {1}, {2}) | truncate({0}, {1}, {2}) | {0}[{1}:{2}] | max({0}, {1}, {2})
"""


def forms(table: str) -> st.SearchStrategy[str]:
    return st.sampled_from(
        [form.strip() for line in table.strip().splitlines() for form in line.split(" | ")]
    )


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return (
        st.builds(lambda form, one: form.format(one), forms(UNARY), inner)
        | st.builds(lambda form, one, two: form.format(one, two), forms(BINARY), inner, inner)
        | st.builds(lambda form, *three: form.format(*three), forms(TERNARY), inner, inner, inner)
    )


EXPRESSIONS = st.recursive(PATHS | LITERALS, grow, max_leaves=6)


@settings(max_examples=300 * int(os.environ.get("LOGFLOW_PARITY", "1")))
@given(text=EXPRESSIONS, records=st.lists(RECORDS, min_size=1, max_size=3), time_ns=st.integers(0, 2**62 - 1))
def test_the_engines_agree_on_any_expression(text: str, records: list[dict[str, Any]], time_ns: int) -> None:
    try:
        expression = compile_expression(text)
    except ExpressionError:
        return
    entries = Batch.from_events("app.web", [(time_ns % MAX_TIME_NS, record) for record in records]).entries
    results = [
        engine.computation(expression).values(entries, "app.web", "files", 1_700_000_000_123_456_789)
        for engine in both_engines()
    ]
    assert [list(map(show, result)) for result in results[1:]] == [list(map(show, results[0]))] * (
        len(results) - 1
    )
    for paths in (["new", "a", "b.c", "c[0]"], ["new", "a", "c"]):
        assigned = [
            engine.assignment([(path, expression) for path in paths]).apply(entries, "app", "x", 5)
            for engine in both_engines()
        ]
        assert assigned.count(assigned[0]) == len(assigned)
    keys = [engine.grouping([expression]).apply(entries, "app", "x", 5) for engine in both_engines()]
    assert keys.count(keys[0]) == len(keys)
    splits = [engine.condition(expression).split(entries, "app.web", None, 0) for engine in both_engines()]
    assert splits.count(splits[0]) == len(splits)


def show(packed: bytes) -> tuple[bytes, str]:
    return packed, repr(msgpack.unpackb(packed, strict_map_key=False))


@cache
def both_engines() -> list[Engine]:
    try:
        return [load_engine("python"), load_engine("native")]
    except ComponentError:
        pytest.skip("the native engine was not built")


def test_mappings_with_very_many_keys_take_linear_time(engine: Engine) -> None:
    """Of equal keys the first one's place and the last one's value count, however many there are."""
    wide = {f"key{number}": number for number in range(60_000)}
    entries = Batch.from_events("app", [(5, {"a": wide, "b": {**wide, "key5": 6}})]).entries
    for text, expected in [("len(keys(a))", 60_000), ("a == a", True), ("a == b", False)]:
        [packed] = engine.computation(compile_expression(text)).values(entries, "app", None, 0)
        assert msgpack.unpackb(packed) == expected
    pairs = b"".join(msgpack.packb(f"key{number % 20}") + msgpack.packb(number) for number in range(40))
    entry = b"\x92\xd7\x00" + bytes(8) + b"\x81\xa1a\xde\x00\x28" + pairs
    [packed] = engine.computation(compile_expression("a")).values(entry, "app", None, 0)
    assert list(msgpack.unpackb(packed).items()) == [(f"key{number}", number + 20) for number in range(20)]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("search(a, '([5#[-z]+)=')", "[z="),
        ("search(a, '[a&&b]+')", "&&"),
        ("search(a, '[x~~]+')", "~"),
        ("search(a, 'b{,3}]')", "b]"),
        (r"search(a, '\\]\\Z')", "]"),
        ("search(a, '(?P<m>z)(=)(~)?', 2)", "="),
        ("search(a, '(z)(=)(?P<m>~)?', 'm')", None),
        ("matches(a, '[[]')", True),
    ],
)
def test_patterns_mean_the_same_where_matchers_have_syntaxes_of_their_own(
    engine: Engine, expression: str, value: Any
) -> None:
    entries = Batch.from_events("app", [(1, {"a": "[z=&&~b]"})]).entries
    packed = engine.computation(compile_expression(expression)).values(entries, "app", None, 0)
    assert [msgpack.unpackb(each) for each in packed] == [value]
