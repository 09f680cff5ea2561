"""Events that are none, made into events that can be looked at: samples for the dead letters.

::

    [time, 5]   ──►   (now, {"refused": "bad_record", "event": [time, 5]})

What cannot be part of a record, such as what nests too deep, is there as bytes.
"""

from __future__ import annotations

from typing_extensions import Buffer

from logflow.batch import Batch
from logflow.engine.api import Engine, Normalized
from logflow.event import EventTime
from logflow.packing import pack_entry

_MOST_BYTES = 256 << 10
"""What a dead letter of refused events holds of them at most; it is there to be looked at."""


def refused_events(
    engine: Engine, data: Buffer, normal: Normalized, batch: Batch, now_ns: int
) -> Batch | None:
    """Make events of what was left out when ``normal``, and then ``batch``, was made of ``data``.

    Returns:
        ``None`` if there are none, or all of them are too large to be kept.
    """
    made, size = list[bytes](), 0
    for reason, start, end in normal.refused:
        size += end - start
        if size > _MOST_BYTES:
            break
        made.append(_entry(engine, bytes(memoryview(data)[start:end]), reason, now_ns))
    return batch.with_entries(b"".join(made), len(made)) if made else None


def _entry(engine: Engine, event: bytes, reason: str, now_ns: int) -> bytes:
    time = EventTime(now_ns)
    head = pack_entry(time, {"refused": reason, "event": None})
    entry = head[:-1] + event
    as_it_is = engine.normalize(entry, now_ns)
    if as_it_is.events == 1:
        return as_it_is.entries
    return pack_entry(time, {"refused": reason, "event": event})
