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

from collections.abc import Iterator
from typing import NamedTuple

import msgpack

from logflow.component import Context, Parser
from logflow.engine.api import Parsed
from logflow.errors import MalformedData
from logflow.event import EventTime
from logflow.net.http_server.bodies import PIECE_BYTES, bad_line, object_lines
from logflow.packing import ENTRY_HEADER

_MSGPACK = {"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"}
_RECORDS_BYTES = 64 << 10
"""Records of msgpack that are made into entries at once."""


class Entries(NamedTuple):
    """What a piece of a body held."""

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

    def read(self, body: bytes, content_type: str, now_ns: int) -> Iterator[Entries]:
        """Read a decompressed body in pieces; events without a time of their own get ``now_ns``.

        Raises:
            MalformedData: something in it cannot be used; then nothing of it is to be.
        """
        if content_type.lower() in _MSGPACK:
            yield from self._read_msgpack(body, now_ns)
            return
        start = 0
        if not (self._json and body.lstrip()[:1] == b"["):
            while start < len(body):
                piece = self._piece(body, start)
                parsed = self._read_lines(piece, body, start, now_ns) if piece else None
                if parsed is None:
                    break
                yield Entries(parsed.entries, parsed.events)
                start += len(piece)
        for begun, lines in object_lines(self._engine, body, start):
            yield self._read_objects(lines, body, begun, now_ns)

    def _piece(self, body: bytes, start: int) -> bytes:
        """Whole lines from ``start`` on, as many as are parsed at once; nothing if they are no lines."""
        end = body.find(b"\n", start + PIECE_BYTES) + 1
        if self._json and (end or len(body)) - start > 2 * PIECE_BYTES:
            return b""
        return body[start : end or None]

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
                raise bad_line(number, line, self._parser.config.type)
        return self._parse(b"\n".join(line for line in lines if line.strip()), now_ns)

    def _read_objects(self, lines: bytes, body: bytes, start: int, now_ns: int) -> Entries:
        """Parse objects that stand on a line each."""
        if not lines:
            return Entries(b"", 0)
        parsed = self._parse(lines, now_ns)
        for line in lines.split(b"\n") if parsed.unparsed else ():
            if line and self._parser.parse(line) is None:
                raise bad_line(1 + body.count(b"\n", 0, start), line, "json")
        return Entries(parsed.entries, parsed.events)

    def _parse(self, body: bytes, now_ns: int) -> Parsed:
        return self._lines.parse(body if body.endswith(b"\n") else body + b"\n", b"", now_ns)

    def _read_msgpack(self, body: bytes, now_ns: int) -> Iterator[Entries]:
        is_records = bool(body) and (body[0] & 0xF0 == 0x80 or body[0] in (0xDE, 0xDF))
        for entries in _records_to_entries(body, now_ns) if is_records else (body,):
            done = self._engine.normalize(entries, now_ns)
            if done.skipped:
                reasons = ", ".join(f"{events} ({reason})" for reason, events in done.skipped.items())
                raise MalformedData(f"parts of the body are not events: {reasons}")
            if done.consumed < len(entries):
                raise MalformedData("the body ends in the middle of an event")
            yield Entries(done.entries, done.events)


def _records_to_entries(body: bytes, now_ns: int) -> Iterator[bytes]:
    """Put a time before every record; the engine checks them afterwards."""
    head = ENTRY_HEADER + EventTime(now_ns).to_ext()
    unpacker = msgpack.Unpacker(max_buffer_size=len(body))
    unpacker.feed(body)
    parts, start, begun = list[bytes](), 0, 0
    try:
        while start < len(body):
            unpacker.skip()
            end = unpacker.tell()
            parts += (head, body[start:end])
            start = end
            if start - begun > _RECORDS_BYTES:
                yield b"".join(parts)
                parts, begun = [], start
    except (msgpack.UnpackException, ValueError) as error:
        raise MalformedData(f"the body is not msgpack at byte {start}: {type(error).__name__}") from None
    yield b"".join(parts)
