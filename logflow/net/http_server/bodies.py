"""Bodies in JSON, read in pieces however their objects are written."""

from __future__ import annotations

from collections.abc import Iterator

from logflow.engine.api import Engine
from logflow.errors import MalformedData
from logflow.packing import to_text

PIECE_BYTES = 256 << 10
"""What is read at once: the memory that this takes is bounded, and so is the time without a pause."""
_EXCERPT_CHARACTERS = 80


def object_lines(engine: Engine, body: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the objects of a body in pieces: where it begins, and each object on a line of its own.

    Args:
        engine: finds them.
        body: objects one after another, over several lines or in arrays.
        start: where to begin.

    Raises:
        MalformedData: there is something other than an object, or the body ends within one.
    """
    array, size = False, PIECE_BYTES
    while start < len(body):
        found = engine.json_lines(body[start : start + size], array=array)
        if not found.consumed:
            if start + size >= len(body):
                raise bad_line(1 + body.count(b"\n", 0, start), body[start:].partition(b"\n")[0], "json")
            size *= 2
            continue
        yield start, found.lines
        start, array, size = start + found.consumed, found.array, PIECE_BYTES
    if array:
        raise MalformedData("the body ends in the middle of an array")


def bad_line(number: int, line: bytes, kind: str) -> MalformedData:
    """Say which line cannot be used."""
    text = to_text(line.strip()[: 4 * _EXCERPT_CHARACTERS])[:_EXCERPT_CHARACTERS]
    return MalformedData(f"line {number} is not {kind}: {text!a}")
