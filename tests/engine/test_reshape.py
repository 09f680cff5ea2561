"""Larger changes of records: fields by globs, maps made and divided, times set; in both engines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.batch import Batch
from logflow.engine.api import Engine
from logflow.expressions import compile_expression
from logflow.packing import pack_entry, unpack_entries
from tests.engine.test_expressions import both_engines
from tools.strategies import canonical_entries

RECORD: dict[str, Any] = {
    "http_method": "GET",
    "http_status": 200,
    "kubernetes": {"pod": "web", "labels": {"app": "shop", "tier": "1"}, "ids": [1, 2]},
    "user": {"name": "ann", "password": "x", "deep": {"password": "y", "n": 1}},
    "log.level": "info",
    "items": [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}, 3],
    "none": None,
}


def changed(
    engine: Engine, *changes: tuple[str, str, Any], record: dict[str, Any] = RECORD
) -> dict[str, Any]:
    entries = pack_entry(5, record) * 2
    (first, one), (second, other) = unpack_entries(engine.modify(list(changes), {}).apply(entries, "t"))
    assert (first, one) == (second, other) == (5, one)
    return one


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in RECORD.items() if key not in keys}


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        (["http_*"], without("http_method", "http_status")),
        (["*"], {}),
        (["**"], {}),
        (["missing.*", "kubernetes[0]", "items.x"], RECORD),
        (["kubernetes"], without("kubernetes")),
        (["kubernetes.labels.*"], {**RECORD, "kubernetes": {**RECORD["kubernetes"], "labels": {}}}),
        (["kubernetes.*.app"],
         {**RECORD, "kubernetes": {**RECORD["kubernetes"], "labels": {"tier": "1"}}}),
        (["**.password"], {**RECORD, "user": {"name": "ann", "deep": {"n": 1}}}),
        (["user.**.n"], {**RECORD, "user": {**RECORD["user"], "deep": {"password": "y"}}}),
        (["log.*"], without("log.level")),
        (['["log.*"]'], RECORD),
        (["items[*].id"], {**RECORD, "items": [{"v": "a"}, {"v": "b"}, 3]}),
        (["items[-1]", "items[0].v"], {**RECORD, "items": [{"id": 1}, {"id": 2, "v": "b"}]}),
        (["*s[*].*d", "n*e"], {**without("none"), "items": [{"v": "a"}, {"v": "b"}, 3]}),
    ],
)  # fmt: skip
def test_globs_take_fields_out(engine: Engine, globs: list[str], expected: dict[str, Any]) -> None:
    assert changed(engine, ("prune", "", globs)) == expected


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        (["http_status"], {"http_status": 200}),
        (["kubernetes.labels.app", "none"], {"kubernetes": {"labels": {"app": "shop"}}, "none": None}),
        (["**.password"], {"user": {"password": "x", "deep": {"password": "y"}}}),
        (["log.level"], {"log.level": "info"}),
        (["items[*].id"], {"items": [{"id": 1}, {"id": 2}]}),
        (["user.missing", "items.x"], {}),
        (["**"], RECORD),
    ],
)
def test_only_what_globs_match_is_left(engine: Engine, globs: list[str], expected: dict[str, Any]) -> None:
    assert changed(engine, ("only", "", globs)) == expected


def test_items_without_a_match_leave_nothing_behind(engine: Engine) -> None:
    """However deep the way into them was."""
    record = {"a": [{"v": 1}, [[]], {"id": 1, "v": 2}, {"v": {"id": 2}}, [{}, 3], 4], "b": {"c": [{}, []]}}
    assert changed(engine, ("only", "", ["a[*].id", "b.c[*].x"]), record=record) == {"a": [{"id": 1}]}
    assert changed(engine, ("only", "", ["**.id"]), record=record) == {"a": [{"id": 1}, {"v": {"id": 2}}]}


def test_fields_are_moved_into_a_mapping(engine: Engine) -> None:
    nested = changed(engine, ("nest", "http", ["http_*"]))
    assert nested == {**without("http_method", "http_status"), "http": {"method": "GET", "status": 200}}
    assert list(nested)[-1] == "http"


def test_a_mapping_that_is_there_takes_fields_in(engine: Engine) -> None:
    """What has the same name is overwritten in place; the mapping itself stays where it is."""
    moved = changed(engine, ("nest", "user", ["us*", "n*", "http_m*"]))
    assert moved["user"] == {**RECORD["user"], "one": None, "ethod": "GET"}
    assert list(moved["user"])[:3] == ["name", "password", "deep"]
    over = changed(engine, ("nest", "user.deep", ["none", "n"]), record={"user": {"deep": {"n": 1}}, "n": 2})
    assert over == {"user": {"deep": {"n": 2}}}


@pytest.mark.parametrize("into", ["log.level", "none", "items.x", "http_method"])
def test_nothing_is_moved_where_no_mapping_can_be(engine: Engine, into: str) -> None:
    assert changed(engine, ("nest", into, ["http_status"])) == RECORD


def test_mappings_are_divided_into_fields(engine: Engine) -> None:
    """In their places; a field is still found under its path, as its name is that."""
    flat = changed(engine, ("flatten", "", (["kubernetes"], ".")))
    assert list(flat)[2:6] == [
        "kubernetes.pod",
        "kubernetes.labels.app",
        "kubernetes.labels.tier",
        "kubernetes.ids",
    ]
    assert flat["kubernetes.ids"] == [1, 2]
    assert changed(engine, ("flatten", "", (["*"], "_")), record={"a": {"b": {"c": 1}}, "d": {}}) == {
        "a_b_c": 1,
        "d": {},
    }


def test_of_equal_names_the_first_place_and_the_last_value_count(engine: Engine) -> None:
    flat = changed(engine, ("flatten", "", (["a"], "_")), record={"a_b": 1, "a": {"b": 2, "c": 3}, "a_c": 4})
    assert list(flat.items()) == [("a_b", 2), ("a_c", 4)]


def test_names_of_divided_fields_are_bounded(engine: Engine) -> None:
    """A small record must not become a very large one."""
    deep: Any = {str(number): 1 for number in range(500)}
    for _ in range(40):
        deep = {"k" * 100: deep}
    assert changed(engine, ("flatten", "", (["a"], ".")), record={"a": deep}) == {"a": deep}


def test_the_time_of_an_event_is_set(engine: Engine) -> None:
    """From seconds or from text; nothing else changes it."""
    values = [1700000000, 1.5, "2026-01-31T12:00:00.123456789Z", "soon", -1, True, None, [1], 2**40]
    entries = Batch.from_events("t", [(7, {"at": value}) for value in values]).entries
    applied = engine.assignment([], compile_expression("at")).apply(entries, "t", None, 0)
    assert [time for time, _ in unpack_entries(applied)] == [
        1_700_000_000_000_000_000, 1_500_000_000, 1_769_860_800_123_456_789, 7, 7, 7, 7, 7, 7,
    ]  # fmt: skip


GLOBS = st.lists(
    st.sampled_from(
        ["*", "**", "a", "a*", "*e*", "a.b", "a.*", "**.b", "**.a.**", "a[*]", "a[0]", "a[-1].*", "a.**.x",
         "le*el"]
    ),
    min_size=1, max_size=3,
)  # fmt: skip
NAMES = st.lists(st.sampled_from(["a", "a*", "*", "*e", "key1*"]), min_size=1, max_size=2)
CHANGES = st.one_of(
    st.tuples(st.just("prune"), st.just(""), GLOBS),
    st.tuples(st.just("only"), st.just(""), GLOBS),
    st.tuples(st.just("nest"), st.sampled_from(["a", "new", "a.b", "new.x.y", "a[0]"]), NAMES),
    st.tuples(st.just("flatten"), st.just(""), st.tuples(NAMES, st.sampled_from([".", "_", ""]))),
)


@given(entries=canonical_entries(), changes=st.lists(CHANGES, min_size=1, max_size=3))
def test_the_engines_agree_on_any_record(entries: bytes, changes: list[Any]) -> None:
    results = []
    for engine in both_engines():
        modify = engine.modify(changes, {})
        results.append((modify.apply(entries, "t"), modify.present()))
    assert results[0] == results[-1]
