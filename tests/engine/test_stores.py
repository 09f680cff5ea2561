"""Entries in the forms of Loki and OpenTelemetry."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.engine import load_engine
from logflow.engine.api import Engine
from logflow.engine.stores import LokiForm, OtlpForm
from logflow.errors import MalformedData
from logflow.packing import pack_entries
from logflow.protobuf import delimited, fields
from tools.strategies import canonical_entries

often = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FORM = OtlpForm(1, None, "message", "level", "trace_id", "span_id", b"id-", range(100))


def read(message: bytes) -> list:
    return [
        (number, value if isinstance(value, int) else bytes(value))
        for number, value in fields(memoryview(message))
    ]


def test_a_line_is_the_record_or_its_message(engine: Engine) -> None:
    entries = pack_entries([1_700_000_000_000_000_005, 2_000_000_000], [{"message": "hi"}, {"message": 1}])
    first, second = engine.to_loki(entries, LokiForm(2, [1, 0], "message"))
    assert read(second) == [(2, delimited(1, b"\x08\x80\xe2\xcf\xaa\x06\x10\x05") + delimited(2, b"hi"))]
    assert dict(read(read(first)[0][1]))[2] == b'{"message":1}'
    (only,) = engine.to_loki(entries, LokiForm(1, extra=[b"\x1a\x00", b""]))
    assert [dict(read(entry)) for _, entry in read(only)] == [
        {1: b"\x08\x80\xe2\xcf\xaa\x06\x10\x05", 2: b'{"message":"hi"}', 3: b""},
        {1: b"\x08\x02\x10\x00", 2: b'{"message":1}'},
    ]


@pytest.mark.parametrize(
    "form", [LokiForm(1, [0]), LokiForm(1, [0, 1]), LokiForm(1, extra=[b""]), LokiForm(0)]
)
def test_too_few_streams_are_an_error(engine: Engine, form: LokiForm) -> None:
    entries = pack_entries([0, 0], [{}, {}])
    with pytest.raises(MalformedData, match="fewer streams"):
        engine.to_loki(entries, form)


def record_of(engine: Engine, record: dict) -> list:
    (group,) = engine.to_otlp(pack_entries([5], [record]), FORM)
    ((number, message),) = read(group)
    assert number == 2
    return read(message)


def test_a_log_record_has_severity_body_ids_and_attributes(engine: Engine) -> None:
    found = record_of(engine, {
        "level": "WARN", "message": "hi", "n": -1, "span_id": "x",
        "trace_id": "0123456789abcdef0123456789ABCDEF",
    })  # fmt: skip
    assert found == [
        (1, (5).to_bytes(8, "little")), (2, 13), (3, b"WARN"), (5, delimited(1, b"hi")),
        (6, delimited(1, b"n") + delimited(2, b"\x18" + b"\xff" * 9 + b"\x01")),
        (6, delimited(1, b"span_id") + delimited(2, delimited(1, b"x"))),
        (6, delimited(1, b"log.record.uid") + delimited(2, delimited(1, b"id-0"))),
        (9, bytes.fromhex("0123456789abcdef0123456789abcdef")),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("level", "number"), [("Error", 17), (30, 9), ("fatal", 21), ("trace", 1), ("odd", None), (None, None)]
)
def test_levels_have_the_numbers_of_the_data_model(engine: Engine, level, number) -> None:
    assert dict(record_of(engine, {"level": level})).get(2) == number


@often
@given(st.data())
def test_both_engines_give_the_same(data) -> None:
    entries = data.draw(canonical_entries())
    python, native = load_engine("python"), load_engine("native")
    count = python.count(entries)
    which = data.draw(st.none() | st.lists(st.integers(0, 2), min_size=count, max_size=count))
    places = data.draw(st.sampled_from([range(7, 7 + count), list(range(count))[::-1]]))
    keys = [data.draw(st.sampled_from(["a", "", "message", "k"])) for _ in range(4)]
    extra = data.draw(st.none() | st.just([b"\x1a\x00"] * count))
    loki = LokiForm(3, which, keys[0], extra)
    assert native.to_loki(entries, loki) == python.to_loki(entries, loki)
    otlp = OtlpForm(3, which, *keys, b"id-", places)
    assert native.to_otlp(entries, otlp) == python.to_otlp(entries, otlp)
