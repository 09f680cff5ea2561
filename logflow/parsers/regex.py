"""Parser ``regex``: a line that a regular expression with named groups matches."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from logflow.component import Context, Parse
from logflow.config.fields import NonEmpty, Size
from logflow.packing import to_text
from logflow.parsers.base import TypedConfig, TypedParser
from logflow.regexes import parse_pattern


class RegexParser(TypedParser):
    """Each named group that took part in the match becomes a field, in the order of the groups."""

    class Config(TypedConfig):
        """Options of the parser ``regex``."""

        type: Literal["regex"] = "regex"
        pattern: NonEmpty = Field(
            description="Regular expression with named groups `(?P<name>...)` or `(?<name>...)`; "
            "searched in the line, so bind it with `^` and `$`."
        )
        max_length: Size = Field(
            16384, description="Longer lines do not match: bounds the time that a hostile line can take."
        )

        @field_validator("pattern")
        @classmethod
        def _check_pattern(cls, value: str) -> str:
            if not parse_pattern(value).names:
                raise ValueError("the pattern has no named group; write (?P<name>...)")
            return value

    config: Config

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        self._fields = context.engine.regex(config.pattern).fields

    def parse(self, line: bytes) -> Parse | None:
        """Parse one line."""
        if len(line) > self.config.max_length:
            return None
        record: dict[str, Any] | None = self._fields(to_text(line))
        if record is None:
            return None
        return self.finish(self.convert(record))

    def native(self) -> dict[str, Any]:
        """``{"type", "pattern", "max_length", "types", "time"}``."""
        return {
            "type": "regex", "pattern": parse_pattern(self.config.pattern).write("native"),
            "max_length": self.config.max_length,
            **self.native_typed(),
        }  # fmt: skip
