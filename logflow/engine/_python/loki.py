"""Entries as Loki's push interface has them in protocol buffers.

::

    EntryAdapter { Timestamp timestamp = 1; string line = 2; repeated LabelPairAdapter metadata = 3; }
    Timestamp    { int64 seconds = 1; int32 nanos = 2; }

Source: ``pkg/push/push.proto`` of Loki.
"""

from __future__ import annotations

from itertools import pairwise

from logflow.engine._python.entries import HEADER_SIZE, bounds, time_ns
from logflow.engine._python.ndjson import to_ndjson
from logflow.engine._python.plain import plain_record
from logflow.engine.stores import LokiForm
from logflow.errors import MalformedData
from logflow.event import NANOSECOND
from logflow.protobuf import delimited, integer


def to_loki(entries: bytes, form: LokiForm) -> list[bytes]:
    """See :meth:`logflow.engine.stores.StoreForms.to_loki`."""
    found = bounds(entries)
    lines = to_ndjson(entries, "", None, None).split(b"\n")
    streams = [bytearray() for _ in range(form.streams)]
    try:
        for index, (start, end) in enumerate(pairwise(found)):
            line = lines[index]
            if form.line_key is not None:
                text = plain_record(entries[start + HEADER_SIZE : end]).get(form.line_key)
                line = text.encode() if isinstance(text, str) else line
            extra = b"" if form.extra is None else form.extra[index]
            entry = _timestamp(time_ns(entries, start)) + delimited(2, line) + extra
            streams[0 if form.which is None else form.which[index]] += delimited(2, entry)
    except IndexError:
        raise MalformedData("there are fewer streams than entries") from None
    return list(map(bytes, streams))


def _timestamp(time: int) -> bytes:
    seconds, nanoseconds = divmod(time, NANOSECOND)
    return delimited(1, integer(1, seconds) + integer(2, nanoseconds))
