"""Bodies of HTTP requests to packed entries.

::

    application/msgpack, x-msgpack, vnd.msgpack    records (maps), or entries [time, record], concatenated
    anything else, with the parser json            JSON Lines; one JSON array of objects; one object
    anything else, with another parser             lines for that parser

Blank lines are skipped where the parser does not match them. A body is taken whole or not at all: a line
or record that cannot be used is an error that names it, so that the client may repair the body and send
it again.
"""

from __future__ import annotations

from typing import NamedTuple

import msgpack
import msgspec

from logflow.component import Context, Parser
from logflow.engine.api import Parsed
from logflow.errors import MalformedData
from logflow.event import EventTime
from logflow.packing import ENTRY_HEADER, to_text

_MSGPACK = {"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"}
_EXCERPT_CHARACTERS = 80


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
        if self._json and body.lstrip()[:1] == b"[":
            body = _array_to_lines(body)
        if not body.strip():
            return Entries(b"", 0)
        parsed = self._parse(body, now_ns)
        if parsed.unparsed:
            parsed = self._parse(self._repair(body), now_ns)
        return Entries(parsed.entries, parsed.events)

    def _parse(self, body: bytes, now_ns: int) -> Parsed:
        return self._lines.parse(body if body.endswith(b"\n") else body + b"\n", b"", now_ns)

    def _repair(self, body: bytes) -> bytes:
        """Remove blank lines, or put an object that spans lines on one; raise for anything else."""
        lines = body.split(b"\n")
        for number, line in enumerate(lines, start=1):
            if line.strip() and self._parser.parse(line.removesuffix(b"\r")) is None:
                if self._json and self._parser.parse(body) is not None:
                    return _on_one_line(body)
                text = to_text(line.strip()[: 4 * _EXCERPT_CHARACTERS])[:_EXCERPT_CHARACTERS]
                raise MalformedData(f"line {number} is not {self._parser.config.type}: {text!a}")
        return b"\n".join(line for line in lines if line.strip())

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


def _array_to_lines(body: bytes) -> bytes:
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedData(f"the body is not a JSON array: {error}") from None
    return b"\n".join(_on_one_line(bytes(item)) for item in items)


def _on_one_line(text: bytes) -> bytes:
    """Join lines of right JSON: a newline is a blank there, as strings cannot hold one."""
    return text.replace(b"\r", b" ").replace(b"\n", b" ")


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
