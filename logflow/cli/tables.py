"""SQL that makes the files of an archive a table for DuckDB.

Fields and their types are looked for at the beginnings of all files. What is read is then declared, which is
some four times as fast as having DuckDB find out file by file. A value further on may be of another type.
DuckDB would round it or turn it into another without a word, so it ends the query, which is asked again with
types that all lines fit.
"""

from __future__ import annotations

import gzip
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

import zstandard

from logflow.errors import ComponentError

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PAR1": "parquet"}
_MOST_OBJECT_BYTES = 128 << 20
_HEADS_BYTES = 64 << 20
_MOST_HEAD_BYTES = 1 << 20
_LEAST_HEAD_BYTES = 4096
_FIRST_LINES = 20480
"""How many lines of each file DuckDB looks at by itself."""

Kinds: TypeAlias = Mapping[str, list[Path]]


def ask(duckdb: Any, sql: str, files: Iterable[Path], directory: Path) -> Any:
    """Run a query over the files, as the table ``logs``.

    Args:
        duckdb: the library.
        sql: the query.
        files: what is read.
        directory: for what is only needed meanwhile.

    Raises:
        ComponentError: it cannot be answered; the text says why.
    """
    connection = duckdb.connect(config={
        "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
    })  # fmt: skip
    kinds = _kinds(files)
    lines = 0
    try:
        while True:
            try:
                connection.execute(
                    f"CREATE OR REPLACE TEMP VIEW logs AS {_table(connection, kinds, lines, directory)}"
                )
                return connection.execute(sql)
            except (duckdb.InvalidInputException, duckdb.ConversionException):
                if lines < 0:
                    raise
                lines = -1
            except duckdb.BinderException:
                if lines:
                    raise
                lines = _FIRST_LINES  # the field may come late in its files
    except duckdb.Error as error:
        raise ComponentError(" ".join(str(error).split())[:500]) from error


def _kinds(files: Iterable[Path]) -> Kinds:
    """The files by what they are, without those that are empty."""
    kinds: defaultdict[str, list[Path]] = defaultdict(list)
    for path in files:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic:
            kind = next((kind for start, kind in _MAGIC.items() if magic.startswith(start)), "none")
            kinds[kind].append(path)
    if not kinds:
        raise ComponentError("all files are empty")
    return kinds


def _table(connection: Any, kinds: Kinds, lines: int, directory: Path) -> str:
    """SQL of a table of what is in the first lines of each file (0: at its beginning, -1: anywhere)."""
    texts = {kind: paths for kind, paths in kinds.items() if kind != "parquet"}
    heads = directory / "heads.jsonl"
    if not lines:
        _write_heads(texts, heads)
        sample, lines = ({"none": [heads]}, -1) if heads.stat().st_size else (texts, _FIRST_LINES)
    else:
        sample = texts
    if not texts:
        return _union(kinds, "*", "")
    found = connection.sql(
        _union(sample, "*", f"union_by_name = true, sample_size = {lines}, map_inference_threshold = -1")
    )
    columns = dict(zip(found.columns, found.types, strict=True))
    declared = ", ".join(f"{_text(name)}: {_text(_type(kind))}" for name, kind in columns.items())
    selected = ", ".join(f"{_checked(_name(name), kind)} AS {_name(name)}" for name, kind in columns.items())
    return _union(kinds, selected, f"records = 'true', columns = {{{declared}}}")


def _union(kinds: Kinds, selected: str, options: str) -> str:
    """SQL that reads files of several kinds; all that is put in is quoted."""
    return " UNION ALL BY NAME ".join(
        f"SELECT * FROM read_parquet([{names}], union_by_name = true)"  # noqa: S608
        if kind == "parquet"
        else f"SELECT {selected} FROM read_json([{names}], format = 'newline_delimited', "  # noqa: S608
        f"compression = '{kind}', maximum_object_size = {_MOST_OBJECT_BYTES}, {options})"
        for kind, paths in kinds.items()
        for names in [", ".join(map(_text, paths))]
    )


# -- beginnings -----------------------------------------------------------------------------------


def _write_heads(kinds: Kinds, heads: Path) -> None:
    files = [(path, kind) for kind, paths in kinds.items() for path in paths]
    size = min(_MOST_HEAD_BYTES, max(_LEAST_HEAD_BYTES, _HEADS_BYTES // max(1, len(files))))
    with heads.open("wb") as into:
        for path, kind in files:
            into.write(_head(path, kind, size))


def _head(path: Path, kind: str, size: int) -> bytes:
    """The first lines of a file; nothing if it is damaged, which reading all of it tells better."""
    try:
        with path.open("rb") as file:
            data = _opened(file, kind).read(size)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):
        return b""
    return data[: data.rfind(b"\n") + 1]


def _opened(file: IO[bytes], kind: str) -> IO[bytes] | gzip.GzipFile:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=file)
    if kind == "zstd":
        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return file


# -- types ----------------------------------------------------------------------------------------

_EXACT = {
    "bigint": "CASE WHEN {0} IS NULL THEN NULL WHEN contains({0}, '.') OR contains({0}, 'e-') "
    "THEN error('not an integer')::BIGINT ELSE {0}::BIGINT END",
    "boolean": "CASE {0} WHEN NULL THEN NULL WHEN 'true' THEN true WHEN 'false' THEN false "
    "ELSE error('not a truth value')::BOOLEAN END",
}
"""SQL that makes a text the value that JSON has, or fails."""
_WIDER = {"date": "TIMESTAMP", "time": "VARCHAR"}
"""Types that would cut values off."""


def _type(kind: Any) -> str:
    """The type that a column is declared with."""
    if kind.id == "struct":
        return f"STRUCT({', '.join(f'{_name(name)} {_type(inner)}' for name, inner in kind.children)})"
    if kind.id == "list":
        return f"{_type(kind.children[0][1])}[]"
    return "VARCHAR" if kind.id in _EXACT else _WIDER.get(kind.id, str(kind))


def _checked(value: str, kind: Any, depth: int = 0) -> str:
    """SQL that makes what was read a value of its type."""
    if not _needs_check(kind):
        return value
    if kind.id == "struct":
        inner = ", ".join(
            f"{_name(name)} := {_checked(f'{value}.{_name(name)}', inner, depth)}"
            for name, inner in kind.children
        )
        return f"CASE WHEN {value} IS NULL THEN NULL ELSE struct_pack({inner}) END"
    if kind.id == "list":
        item = f"item_{depth}"
        return f"list_transform({value}, lambda {item}: {_checked(item, kind.children[0][1], depth + 1)})"
    return _EXACT[kind.id].format(value)


def _needs_check(kind: Any) -> bool:
    if kind.id in ("struct", "list"):
        return any(_needs_check(inner) for _, inner in kind.children)
    return kind.id in _EXACT


def _text(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
