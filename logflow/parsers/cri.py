"""Parser ``cri``: one line as a container runtime writes it, for the filter ``parse``.

Files of such lines are better read with the source's ``format: cri``, which joins partial lines::

    2026-01-31T12:00:00.123456789+01:00 stdout P the first part of a long
    └ RFC3339Nano                       └stream└ tags: P(artial) or F(ull), then others after colons
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from logflow.component import Parse, Parser
from logflow.config.options import ParserConfig
from logflow.event import EventTime
from logflow.packing import to_text
from logflow.timestamps import RFC3339_PARTS, rfc3339_ns

_match = re.compile(RFC3339_PARTS + rb" (stdout|stderr) ([PF])(?::[^ ]*)?(?: (.*))?", re.DOTALL).fullmatch


class CriLine(NamedTuple):
    """The parts of one line."""

    time_ns: int
    stream: str
    partial: bool
    content: bytes


def split_cri(line: bytes) -> CriLine | None:
    """Take a line apart; ``None`` when it is not of the format."""
    match = _match(line)
    if match is None:
        return None
    moment, fraction, offset, stream, tag, content = match.groups()
    time_ns = rfc3339_ns(moment, fraction, offset)
    if time_ns is None:
        return None
    return CriLine(time_ns, stream.decode(), partial=tag == b"P", content=content or b"")


class CriParser(Parser):
    """Fields ``message``, ``stream``, and ``partial: true`` for a line that goes on; its time is kept."""

    class Config(ParserConfig):
        """Options of the parser ``cri``."""

        type: Literal["cri"] = "cri"

    def parse(self, line: bytes) -> Parse | None:
        """Parse one line."""
        found = split_cri(line)
        if found is None:
            return None
        record: dict[str, Any] = {"message": to_text(found.content), "stream": found.stream}
        if found.partial:
            record["partial"] = True
        return EventTime(found.time_ns), record

    def native(self) -> dict[str, Any]:
        """``{"type"}``."""
        return {"type": "cri"}
