"""Parquet: what becomes of fields whose types change, and of what has no type of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.batch import Batch, Chunk
from logflow.encoders import EventKeys
from logflow.event import MAX_TIME_NS
from logflow.parquet import ColumnTypes, ParquetWriter

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

T0 = 1_700_000_000_123_456_789


class Keys(EventKeys):
    type: str = "test"


class Bench:
    def __init__(self, directory: Path, keys: EventKeys | None = None) -> None:
        self.directory = directory
        self.writer = ParquetWriter(ColumnTypes(directory / "columns.json"), keys or Keys(), "test")

    def table(self, *records: dict[Any, Any], place: str = "logs") -> Any:
        batch = Batch.from_events("app", [(T0, record) for record in records])
        chunk = Chunk(bytes(16), "app", (batch.entries,), len(records))
        return parquet.read_table(arrow.BufferReader(self.writer.write(place, [(chunk, chunk.parts)])))

    def rows(self, *records: dict[Any, Any], place: str = "logs") -> list[dict[str, Any]]:
        rows = self.table(*records, place=place).drop_columns(["@timestamp", "@tag"]).to_pylist()
        return [{key: value for key, value in row.items() if value is not None} for row in rows]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_types_are_those_of_the_first_values(bench: Bench) -> None:
    table = bench.table({"i": 1, "f": 1.5, "b": True, "s": "x", "m": {"a": [1]}, "y": b"z", "n": None})
    assert {field.name: str(field.type) for field in table.schema} == {
        "@timestamp": "timestamp[ns, tz=UTC]", "@tag": "string", "i": "int64", "f": "double", "b": "bool",
        "s": "string", "m": "string", "y": "string",
    }  # fmt: skip
    assert table["@timestamp"][0].value == T0
    (row,) = table.drop_columns(["@timestamp"]).to_pylist()
    assert (row["m"], row["y"]) == ('{"a":[1]}', "z")


def test_a_value_of_another_type_stands_beside_as_text(bench: Bench) -> None:
    records = [{"n": 1}, {"n": "two"}, {"n": 3.5}, {"n": True}, {"n": 1 << 63}, {"n": {"a": 1}}]
    assert bench.rows(*records) == [
        {"n": 1}, {"n_text": "two"}, {"n_text": "3.5"}, {"n_text": "true"},
        {"n_text": "9223372036854775808"}, {"n_text": '{"a":1}'},
    ]  # fmt: skip
    assert bench.rows({"s": "a"}, {"s": 1}) == [{"s": "a"}, {"s_text": "1"}]
    assert bench.rows({"f": 0.5}, {"f": 2}) == [{"f": 0.5}, {"f": 2.0}]


def test_types_stay_over_files_and_restarts_and_differ_by_place(bench: Bench) -> None:
    bench.rows({"n": 1})
    assert bench.rows({"n": "x"}) == [{"n_text": "x"}]
    assert bench.rows({"n": "x"}, place="other") == [{"n": "x"}]
    assert Bench(bench.directory).rows({"n": "x"}) == [{"n_text": "x"}]


def test_very_many_fields_end_in_one_column(bench: Bench) -> None:
    (row,) = bench.rows({f"f{number}": number for number in range(1100)})
    assert len(row) == 1001
    assert row["_more"].startswith('{"f1000":1000,')


def test_own_fields_called_like_ours_stay_and_ours_keep_their_types(bench: Bench) -> None:
    table = bench.table({"@timestamp": "mine", "@tag": 7}, {"@tag": "own"}, {"_more": 1})
    assert [str(table.schema.field(name).type) for name in ("@timestamp", "@tag")] == [
        "timestamp[ns, tz=UTC]", "string",
    ]  # fmt: skip
    assert table["@tag"].to_pylist() == ["app", "own", "app"]
    assert table["@tag_text"].to_pylist() == ["7", None, None]
    assert table["@timestamp_text"].to_pylist() == ["mine", None, None]
    assert table["@timestamp"][0].value == T0
    assert table["_more"].to_pylist() == [None, None, '{"_more":1}']


def test_the_names_of_time_and_tag_are_those_of_the_configuration(tmp_path: Path) -> None:
    assert Bench(tmp_path, Keys(time_key="t", tag_key=None)).table({"a": 1}).column_names == ["t", "a"]


def test_a_field_that_comes_late_is_missing_in_the_rows_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logflow.parquet._SLICE_ROWS", 2)
    rows = bench.rows({"a": 1}, {"a": 2}, {"b": "x"}, {"a": "y"}, {"@timestamp": 1})
    assert rows == [{"a": 1}, {"a": 2}, {"b": "x"}, {"a_text": "y"}, {"@timestamp_text": "1"}]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False)
    | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
RECORDS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "a_text", "_more"]), VALUES), min_size=1)


@settings(deadline=None, max_examples=50)
@given(records=RECORDS)
def test_any_records_make_a_file_with_all_of_them(
    tmp_path_factory: Any, records: list[dict[str, Any]]
) -> None:
    bench = Bench(tmp_path_factory.mktemp("parquet"))
    rows = bench.rows(*records)
    assert len(rows) == len(records)
    for record, row in zip(records, rows, strict=True):
        assert bool(row) == any(value is not None for value in record.values())


def test_times_out_of_range_are_held_within_it(bench: Bench) -> None:
    times = [-62_135_596_800 * 10**9, -1, 16_725_225_600 * 10**9]
    batch = Batch.from_events("app", [(time, {"n": n}) for n, time in enumerate(times)])
    chunk = Chunk(bytes(16), "app", (batch.entries,), batch.count)
    table = parquet.read_table(arrow.BufferReader(bench.writer.write("logs", [(chunk, chunk.parts)])))
    assert table["@timestamp"].cast("int64").to_pylist() == [0, 0, MAX_TIME_NS]
    assert table["n"].to_pylist() == [0, 1, 2]
