"""Filter ``select``: keeps or drops events by an expression."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import ExpressionField
from logflow.config.options import FilterConfig
from logflow.expressions import Expression, compile_expression


class SelectFilter(Filter):
    """Asks an expression about every event, without decoding more than it reads."""

    only_drops = True

    class Config(FilterConfig):
        """Options of the filter ``select``."""

        type: Literal["select"] = "select"
        keep: ExpressionField | None = Field(
            None, description="Keep only events for which this is true.", examples=["level != 'debug'"]
        )
        drop: ExpressionField | None = Field(None, description="Drop events for which this is true.")

        @model_validator(mode="after")
        def _check_one(self) -> SelectFilter.Config:
            if (self.keep is None) == (self.drop is None):
                raise ValueError("set one of keep and drop, such as keep: level != 'debug'")
            return self

    def __init__(self, config: SelectFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self._condition = context.engine.condition(_wanted(config))

    def apply(self, batch: Batch) -> Batch | None:
        """Keep what is wanted."""
        entries, count = self._condition.keep(
            batch.entries, batch.tag, batch.attributes.get("source"), self.context.clock.time_ns()
        )
        if count == batch.count:
            return batch
        return batch.with_entries(entries, count) if count else None


def _wanted(config: SelectFilter.Config) -> Expression:
    if config.keep is not None:
        return config.keep
    assert config.drop is not None
    return compile_expression(f"not ({config.drop.text})")
