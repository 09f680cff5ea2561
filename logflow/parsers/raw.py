"""Parser ``raw``: the line is the message."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from logflow.component import Parse, Parser
from logflow.config.fields import NonEmpty
from logflow.config.options import ParserConfig
from logflow.packing import to_text


class RawParser(Parser):
    """Matches every line and makes it one field."""

    class Config(ParserConfig):
        """Options of the parser ``raw``."""

        type: Literal["raw"] = "raw"
        key: NonEmpty = Field("message", description="Field that holds the line.")

    config: Config

    def parse(self, line: bytes) -> Parse | None:
        """Parse one line."""
        return None, {self.config.key: to_text(line)}

    def native(self) -> dict[str, Any]:
        """``{"type", "key"}``."""
        return {"type": "raw", "key": self.config.key}
