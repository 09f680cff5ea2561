r"""Parser ``ltsv``: ``host:10.0.0.1<TAB>status:200``, labelled tab-separated values (http://ltsv.org).

Fields are separated by one tab, label and value by the first colon; empty fields are skipped. A line
with a field that has no colon or an empty label, or without any field, does not match.
"""

from __future__ import annotations

from typing import Any, Literal

from logflow.component import Parse
from logflow.event import Record
from logflow.packing import to_text
from logflow.parsers.base import TypedConfig, TypedParser


def parse_ltsv(text: str) -> Record | None:
    """Parse a line; ``None`` when it does not match."""
    record: Record = {}
    for field in text.split("\t"):
        label, colon, value = field.partition(":")
        if label and colon:
            record[label] = value
        elif field:
            return None
    return record or None


class LtsvParser(TypedParser):
    """Labels and values become fields."""

    class Config(TypedConfig):
        """Options of the parser ``ltsv``."""

        type: Literal["ltsv"] = "ltsv"

    def parse(self, line: bytes) -> Parse | None:
        """Parse one line."""
        record = parse_ltsv(to_text(line))
        return None if record is None else self.finish(self.convert(record))

    def native(self) -> dict[str, Any]:
        """``{"type", "types", "time"}``."""
        return {"type": "ltsv", **self.native_typed()}
