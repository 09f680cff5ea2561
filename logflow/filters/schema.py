"""Filter ``schema``: checks events against a JSON Schema, and marks or drops those that do not fit.

``jsonschema-rs`` does the checking: patterns are matched in linear time, nothing that a schema refers to is
fetched, and its messages name no values.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import aiofiles
import msgspec
from pydantic import Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import FieldName, NonEmpty
from logflow.config.options import FilterConfig
from logflow.errors import ComponentError
from logflow.extras import load
from logflow.packing import pack_value

_MOST_BYTES = 1 << 20
_LONGEST_REASON = 200
_PATTERN_BYTES = 1 << 20
"""Most memory that a compiled pattern of a schema may take."""

_decode = msgspec.json.Decoder().decode_lines


class SchemaFilter(Filter):
    """Decodes the events, and asks the schema about each; see the module's text."""

    class Config(FilterConfig):
        """Options of the filter ``schema``."""

        type: Literal["schema"] = "schema"
        file: NonEmpty | None = Field(
            None, description="The file that has the schema, as JSON.", examples=["/etc/logflow/event.json"]
        )
        inline: dict[str, Any] | None = Field(None, description="The schema itself.")
        mismatch: Literal["mark", "drop"] = Field(
            "mark", description="What becomes of events that do not fit: `mark` sets `reason_field`."
        )
        reason_field: FieldName = Field(
            "schema_error", description="The field that says why an event does not fit."
        )

        @model_validator(mode="after")
        def _check_one(self) -> SchemaFilter.Config:
            if (self.file is None) == (self.inline is None):
                raise ValueError("set one of file and inline, such as file: event.json")
            return self

    def __init__(self, config: SchemaFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self._library = load("jsonschema_rs", "schema", f"filter {context.name} (schema)")
        self._placement = context.engine.placement([config.reason_field])
        self._validator = None if config.inline is None else self._compile(config.inline)

    async def open(self) -> None:
        """Read the schema."""
        if self.config.file is not None:
            try:
                async with aiofiles.open(self.config.file, "rb") as file:
                    data = await file.read(_MOST_BYTES + 1)
            except OSError as error:
                raise self._unusable(error.strerror) from error
            self._validator = self._parse(data)

    def apply(self, batch: Batch) -> Batch | None:
        """Mark or drop what does not fit."""
        reasons = self._reasons(batch)
        if not any(reasons):
            return batch
        engine = self.context.engine
        if self.config.mismatch == "drop":
            marks = bytes([reason is None for reason in reasons])
            kept, _ = engine.divide(batch.entries, marks)
            return batch.with_entries(kept, marks.count(1)) if kept else None
        numbers = {reason: number for number, reason in enumerate(dict.fromkeys(reasons))}
        ids = struct.pack(f"<{len(reasons)}I", *(numbers[reason] for reason in reasons))
        values = [[b"" if reason is None else pack_value(reason)] for reason in numbers]
        return batch.with_entries(self._placement.apply(batch.entries, ids, values), batch.count)

    def _reasons(self, batch: Batch) -> list[str | None]:
        validator = self._validator or self._read_now()
        fits = validator.is_valid
        lines = self.context.engine.to_ndjson(batch.entries, batch.tag, None, None)
        return [None if fits(record) else _reason(validator, record) for record in _decode(lines)]

    def _read_now(self) -> Any:
        """Read the schema where nothing was opened, as in tests of a configuration."""
        assert self.config.file is not None
        with Path(self.config.file).open("rb") as file:
            self._validator = self._parse(file.read(_MOST_BYTES + 1))
        return self._validator

    def _parse(self, data: bytes) -> Any:
        if len(data) > _MOST_BYTES:
            raise self._unusable("it is larger than 1MiB")
        try:
            schema = msgspec.json.decode(data)
        except (ValueError, RecursionError) as error:
            raise self._unusable(str(error)) from error
        return self._compile(schema)

    def _compile(self, schema: Any) -> Any:
        library = self._library
        try:
            return library.validator_for(
                schema,
                pattern_options=library.RegexOptions(size_limit=_PATTERN_BYTES),
                retriever=_refuse,
                mask="the value",
            )
        except (ValueError, library.ReferencingError) as error:
            raise self._unusable(" ".join(str(error).split())[:300]) from error

    def _unusable(self, why: str | None) -> ComponentError:
        place = self.config.file or "inline"
        return ComponentError(f"filter {self.context.name}: the schema {place} cannot be used: {why}")


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is another document; put it under $defs of the schema")


def _reason(validator: Any, record: Any) -> str:
    error = next(validator.iter_errors(record))
    place: Sequence[str | int] = error.instance_path
    where = f"{'.'.join(map(str, place))}: " if place else ""
    return f"{where}{error.message}"[:_LONGEST_REASON]
