"""What parsers have in common: a field that holds the time, and the types of fields."""

from __future__ import annotations

import math
import re
from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from logflow.component import Context, Parse, Parser
from logflow.config.fields import NonEmpty
from logflow.config.options import ParserConfig
from logflow.event import EventTime, Record
from logflow.timestamps import TimeFormat

FieldType: TypeAlias = Literal["str", "int", "float", "bool"]

_INT = re.compile(r"[+-]?[0-9]{1,25}").fullmatch
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True} | {
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


class TimedConfig(ParserConfig):
    """What parsers that may find a time can be given."""

    time_key: NonEmpty | None = Field(
        None, description="Field that holds the event's time; unset: the time of the line."
    )
    time_format: NonEmpty = Field(
        "iso8601",
        description="How the time is written: `iso8601`, `unix`, `unix_ms`, `unix_us`, `unix_ns`, "
        "or a pattern such as `%d/%b/%Y:%H:%M:%S %z` (also `%L`, `%N` and `%f`: a fraction). "
        "Without a year it is the latest in which the time is not after tomorrow.",
    )
    timezone: NonEmpty = Field(
        "UTC", description="Zone of times without an offset: `UTC`, `+02:00` or `Europe/Berlin`."
    )
    keep_time: bool = Field(default=False, description="Keep the field that held the time.")

    @model_validator(mode="after")
    def _check_time_format(self) -> TimedConfig:
        TimeFormat(self.time_format, self.timezone)
        return self


class TypedConfig(TimedConfig):
    """What parsers whose fields are text can be given besides."""

    types: dict[str, FieldType] = Field(
        default_factory=dict,
        description="Types of fields: `str`, `int`, `float` or `bool`; "
        "text that is not of the type stays text.",
    )


class TimedParser(Parser):
    """The base of parsers whose records may hold the event's time."""

    config: TimedConfig

    def __init__(self, config: TimedConfig, context: Context) -> None:
        super().__init__(config, context)
        self._time_key = config.time_key
        self._read_time = TimeFormat(config.time_format, config.timezone, context.clock.time_ns)

    def take_time(self, record: Record) -> EventTime | None:
        """Read the time of a record and remove its field, unless it is to be kept or is no time."""
        if self._time_key is None or self._time_key not in record:
            return None
        time_ns = self._read_time(record[self._time_key])
        if time_ns is None:
            return None
        if not self.config.keep_time:
            del record[self._time_key]
        return EventTime(time_ns)

    def finish(self, record: Record | None) -> Parse | None:
        """Make the parser's result of the fields it found."""
        return None if record is None else (self.take_time(record), record)

    def native_time(self) -> dict[str, Any]:
        """Describe the time options to the native engine: ``{}`` without a time."""
        if self._time_key is None:
            return {}
        return {"time_key": self._time_key, "keep_time": self.config.keep_time, **self._read_time.native()}


class TypedParser(TimedParser):
    """The base of parsers whose fields are text."""

    config: TypedConfig

    def convert(self, record: Record) -> Record:
        """Give fields the types that the configuration asks for, in place."""
        for name, kind in self.config.types.items():
            value = record.get(name)
            if isinstance(value, str):
                record[name] = convert(value, kind)
        return record

    def native_typed(self) -> dict[str, Any]:
        """Describe time and types to the native engine."""
        return {"types": dict(self.config.types), "time": self.native_time()}


def convert(text: str, kind: FieldType) -> str | int | float | bool:
    """Convert text to a type; what is not of the type stays text.

    ``int``: ``[+-]?digits`` from -2**63 to 2**64 - 1. ``float``: decimal, with an exponent or not, and
    finite. ``bool``: true, yes, on, 1 and false, no, off, 0 in any case.
    """
    if kind == "int" and _INT(text):
        number = int(text)
        return number if -(1 << 63) <= number < (1 << 64) else text
    if kind == "float" and _FLOAT(text):
        fraction = float(text)
        return fraction if math.isfinite(fraction) else text
    if kind == "bool" and text.isascii():
        return _BOOLEANS.get(text.lower(), text)
    return text


def one_character(value: str) -> str:
    """Check an option that is one ASCII character."""
    if len(value) != 1 or not value.isascii():
        raise ValueError(f"{value!r} must be one ASCII character")
    return value
