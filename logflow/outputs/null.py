"""Output ``null``: throws events away, counted as delivered."""

from __future__ import annotations

from typing import Literal

from logflow.batch import Chunk
from logflow.component import Output
from logflow.config.options import OutputConfig


class NullOutput(Output):
    """Delivers to nowhere: for measuring, and for events that nobody wants but that should be counted."""

    class Config(OutputConfig):
        """Options of the output ``null``."""

        type: Literal["null"] = "null"

    async def write(self, chunk: Chunk) -> None:
        """Count the events."""
        self.context.counter("events_thrown_away", "Events that the output null was given.")(chunk.count)
