"""Parser ``json``: a line that is one JSON object."""

from __future__ import annotations

from typing import Any, Literal

from logflow.component import Parse
from logflow.jsontext import decode_object, decode_objects
from logflow.parsers.base import TimedConfig, TimedParser


class JsonParser(TimedParser):
    """Fields are the object's members; the rules of JSON stand in :mod:`logflow.engine.api`."""

    class Config(TimedConfig):
        """Options of the parser ``json``."""

        type: Literal["json"] = "json"

    def parse(self, line: bytes) -> Parse | None:
        """Parse one line."""
        return self.finish(decode_object(line))

    def parse_many(self, lines: list[bytes]) -> list[Parse | None]:
        """Parse many lines with one call of the decoder, if possible."""
        return [self.finish(record) for record in decode_objects(lines)]

    def native(self) -> dict[str, Any]:
        """``{"type", "time"}``."""
        return {"type": "json", "time": self.native_time()}
