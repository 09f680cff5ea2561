"""Events: a time with nanoseconds and a record."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any, TypeAlias

Record: TypeAlias = dict[str, Any]
"""One log line's fields."""

_EXT = struct.Struct(">II")
NANOSECOND = 1_000_000_000
MAX_TIME_NS = (1 << 32) * NANOSECOND - 1
"""The wire's EventTime has 32 bits of seconds: times run from 1970-01-01 to 2106-02-07."""


class EventTime(int):
    """Nanoseconds since 1970-01-01T00:00:00Z.

    On the wire it is msgpack extension type 0: seconds and nanoseconds, each an unsigned 32-bit
    big-endian integer (Forward Protocol specification v1, "EventTime Ext Format").
    """

    __slots__ = ()

    @property
    def seconds(self) -> int:
        """Whole seconds since the epoch."""
        return self // NANOSECOND

    @property
    def nanoseconds(self) -> int:
        """Nanoseconds within the second, 0 to 999,999,999."""
        return self % NANOSECOND

    @classmethod
    def from_parts(cls, seconds: int, nanoseconds: int) -> EventTime:
        """Build a time from seconds since the epoch and nanoseconds within that second."""
        return cls(seconds * NANOSECOND + nanoseconds)

    @classmethod
    def from_ext(cls, data: bytes) -> EventTime:
        """Read the 8 bytes of the wire's extension type 0."""
        seconds, nanoseconds = _EXT.unpack(data)
        return cls.from_parts(seconds, nanoseconds)

    def to_ext(self) -> bytes:
        """Write the 8 bytes of the wire's extension type 0; times outside its range are clamped."""
        clamped = min(max(self, 0), MAX_TIME_NS)
        return _EXT.pack(clamped // NANOSECOND, clamped % NANOSECOND)

    def isoformat(self) -> str:
        """RFC 3339 in UTC with nine digits of fraction: ``2026-01-31T12:00:00.000000000Z``."""
        moment = datetime.fromtimestamp(self.seconds, UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{self.nanoseconds:09d}Z"
