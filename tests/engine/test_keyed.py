"""What the engines find out over many events: numbers, repeats, templates of messages."""

from __future__ import annotations

import os
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.batch import Batch
from logflow.engine import load_engine
from logflow.engine.api import Engine
from logflow.engine.keyed import Measure
from logflow.errors import ComponentError
from logflow.expressions import compile_expression as expression
from tools import strategies as data

PARITY = int(os.environ.get("LOGFLOW_PARITY", "1"))


def entries(*records: dict[str, Any]) -> bytes:
    return Batch.from_events("app", list(enumerate(records))).entries


def records(packed: bytes) -> list[dict[str, Any]]:
    return [record for _, record in Batch("app", packed, 0).events()]


def both() -> list[Engine]:
    try:
        return [load_engine("python"), load_engine("native")]
    except ComponentError:
        pytest.skip("the native engine was not built")


# -- numbers --------------------------------------------------------------------------------------


def test_values_are_counted_by_labels_and_in_intervals(engine: Engine) -> None:
    measure = Measure([expression("path")], expression("ms"), expression("path != '/health'"), (1.0, 10.0))
    data = entries(
        {"path": "/a", "ms": 1}, {"path": "/a", "ms": 1.5}, {"path": "/b", "ms": 10.0},
        {"path": "/a", "ms": 99}, {"path": "/health", "ms": 5}, {"path": "/a", "ms": "7"},
        {"path": "/a", "ms": -1}, {"path": "/a"},
    )  # fmt: skip
    [(series, skipped)] = engine.tally([measure]).apply(data, "app", None, 0)
    assert [(msgpack.unpackb(one.key), *one[1:]) for one in series] == [
        (["/a"], 3, 101.5, 99.0, [1, 1, 1]),
        (["/b"], 1, 10.0, 10.0, [0, 1, 0]),
    ]
    assert skipped == 3


def test_without_a_value_events_are_counted_and_signed_ones_may_be_below_0(engine: Engine) -> None:
    measures = [Measure(), Measure((), expression("n"), signed=True)]
    data = entries({"n": -2}, {"n": 2**64 - 1}, {"n": True}, {})
    found = engine.tally(measures).apply(data, "app", None, 0)
    assert [(len(one.series), one.skipped) for one in found] == [(1, 0), (1, 1)]
    assert found[0].series[0][1:] == (4, 4.0, 1.0, [])
    assert found[1].series[0][1:] == (3, 2.0**64, 1.0, [])


VALUES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text("ab1 ", max_size=3)
)
RECORDS = st.lists(st.dictionaries(st.sampled_from("abcd"), VALUES), max_size=10)


@settings(max_examples=60 * PARITY)
@given(events=RECORDS, bounds=st.lists(st.floats(-9, 9), unique=True, max_size=3).map(sorted))
def test_the_engines_count_alike(events: list[dict[str, Any]], bounds: list[float]) -> None:
    measures = [
        Measure([expression("a"), expression("b")], None, expression("c")),
        Measure([expression("a")], expression("d"), None, bounds),
        Measure([], expression("d"), expression("b"), (), signed=True),
    ]
    results = [engine.tally(measures).apply(entries(*events), "app", None, 0) for engine in both()]
    assert repr(results[0]) == repr(results[1])


# -- repeats --------------------------------------------------------------------------------------


def test_repeats_are_left_out_until_their_time_is_over(engine: Engine) -> None:
    memory = engine.repeats([expression("m")], 5.0, 100, tells=True)
    first, again, other = {"m": "a", "n": 1}, {"m": "a", "n": 2}, {"m": "b", "n": 3}
    kept, events = memory.apply(entries(first, again, other, again), "app", None, 0, 0)
    assert (records(kept), events) == ([first, other], 2)
    assert memory.apply(entries(again), "app", None, 0, 4_999_999_999) == (b"", 0)
    assert memory.ended(4_999_999_999) == []
    assert records(memory.apply(entries(again), "app", None, 0, 5_000_000_000)[0]) == [again]
    [(tag, entry, repeats)] = memory.ended(5_000_000_000)
    assert (tag, records(entry), repeats) == ("app", [again], 3)
    assert memory.ended(None) == []


def test_the_same_event_under_another_tag_is_another_one(engine: Engine) -> None:
    memory = engine.repeats([expression("m")], 5.0, 100, tells=False)
    data = entries({"m": "a"})
    assert [memory.apply(data, tag, None, 0, 0)[1] for tag in ("a", "b", "a")] == [1, 1, 0]
    assert memory.ended(None) == []


def test_the_memory_of_repeats_is_bounded(engine: Engine) -> None:
    memory = engine.repeats([expression("m")], 5.0, 3, tells=True)
    data = entries(*({"m": n} for n in (1, 1, 2, 3, 4, 1)))
    assert [record["m"] for record in records(memory.apply(data, "app", None, 0, 0)[0])] == [1, 2, 3, 4, 1]
    assert memory.forgotten() == 2
    assert [one.repeats for one in memory.ended(0)] == [1]


def test_of_long_events_no_more_than_16_mib_are_kept(engine: Engine) -> None:
    memory = engine.repeats([expression("n")], 5.0, 100, tells=True)
    for number in range(4):
        data = entries({"n": number, "text": "x" * 6_000_000})
        assert [memory.apply(data, "app", None, 0, 0)[1] for _ in range(2)] == [1, 0]
    assert len(memory.ended(None)) == 2
    assert memory.apply(data, "app", None, 0, 0)[1] == 1


