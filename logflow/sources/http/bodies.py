"""Bodies of HTTP requests to packed entries.

::

    application/msgpack, x-msgpack, vnd.msgpack    records (maps), or entries [time, record], concatenated
    anything else, with the parser json            JSON Lines, arrays of objects, or objects one after another
    anything else, with another parser             lines for that parser

Blank lines are skipped where the parser does not match them. A body is taken whole or not at all: a line
or record that cannot be used is an error that names it, so that the client may repair the body and send
it again.
"""

from __future__ import annotations

from typing import NamedTuple

import msgpack

from logflow.component import Context, Parser
from logflow.engine.api import Parsed
from logflow.errors import MalformedData
from logflow.event import EventTime
from logflow.packing import ENTRY_HEADER, to_text

_MSGPACK = {"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"}
_EXCERPT_CHARACTERS = 80
_PIECE_BYTES = 256 << 10
"""What is parsed at once: the memory that this takes is bounded, and so is the time without a pause."""


class Entries(NamedTuple):
    """What a body held."""

    entries: bytes
    events: int


class BodyReader:
    """Reads bodies; may be used from any thread."""

    def __init__(self, context: Context, parser: Parser, max_body_bytes: int) -> None:
        """Read lines with ``parser``; no line of a body is longer than the body may be."""
        self._engine = context.engine
        self._parser = parser
        self._json = parser.config.type == "json"
        self._lines = context.engine.line_parser("plain", parser, max_line=max_body_bytes)

    def read(self, body: bytes, content_type: str, now_ns: int) -> Entries:
        """Read a decompressed body; events without a time of their own get ``now_ns``.

        Raises:
            MalformedData: something in it cannot be used; nothing of it is.
        """
        if content_type.lower() in _MSGPACK:
            return self._read_msgpack(body, now_ns)
        entries, events, start = bytearray(), 0, 0
        is_lines = not (self._json and body.lstrip()[:1] == b"[")
        array = False
        while start < len(body):
            piece = _piece(body, start)
            if is_lines and (parsed := self._read_lines(piece, body, start, now_ns)) is not None:
                start += len(piece)
            else:
                is_lines = False
                parsed, used, array = self._read_objects(body, start, now_ns, array=array)
                start += used
            entries += parsed.entries
            events += parsed.events
        if array:
            raise MalformedData("the body ends in the middle of an array")
        return Entries(bytes(entries), events)

    def _read_lines(self, piece: bytes, body: bytes, start: int, now_ns: int) -> Parsed | None:
        """Parse whole lines; ``None`` if they are JSON that is not written as lines."""
        if not piece.strip():
            return Parsed(b"", 0, len(piece), b"", 0, 0, 0, 0)
        parsed = self._parse(piece, now_ns)
        if not parsed.unparsed:
            return parsed
        lines = piece.split(b"\n")
        for number, line in enumerate(lines, start=1 + body.count(b"\n", 0, start)):
            if line.strip() and self._parser.parse(line.removesuffix(b"\r")) is None:
                if self._json and line.lstrip()[:1] == b"{":
                    return None  # over several lines, or several on one
                raise _bad_line(number, line, self._parser.config.type)
        return self._parse(b"\n".join(line for line in lines if line.strip()), now_ns)

    def _read_objects(self, body: bytes, start: int, now_ns: int, *, array: bool) -> tuple[Parsed, int, bool]:
        """Parse objects however they are written; how much was used, whether an array is open."""
        size = _PIECE_BYTES
        while True:
            found = self._engine.json_lines(body[start : start + size], array=array)
            if found.consumed:
                break
            if start + size >= len(body):
                raise _bad_line(1 + body.count(b"\n", 0, start), body[start:].partition(b"\n")[0], "json")
            size *= 2
        if not found.lines:
            return Parsed(b"", 0, 0, b"", 0, 0, 0, 0), found.consumed, found.array
        parsed = self._parse(found.lines, now_ns)
        for line in found.lines.split(b"\n") if parsed.unparsed else ():
            if line and self._parser.parse(line) is None:
                raise _bad_line(1 + body.count(b"\n", 0, start), line, "json")
        return parsed, found.consumed, found.array

    def _parse(self, body: bytes, now_ns: int) -> Parsed:
        return self._lines.parse(body if body.endswith(b"\n") else body + b"\n", b"", now_ns)

    def _read_msgpack(self, body: bytes, now_ns: int) -> Entries:
        if body and (body[0] & 0xF0 == 0x80 or body[0] in (0xDE, 0xDF)):
            body = _records_to_entries(body, now_ns)
        done = self._engine.normalize(body, now_ns)
        if done.skipped:
            reasons = ", ".join(f"{events} ({reason})" for reason, events in done.skipped.items())
            raise MalformedData(f"some of the body are no events: {reasons}")
        if done.consumed < len(body):
            raise MalformedData("the body ends in the middle of an event")
        return Entries(done.entries, done.events)


def _piece(body: bytes, start: int) -> bytes:
    """Whole lines from ``start`` on, about as many as are parsed at once."""
    end = body.find(b"\n", start + _PIECE_BYTES) + 1
    return body[start : end or None]


def _bad_line(number: int, line: bytes, kind: str) -> MalformedData:
    text = to_text(line.strip()[: 4 * _EXCERPT_CHARACTERS])[:_EXCERPT_CHARACTERS]
    return MalformedData(f"line {number} is not {kind}: {text!a}")


def _records_to_entries(body: bytes, now_ns: int) -> bytes:
    """Put a time before every record; the engine checks them afterwards."""
    head = ENTRY_HEADER + EventTime(now_ns).to_ext()
    unpacker = msgpack.Unpacker(max_buffer_size=len(body))
    unpacker.feed(body)
    parts, start = list[bytes](), 0
    try:
        while start < len(body):
            unpacker.skip()
            end = unpacker.tell()
            parts += (head, body[start:end])
            start = end
    except (msgpack.UnpackException, ValueError) as error:
        raise MalformedData(f"the body is not msgpack at byte {start}: {type(error).__name__}") from None
    return b"".join(parts)
