"""What is too long, too deep or too many is cut, in both engines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.engine.api import Engine
from logflow.packing import pack_entry, unpack_entries
from tests.engine.test_expressions import both_engines
from tools.strategies import canonical_entries

MANY = 1 << 32


def cut(
    engine: Engine, record: dict[str, Any], most: int = MANY, depth: int = 128, fields: int = MANY
) -> Any:
    done = engine.limits(most, depth, fields, "truncated").apply(pack_entry(5, record))
    ((time, changed),) = unpack_entries(done.entries)
    assert time == 5
    return changed, done[1:]


@pytest.mark.parametrize(
    ("record", "limits", "expected", "counts"),
    [
        ({"a": "12345", "b": {"c": ["123456"]}}, {"most": 5},
         {"a": "12345", "b": {"c": ["12345"]}, "truncated": True}, (1, 0, 0)),
        ({"a": "1234é"}, {"most": 5}, {"a": "1234", "truncated": True}, (1, 0, 0)),
        ({"a": b"\x80\x80\x80\x80\x80\x80"}, {"most": 5}, {"a": b"\x80\x80", "truncated": True}, (1, 0, 0)),
        ({"a": "123456", "truncated": 1}, {"most": 5}, {"a": "12345", "truncated": 1}, (1, 0, 0)),
        ({"a": {"b": {"c": 1}}, "d": [[1]]}, {"depth": 2},
         {"a": {"b": '{"c":1}'}, "d": ["[1]"], "truncated": True}, (0, 2, 0)),
        ({"a": {"b": 12}}, {"depth": 1, "most": 4}, {"a": '{"b"', "truncated": True}, (0, 1, 0)),
        ({"a": 1, "b": [1, 2, 3], "c": 4}, {"fields": 2},
         {"a": 1, "b": [1, 2], "truncated": True}, (0, 0, 2)),
        ({"a": [], "b": {}}, {"most": 0, "depth": 2, "fields": 2}, {"a": [], "b": {}}, (0, 0, 0)),
    ],
)  # fmt: skip
def test_what_is_beyond_a_limit_is_cut_and_marked(
    engine: Engine, record: dict[str, Any], limits: dict[str, int], expected: dict[str, Any], counts: Any
) -> None:
    assert cut(engine, record, **limits) == (expected, counts)


def test_what_is_within_the_limits_is_not_copied(engine: Engine) -> None:
    entries = pack_entry(5, {"a": "x"})
    assert engine.limits(5, 5, 5, "truncated").apply(entries).entries is entries


@given(
    entries=canonical_entries(),
    most=st.sampled_from([0, 1, 3, 20, MANY]),
    depth=st.sampled_from([1, 2, 3, 128]),
    fields=st.sampled_from([1, 2, 5, MANY]),
)
def test_the_engines_agree_on_any_record(entries: bytes, most: int, depth: int, fields: int) -> None:
    first, *others = [engine.limits(most, depth, fields, "a").apply(entries) for engine in both_engines()]
    assert others in ([first], [])


@given(entries=canonical_entries(), seed=st.integers(0, 2**64 - 1), most=st.integers(0, 2**64 - 1))
def test_the_engines_draw_alike(entries: bytes, seed: int, most: int) -> None:
    draws = [engine.draw(entries, seed, most) for engine in both_engines()]
    assert draws[0] == draws[-1]
    assert len(draws[0]) == both_engines()[0].count(entries)
