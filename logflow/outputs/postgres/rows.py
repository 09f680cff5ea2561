r"""Rows of PostgreSQL's COPY in its text format.

Columns stand between tabs, rows between newlines, ``\N`` is NULL, and ``\\ \t \n \r`` are written with a
backslash (https://www.postgresql.org/docs/current/sql-copy.html). Time and record come from the engine: a
line of JSON whose first member has a key that nobody can foresee, so that what stands where is known.

Text of PostgreSQL cannot hold the character NUL; ``U+FFFD`` stands in its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

import msgspec

from logflow.batch import Chunk
from logflow.component import Context
from logflow.encoders import text_of
from logflow.expressions import Expression

_TIME_KEY = os.urandom(8).hex()
_PREFIX = f'{{"{_TIME_KEY}":"'.encode()
_TIME_BYTES = 30
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\ufffd"})
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
"""The escape of NUL, and not the text that an escaped backslash begins."""
_SLICE_BYTES = 256 << 10
_decode = msgspec.msgpack.decode


class CopyRows:
    """Makes rows. Pure; may be used from any thread."""

    def __init__(self, columns: Sequence[Expression], context: Context, *, record: bool) -> None:
        """Rows of time, tag, the record if it is wanted, and what expressions give."""
        self._engine = context.engine
        self._clock = context.clock
        self._record = record
        self._columns = [context.engine.computation(column) for column in columns]

    def of(self, chunks: Sequence[Chunk]) -> Iterator[bytes]:
        """The rows of chunks, in slices."""
        for chunk in chunks:
            tag = chunk.tag.translate(_ESCAPES).encode()
            for entries in chunk.parts:
                yield from self._rows(entries, tag, chunk.tag)

    def _rows(self, entries: bytes, escaped_tag: bytes, tag: str) -> Iterator[bytes]:
        lines = self._engine.to_ndjson(entries, "", _TIME_KEY, None)
        if b"\\u0000" in lines:
            lines = _NUL.sub(rb"\1\\ufffd", lines)
        if b"\\" in lines:
            lines = lines.replace(b"\\", b"\\\\")
        skip = len(_PREFIX)
        after = skip + _TIME_BYTES
        others = self._others(entries, tag)
        rows: list[bytes] = []
        size = 0
        for line in lines.splitlines():
            columns = [line[skip:after], escaped_tag]
            if self._record:
                rest = line[after + 1 :]  # behind the quote: `,"a":1}` or `}`
                columns.append(b"{" + (rest[1:] if rest.startswith(b",") else rest))
            row = b"\t".join([*columns, *next(others)]) if self._columns else b"\t".join(columns)
            rows.append(row)
            size += len(row)
            if size > _SLICE_BYTES:
                yield b"\n".join([*rows, b""])
                rows, size = [], 0
        if rows:
            yield b"\n".join([*rows, b""])

    def _others(self, entries: bytes, tag: str) -> Iterator[tuple[bytes, ...]]:
        """What the expressions give for each event."""
        now_ns = self._clock.time_ns()
        values = [column.values(entries, tag, None, now_ns) for column in self._columns]
        return (tuple(map(_cell, of_event)) for of_event in zip(*values, strict=True))


def _cell(packed: bytes) -> bytes:
    value = _decode(packed)
    if value is None:
        return b"\\N"
    return text_of(value).translate(_ESCAPES).encode("utf-8", "backslashreplace")
