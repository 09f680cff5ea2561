"""Filter ``sample``: keeps a share of the events, and decides the same about the same event again.

What decides is a hash: of what ``key`` gives, or of the event itself (its stream, time and record). So an
event that is read again after a crash is kept or dropped as before, and all agents agree about a key.
"""

from __future__ import annotations

import math
from typing import Literal

import xxhash
from pydantic import Field

from logflow.batch import Batch, Span
from logflow.component import Context, Filter
from logflow.config.fields import ExpressionField
from logflow.config.options import FilterConfig
from logflow.expressions import Expression
from logflow.expressions.tree import Constant, Node, Operation


class SampleFilter(Filter):
    """Keeps a share of the events."""

    class Config(FilterConfig):
        """Options of the filter ``sample``."""

        type: Literal["sample"] = "sample"
        rate: float = Field(description="Share of the events to keep.", gt=0, le=1, examples=[0.1])
        key: ExpressionField | None = Field(
            None,
            description="Events for which this gives the same are kept or dropped together, on every agent: "
            "all of a trace, or of a user. Where it gives None, the event is judged by itself.",
            examples=["trace_id"],
        )
        always: ExpressionField | None = Field(
            None,
            description="Events for which this is true are kept in any case.",
            examples=["level == 'error'"],
        )

    def __init__(self, config: SampleFilter.Config, context: Context) -> None:
        super().__init__(config, context)
        self._most = math.ceil(config.rate * 2**64) - 1
        engine = context.engine
        chosen, undecided = _chosen(config, self._most), _undecided(config)
        self._chosen = None if chosen is None else engine.condition(chosen)
        self._undecided = None if undecided is None else engine.condition(undecided)

    def apply(self, batch: Batch) -> Batch | None:
        """Keep what was drawn, and what is kept in any case."""
        engine, entries = self.context.engine, batch.entries
        around = (entries, batch.tag, batch.attributes.get("source"), self.context.clock.time_ns())
        seed = xxhash.xxh3_64_intdigest(_place(batch).encode())
        marks = engine.draw(entries, seed, self._most)
        if self._undecided is not None:
            marks = _both(marks, self._undecided.mark(*around))
        if self._chosen is not None:
            marks = _either(marks, self._chosen.mark(*around))
        count = marks.count(1)
        if count == batch.count:
            return batch
        return batch.with_entries(engine.divide(entries, marks)[0], count) if count else None


def _place(batch: Batch) -> str:
    """What the event is a part of: the file, or its tag where a peer may come again under another address."""
    return batch.origin.stream if isinstance(batch.origin, Span) else batch.tag


def _chosen(config: SampleFilter.Config, most: int) -> Expression | None:
    """Whether an event is kept whatever is drawn for it."""
    parts: list[Node] = [] if config.always is None else [config.always.tree]
    if config.key is not None:
        parts.append(Operation("le", (Operation("hash", (config.key.tree,)), Constant(most))))
    return Expression("", Operation("or", tuple(parts))) if parts else None


def _undecided(config: SampleFilter.Config) -> Expression | None:
    """Whether the key says nothing about an event."""
    if config.key is None:
        return None
    return Expression("", Operation("is", (config.key.tree, Constant(None))))


def _both(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) & int.from_bytes(other)).to_bytes(len(one))


def _either(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) | int.from_bytes(other)).to_bytes(len(one))
