"""Filter ``parse``: puts a field through a parser."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import FieldName, ParserField
from logflow.config.options import FilterConfig


class ParseFilter(Filter):
    """Adds the fields that a parser finds in another field's text; see ``Engine.field_parser``.

    A record's own field is never overwritten, except the parsed one, which makes room for what was
    found in it. A time that the parser finds becomes the event's. A record without the field passes.
    """

    one_to_one = True

    class Config(FilterConfig):
        """Options of the filter ``parse``."""

        type: Literal["parse"] = "parse"
        field: FieldName = Field(
            "message", description="Field that holds the text; a path, such as `log.text`."
        )
        parser: ParserField = Field(description="How to parse it.", examples=[{"type": "json"}])
        into: FieldName | None = Field(
            None, description="Field that gets all that was found, as a map; unset: they become fields."
        )
        keep_original: bool = Field(default=False, description="Keep the parsed field.")
        on_error: Literal["keep", "drop"] = Field(
            "keep", description="What happens to an event whose field does not parse; it is counted."
        )

    config: ParseFilter.Config

    def __init__(self, config: ParseFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self._fields = context.engine.field_parser(
            context.parser(config.parser),
            config.field,
            into=config.into,
            keep_original=config.keep_original,
            drop_unparsed=config.on_error == "drop",
        )
        self._unparsed = context.counter("fields_unparsed", "Fields that the parser did not match.")

    def apply(self, batch: Batch) -> Batch | None:
        """Parse the field of every record."""
        entries, count, unparsed = self._fields.apply(batch.entries)
        self._unparsed(unparsed)
        return batch.with_entries(entries, count) if count else None

    def present(self) -> dict[str, int]:
        """In how many events so far the field was there."""
        return {self.config.field: self._fields.present()[0]}
