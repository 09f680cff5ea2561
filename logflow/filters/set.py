"""Filter ``set``: computes fields by expressions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import ExpressionField, FieldName
from logflow.config.options import FilterConfig


class SetFilter(Filter):
    """Sets fields to what expressions give for the event as it came in, see ``Engine.assignment``."""

    one_to_one = True

    class Config(FilterConfig):
        """Options of the filter ``set``."""

        type: Literal["set"] = "set"
        fields: dict[FieldName, ExpressionField] = Field(
            min_length=1,
            description="`{field: expression}`; fields may be paths. Where an expression gives None, nothing "
            "is set.",
            examples=[{"latency_s": "latency_ms / 1000"}],
        )

    def __init__(self, config: SetFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self._assignment = context.engine.assignment(list(config.fields.items()))

    def apply(self, batch: Batch) -> Batch:
        """Set the fields of every record."""
        source = batch.attributes.get("source")
        entries = self._assignment.apply(batch.entries, batch.tag, source, self.context.clock.time_ns())
        return batch.with_entries(entries, batch.count)
