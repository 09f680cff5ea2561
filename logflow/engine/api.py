"""The engine: the hot path behind about ten functions, bytes in and bytes out.

``engine._python`` is the specification; ``engine._native`` (Rust) gives the same bytes, counts,
errors and carry for any input, and property tests hold the two against each other. Everything takes
any contiguous buffer of bytes and returns ``bytes``. Nothing here does I/O or keeps global state.

Rules that both obey
--------------------
Entries
    are in the canonical form of :mod:`logflow.batch`. Integers, floats, strings and containers are
    packed in msgpack's shortest form; floats are always float64.
Text
    is UTF-8. Each byte that is not valid UTF-8 becomes the four characters ``\\xNN``
    (Python's ``backslashreplace``), also inside JSON strings, which are then parsed.
JSON
    must be an object to become fields. Duplicate keys: the first one's place, the last one's value.
    Integers beyond [-2**63, 2**64) become strings of their digits (over 4,300 digits: does not parse).
    A number out of float64's range, NaN, Infinity, a lone surrogate escape, raw control characters, or more than
    ``MAX_DEPTH`` levels of nesting (the outer object is level 1): the text does not parse. Blanks around
    the object (space, tab, CR, LF) are allowed; a byte-order mark is not.
A line that does not parse
    is kept whole as ``message`` and counted as ``unparsed``. Nothing is dropped.
Own fields
    are never overwritten: ``stream`` and ``truncated`` are added, at the end, only where the record
    has no such key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from typing_extensions import Buffer

from logflow.component import Parser

MAX_DEPTH = 128
"""Levels of nesting in JSON and msgpack beyond which input is refused."""

LineFormat: TypeAlias = Literal["cri", "docker", "plain"]


class Parsed(NamedTuple):
    """What became of a block of lines."""

    entries: bytes
    """Packed entries, one per finished line."""
    events: int
    """Number of entries."""
    consumed: int
    """Bytes of the block that were used: up to and including its last newline."""
    carry: bytes
    """The state after ``consumed``, to be given with the next block; ``b""`` when there is none."""
    lines: int
    """Physical lines read."""
    unparsed: int
    """Messages that the message parser did not match; they are kept as ``message``."""
    malformed: int
    """Lines that are not of the container format; kept whole as ``message``, with the time ``now``."""
    truncated: int
    """Messages that were cut at ``max_line`` and marked ``truncated: true``."""


class LineParser(Protocol):
    """Turns blocks of container lines into packed entries; stateless, may be used from any thread.

    ``carry`` is the open joins of partial lines: msgpack ``{stream: [time_ns, text, cut]}`` with the
    streams sorted, ``text`` a bin of at most ``max_line`` bytes, ``cut`` whether bytes were left out.
    It is the same for both engines, so a restart may change the engine.
    """

    def parse(self, block: Buffer, carry: bytes, now_ns: int) -> Parsed:
        """Parse the whole lines of ``block``; what follows its last newline is not consumed.

        CRI: ``<RFC3339Nano> <stdout|stderr> <tags> <content>``; P pieces are joined per stream until
        an F; the time is that of the first piece. Docker: one JSON object a line; joined until ``log``
        ends with a newline, which is removed; ``attrs`` becomes the field ``attrs`` if present. Plain: the line is
        the message, the time is ``now_ns``. A ``\\r`` before the newline is removed.
        A time that the message parser finds replaces the line's.
        """
        ...

    def flush(self, carry: bytes, now_ns: int) -> Parsed:
        """Make entries of joins that will never be finished (the container is gone)."""
        ...


class Frame(NamedTuple):
    """One frame of the Forward Protocol, as positions in the scanned data."""

    tag: bytes
    mode: Literal["message", "forward", "packed", "other"]
    """``other``: nil (a heartbeat) or anything else that is not an array."""
    start: int
    """Start of the entries: after the array or bin header; for ``message``, of time and record; for ``other``,
    of the value itself."""
    end: int
    events: int
    """Entries announced; -1 where the frame does not say (``packed``)."""
    option_start: int
    """Start of the option map; equal to ``option_end`` when there is none."""
    option_end: int


class Scanned(NamedTuple):
    """What a scan for frames found."""

    frames: list[Frame]
    consumed: int
    """Bytes that the frames take; what follows is incomplete."""
    needed: int
    """Total bytes of ``data`` from ``consumed`` on that are needed before another scan can succeed (a
    lower bound, so that large frames are not scanned again and again)."""


class Normalized(NamedTuple):
    """Entries brought to canonical form."""

    entries: bytes
    """The input itself, not a copy, when it was canonical ``bytes`` already."""
    events: int


class Grep(Protocol):
    """A compiled grep: keeps the events that match."""

    def apply(self, entries: bytes) -> tuple[bytes, int]:
        """Return the kept entries and their number (the input itself when all are kept)."""
        ...


class Modify(Protocol):
    """A compiled list of changes to records."""

    def apply(self, entries: bytes, tag: str) -> bytes:
        """Return the entries with every record changed; their number stays the same."""
        ...


class Engine(Protocol):
    """The functions of an engine."""

    name: Literal["native", "python"]

    def line_parser(
        self, format: LineFormat, parser: Parser, *, max_line: int, stream: str | None = None,
        message_key: str = "message",
    ) -> LineParser:  # fmt: skip
        """Compile a parser of lines.

        Args:
            format: how lines are wrapped.
            parser: parses the message; the native engine asks it for ``native()``.
            max_line: longest message in bytes; what is longer is cut there, at a UTF-8 boundary.
            stream: for ``plain``: value of the field ``stream``; ``None`` adds no such field.
            message_key: field that holds a message which did not parse.

        Raises:
            Unsupported: (native only) the parser needs Python; ``engine.line_parser`` of
                :class:`logflow.engine.Engines` falls back.
        """
        ...

    def normalize(self, data: Buffer) -> Normalized:
        """Check entries and bring them to canonical form.

        Accepts integer (and float) seconds, EventTime as fixext8 or ext8, ``[[time, metadata], record]`` (the metadata
        is dropped); a record must be a map. Records stay byte for byte as they are.

        Raises:
            MalformedData: the bytes are not such entries; nothing of them is used.
            LimitExceeded: nesting beyond MAX_DEPTH.
        """
        ...

    def count(self, entries: Buffer) -> int:
        """Count canonical entries, checking that they are whole.

        Raises:
            MalformedData: they are not.
        """
        ...

    def offsets(self, entries: Buffer) -> list[int]:
        """Byte offset of every entry, for cutting between entries."""
        ...

    def time_range(self, entries: Buffer) -> tuple[int, int]:
        """Smallest and largest time in nanoseconds; (0, 0) without entries."""
        ...

    def to_ndjson(
        self, entries: Buffer, tag: str, time_key: str | None = "@timestamp", tag_key: str | None = "@tag"
    ) -> bytes:
        """Format entries as JSON Lines: time, tag, then the record's fields in order.

        Times are RFC 3339 UTC with nine digits. bin is text; NaN and infinities are null; ext type 0 of 8 bytes is an
        RFC 3339 string, other ext a base64 string; map keys that are not strings are written as their JSON text in
        a string. Escapes: ``\\" \\\\ \\b \\f \\n \\r \\t`` and ``\\u00XX`` for other controls below 0x20; all
        else as it is. A record's own field named like ``time_key`` or ``tag_key`` is left out.
        Floats are written as their shortest round-trip form, as msgspec writes them.
        """
        ...

    def splice(self, entries: Buffer, fields: Mapping[str, Any]) -> bytes:
        """Add constant fields at the end of every record that has no such key."""
        ...

    def grep(
        self,
        keep: Sequence[tuple[str, str]],
        exclude: Sequence[tuple[str, str]],
        mode: Literal["and", "or"] = "and",
    ) -> Grep:
        """Compile rules of (field path, pattern): an event is kept when ``keep`` matches (all or any
        of it, as ``mode`` says; no rules match all) and no ``exclude`` rule matches.

        A path is a key, or keys joined by ``.`` for nested maps (an exact key with dots wins). Patterns are searched in
        the text of the value: strings as they are, numbers, booleans and null as in JSON, containers as compact JSON; a missing field
        matches nothing.

        Raises:
            Unsupported: (native only) the pattern needs Python's ``re``.
        """
        ...

    def modify(self, changes: Sequence[tuple[str, str, Any]], variables: Mapping[str, str]) -> Modify:
        """Compile changes, applied in order.

        ``("set", key, value)``: overwrite in place or add at the end; a string value may hold ``{tag}``, ``{name}`` of
        ``variables`` or ``{field}`` (its text, as in ``grep``; empty when missing; ``{{`` and ``}}`` are braces).
        ``("default", key, value)``: only where the key is missing. ``("remove", key, None)``. ``("rename", old, new)`` and
        ``("copy", from, to)``: an existing target is overwritten in place; nothing happens when the source is
        missing; rename keeps the place of the old key when the target is new. Top-level keys only.
        """
        ...

    def scan_frames(self, data: Buffer, max_size: int) -> Scanned:
        """Find the whole Forward frames at the start of ``data``.

        A tag may be str or bin. Array of 2 to 4; by the second element: array = forward, str or bin = packed, int,
        ext or float = message. The payload of ``packed`` is not looked into.

        Frames before a bad one are returned, with ``needed`` 0: only a bad frame at the very start
        raises, so that what came whole before it is not lost.

        Raises:
            MalformedData: not msgpack, or an array that is no frame.
            LimitExceeded: a frame announces more than ``max_size`` bytes, or nests deeper than MAX_DEPTH.
        """
        ...
