"""Tables for the filter ``lookup``: rows of a file, by the text of a key.

==========  =====================================================================================
format      rows
==========  =====================================================================================
``csv``     a row for each line after the first one, which names the columns
``json``    an object of rows by their keys, or an array of rows; a row that is no object is ``value``
``mmdb``    MaxMind's format, of GeoIP and others: rows by networks of IP addresses
==========  =====================================================================================

A file that does not parse gives no table at all, however much of it could be read: it may be half written.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from logflow.errors import ComponentError, LogflowError
from logflow.extras import load
from logflow.jsontext import json_text
from logflow.packing import pack_value
from logflow.paths import parse_path

TableFormat: TypeAlias = Literal["csv", "json", "mmdb"]
Row: TypeAlias = Sequence[bytes]
"""For each column that is wanted, the packed value; empty bytes where there is none."""


class Table(Protocol):
    """Rows by the text of a key."""

    def get(self, key: str) -> Row | None:
        """Find a row."""
        ...

    def __len__(self) -> int: ...


class BadTable(ValueError):
    """A file is no table of its format; the text says where."""


def read_table(data: bytes, form: TableFormat, key: str | None, columns: Sequence[str]) -> Table:
    """Make a table of a file's bytes.

    Args:
        data: the file.
        form: its format.
        key: the column that has the keys; of CSV the first one unless given.
        columns: paths of the values that are wanted.

    Raises:
        BadTable: it is not of this format, or has no such columns.
        ComponentError: the library for the format is not installed.
    """
    read: dict[TableFormat, Callable[[bytes, str | None, Sequence[str]], Table]]
    read = {"csv": _read_csv, "json": _read_json, "mmdb": _Networks}
    try:
        return read[form](data, key, columns)
    except BadTable:
        raise
    except (ValueError, RecursionError, csv.Error, LogflowError) as error:
        if isinstance(error, ComponentError):
            raise
        raise BadTable(" ".join(str(error).split())[:300]) from error


def library(form: TableFormat) -> Any:
    """The library for a format that needs one, else None.

    Raises:
        ComponentError: it is not installed.
    """
    return load("maxminddb", "geoip", "a lookup in MaxMind files") if form == "mmdb" else None


def _read_csv(data: bytes, key: str | None, columns: Sequence[str]) -> Table:
    rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    names = next(rows, [])
    missing = [name for name in (*([key] if key else []), *columns) if name not in names]
    if missing:
        raise BadTable(f"it has no column {missing[0]!r}, but {', '.join(names) or 'none'}")
    at = names.index(key) if key else 0
    wanted = [names.index(name) for name in columns]
    table: dict[str, Row] = {}
    for row in rows:
        if len(row) != len(names):
            if not row:
                continue
            raise BadTable(f"line {rows.line_num} has {len(row)} columns and not {len(names)}")
        table[row[at]] = tuple(pack_value(row[index]) if row[index] else b"" for index in wanted)
    if data and not data.endswith(b"\n"):
        raise BadTable("its last line has no end; it may be half written")
    return table


def _read_json(data: bytes, key: str | None, columns: Sequence[str]) -> Table:
    decoded = msgspec.json.decode(data)
    rows: Iterable[tuple[Any, Any]]
    match decoded:
        case dict():
            rows = decoded.items()
        case list() if key is not None:
            rows = [(row.get(key), row) for row in decoded if isinstance(row, dict)]
        case list():
            raise BadTable("it is an array of rows; key_column names the column that has their keys")
        case _:
            raise BadTable("it is neither an object nor an array")
    pick = _picker(columns)
    return {json_text(found): pick(row) for found, row in rows if found is not None}


def _picker(columns: Sequence[str]) -> Callable[[Any], Row]:
    paths = [parse_path(column) for column in columns]

    def pick(row: Any) -> Row:
        fields: dict[str, Any] = row if isinstance(row, dict) else {"value": row}
        values = (path.find(fields) for path in paths)
        return tuple([b"" if value is None else pack_value(value, 2) for value in values])

    return pick


class _Networks:
    """The rows of a MaxMind file, read from memory: a file that is written over must not tear a mapping."""

    def __init__(self, data: bytes, key: str | None, columns: Sequence[str]) -> None:
        if key is not None:
            raise BadTable("a MaxMind file has no key_column; its keys are IP addresses")
        maxminddb = library("mmdb")
        try:
            self._reader = maxminddb.open_database(_Named(data), maxminddb.MODE_FD)
        except maxminddb.InvalidDatabaseError as error:
            raise BadTable(str(error)) from error
        self._damaged: type[Exception] = maxminddb.InvalidDatabaseError
        self._pick = _picker(columns)

    def get(self, key: str) -> Row | None:
        """Find the row of the network that an address is in."""
        try:
            row = self._reader.get(key)
        except (ValueError, self._damaged):  # no address, or IPv6 in a file of IPv4
            return None
        return None if row is None else self._pick(row)

    def __len__(self) -> int:
        count: int = self._reader.metadata().node_count
        return count


class _Named(io.BytesIO):
    """Bytes that pass for an open file."""

    name = "the file"
