"""The native engine as components see it: the compiled module, with its Python twin behind it.

The module ``logflow.engine._native`` has functions with the names and arguments of
:class:`logflow.engine.api.Engine`, except that ``line_parser`` takes ``parser.native()`` in place of
the parser. Where the API has a named tuple it returns a plain tuple (of frames: a list of them). It
raises the exceptions of :mod:`logflow.errors`; on ``Unsupported`` the Python twin does the work, and
the reason is kept in :attr:`NativeEngine.fallbacks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import ModuleType
from typing import Any, Literal

from typing_extensions import Buffer

from logflow.component import Parser
from logflow.engine.api import (
    MAX_FRAMES,
    Engine,
    Frame,
    JsonLines,
    LineFormat,
    LineParser,
    Normalized,
    Parsed,
    Scanned,
)
from logflow.engine.changes import (
    Assignment,
    Computation,
    Condition,
    DetectorName,
    FieldParser,
    Grep,
    Limited,
    Limiter,
    Modify,
    OwnPattern,
    RedactAction,
    Redaction,
    Regex,
)
from logflow.engine.keyed import (
    Admitted,
    Grouping,
    Groups,
    Measure,
    Miner,
    Placement,
    Repeated,
    Repeats,
    Series,
    Tallied,
    Tally,
)
from logflow.engine.stores import LokiForm, OtlpForm, Wrapping
from logflow.errors import Unsupported
from logflow.event import NANOSECOND
from logflow.expressions import Expression
from logflow.multiline import Multiline
from logflow.packing import encode
from logflow.paths import Step, parse_glob, parse_name, parse_path


class _NativeLineParser:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def parse(self, block: Buffer, carry: bytes, now_ns: int, offset: int = 0) -> Parsed:
        return Parsed._make(self._inner.parse(block, carry, now_ns, offset))

    def flush(self, carry: bytes, now_ns: int) -> Parsed:
        return Parsed._make(self._inner.flush(carry, now_ns))


class _NativeGrouping:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def apply(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> Groups:
        return Groups._make(self._inner.apply(entries, tag, source, now_ns))


class _NativeTally:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def apply(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> list[Tallied]:
        found = self._inner.apply(entries, tag, source, now_ns)
        return [Tallied([Series._make(one) for one in series], skipped) for series, skipped in found]


class _NativeRepeats:
    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.apply = inner.apply
        self.forgotten = inner.forgotten

    def ended(self, at_ns: int | None) -> list[Repeated]:
        return [Repeated._make(one) for one in self._inner.ended(at_ns)]


class _NativeLimits:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def apply(self, entries: bytes) -> Limited:
        return Limited._make(self._inner.apply(entries))


def _written(pattern: str) -> str:
    from logflow.regexes import parse_pattern  # noqa: PLC0415 - only where a pattern is configured

    return parse_pattern(pattern).write("native")


_OF_A_FIELD = frozenset(("set", "default", "remove", "rename", "copy"))
"""Changes of one field; others may concern the whole record, which is the path of no field."""


def _steps(path: str) -> tuple[str | None, tuple[Step, ...]]:
    """A path as the native engine takes it: its exact key, its steps."""
    found = parse_path(path)
    return found.exact, found.steps


def _argument(action: str, argument: Any) -> Any:
    """The argument of a change as the native engine takes it."""
    match action:
        case "rename" | "copy":
            return _steps(argument)
        case "prune" | "only":
            return [parse_glob(glob).native() for glob in argument]
        case "nest":
            return [list(parse_name(name).pieces) for name in argument]
        case "flatten":
            names, separator = argument
            return [list(parse_name(name).pieces) for name in names], separator
    return argument


class NativeEngine:
    """See :class:`logflow.engine.api.Engine`.

    Attributes:
        fallbacks: why the Python twin was used, one line for each reason, in order.
    """

    name: Literal["native", "python"] = "native"

    def __init__(self, module: ModuleType) -> None:
        self._native: Any = module
        self.fallbacks: list[str] = []

    @cached_property
    def _twin(self) -> Engine:
        from logflow.engine._python import PythonEngine  # noqa: PLC0415 - most configurations need nothing of it

        return PythonEngine()

    def line_parser(
        self, format: LineFormat, parser: Parser, *, max_line: int, stream: str | None = None,  # noqa: A002
        message_key: str = "message", multiline: Multiline | None = None, offset_key: str | None = None,
    ) -> LineParser:  # fmt: skip
        """Compile a parser of lines."""
        try:
            inner = self._native.line_parser(
                format, parser.native(), max_line=max_line, stream=stream, message_key=message_key,
                multiline=None if multiline is None else multiline.native(), offset_key=offset_key,
            )  # fmt: skip
        except Unsupported as reason:
            self._note(reason)
            return self._twin.line_parser(
                format, parser, max_line=max_line, stream=stream, message_key=message_key,
                multiline=multiline, offset_key=offset_key,
            )  # fmt: skip
        return _NativeLineParser(inner)

    def normalize(
        self, data: Buffer, now_ns: int, *, limit: int | None = None, group: bytes | None = b""
    ) -> Normalized:
        """Bring entries to canonical form."""
        return Normalized._make(self._native.normalize(data, now_ns, limit, group))

    def json_lines(self, data: Buffer, *, array: bool = False) -> JsonLines:
        """Put every object of some JSON on a line of its own."""
        return JsonLines._make(self._native.json_lines(data, array))

    def count(self, entries: Buffer) -> int:
        """Count canonical entries."""
        count: int = self._native.count(entries)
        return count

    def offsets(self, entries: Buffer) -> list[int]:
        """Byte offset of every entry."""
        starts: list[int] = self._native.offsets(entries)
        return starts

    def time_range(self, entries: Buffer) -> tuple[int, int]:
        """Smallest and largest time."""
        times: tuple[int, int] = self._native.time_range(entries)
        return times

    def to_ndjson(
        self, entries: Buffer, tag: str, time_key: str | None = "@timestamp", tag_key: str | None = "@tag"
    ) -> bytes:
        """Format entries as JSON Lines."""
        lines: bytes = self._native.to_ndjson(entries, tag, time_key, tag_key)
        return lines

    def to_wrapped(
        self,
        entries: Buffer,
        tag: str,
        wrapping: Wrapping,
        time_key: str | None = "@timestamp",
        tag_key: str | None = "@tag",
    ) -> bytes:
        """Format entries as JSON objects in wrappings."""
        insert: Literal["seconds"] | Sequence[int] | int | None = wrapping.insert
        if isinstance(insert, range) and insert.step == 1:
            insert = insert.start
        text: bytes = self._native.to_wrapped(
            entries,
            tag,
            time_key,
            tag_key,
            wrapping.before,
            wrapping.which,
            insert,
            wrapping.between,
            wrapping.after,
        )
        return text

    def to_loki(self, entries: Buffer, form: LokiForm) -> list[bytes]:
        """Write entries as Loki has them."""
        try:
            parts: list[bytes] = self._native.to_loki(
                entries, form.streams, form.which, form.line_key, form.extra
            )
        except Unsupported:  # a record in many: no reason to tell of
            return self._twin.to_loki(entries, form)
        return parts

    def to_otlp(self, entries: Buffer, form: OtlpForm) -> list[bytes]:
        """Write entries as log records of OpenTelemetry."""
        places: int | Sequence[int] = form.places
        if isinstance(places, range) and places.step == 1:
            places = places.start
        keys = (form.body, form.severity, form.trace_id, form.span_id)
        try:
            parts: list[bytes] = self._native.to_otlp(
                entries, form.groups, form.which, keys, form.uid, places
            )
        except Unsupported:
            return self._twin.to_otlp(entries, form)
        return parts

    def snappy(self, data: Buffer) -> bytes:
        """Make a snappy block of data."""
        block: bytes = self._native.snappy(data)
        return block

    def splice(self, entries: Buffer, fields: Mapping[str, Any]) -> bytes:
        """Add constant fields."""
        spliced: bytes = self._native.splice(entries, fields)
        return spliced

    def regex(self, pattern: str) -> Regex:
        """Compile a pattern."""
        regex: Regex = self._native.regex(_written(pattern))
        return regex

    def grep(
        self,
        keep: Sequence[tuple[str, str]],
        exclude: Sequence[tuple[str, str]],
        mode: Literal["and", "or"] = "and",
    ) -> Grep:
        """Compile a grep."""
        written = [
            [(_steps(path), _written(pattern)) for path, pattern in rules] for rules in (keep, exclude)
        ]
        grep: Grep = self._native.grep(*written, mode)
        return grep

    def field_parser(
        self,
        parser: Parser,
        field: str,
        *,
        into: str | None = None,
        keep_original: bool = False,
        drop_unparsed: bool = False,
    ) -> FieldParser:
        """Compile a parser of one field."""
        try:
            described = parser.native()
            compiled: FieldParser = self._native.field_parser(
                described, _steps(field), None if into is None else _steps(into), keep_original, drop_unparsed
            )
        except Unsupported as reason:
            self._note(reason)
            return self._twin.field_parser(
                parser, field, into=into, keep_original=keep_original, drop_unparsed=drop_unparsed
            )
        return compiled

    def modify(self, changes: Sequence[tuple[str, str, Any]], variables: Mapping[str, str]) -> Modify:
        """Compile changes of records."""
        described = [
            (action, _steps(key) if key or action in _OF_A_FIELD else (None, ()), _argument(action, argument))
            for action, key, argument in changes
        ]
        modify: Modify = self._native.modify(described, variables, _steps)
        return modify

    def divide(self, entries: bytes, marks: bytes) -> tuple[bytes, bytes]:
        """Divide entries by their marks."""
        divided: tuple[bytes, bytes] = self._native.divide(entries, marks)
        return divided

    def interleave(self, kept: bytes, rest: bytes, marks: bytes) -> bytes:
        """Put divided entries back into their order."""
        merged: bytes = self._native.interleave(kept, rest, marks)
        return merged

    def assignment(
        self, fields: Sequence[tuple[str, Expression]], time: Expression | None = None
    ) -> Assignment:
        """Compile fields that are set to what expressions give."""
        try:
            described = [(_steps(path), encode(expression.program)) for path, expression in fields]
            assignment: Assignment = self._native.assignment(
                described, None if time is None else encode(time.program)
            )
        except Unsupported as reason:
            self._note(reason)
            return self._twin.assignment(fields, time)
        return assignment

    def draw(self, entries: bytes, seed: int, most: int) -> bytes:
        """Draw among entries."""
        marks: bytes = self._native.draw(entries, seed, most)
        return marks

    def redaction(
        self, detectors: Sequence[DetectorName], own: Sequence[OwnPattern], fields: Sequence[str] | None,
        action: RedactAction, *, keys: bool,
    ) -> Redaction:  # fmt: skip
        """Compile what is hidden in texts."""
        redaction: Redaction = self._native.redaction(
            list(detectors),
            [(one.name, _written(one.pattern), one.in_pieces) for one in own],
            None if fields is None else [parse_glob(field).native() for field in fields],
            action,
            keys,
        )
        return redaction

    def limits(self, most_bytes: int, depth: int, fields: int, mark: str) -> Limiter:
        """Compile limits."""
        return _NativeLimits(self._native.limits(most_bytes, depth, fields, mark))

    def condition(self, expression: Expression) -> Condition:
        """Compile a condition."""
        try:
            condition: Condition = self._native.expression(encode(expression.program))
        except Unsupported as reason:
            self._note(reason)
            return self._twin.condition(expression)
        return condition

    def computation(self, expression: Expression) -> Computation:
        """Compile an expression whose value is wanted."""
        try:
            computation: Computation = self._native.expression(encode(expression.program))
        except Unsupported as reason:
            self._note(reason)
            return self._twin.computation(expression)
        return computation

    def grouping(self, expressions: Sequence[Expression]) -> Grouping:
        """Compile expressions by which events are put into groups."""
        try:
            inner = self._native.grouping([encode(expression.program) for expression in expressions])
        except Unsupported as reason:
            self._note(reason)
            return self._twin.grouping(expressions)
        return _NativeGrouping(inner)

    def admit(
        self, entries: bytes, ids: bytes, allowed: Sequence[int], *, by: Literal["events", "bytes"]
    ) -> Admitted:
        """Let events through while something of their group's allowance is left."""
        return Admitted._make(self._native.admit(entries, ids, allowed, by == "bytes"))

    def placement(self, paths: Sequence[str]) -> Placement:
        """Compile paths at which values are put."""
        placement: Placement = self._native.placement([_steps(path) for path in paths])
        return placement

    def tally(self, measures: Sequence[Measure]) -> Tally:
        """Compile what is to be counted of events."""
        programs: list[bytes] = []

        def number(expression: Expression) -> int:
            programs.append(encode(expression.program))
            return len(programs) - 1

        described = [
            (
                None if measure.condition is None else number(measure.condition),
                None if measure.value is None else number(measure.value),
                [number(label) for label in measure.labels],
                list(measure.bounds),
                measure.signed,
            )
            for measure in measures
        ]
        try:
            inner = self._native.tally(programs, described)
        except Unsupported as reason:
            self._note(reason)
            return self._twin.tally(measures)
        return _NativeTally(inner)

    def repeats(
        self, expressions: Sequence[Expression], within_s: float, most: int, *, tells: bool
    ) -> Repeats:
        """Make a memory of events."""
        try:
            programs = [encode(expression.program) for expression in expressions]
            inner = self._native.repeats(programs, round(within_s * NANOSECOND), most, tells)
        except Unsupported as reason:
            self._note(reason)
            return self._twin.repeats(expressions, within_s, most, tells=tells)
        return _NativeRepeats(inner)

    def miner(self, message: Expression, most: int, similarity: float) -> Miner:
        """Make a memory of the templates of messages."""
        try:
            miner: Miner = self._native.miner(encode(message.program), most, round(similarity * 100))
        except Unsupported as reason:
            self._note(reason)
            return self._twin.miner(message, most, similarity)
        return miner

    def scan_frames(self, data: Buffer, max_size: int, most: int = MAX_FRAMES) -> Scanned:
        """Find the whole Forward frames at the start of ``data``."""
        frames, consumed, needed = self._native.scan_frames(data, max_size, most)
        return Scanned([Frame._make(frame) for frame in frames], consumed, needed)

    def _note(self, reason: Unsupported) -> None:
        if str(reason) not in self.fallbacks:
            self.fallbacks.append(str(reason))
