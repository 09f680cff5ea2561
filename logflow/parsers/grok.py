"""Parser ``grok``: regular expressions put together from named ones; see :mod:`logflow.formats.grok`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from logflow.component import Context, Parse, Parser
from logflow.config.fields import NonEmpty, Size
from logflow.formats import expand
from logflow.parsers.base import TypedConfig
from logflow.regexes import parse_pattern
from logflow.registry import load


class GrokParser(Parser):
    """Hands lines to the parser ``regex`` with the pattern that the named ones become."""

    class Config(TypedConfig):
        """Options of the parser ``grok``."""

        type: Literal["grok"] = "grok"
        pattern: NonEmpty = Field(
            description="Regular expression in which `%{NAME}` is a named pattern, `%{NAME:field}` makes a "
            "field of it, and `%{NAME:field:int}` a number; searched in the line.",
            examples=["^%{IP:client} %{WORD:method} %{URIPATHPARAM:path} %{NUMBER:bytes:int}$"],
        )
        patterns: dict[str, NonEmpty] = Field({}, description="Further named patterns: `{NAME: pattern}`.")
        max_length: Size = Field(16384, description="Longer lines do not match.")

        @model_validator(mode="after")
        def _check_pattern(self) -> GrokParser.Config:
            if not parse_pattern(expand(self.pattern, self.patterns)[0]).names:
                raise ValueError("the pattern makes no field; write %{NAME:field}")
            return self

    config: Config

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        pattern, types = expand(config.pattern, config.patterns)
        options: dict[str, Any] = config.model_dump(exclude={"patterns"})
        options |= {"type": "regex", "pattern": pattern, "types": types | config.types}
        self._inner = context.parser(load("parser", "regex").Config(**options))

    def parse(self, line: bytes) -> Parse | None:
        """Parse one line."""
        return self._inner.parse(line)

    def native(self) -> dict[str, Any]:
        """As of the parser ``regex``."""
        return self._inner.native()
