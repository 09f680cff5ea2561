r"""The engine: the hot path behind about ten functions, bytes in and bytes out.

``engine._python`` is the specification; ``engine._native`` (Rust) gives the same bytes, counts,
errors and carry for any input, and property tests hold the two against each other. Everything takes
any contiguous buffer of bytes and returns ``bytes``. Nothing here does I/O or keeps global state.

Rules that both obey
--------------------
Entries
    are in the canonical form of :mod:`logflow.batch`. Integers, floats, strings and containers are
    packed in msgpack's shortest form; floats are always float64. Nanoseconds above 999,999,999 in an
    EventTime carry over into its seconds when it is read as a time.
Text
    is UTF-8. Each byte that is not valid UTF-8 becomes the four characters ``\xNN``
    (Python's ``backslashreplace``). In JSON it becomes the five ``\\xNN``, and the text is parsed then:
    inside a string it reads the same, elsewhere it does not parse.
JSON
    must be an object to become fields. Duplicate keys: the first one's place, the last one's value.
    Integers beyond [-2**63, 2**64) become strings of their digits (over 4,300 characters: does not parse);
    ``-0`` is the integer 0. A number with a fraction or an exponent is the nearest float64. One out of
    float64's range, NaN, Infinity, a raw control character in a string, or more
    than ``MAX_DEPTH`` levels of nesting (the outer object is level 1): the text does not parse. An escaped
    surrogate that is half of no pair is U+FFFD, as in Go. Blanks
    around the object (space, tab, CR, LF) are allowed; a byte-order mark is not.
A line that does not parse
    is kept whole as ``message`` and counted as ``unparsed``. Nothing is dropped.
Own fields
    are never overwritten: ``attrs``, ``stream``, ``truncated`` and the offset are added, at the end and in
    this order, only where the record has no such key.
Order of faults
    msgpack is read from left to right, and the first fault counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from typing_extensions import Buffer

from logflow import jsontext
from logflow.component import Parser
from logflow.engine.changes import (
    Assignment,
    Computation,
    Condition,
    DetectorName,
    FieldParser,
    Grep,
    Limiter,
    Modify,
    OwnPattern,
    RedactAction,
    Redaction,
    Regex,
)
from logflow.engine.keyed import Admitted, Grouping, Measure, Miner, Placement, Repeats, Tally
from logflow.engine.stores import StoreForms
from logflow.expressions import Expression
from logflow.multiline import Multiline

MAX_GROUP_BYTES = 8 << 10
"""Fields of a group that take more are left out, as they are repeated for each event."""

MAX_REFUSED = 16
"""Entries that are no good of which one call says where they are, so that they can be looked at."""

MAX_FRAMES = 256
"""Frames that one scan returns at most: each takes many times the memory that the smallest has as bytes."""

MAX_DEPTH = jsontext.MAX_DEPTH
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
    With it are the open events of several lines, ``{stream+: [time_ns, last_ns, text, cut, state, lines,
    attrs, [[time_ns, text, cut], ...]]}``: times of the first and last line; a state of
    :mod:`logflow.multiline`; ``attrs`` packed, or empty; the lines that are held. Each of these lists ends
    with the offset of its first line if the parser adds offsets.
    It is the same for both engines, so a restart may change the engine.
    """

    def parse(self, block: Buffer, carry: bytes, now_ns: int, offset: int = 0) -> Parsed:
        r"""Parse the whole lines of ``block``; what follows its last newline is not consumed.

        ``offset`` is where the block begins; it counts only if offsets are added.

        CRI: ``<RFC3339Nano> <stdout|stderr> <tags>[ <content>]``; P pieces are joined per stream until
        an F; the time is that of the first piece. Docker: one JSON object a line; joined until ``log``
        ends with a newline, which is removed; ``attrs`` of the last piece becomes the field ``attrs``. In
        both, a time that RFC 3339 does not allow or an EventTime cannot carry makes a line malformed, as
        does a stream other than stdout and stderr. Plain: the line is the message, the time is
        ``now_ns``, the carry stays as it is.

        One ``\r`` before the newline that ends a message is removed, but not from CRI lines: containerd has
        done so, and what is left is the message's own. A message longer than ``max_line``
        is cut there, then after its last whole UTF-8 character; it goes to the message parser as it is
        then. A time that the message parser finds replaces the line's. A block without a newline gives
        nothing.

        Raises:
            MalformedData: ``carry`` is not what an engine made.
        """
        ...

    def flush(self, carry: bytes, now_ns: int) -> Parsed:
        """Make entries, streams sorted, of joins and events that stay unfinished."""
        ...


