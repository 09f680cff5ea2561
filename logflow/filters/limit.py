"""Filter ``limit``: cuts fields that are too long, too deep or too many."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import Size
from logflow.config.options import FilterConfig
from logflow.jsontext import MAX_DEPTH

_MANY = 1 << 32


class LimitFilter(Filter):
    """Cuts what stores refuse or what is not worth its room, and marks the event; see ``Engine.limits``."""

    one_to_one = True

    class Config(FilterConfig):
        """Options of the filter ``limit``."""

        type: Literal["limit"] = "limit"
        field_bytes: Size | None = Field(
            None, description="Longest text, at any level; the rest is cut off after a whole character."
        )
        fields: int | None = Field(
            None, ge=1, description="Most fields of the record, of a mapping in it, or items of a list."
        )
        depth: int | None = Field(
            None,
            ge=1,
            le=MAX_DEPTH,
            description="Most levels of nesting, the record is the first; what is deeper becomes its JSON.",
        )

        @model_validator(mode="after")
        def _check_limits(self) -> LimitFilter.Config:
            if self.field_bytes is None and self.fields is None and self.depth is None:
                raise ValueError("set at least one of field_bytes, fields and depth")
            return self

    def __init__(self, config: LimitFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self._limits = context.engine.limits(
            _MANY if config.field_bytes is None else config.field_bytes,
            config.depth or MAX_DEPTH,
            config.fields or _MANY,
            "truncated",
        )
        self._cut = context.counter("texts_cut", "Texts cut at field_bytes.")
        self._flat = context.counter("containers_cut", "Mappings and lists written as JSON at depth.")
        self._left_out = context.counter("fields_left_out", "Fields and items left out beyond fields.")

    def apply(self, batch: Batch) -> Batch:
        """Cut what is beyond the limits; such an event gets the field ``truncated: true``."""
        done = self._limits.apply(batch.entries)
        self._cut(done.texts)
        self._flat(done.containers)
        self._left_out(done.fields)
        return batch if done.entries is batch.entries else batch.with_entries(done.entries, batch.count)
