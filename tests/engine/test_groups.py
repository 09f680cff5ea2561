"""Events in groups, in both engines."""

from __future__ import annotations

import os
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.batch import Batch
from logflow.engine import load_engine
from logflow.engine.api import Engine
from logflow.errors import ComponentError, MalformedData
from logflow.expressions import compile_expression

RECORDS: list[dict[str, Any]] = [{"pod": "a", "n": 1}, {"pod": "b"}, {"pod": "a", "n": 1.0}, {}, {"pod": "b"}]
ENTRIES = Batch.from_events("app", list(enumerate(RECORDS))).entries


def group(engine: Engine, *texts: str) -> Any:
    return engine.grouping([compile_expression(text) for text in texts]).apply(ENTRIES, "app", "files", 0)


def numbers(ids: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(ids) // 4}I", ids))


def records(entries: bytes) -> list[dict[str, Any]]:
    return [record for _, record in Batch("app", entries, 0).events()]


def test_events_are_grouped_by_what_all_expressions_give(engine: Engine) -> None:
    found = group(engine, "pod", "n")
    assert [msgpack.unpackb(key) for key in found.keys] == [
        ["a", 1], ["b", None], ["a", 1.0], [None, None],
    ]  # fmt: skip
    assert numbers(found.ids) == [0, 1, 2, 3, 1]
    assert found.counts == [1, 2, 1, 1]
    assert sum(found.sizes) == len(ENTRIES)


def test_without_an_expression_there_is_one_group(engine: Engine) -> None:
    found = group(engine)
    assert (found.keys, found.counts, found.sizes) == ([b"\x90"], [5], [len(ENTRIES)])
    assert engine.grouping([]).apply(b"", "app", None, 0) == ([], [], [], b"")


def test_each_group_gets_what_it_is_allowed_and_the_first_events_pass(engine: Engine) -> None:
    ids = group(engine, "pod").ids
    kept = engine.admit(ENTRIES, ids, [1, 5, 0], by="events")
    assert records(kept.entries) == [RECORDS[0], RECORDS[1], RECORDS[4]]
    assert (kept.events, kept.taken, kept.refused) == (3, [1, 2, 0], [1, 0, 1])
    assert engine.admit(ENTRIES, ids, [9, 9, 9], by="events").entries is ENTRIES


def test_an_event_of_more_bytes_than_are_left_passes_and_is_owed(engine: Engine) -> None:
    ids = group(engine, "pod").ids
    kept = engine.admit(ENTRIES, ids, [1, -5, 1], by="bytes")
    assert records(kept.entries) == [RECORDS[0], RECORDS[3]]
    assert kept.taken[0] > 1
    assert kept.refused == [1, 2, 0]


def test_values_are_put_by_group_and_other_entries_stay_as_they_are(engine: Engine) -> None:
    found = group(engine, "pod")
    placement = engine.placement(["team.name", "n"])
    values = [[msgpack.packb("red"), msgpack.packb(7)], [b"", b""], [msgpack.packb("none"), b""]]
    assert records(placement.apply(ENTRIES, found.ids, values)) == [
        {"pod": "a", "n": 7, "team": {"name": "red"}},
        {"pod": "b"},
        {"pod": "a", "n": 7, "team": {"name": "red"}},
        {"team": {"name": "none"}},
        {"pod": "b"},
    ]


def test_ids_that_do_not_fit_the_entries_are_refused(engine: Engine) -> None:
    for ids in (b"", bytes(16), struct.pack("<5I", 0, 0, 3, 0, 0)):
        with pytest.raises(MalformedData):
            engine.admit(ENTRIES, ids, [9, 9, 9], by="events")
        with pytest.raises(MalformedData):
            engine.placement(["a"]).apply(ENTRIES, ids, [[b"\x01"]] * 3)


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(width=16) | st.text("ab", max_size=2)
EVENTS = st.lists(
    st.dictionaries(st.sampled_from("abc"), SCALARS | st.dictionaries(st.just("k"), SCALARS)), max_size=12
)


@settings(max_examples=100 * int(os.environ.get("LOGFLOW_PARITY", "1")))
@given(
    events=EVENTS,
    allowed=st.lists(st.integers(-1, 60), min_size=12, max_size=12),
    by=st.sampled_from(["events", "bytes"]),
)
def test_the_engines_agree(events: list[dict[str, Any]], allowed: list[int], by: Any) -> None:
    try:
        engines = [load_engine("python"), load_engine("native")]
    except ComponentError:
        pytest.skip("the native engine was not built")
    entries = Batch.from_events("app", list(enumerate(events))).entries
    expressions = [compile_expression(text) for text in ("a", "b.k", "time() if c else tag()")]
    results = []
    for engine in engines:
        found = engine.grouping(expressions).apply(entries, "app", None, 0)
        room = allowed[: len(found.keys)]
        values = [
            [key, msgpack.packb(count), b""] for key, count in zip(found.keys, found.counts, strict=True)
        ]
        placed = engine.placement(["a", "b.k.new", "c"]).apply(entries, found.ids, values)
        results.append((found, engine.admit(entries, found.ids, room, by=by), placed))
    assert results[0] == results[1]