class Frame(NamedTuple):
    """One frame of the Forward Protocol, as positions in the scanned data."""

    tag: bytes
    mode: Literal["message", "forward", "packed", "other"]
    """``other``: nil (a heartbeat) or anything else that is not an array."""
    start: int
    """Start of the entries: after the array or bin header; for ``message``, of time and record; for
    ``other``, of the value itself."""
    end: int
    events: int
    """Entries announced; -1 where the frame does not say (``packed``)."""
    option_start: int
    """Start of the option map; equal to ``option_end`` when there is none or it is nil."""
    option_end: int
    """End of the option, and of the frame."""


class Scanned(NamedTuple):
    """What a scan for frames found."""

    frames: list[Frame]
    consumed: int
    """Bytes that the frames take; what follows is incomplete."""
    needed: int
    """Bytes from ``consumed`` on that are needed before another scan can succeed: the end of the header,
    number, str, bin, ext or array of entries (of at least one byte each) in which the data ends; 1 when
    it ends between frames; 0 when a bad frame is next, so that another scan from ``consumed`` raises."""


class Normalized(NamedTuple):
    """Entries brought to canonical form."""

    entries: bytes
    """The input itself, not a copy, when it was canonical ``bytes`` already."""
    events: int
    consumed: int
    """Bytes that were used. Less than all when the limit was reached, or the data ends within an event."""
    skipped: Mapping[str, int] = MappingProxyType({})
    """Events that were left out, by reason: ``not_an_event`` (no array of a time and a record), ``bad_time``,
    ``bad_record`` (no map), ``too_deep``."""
    mended: Mapping[str, int] = MappingProxyType({})
    """Events (or groups) in which something was put right: ``time_missing``, ``time_scaled``,
    ``time_clamped``, ``group_too_large``."""
    group: bytes = b""
    """Fields of the group that is open at the end, to be given with what follows."""
    refused: tuple[tuple[str, int, int], ...] = ()
    """The first :data:`MAX_REFUSED` that were left out: the reason, where each begins, where it ends."""


class JsonLines(NamedTuple):
    """Objects that were found in JSON, each on a line."""

    lines: bytes
    consumed: int
    """Bytes that were used; what follows is the begin of an object."""
    array: bool
    """Whether an array is open after them, to be given with what follows."""


