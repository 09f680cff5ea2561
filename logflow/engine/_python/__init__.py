"""The Python engine: the specification of :mod:`logflow.engine.api`, on msgspec.

::

    lines    blocks of container lines to entries; fast, fast_cri, fast_docker: where they are alike
    walk     msgpack headers, Forward frames
    entries  canonical entries: count, check
    normal   what others send, brought to that form
    values   JSON objects as lines, however they were written
    plain    records as JSON can hold them
    ndjson   entries to JSON Lines
    loki, otlp  entries in protocol buffers
    wrapped   the same in the wrappings of bulk interfaces
    records  splice, grep and modify; globs, reshape: larger changes
    expressions  conditions and computed values
    redact, detectors  what is personal or secret
    limit    what is too long or too deep
    groups   events in groups, by what expressions give
    tally, repeats, miner  what is found out over many events
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from typing_extensions import Buffer

from logflow.component import Parser
from logflow.engine._python import entries as _entries
from logflow.engine._python import expressions as _expressions
from logflow.engine._python import groups as _groups
from logflow.engine._python import records as _records
from logflow.engine._python.lines import PythonLineParser
from logflow.engine._python.loki import to_loki
from logflow.engine._python.miner import PythonMiner
from logflow.engine._python.ndjson import to_ndjson
from logflow.engine._python.normal import normalize
from logflow.engine._python.otlp import to_otlp
from logflow.engine._python.repeats import PythonRepeats
from logflow.engine._python.tally import PythonTally
from logflow.engine._python.values import json_lines
from logflow.engine._python.walk import scan_frames
from logflow.engine._python.wrapped import to_wrapped
from logflow.engine.api import MAX_FRAMES, JsonLines, LineFormat, LineParser, Normalized, Scanned
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
from logflow.engine.stores import LokiForm, OtlpForm, Wrapping
from logflow.expressions import Expression
from logflow.multiline import Multiline
from logflow.regexes import compile_regex
from logflow.snappy import pack_literals


class PythonEngine:
    """See :class:`logflow.engine.api.Engine`."""

    name: Literal["native", "python"] = "python"

    def line_parser(
        self, format: LineFormat, parser: Parser, *, max_line: int, stream: str | None = None,  # noqa: A002
        message_key: str = "message", multiline: Multiline | None = None, offset_key: str | None = None,
    ) -> LineParser:  # fmt: skip
        """Compile a parser of lines."""
        return PythonLineParser(
            format, parser, max_line=max_line, stream=stream, message_key=message_key, multiline=multiline,
            offset_key=offset_key,
        )  # fmt: skip

    def normalize(
        self, data: Buffer, now_ns: int, *, limit: int | None = None, group: bytes | None = b""
    ) -> Normalized:
        """Bring entries to canonical form."""
        return normalize(bytes(data), now_ns, limit, group)

    def json_lines(self, data: Buffer, *, array: bool = False) -> JsonLines:
        """Put every object of some JSON on a line of its own."""
        return json_lines(bytes(data), array=array)

    def count(self, entries: Buffer) -> int:
        """Count canonical entries."""
        return len(_entries.offsets(bytes(entries)))

    def offsets(self, entries: Buffer) -> list[int]:
        """Byte offset of every entry."""
        return _entries.offsets(bytes(entries))

    def time_range(self, entries: Buffer) -> tuple[int, int]:
        """Smallest and largest time."""
        data = bytes(entries)
        times = [_entries.time_ns(data, start) for start in _entries.offsets(data)]
        return (min(times), max(times)) if times else (0, 0)

    def to_ndjson(
        self, entries: Buffer, tag: str, time_key: str | None = "@timestamp", tag_key: str | None = "@tag"
    ) -> bytes:
        """Format entries as JSON Lines."""
        return to_ndjson(bytes(entries), tag, time_key, tag_key)

    def to_wrapped(
        self,
        entries: Buffer,
        tag: str,
        wrapping: Wrapping,
        time_key: str | None = "@timestamp",
        tag_key: str | None = "@tag",
    ) -> bytes:
        """Format entries as JSON objects in wrappings."""
        return to_wrapped(bytes(entries), tag, wrapping, time_key, tag_key)

    def to_loki(self, entries: Buffer, form: LokiForm) -> list[bytes]:
        """Write entries as Loki has them."""
        return to_loki(bytes(entries), form)

    def to_otlp(self, entries: Buffer, form: OtlpForm) -> list[bytes]:
        """Write entries as log records of OpenTelemetry."""
        return to_otlp(bytes(entries), form)

    def snappy(self, data: Buffer) -> bytes:
        """Make a snappy block of data."""
        return pack_literals(bytes(data))

    def splice(self, entries: Buffer, fields: Mapping[str, Any]) -> bytes:
        """Add constant fields."""
        return _records.splice(bytes(entries), fields)

    def regex(self, pattern: str) -> Regex:
        """Compile a pattern."""
        return compile_regex(pattern)

    def grep(
        self,
        keep: Sequence[tuple[str, str]],
        exclude: Sequence[tuple[str, str]],
        mode: Literal["and", "or"] = "and",
    ) -> Grep:
        """Compile a grep."""
        return _records.PythonGrep(keep, exclude, mode)

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
        return _records.PythonFieldParser(
            parser, field, into=into, keep_original=keep_original, drop_unparsed=drop_unparsed
        )

    def modify(self, changes: Sequence[tuple[str, str, Any]], variables: Mapping[str, str]) -> Modify:
        """Compile changes of records."""
        return _records.PythonModify(changes, variables)

    def divide(self, entries: bytes, marks: bytes) -> tuple[bytes, bytes]:
        """Divide entries by their marks."""
        return _expressions.divide(entries, marks)

    def interleave(self, kept: bytes, rest: bytes, marks: bytes) -> bytes:
        """Put divided entries back into their order."""
        return _expressions.interleave(kept, rest, marks)

    def assignment(
        self, fields: Sequence[tuple[str, Expression]], time: Expression | None = None
    ) -> Assignment:
        """Compile fields that are set to what expressions give."""
        return _expressions.PythonAssignment(fields, time)

    def draw(self, entries: bytes, seed: int, most: int) -> bytes:
        """Draw among entries."""
        return _expressions.draw(entries, seed, most)

    def redaction(
        self, detectors: Sequence[DetectorName], own: Sequence[OwnPattern], fields: Sequence[str] | None,
        action: RedactAction, *, keys: bool,
    ) -> Redaction:  # fmt: skip
        """Compile what is hidden in texts."""
        from logflow.engine._python.redact import PythonRedaction  # noqa: PLC0415 - only where it is configured

        return PythonRedaction(detectors, own, fields, action, keys=keys)

    def limits(self, most_bytes: int, depth: int, fields: int, mark: str) -> Limiter:
        """Compile limits."""
        from logflow.engine._python.limit import PythonLimits  # noqa: PLC0415 - only where it is configured

        return PythonLimits(most_bytes, depth, fields, mark)

    def condition(self, expression: Expression) -> Condition:
        """Compile a condition."""
        return _expressions.PythonCondition(expression)

    def computation(self, expression: Expression) -> Computation:
        """Compile an expression whose value is wanted."""
        return _expressions.PythonComputation(expression)

    def grouping(self, expressions: Sequence[Expression]) -> Grouping:
        """Compile expressions by which events are put into groups."""
        return _groups.PythonGrouping(expressions)

    def admit(
        self, entries: bytes, ids: bytes, allowed: Sequence[int], *, by: Literal["events", "bytes"]
    ) -> Admitted:
        """Let events through while something of their group's allowance is left."""
        return _groups.admit(entries, ids, allowed, by)

    def placement(self, paths: Sequence[str]) -> Placement:
        """Compile paths at which values are put."""
        return _groups.PythonPlacement(paths)

    def tally(self, measures: Sequence[Measure]) -> Tally:
        """Compile what is to be counted of events."""
        return PythonTally(measures)

    def repeats(
        self, expressions: Sequence[Expression], within_s: float, most: int, *, tells: bool
    ) -> Repeats:
        """Make a memory of events."""
        return PythonRepeats(expressions, within_s, most, tells=tells)

    def miner(self, message: Expression, most: int, similarity: float) -> Miner:
        """Make a memory of the templates of messages."""
        return PythonMiner(message, most, similarity)

    def scan_frames(self, data: Buffer, max_size: int, most: int = MAX_FRAMES) -> Scanned:
        """Find the whole Forward frames at the start of ``data``."""
        return scan_frames(bytes(data), max_size, most)
