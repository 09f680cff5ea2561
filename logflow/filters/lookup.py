"""Filter ``lookup``: sets fields to what a table in a file has for a key.

The file is looked at every ``refresh``, and read again once it has changed and then been the same for that
long. If it cannot be read then, is too large or does not parse, the old table stays, and the log says so.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import aiofiles
import msgspec
from pydantic import Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import Duration, ExpressionField, FieldName, NonEmpty, Size, parse_size
from logflow.config.options import FilterConfig
from logflow.errors import ComponentError
from logflow.filters.tables import BadTable, Row, Table, TableFormat, library, read_table
from logflow.jsontext import json_text
from logflow.packing import pack_value

_SUFFIXES: dict[str, TableFormat] = {".csv": "csv", ".json": "json", ".mmdb": "mmdb"}
_MOST_KNOWN = 10_000
_LONGEST_KEY = 1024

_decode = msgspec.msgpack.decode

_Identity = tuple[int, int, int]
"""Of a file: its inode, size and time of change; another file, or other content, has another one."""


class LookupFilter(Filter):
    """Looks each key up once a batch; see the module's text."""

    one_to_one = True

    class Config(FilterConfig):
        """Options of the filter ``lookup``."""

        type: Literal["lookup"] = "lookup"
        file: NonEmpty = Field(
            description="The file that has the table.", examples=["/etc/logflow/hosts.csv"]
        )
        format: TableFormat | None = Field(
            None, description="How it is written; by its name (`.csv`, `.json`, `.mmdb`) unless set."
        )
        key: ExpressionField = Field(
            description="What is looked up, as text; of MaxMind files an IP address.", examples=["client_ip"]
        )
        key_column: NonEmpty | None = Field(
            None,
            description="The column of the keys: of CSV the first one unless set; a JSON array needs it.",
        )
        fields: dict[FieldName, NonEmpty] = Field(
            min_length=1, max_length=100,
            description="`{field: column}`; of JSON and MaxMind files, columns are paths "
            "(`country.iso_code`). A field that the event has is overwritten if the row has a value.",
            examples=[{"team": "team"}],
        )  # fmt: skip
        default: dict[FieldName, Any] = Field(
            {}, description="`{field: value}` for fields for which the table has nothing."
        )
        refresh: Duration = Field(10.0, description="How often to see whether the file has changed.")
        max_bytes: Size = Field(parse_size("64MiB"), description="A larger file is refused.")

        @model_validator(mode="after")
        def _check_table(self) -> LookupFilter.Config:
            if self.form is None:
                raise ValueError(f"the format of {self.file} is not clear; set format: csv, json or mmdb")
            if unknown := self.default.keys() - self.fields.keys():
                raise ValueError(f"default sets {min(unknown)}, which is not among fields")
            if self.refresh <= 0:
                raise ValueError("refresh must be more than 0s")
            return self

        @property
        def form(self) -> TableFormat | None:
            """The format in force."""
            return self.format or _SUFFIXES.get(Path(self.file).suffix.lower())

    def __init__(self, config: LookupFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        assert config.form is not None
        library(config.form)  # so that `check` says what is missing
        self._grouping = context.engine.grouping([config.key])
        self._placement = context.engine.placement(list(config.fields))
        self._default = [
            pack_value(config.default[field], 2) if field in config.default else b""
            for field in config.fields
        ]
        self._known: _Known | None = None
        self._tried: _Identity | None = None
        """Of the file as it was read last, with or without success."""
        self._watching: asyncio.Task[None] | None = None
        self._failures = context.counter(
            "lookup_failures", "Times that a changed file could not be used, so that the old table stayed."
        )

    def cautions(self) -> Sequence[str]:
        """Say whether the file is missing, without which nothing starts."""
        if Path(self.config.file).exists():
            return ()
        return (
            f"there is no file {self.config.file} on this machine, and logflow does not start without it",
        )

    async def open(self) -> None:
        """Read the file, and begin to watch it."""
        try:
            self._tried = _identity(self.config.file)
            self._known = _Known(await self._load())
        except (OSError, BadTable) as error:
            raise ComponentError(f"filter {self.context.name}: {self.config.file}: {_why(error)}") from error
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """End watching."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    def apply(self, batch: Batch) -> Batch:
        """Set the fields of every record."""
        # The table may be replaced at any moment; what is known of it goes with it.
        known = self._known or self._load_now()
        source, clock = batch.attributes.get("source"), self.context.clock
        groups = self._grouping.apply(batch.entries, batch.tag, source, clock.time_ns())
        values = [known.row(key, self._default) for key in groups.keys]
        if not any(map(any, values)):
            return batch
        return batch.with_entries(self._placement.apply(batch.entries, groups.ids, values), batch.count)

    def _load_now(self) -> _Known:
        """Read the file where nothing was opened, as in tests of a configuration."""
        with Path(self.config.file).open("rb") as file:
            self._known = _Known(self._parse(file.read(self.config.max_bytes + 1)))
        return self._known

    async def _load(self) -> Table:
        async with aiofiles.open(self.config.file, "rb") as file:
            data = await file.read(self.config.max_bytes + 1)
        return await asyncio.to_thread(self._parse, data)

    def _parse(self, data: bytes) -> Table:
        config = self.config
        if len(data) > config.max_bytes:
            raise BadTable(f"it has more than max_bytes ({config.max_bytes})")
        assert config.form is not None
        return read_table(data, config.form, config.key_column, list(config.fields.values()))

    async def _watch(self) -> None:
        before, away = self._tried, False
        while True:
            await self.context.clock.sleep(self.config.refresh)
            try:
                now = _identity(self.config.file)
            except OSError as error:
                if not away:
                    self._complain(error)
                away = True
                continue
            away = False
            # It is not read while it is written: it must have been the same for a while.
            if now == before != self._tried:
                await self._renew(now)
            before = now

    async def _renew(self, now: _Identity) -> None:
        self._tried = now
        try:
            table = await self._load()
            if _identity(self.config.file) != now:
                raise BadTable("it changed while it was read")
        except Exception as error:  # whatever is wrong with it, the old table is still good
            self._complain(error)
            return
        old = [self._known]
        self._known = _Known(table)
        await asyncio.to_thread(old.clear)  # to free a large table takes a while
        self.context.log.info(
            "Lookup %s has read %s again: %d rows.", self.context.name, self.config.file, len(table)
        )

    def _complain(self, error: Exception) -> None:
        self._failures()
        self.context.log.warning(
            "Lookup %s keeps its old table, as %s cannot be used: %s.",
            self.context.name, self.config.file, _why(error),
        )  # fmt: skip


class _Known:
    """A table, and rows that were found in it by packed keys."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows: dict[bytes, Row] = {}

    def row(self, packed: bytes, default: Row) -> Row:
        """The row of a key, with the default where there is nothing."""
        known = self._rows.get(packed)
        if known is not None:
            return known
        [key] = _decode(packed)
        row = None if key is None else self._table.get(json_text(key))
        values = default if row is None else [a or b for a, b in zip(row, default, strict=True)]
        if len(self._rows) >= _MOST_KNOWN:
            self._rows.clear()
        if len(packed) <= _LONGEST_KEY:
            self._rows[packed] = values
        return values


def _identity(path: str) -> _Identity:
    status = os.stat(path)  # noqa: PTH116 - three numbers of it
    return status.st_ino, status.st_size, status.st_mtime_ns


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