class Engine(StoreForms, Protocol):
    """The functions of an engine.

    Attributes:
        name: which one it is.
    """

    name: Literal["native", "python"]

    def line_parser(
        self,
        format: LineFormat,  # noqa: A002 - the word of the configuration
        parser: Parser,
        *,
        max_line: int,
        stream: str | None = None,
        message_key: str = "message",
        multiline: Multiline | None = None,
        offset_key: str | None = None,
    ) -> LineParser:
        """Compile a parser of lines.

        Args:
            format: how lines are wrapped.
            parser: parses the message; the native engine asks it for ``native()``, and leaves the work
                to the Python engine when that raises ``Unsupported``.
            max_line: longest message in bytes; what is longer is cut there, at a UTF-8 boundary.
            stream: for ``plain``: value of the field ``stream``; ``None`` adds no such field.
            message_key: field that holds a message which did not parse.
            multiline: how messages are joined to events, after the joins of partial lines; ``None``: not.
            offset_key: a field that takes the offset at which the first line of the event begins; ``None``
                adds no such field.
        """
        ...

    def normalize(
        self, data: Buffer, now_ns: int, *, limit: int | None = None, group: bytes | None = b""
    ) -> Normalized:
        """Bring entries to canonical form; what is no event is left out and counted, the others stay.

        Accepts integer and float seconds (a float counts as its shortest decimal form; digits beyond the
        ninth are dropped), EventTime as ext of 8 bytes in any header (its bytes stay as they are),
        ``[[time, metadata], record]``, array headers of any size. A record must be a map; it stays byte for
        byte as it is, but for fields that are added at its end where it has none of that name:

        - A time that is nil or 0 is ``now_ns``. A number too large for seconds that is a time since 2001 in
          ms, us or ns is taken for that; what an EventTime cannot carry becomes the nearest that it can and
          that means nothing else. In both cases the number as sent becomes the field ``time_as_sent``.
        - Metadata of an event are left out.
        - An EventTime of 2**32 - 1 (2**32 - 2) seconds and no nanoseconds, or -1 (-2) with metadata, begins
          (ends) a group, as Fluent Bit has it. It is no event; the fields of its record, if they take at
          most :data:`MAX_GROUP_BYTES`, are added to the events of the group.

        Args:
            data: entries, one after another. The last one need not be whole.
            now_ns: time of events that have none.
            limit: stop once the entries take so many bytes.
            group: what the call for the data before returned; ``None`` to leave out the fields of groups.

        Raises:
            MalformedData: byte c1, so that it cannot be told where events end.
        """
        ...

    def count(self, entries: Buffer) -> int:
        """Count canonical entries, checking that they are whole.

        Raises:
            MalformedData: they are not, or not canonical.
        """
        ...

    def offsets(self, entries: Buffer) -> list[int]:
        """Byte offset of every entry, for cutting between entries.

        Raises:
            MalformedData: they are not whole, or not canonical.
        """
        ...

    def time_range(self, entries: Buffer) -> tuple[int, int]:
        """Smallest and largest time in nanoseconds; (0, 0) without entries."""
        ...

    def to_ndjson(
        self, entries: Buffer, tag: str, time_key: str | None = "@timestamp", tag_key: str | None = "@tag"
    ) -> bytes:
        r"""Format entries as JSON Lines: time, tag, then the record's fields in order.

        Canonical entries can always be formatted: whatever makes them bounds their depth.

        Times are RFC 3339 UTC with nine digits. bin is text; NaN and infinities are null; ext type 0 of 8
        bytes, and msgpack's own timestamp (type -1) where an event could have that time, are RFC 3339
        strings, other ext a base64 string; map keys that are not strings are written
        as their JSON text in a string, of which 256 characters are kept, as escapes within escapes grow
        without bound (bin and ext: as that text, whole). Of keys that are then equal, the first
        one's place and the last one's value count. Escapes: ``\" \\ \b \f \n \r \t`` and ``\u00xx``
        (lower case) for other controls below 0x20; all else as it is. A record's own field named
        ``time_key`` or ``tag_key`` is written as it is, in its place, and ours is left out. Floats are
        written in their shortest round-trip form as msgspec (and Rust's ryu) do: ``1.0``, ``0.00001``,
        ``1e-7``, ``1000000000000000.0``, ``1e16``; float32 as the float64 of the same value.
        """
        ...

    def splice(self, entries: Buffer, fields: Mapping[str, Any]) -> bytes:
        """Add constant fields at the end of every record that has no such key, be it str or bin.

        What the record has stays byte for byte as it is; its map header is the shortest.
        """
        ...

    def regex(self, pattern: str) -> Regex:
        """Compile a pattern. The native engine matches any pattern of the dialect in linear time.

        Raises:
            ValueError: it is not of the dialect, is too large, or cannot be matched in time by this engine.
        """
        ...

    def grep(
        self,
        keep: Sequence[tuple[str, str]],
        exclude: Sequence[tuple[str, str]],
        mode: Literal["and", "or"] = "and",
    ) -> Grep:
        """Compile rules of (field path, pattern) that say which events are kept.

        An event is kept when ``keep`` matches (all or any of it, as ``mode`` says; no rules match all)
        and no ``exclude`` rule matches. Paths are those of :mod:`logflow.paths`. Patterns are
        searched in the text of the value as ``to_ndjson`` writes it, strings without quotes and escapes; a
        missing field matches nothing.

        Raises:
            ValueError: a path or pattern cannot be used; see :meth:`regex`.
        """
        ...

    def field_parser(
        self,
        parser: Parser,
        field: str,
        *,
        into: str | None = None,
        keep_original: bool = False,
        drop_unparsed: bool = False,
    ) -> FieldParser:
        """Compile a parser of the text of one field, found as in ``modify``.

        What it finds is added at the end of the record: as fields that the record has not, or as a map at
        ``into`` if nothing is there. The parsed field is removed before, unless it is to be kept. A time that
        the parser finds becomes the event's. A record without the field stays as it is. One whose field is
        no text, does not parse, or would nest deeper than MAX_DEPTH afterwards, is kept byte for byte, or
        dropped, and counted.

        Raises:
            ValueError: one of the paths cannot be read.
        """
        ...

    def modify(self, changes: Sequence[tuple[str, str, Any]], variables: Mapping[str, str]) -> Modify:
        """Compile changes, applied in order. Keys are paths of :mod:`logflow.paths`.

        ``("set", path, value)``: overwrite in place or add at the end; maps that are missing on the way are
        made. A string value may hold ``{tag}``, ``{name}`` of ``variables`` or ``{path}``, looked for in this
        order; a path gives its text, as in ``grep``, of the record as changed so far, or nothing when
        missing. ``{{`` and ``}}`` are braces, and so is any other brace.

        ``("default", path, value)``: only where nothing is at the path. ``("remove", path, None)``.
        ``("rename", old, new)`` and ``("copy", from, to)``: an existing target is overwritten in place;
        nothing happens when the source is missing; rename keeps the place of the old key when both are at
        the top level and the target is new.

        ``("prune", "", globs)``: take out what globs (:class:`logflow.paths.FieldGlob`) match.
        ``("only", "", globs)``: leave only that, and the containers on the way to it.

        ``("nest", path, names)``: move fields of the top level whose names match into the map at the path,
        without what comes before the first ``*``; a field that is there already is overwritten in place, and
        nothing happens where something else than a map is. ``("flatten", "", (names, separator))``: divide
        maps of the top level, and those inside of them, into fields named by the keys on the way; of equal
        names the first one's place and the last one's value count. A map is left as it is if it is empty, or
        the names would take more than 64 KiB.

        Nothing happens either where something else than a map or array is on the way, where an array has no
        such item, or where the value would stand deeper than MAX_DEPTH. str and bin keys are the same; of
        repeated keys the first is meant. What is not changed stays byte for byte as it is; headers of what is
        changed are the shortest.

        Raises:
            ValueError: an action is unknown, or a path cannot be read.
        """
        ...

    def divide(self, entries: bytes, marks: bytes) -> tuple[bytes, bytes]:
        """Divide entries by their marks (:meth:`Condition.mark`): those that are marked, and the others."""
        ...

    def interleave(self, kept: bytes, rest: bytes, marks: bytes) -> bytes:
        """Put entries that were divided by ``marks`` back into their order.

        Raises:
            MalformedData: there are fewer entries than marks.
        """
        ...

    def assignment(
        self, fields: Sequence[tuple[str, Expression]], time: Expression | None = None
    ) -> Assignment:
        """Compile fields that are set to what expressions give, as (path, expression).

        Every value is that of the event as it came in. They are put as :meth:`modify` puts them; where a
        value is None nothing is set. What ``time`` gives becomes the event's time: a number of seconds since
        1970, or text as ``iso8601`` of :mod:`logflow.timestamps`; anything else changes nothing.
        """
        ...

    def draw(self, entries: bytes, seed: int, most: int) -> bytes:
        """Return a byte for each entry: 1 if the hash (xxh3, seeded) of its bytes is at most ``most``."""
        ...

    def redaction(
        self,
        detectors: Sequence[DetectorName],
        own: Sequence[OwnPattern],
        fields: Sequence[str] | None,
        action: RedactAction,
        *,
        keys: bool,
    ) -> Redaction:
        """Compile what is hidden in texts: str and bin, in maps and arrays too.

        Detectors look at the bytes of a text, patterns then at what those left, as valid text. What overlaps
        is replaced at once, by the name of what begins first (of those, of what is named first). ``mask``
        puts ``[name]`` there, ``hash`` ``[name:...]`` with 16 digits of the HMAC-SHA-256, ``remove`` nothing.

        Args:
            detectors: what to look for.
            own: the user's patterns.
            fields: globs of the fields to look at, with all in them; ``None`` is all fields.
            action: what takes its place.
            keys: whether the keys of wanted fields are looked at as well.
        """
        ...

    def limits(self, most_bytes: int, depth: int, fields: int, mark: str) -> Limiter:
        """Compile limits.

        Texts are cut at ``most_bytes``, after a whole character. A map or array below level ``depth`` (the
        record is level 1) becomes its JSON, cut likewise. Of a map (the record too) or an array the first
        ``fields`` are kept. A record of which something was cut gets the field ``mark: true``, unless it has
        one.
        """
        ...

    def condition(self, expression: Expression) -> Condition:
        """Compile an expression that decides about events."""
        ...

    def computation(self, expression: Expression) -> Computation:
        """Compile an expression whose value is wanted for each event."""
        ...

    def grouping(self, expressions: Sequence[Expression]) -> Grouping:
        """Compile expressions by which events are put into groups; without any, all are in one."""
        ...

    def admit(
        self, entries: bytes, ids: bytes, allowed: Sequence[int], *, by: Literal["events", "bytes"]
    ) -> Admitted:
        """Let events through, in order, while something of their group's allowance is left.

        Args:
            entries: canonical entries.
            ids: :attr:`Groups.ids` of them.
            allowed: for each group, how many events, or bytes of entries; nothing passes at 0 or below.
            by: what counts.

        Raises:
            MalformedData: there are fewer ids than entries, or one of a group that is not there.
        """
        ...

    def placement(self, paths: Sequence[str]) -> Placement:
        """Compile paths at which values are put.

        Raises:
            ValueError: one of the paths cannot be read.
        """
        ...

    def tally(self, measures: Sequence[Measure]) -> Tally:
        """Compile what is to be counted of events."""
        ...

    def repeats(
        self, expressions: Sequence[Expression], within_s: float, most: int, *, tells: bool
    ) -> Repeats:
        """Make a memory of events, in which those are alike for which every expression gives the same value.

        Args:
            expressions: what is compared, besides the tag.
            within_s: how long after the first one, others are its repeats.
            most: so many first ones are remembered; beyond that the oldest is forgotten.
            tells: whether to keep an event for each that was repeated, for :meth:`Repeats.ended`.
        """
        ...

    def miner(self, message: Expression, most: int, similarity: float) -> Miner:
        """Make a memory of the templates of messages.

        Args:
            message: gives the text of an event.
            most: so many templates are known; beyond that the one that was not seen for the longest time
                is forgotten.
            similarity: which part of a message's words must be those of a template.
        """
        ...

    def json_lines(self, data: Buffer, *, array: bool = False) -> JsonLines:
        """Put every object of some JSON on a line of its own, for a line parser.

        Takes objects one after another, with blanks between or without, over several lines, and in arrays
        (whose commas are not insisted on). Newlines outside of strings become blanks; nothing else of an
        object is looked into.

        Args:
            data: JSON text; it may end within an object.
            array: whether it begins within an array.

        Raises:
            MalformedData: there is something other than an object.
        """
        ...

    def scan_frames(self, data: Buffer, max_size: int, most: int = MAX_FRAMES) -> Scanned:
        """Find the whole Forward frames at the start of ``data``.

        A tag may be str or bin. By the second element: array = forward, str or bin = packed, int, ext, float
        or nil = message; then an option, a map or nil, may follow. The payload of ``packed`` is not looked
        into, and entries only so far as to find their ends.

        At most ``most`` are returned; where there may be more, ``needed`` is 1.

        Wrapping before a bad one are returned, with ``needed`` 0: only a bad frame at the very start
        raises, so that what came whole before it is not lost.

        Raises:
            MalformedData: not msgpack, or an array that is no frame.
            LimitExceeded: a frame takes, or will take, more than ``max_size`` bytes; or an option or
                ``other`` value in it nests deeper than MAX_DEPTH levels.
        """
        ...
