"""Expressions over packed entries, in both engines."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from logflow.batch import Batch
from logflow.engine.api import Engine
from logflow.expressions import compile_expression

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


@pytest.mark.parametrize(("text", "kept"), [("True", 4), ("missing", 0)])
def test_a_condition_that_is_true_for_all_or_none_copies_nothing(
    engine: Engine, text: str, kept: int
) -> None:
    wanted, count, rest = engine.condition(compile_expression(text)).split(ENTRIES, "app", None, 0)
    assert (wanted, count, rest) == ((ENTRIES, 4, b"") if kept else (b"", 0, ENTRIES))


def test_a_computation_gives_a_packed_value_for_each_event(engine: Engine) -> None:
    computation = engine.computation(
        compile_expression("f'{tag()} {source()} {level}' if level else time() + 1")
    )
    values = computation.values(ENTRIES, "app", "files", 0)
    assert [msgpack.unpackb(value) for value in values] == [
        "app files debug", "app files error", "app files info", 1_700_000_004.0,
    ]  # fmt: skip


def test_binary_text_times_and_odd_keys_read_as_in_json_lines(engine: Engine) -> None:
    record = msgpack.packb({b"a": b"\xff!", 5: 1, "t": msgpack.ExtType(0, bytes(8)), "nan": float("nan")})
    entry = b"\x92\xd7\x00" + bytes(8) + record
    computation = engine.computation(compile_expression("[a, field('5'), t, nan]"))
    [packed] = computation.values(entry, "app", None, 0)
    assert msgpack.unpackb(packed) == ["\\xff!", 1, "1970-01-01T00:00:00.000000000Z", None]


def test_no_entries_are_no_values(engine: Engine) -> None:
    assert engine.condition(compile_expression("a")).split(b"", "app", None, 0) == (b"", 0, b"")
    assert engine.computation(compile_expression("a")).values(b"", "app", None, 0) == []
