"""Stage ``tag``: gives events a tag by an expression; they are then routed anew."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Literal

import msgspec
from pydantic import Field

from logflow.batch import Batch, Origin
from logflow.component import Context, Stage
from logflow.config.fields import ExpressionField
from logflow.config.options import FilterConfig

_MOST_BYTES = 1024
_decode = msgspec.msgpack.decode


class TagStage(Stage):
    """Divides batches by their events' new tags; holds nothing back."""

    class Config(FilterConfig):
        """Options of the stage ``tag``."""

        type: Literal["tag"] = "tag"
        tag: ExpressionField = Field(
            description="The new tag. If it is not text, empty, or longer than 1024 bytes, the tag stays as "
            "it is. An event is routed anew at most eight times.",
            examples=["f'app.{service}'"],
        )

    def __init__(self, config: TagStage.Config, context: Context) -> None:
        super().__init__(config, context)
        self._tags = context.engine.computation(config.tag)

    def apply(self, batch: Batch) -> Sequence[Batch]:
        """Return a batch for each tag, its events in order."""
        source = batch.attributes.get("source")
        values = self._tags.values(batch.entries, batch.tag, source, self.context.clock.time_ns())
        runs = [(_tag(packed, batch.tag), len(list(run))) for packed, run in groupby(values)]
        if len(runs) == 1:
            return [replace(batch, tag=runs[0][0])]
        starts = [*self.context.engine.offsets(batch.entries), len(batch.entries)]
        parts: dict[str, list[bytes]] = {}
        counts: dict[str, int] = {}
        first = 0
        for tag, count in runs:
            parts.setdefault(tag, []).append(batch.entries[starts[first] : starts[first + count]])
            counts[tag] = counts.get(tag, 0) + count
            first += count
        return [
            replace(batch.with_entries(b"".join(pieces), counts[tag]), tag=tag)
            for tag, pieces in parts.items()
        ]

    def flush(self, now_s: float | None) -> Sequence[Batch]:  # noqa: ARG002
        """Return nothing: nothing is held."""
        return ()

    def holds(self, stream: str) -> Collection[Origin]:  # noqa: ARG002
        """Return nothing: nothing is held."""
        return ()


def _tag(packed: bytes, old: str) -> str:
    value = _decode(packed)
    return value if isinstance(value, str) and 0 < len(value.encode()) <= _MOST_BYTES else old
