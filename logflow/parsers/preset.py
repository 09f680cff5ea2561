"""Parser ``preset``: formats that are known by name, such as ``{type: preset, name: nginx}``.

What they are stands in :mod:`logflow.patterns.formats`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from logflow.component import Context, Parse, Parser
from logflow.config.fields import NonEmpty, Size
from logflow.config.options import ParserConfig
from logflow.formats import FORMATS
from logflow.registry import load
from logflow.timestamps import parse_timezone


class PresetParser(Parser):
    """Hands lines to the parser ``regex`` with a pattern of ours."""

    class Config(ParserConfig):
        """Options of the parser ``preset``."""

        type: Literal["preset"] = "preset"
        name: NonEmpty = Field(description=f"The format: {', '.join(f'`{name}`' for name in FORMATS)}.")
        timezone: NonEmpty = Field(
            "UTC", description="Zone of times without an offset: `UTC`, `+02:00` or `Europe/Berlin`."
        )
        keep_time: bool = Field(default=False, description="Keep the field that held the time.")
        max_length: Size = Field(65536, description="Longer lines do not match.")

        @field_validator("name")
        @classmethod
        def _check_name(cls, value: str) -> str:
            if value not in FORMATS:
                raise ValueError(f"there is no preset {value!r}; there are {', '.join(FORMATS)}")
            return value

        @field_validator("timezone")
        @classmethod
        def _check_zone(cls, value: str) -> str:
            parse_timezone(value)
            return value

    config: Config

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        known = FORMATS[config.name]
        options: dict[str, Any] = {
            "type": "regex", "pattern": known.pattern, "types": dict(known.types), "time_key": "time",
            "time_format": known.time_format, "timezone": config.timezone, "keep_time": config.keep_time,
            "max_length": config.max_length,
        }  # fmt: skip
        self._inner = context.parser(load("parser", "regex").Config(**options))

    def parse(self, line: bytes) -> Parse | None:
        """Parse one line."""
        return self._inner.parse(line)

    def native(self) -> dict[str, Any]:
        """As of the parser ``regex``."""
        return self._inner.native()
