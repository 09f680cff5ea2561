"""Entries as JSON objects, each in a wrapping: what bulk interfaces of stores want around a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

from logflow.engine._python.entries import offsets, time_ns
from logflow.engine._python.ndjson import to_ndjson
from logflow.engine.stores import Wrapping
from logflow.errors import MalformedData
from logflow.event import NANOSECOND


def to_wrapped(
    entries: bytes, tag: str, wrapping: Wrapping, time_key: str | None, tag_key: str | None
) -> bytes:
    """See :meth:`logflow.engine.stores.StoreForms.to_wrapped`."""
    lines = to_ndjson(entries, tag, time_key, tag_key).split(b"\n")[:-1]
    inserts = _inserts(entries, wrapping.insert)
    try:
        if wrapping.which is None:
            before: Iterator[bytes] = repeat(wrapping.before[0]) if lines else iter(())
        else:
            before = iter([wrapping.before[number] for number in wrapping.which[: len(lines)]])
        parts: list[bytes] = []
        for line in lines:
            parts += (next(before), next(inserts), wrapping.between, line, wrapping.after)
    except (StopIteration, IndexError):
        raise MalformedData("there are fewer wrappings or numbers than entries") from None
    return b"".join(parts)


def _inserts(entries: bytes, insert: str | Sequence[int] | None) -> Iterator[bytes]:
    match insert:
        case None:
            return repeat(b"")
        case str():
            times = (divmod(time_ns(entries, start), NANOSECOND) for start in offsets(entries))
            return (b"%d.%09d" % time for time in times)
        case _:
            return (b"%d" % number for number in insert)
