"""Filter ``join_lines``: appends lines that begin with a blank to the line before, as in stack traces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Stage
from logflow.config.fields import Duration, NonEmpty
from logflow.config.options import FilterConfig


class JoinLinesStage(Stage):
    """Holds the last event of each stream until the next one shows that it is complete."""

    class Config(FilterConfig):
        """Options of the filter ``join_lines``."""

        type: Literal["join_lines"] = "join_lines"
        field: NonEmpty = Field("message", description="The field that holds the line.")
        timeout: Duration = Field(2.0, description="How long a line waits for another one to append.")
        example: ClassVar[dict[str, Any]] = {"timeout": "1s"}

    def __init__(self, config: JoinLinesStage.Config, context: Context) -> None:
        super().__init__(config, context)
        self._held: dict[str, tuple[Batch, float]] = {}

    def apply(self, batch: Batch) -> Sequence[Batch]:
        """Append continuations; hold the last event of the stream."""
        before, _ = self._held.pop(batch.stream, (batch.with_entries(b"", 0), 0.0))
        events: list[tuple[int, dict[str, Any]]] = list(before.events())
        for time, record in batch.events():
            line = record.get(self.config.field)
            if events and isinstance(line, str) and line[:1] in {" ", "\t"}:
                events[-1][1][self.config.field] += f"\n{line}"
            else:
                events.append((time, record))
        if events:
            self._held[batch.stream] = (batch.with_events(events[-1:]), self.context.clock.monotonic())
        return [batch.with_events(events[:-1])]

    def flush(self, now_s: float | None) -> Sequence[Batch]:
        """Let go what waited long enough."""
        due = [
            stream
            for stream, (_, since_s) in self._held.items()
            if now_s is None or now_s - since_s >= self.config.timeout
        ]
        return [self._held.pop(stream)[0] for stream in due]
