"""Parquet: columns from fields, whose types are inferred once and then kept.

The time is a column ``@timestamp``, the tag a column ``@tag`` (or as they are called by the configuration),
and each top-level field of a record one more.
The first value of a field decides the type of its column in that place; maps and arrays are JSON text::

    true        bool                "text", bytes            string
    12          int64               {"a": 1}, [1, 2]         string: JSON
    1.5, 12     double              time                     timestamp

A value of another type than its column's is not lost: it stands as text in the column ``NAME_text``. Which
type a column has is kept in a file, so that it stays over restarts. Fields beyond the first
:data:`MOST_COLUMNS` stand as one JSON object in the column ``_more``.

Columns are compressed with zstd, with dictionaries, in row groups of :data:`_ROW_GROUP` rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from logflow import extras
from logflow.batch import Chunk
from logflow.encoders import EventKeys, text_of
from logflow.event import EventTime
from logflow.packing import unpack_entries

MOST_COLUMNS = 1000
"""Most columns that fields make in a place."""
_MOST_PLACES = 10_000
_ROW_GROUP = 128 * 1024
_SLICE_ROWS = 16 * 1024
"""Rows that are Python's objects at once; those before them are columns already."""
_MORE = "_more"
_INT64 = range(-(1 << 63), 1 << 63)

Types: TypeAlias = dict[str, str]
"""Column to the name of its type."""


