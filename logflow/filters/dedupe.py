"""Filter ``dedupe``: leaves out events that are the same as one that came a short while ago."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Filter
from logflow.config.fields import Duration, ExpressionField
from logflow.config.options import FilterConfig
from logflow.engine.keyed import Repeated
from logflow.event import NANOSECOND
from logflow.filters.verdicts import Verdicts
from logflow.packing import unpack_entries

_LONGEST_S = 86_400.0


class DedupeFilter(Filter):
    """Lets the first of several events pass that have the same fields; see ``Engine.repeats``."""

    only_drops = True

    class Config(FilterConfig):
        """Options of the filter ``dedupe``."""

        type: Literal["dedupe"] = "dedupe"
        fields: list[ExpressionField] = Field(
            min_length=1, max_length=16,
            description="Events are the same if all of these expressions give the same, and their tags are "
            "the same. An event that has none of them always passes.",
            examples=[["level", "message"]],
        )  # fmt: skip
        within: Duration = Field(
            10.0,
            description="For how long after the first one others are left out; the next one after that is "
            "a first one again.",
        )
        max_events: int = Field(
            10_000, ge=1, le=1_000_000,
            description="How many first ones are remembered. Beyond that the oldest is forgotten, and the "
            "next event like it passes; this is counted.",
        )  # fmt: skip
        summary: bool = Field(
            default=False,
            description="When the time is over, let one of the events that were left out follow, with the "
            "field `repeated`: how many they were.",
        )

        @model_validator(mode="after")
        def _check_time(self) -> DedupeFilter.Config:
            if not 0 < self.within <= _LONGEST_S:
                raise ValueError("within must be more than 0s and at most 24h")
            return self

    def __init__(self, config: DedupeFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self.tells = config.summary
        self._memory = context.engine.repeats(
            config.fields, config.within, config.max_events, tells=config.summary
        )
        self._verdicts = Verdicts()
        self._forgotten = 0
        self._count_forgotten = context.counter(
            "dedupe_events_forgotten", "Events of a dedupe that were forgotten, as there were max_events."
        )

    def apply(self, batch: Batch) -> Batch | None:
        """Leave out repeats."""
        return self._verdicts.apply(batch, self._leave_out)

    def _leave_out(self, batch: Batch) -> Batch | None:
        source, clock = batch.attributes.get("source"), self.context.clock
        at_ns = int(clock.monotonic() * NANOSECOND)
        entries, count = self._memory.apply(batch.entries, batch.tag, source, clock.time_ns(), at_ns)
        forgotten = self._memory.forgotten()
        if forgotten != self._forgotten:
            self._count_forgotten(forgotten - self._forgotten)
            self._forgotten = forgotten
        if count == batch.count:
            return batch
        return batch.with_entries(entries, count) if count else None

    def summaries(self, now_s: float | None) -> Sequence[Batch]:
        """Return what was repeated and has ended, each with how often it was."""
        at_ns = None if now_s is None else int(now_s * NANOSECOND)
        return [self._summary(one) for one in self._memory.ended(at_ns)]

    def _summary(self, one: Repeated) -> Batch:
        [(_, record)] = unpack_entries(one.entry)
        record["repeated"] = one.repeats
        return Batch.from_events(one.tag, [(self.context.clock.time_ns(), record)])
