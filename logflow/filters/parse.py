"""Filter ``parse``: puts a field through a parser."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Filter, Parse
from logflow.config.fields import NonEmpty, ParserField
from logflow.config.options import FilterConfig
from logflow.event import EventTime, Record


class ParseFilter(Filter):
    """Adds the fields that a parser finds in another field's text. Decodes every record.

    A record's own field is never overwritten, except the parsed one, which makes room for what was
    found in it. A time that the parser finds becomes the event's. A record without the field passes.
    """

    class Config(FilterConfig):
        """Options of the filter ``parse``."""

        type: Literal["parse"] = "parse"
        field: NonEmpty = Field("message", description="Field that holds the text.")
        parser: ParserField = Field(description="How to parse it.", examples=[{"type": "json"}])
        into: NonEmpty | None = Field(
            None, description="Field that gets all that was found, as a map; unset: they become fields."
        )
        keep_original: bool = Field(default=False, description="Keep the parsed field.")
        on_error: Literal["keep", "drop"] = Field(
            "keep", description="What happens to an event whose field does not parse; it is counted."
        )

    config: ParseFilter.Config

    def __init__(self, config: ParseFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self._parser = context.parser(config.parser)
        self._unparsed = context.counter("fields_unparsed", "Fields that the parser did not match.")

    def apply(self, batch: Batch) -> Batch | None:
        """Parse the field of every record."""
        field = self.config.field
        events = list(batch.events())
        texts = [_text(record.get(field)) for _, record in events]
        found = iter(self._parser.parse_many([text for text in texts if text is not None]))
        kept: list[tuple[int, Record]] = []
        unparsed = 0
        for (time, record), text in zip(events, texts, strict=True):
            parsed = None if text is None else next(found)
            if parsed is not None:
                kept.append(self._merge(time, record, parsed))
                continue
            unparsed += field in record
            if field not in record or self.config.on_error == "keep":
                kept.append((time, record))
        self._unparsed(unparsed)
        return Batch.from_events(batch.tag, kept, batch.origin) if kept else None

    def _merge(self, time: EventTime, record: Record, parsed: Parse) -> tuple[int, Record]:
        config = self.config
        found_time, fields = parsed
        if not config.keep_original:
            del record[config.field]
        if config.into is not None:
            fields = {config.into: fields}
        record |= {key: value for key, value in fields.items() if key not in record}
        return time if found_time is None else found_time, record


def _text(value: object) -> bytes | None:
    """The text of a field; ``None`` for what is no text."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace")
        case bytes():
            return value
        case _:
            return None
