"""Parser ``csv``: one line of delimited values, as RFC 4180 has them.

::

    line   = field {delimiter field}
    field  = word | quote {character | quote quote} quote

A word is any text without the delimiter that does not begin with a quote; a quote inside it stands
for itself. A line with an open quote, with something right after a closing quote, or with another
number of values than ``columns`` does not match.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from logflow.component import Context, Parse
from logflow.config.fields import NonEmpty
from logflow.packing import to_text
from logflow.parsers.base import TypedConfig, TypedParser, one_character

_OneCharacter = Annotated[str, AfterValidator(one_character)]


class CsvParser(TypedParser):
    """Values become the fields that ``columns`` names, in that order."""

    class Config(TypedConfig):
        """Options of the parser ``csv``."""

        type: Literal["csv"] = "csv"
        columns: list[NonEmpty] = Field(min_length=1, description="Names of the fields, in the line's order.")
        delimiter: _OneCharacter = Field(",", description="Character between values.")
        quote: _OneCharacter = Field('"', description="Character around values that hold delimiters.")

        @model_validator(mode="after")
        def _check(self) -> CsvParser.Config:
            if self.delimiter == self.quote:
                raise ValueError("delimiter and quote must differ")
            twice = next((name for name in self.columns if self.columns.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"columns: duplicate name {twice!r}")
            return self

    config: Config

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        quote, delimiter = re.escape(config.quote), re.escape(config.delimiter)
        self._field = re.compile(
            rf"(?:{quote}([^{quote}]*(?:{quote}{quote}[^{quote}]*)*){quote}|((?!{quote})[^{delimiter}]*))({delimiter}|\Z)"
        ).match

    def parse(self, line: bytes) -> Parse | None:
        """Parse one line."""
        text = to_text(line)
        values = self._split(text) if self.config.quote in text else text.split(self.config.delimiter)
        if values is None or len(values) != len(self.config.columns):
            return None
        return self.finish(self.convert(dict(zip(self.config.columns, values, strict=True))))

    def _split(self, text: str) -> list[str] | None:
        """Take a line with quotes apart."""
        quote = self.config.quote
        values: list[str] = []
        position = 0
        while len(values) < len(self.config.columns):
            match = self._field(text, position)
            if match is None:
                return None
            quoted, word, end = match.groups()
            values.append(word if quoted is None else quoted.replace(quote * 2, quote))
            position = match.end()
            if not end:
                return values
        return None

    def native(self) -> dict[str, Any]:
        """``{"type", "columns", "delimiter", "quote", "types", "time"}``."""
        return {
            "type": "csv", "columns": self.config.columns, "delimiter": self.config.delimiter,
            "quote": self.config.quote, **self.native_typed(),
        }  # fmt: skip