@settings(max_examples=40 * PARITY)
@given(
    steps=st.lists(
        st.tuples(RECORDS, st.sampled_from(["x", "y"]), st.integers(0, 3), st.booleans()), max_size=6
    )
)
def test_the_engines_find_the_same_repeats(steps: list[tuple[Any, str, int, bool]]) -> None:
    results = []
    for engine in both():
        memory = engine.repeats([expression("a"), expression("b")], 2e-9, 4, tells=True)
        at_ns, result = 0, []
        for events, tag, later, ask in steps:
            at_ns += later
            result.append(memory.apply(entries(*events), tag, None, 0, at_ns))
            result += [memory.ended(at_ns)] if ask else []
        results.append((result, memory.ended(None), memory.forgotten()))
    assert results[0] == results[1]


# -- templates ------------------------------------------------------------------------------------


def mine(engine: Engine, *messages: Any, most: int = 100) -> list[str]:
    ids, groups = engine.miner(expression("m"), most, 0.5).apply(
        entries(*({"m": message} for message in messages)), "app", None, 0
    )
    return [groups[ids[at]][1].decode() for at in range(0, len(ids), 4)]


def test_messages_with_most_words_in_common_share_a_template(engine: Engine) -> None:
    assert mine(
        engine,
        "user ann logged in from 10.0.0.1",
        "user bob logged in from 10.0.0.2",
        "took=12ms path=/a",
        "took=9ms path=/b",
        "disk full",
    ) == [
        "user <*> logged in from <*>",
        "user <*> logged in from <*>",
        "took=<*> <*>",
        "took=<*> <*>",
        "disk full",
    ]


def test_events_without_a_message_have_none(engine: Engine) -> None:
    assert mine(engine, None, 5, "", " \t", ["a"]) == [""] * 5


def test_a_template_keeps_its_id_and_is_known_again_after_a_restart(engine: Engine) -> None:
    miner = engine.miner(expression("m"), 100, 0.5)
    _, before = miner.apply(entries({"m": "user ann logged in"}), "app", None, 0)
    _, after = miner.apply(entries({"m": "user bob logged in"}), "app", None, 0)
    assert before[1][0] == after[1][0]
    assert after[1][1] == b"user <*> logged in"
    again = engine.miner(expression("m"), 100, 0.5)
    again.load(miner.dump())
    assert again.apply(entries({"m": "user eve logged in"}), "app", None, 0)[1] == after
    assert again.dump() == miner.dump()


def test_templates_are_bounded_and_those_in_use_stay(engine: Engine) -> None:
    miner = engine.miner(expression("m"), 3, 0.5)
    for word in ("one", "two", "three", "one", "four"):
        miner.apply(entries({"m": word}), "app", None, 0)
    assert [words for _, words in miner.dump()] == [[b"three"], [b"one"], [b"four"]]
    assert miner.counts() == (4, 1)


def test_text_without_end_and_words_without_number_are_cut(engine: Engine) -> None:
    [template] = mine(engine, "é" * 10_000_000)
    assert len(template.encode()) == 2048
    assert mine(engine, "x " * 5000) == [" ".join("x" * 100)]


def test_leaves_and_their_templates_are_bounded(engine: Engine) -> None:
    letters = [a + b for a in "abcdefghijklmnop" for b in "abcdefghijklmnop"]
    miner = engine.miner(expression("m"), 10_000, 1.0)
    miner.apply(entries(*({"m": f"{word} end"} for word in letters)), "app", None, 0)
    miner.apply(entries(*({"m": f"same {word}"} for word in letters)), "app", None, 0)
    assert len(miner.dump()) <= 63 + 64 + 64


MESSAGES = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "é", "x=1", "12", "a=b", "=", "<*>"]), max_size=4).map(" ".join)
    | st.none()
    | st.text(max_size=5),
    max_size=12,
)


@settings(max_examples=60 * PARITY)
@given(
    batches=st.lists(MESSAGES, max_size=4),
    most=st.integers(1, 6),
    similarity=st.sampled_from([0.1, 0.5, 1.0]),
)
def test_the_engines_find_the_same_templates(batches: Any, most: int, similarity: float) -> None:
    results = []
    for engine in both():
        miner = engine.miner(expression("m"), most, similarity)
        found = [miner.apply(entries(*({"m": one} for one in batch)), "app", None, 0) for batch in batches]
        results.append((found, miner.dump(), miner.counts()))
    assert results[0] == results[1]


# -- hostile records ------------------------------------------------------------------------------

HOSTILE = ["a", "message", "a.b", "field('\\\\xff')", "level if stream else msg"]


@settings(max_examples=60 * PARITY)
@given(packed=data.canonical_entries(), texts=st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=3))
def test_the_engines_agree_on_records_of_any_form(packed: bytes, texts: list[str]) -> None:
    """Keys that are no text, bytes that are no UTF-8, extensions, deep nesting, equal keys."""
    keys = [expression(text) for text in texts]
    results = []
    for engine in both():
        found = engine.grouping(keys).apply(packed, "app", "x", 5)
        values = [[key, b"\x01"] for key in found.keys]
        miner = engine.miner(keys[0], 5, 0.5)
        results.append(
            (
                found,
                engine.admit(packed, found.ids, [1] * len(found.keys), by="events"),
                engine.placement(["a.b", "message"]).apply(packed, found.ids, values),
                repr(engine.tally([Measure(keys, keys[0])]).apply(packed, "app", None, 5)),
                engine.repeats(keys, 1.0, 5, tells=True).apply(packed, "app", None, 5, 5),
                miner.apply(packed, "app", None, 5),
                miner.dump(),
            )
        )
    assert results[0] == results[1]
