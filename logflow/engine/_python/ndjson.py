"""Entries to JSON Lines."""

from __future__ import annotations

import msgspec

from logflow.engine._python.plain import plain_events
from logflow.event import EventTime

_encode = msgspec.json.Encoder().encode


def to_ndjson(entries: bytes, tag: str, time_key: str | None, tag_key: str | None) -> bytes:
    """See :meth:`logflow.engine.api.Engine.to_ndjson`."""
    lines: list[bytes] = []
    for time, record in plain_events(entries):
        first: dict[str, object] = {}
        if time_key is not None:
            first[time_key] = EventTime(time).isoformat()
            record.pop(time_key, None)
        if tag_key is not None:
            first[tag_key] = tag
            record.pop(tag_key, None)
        lines.append(_encode(first | record))
    return b"\n".join((*lines, b"")) if lines else b""