def _type_of(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case int() if not isinstance(value, EventTime):
            return "int64" if value in _INT64 else "string"
        case float():
            return "double"
        case EventTime():
            return "timestamp"
    return "string"


_FITS: dict[str, Callable[[object], Any]] = {
    "bool": lambda value: value if isinstance(value, bool) else None,
    "int64": lambda value: value if type(value) is int and value in _INT64 else None,
    "double": lambda value: float(value) if type(value) in (int, float) else None,  # type: ignore[arg-type]
    "timestamp": lambda value: int(value) if isinstance(value, EventTime) else None,
    "string": lambda value: None if isinstance(value, bool | int | float) and _type_of(value) != "string"
    else text_of(value),
}  # fmt: skip
"""What stands in a column of a type for a value; None if it does not fit."""


_PLAIN: dict[type, str] = {bool: "bool", int: "int64", float: "double", str: "string"}
"""Types of values that stand in columns as they are."""


class ColumnTypes:
    """The types of columns, by place; kept in a file. May be used from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._places: dict[str, Types] | None = None

    def of(self, place: str) -> Types:
        """The types of a place's columns, to be added to by :meth:`keep`."""
        with self._lock:
            if self._places is None:
                self._places = {}
                with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
                    self._places = msgspec.json.decode(self._path.read_bytes(), type=dict[str, Types])
            return dict(self._places.get(place, {}))

    def keep(self, place: str, types: Types) -> None:
        """New columns of a place have these types from now on.

        Raises:
            OSError: they cannot be written down.
        """
        with self._lock:
            assert self._places is not None
            known = self._places.pop(place, {})
            self._places[place] = {**types, **known}
            while len(self._places) > _MOST_PLACES:
                del self._places[next(iter(self._places))]
            if types.keys() - known.keys():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                new = self._path.with_suffix(".new")
                new.write_bytes(msgspec.json.encode(self._places))
                new.rename(self._path)


class ParquetWriter:
    """Makes chunks into a file of Parquet. May be used from several threads.

    Raises:
        ComponentError: the library is missing.
    """

    def __init__(self, types: ColumnTypes, keys: EventKeys, what: str) -> None:
        self._keys = keys
        self._arrow = extras.load("pyarrow", "parquet", what)
        self._parquet = extras.load("pyarrow.parquet", "parquet", what)
        self._types = types

    def write(self, place: str, parts: Sequence[tuple[Chunk, Sequence[bytes]]]) -> bytes:
        """Make a file of the events of one place.

        Args:
            place: columns keep their types within it.
            parts: chunks, and those of their entries that belong to the place.
        """
        types = self._types.of(place)
        tables = [self._arrow_table(rows) for rows in self._slices(types, parts)]
        table = self._arrow.concat_tables(tables, promote_options="default")
        self._types.keep(place, types)
        sink = self._arrow.BufferOutputStream()
        self._parquet.write_table(
            table, sink, compression="zstd", use_dictionary=True, row_group_size=_ROW_GROUP
        )
        return bytes(sink.getvalue())

    def _slices(self, types: Types, parts: Sequence[tuple[Chunk, Sequence[bytes]]]) -> Iterator[_Table]:
        rows = _Table(types, self._keys)
        for chunk, entries in parts:
            for packed in entries:
                for time, record in unpack_entries(packed):
                    rows.add(time, chunk.tag, record)
                    if rows.count >= _SLICE_ROWS:
                        yield rows
                        rows = _Table(types, self._keys)
        yield rows

    def _arrow_table(self, table: _Table) -> Any:
        arrow = self._arrow
        kinds = {
            "bool": arrow.bool_(), "int64": arrow.int64(), "double": arrow.float64(),
            "string": arrow.string(), "timestamp": arrow.timestamp("ns", tz="UTC"),
        }  # fmt: skip
        columns = table.finished()
        return arrow.table(
            {name: arrow.array(values, kinds[kind]) for name, (kind, values) in columns.items()}
        )


class _Table:
    """Columns under construction.

    Those for time and tag stand first and have types of their own. A record's own value goes before ours, if
    it is of that type; otherwise it stands beside, as any value does.
    """

    def __init__(self, types: Types, keys: EventKeys) -> None:
        self.count = 0
        self._types = types
        self._times: list[Any] = []
        self._tags: list[Any] = []
        self._columns: dict[str, list[Any]] = {}
        self._fixed: Types = {}
        for key, kind, values in (
            (keys.time_key, "timestamp", self._times), (keys.tag_key, "string", self._tags),
        ):  # fmt: skip
            if key is not None and key not in self._columns:
                self._fixed[key] = kind
                self._columns[key] = values

    def add(self, time: EventTime, tag: str, record: dict[Any, Any]) -> None:
        """Add a row."""
        more: dict[str, Any] = {}
        types, columns, rows = self._types, self._columns, self.count
        for key, value in record.items():
            # Most values are as plain as those before them in their column.
            kind = _PLAIN.get(type(value))
            if (
                kind is not None
                and types.get(key) == kind
                and (column := columns.get(key)) is not None
                and len(column) == rows
                and (value.isascii() if kind == "string" else kind != "int64" or value in _INT64)
            ):
                column.append(value)
            elif value is not None:
                self._add_cell(key if isinstance(key, str) else text_of(key), value, more)
        if len(self._times) == rows:
            self._times.append(int(time))
        if len(self._tags) == rows:
            self._tags.append(tag)
        if more:
            self._put(_MORE, text_of(more))
        self.count += 1

    def _add_cell(self, name: str, value: object, more: dict[str, Any]) -> None:
        """Find the column of a value; ``more`` takes what has none."""
        kind = self._fixed.get(name) or self._types.get(name)
        if kind is None:
            if len(self._types) >= MOST_COLUMNS or name == _MORE:
                more[name] = value
                return
            kind = self._types[name] = _type_of(value)
        cell = _FITS[kind](value)
        if cell is None:
            beside = f"{name}_text"
            if self._types.setdefault(beside, "string") != "string":
                more[name] = value
                return
            name, cell = beside, text_of(value)
        self._put(name, cell)

    def _put(self, name: str, cell: Any) -> None:
        column = self._columns.setdefault(name, [])
        column += [None] * (self.count - len(column))
        if len(column) == self.count:  # a second key of the same text is left out
            column.append(cell)

    def finished(self) -> dict[str, tuple[str, list[Any]]]:
        """Every column with its type."""
        kinds = {**self._types, **self._fixed}
        return {
            name: (kinds.get(name, "string"), column + [None] * (self.count - len(column)))
            for name, column in self._columns.items()
        }
