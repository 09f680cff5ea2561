r"""Messages to records.

Each goes through patterns in turn, in the engine: RFC 5424, RFC 3164, the same with an ISO 8601 time, and a
mere priority. What none of them matches is kept as ``message``.

::

    <34>1 2003-10-11T22:14:15.003Z host su 12 ID47 [a@1 b="c"] text          RFC 5424
    <34>Oct 11 22:14:15 host su[12]: text                                    RFC 3164

    {facility: auth, severity: crit, host: host, ident: su, pid: "12", msgid: ID47,
     structured_data: {a@1: {b: c}}, message: text}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from logflow.component import Context, Parser
from logflow.engine.changes import FieldParser
from logflow.event import EventTime, Record
from logflow.expressions import compile_expression
from logflow.formats.known import BOM, RFC5424_HEAD
from logflow.packing import pack_entries, to_text, unpack_entries
from logflow.registry import load

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4", "local5",
    "local6", "local7",
)  # fmt: skip
"""Names of the facilities, by number (RFC 5424, section 6.2.1, as rsyslog writes them)."""
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

_RAW = "raw"
"""Holds a message until a pattern matches it; no pattern makes a field of this name."""
_NO_DATA = rf"{RFC5424_HEAD}- ?{BOM}?(?P<message>(?s:.*))$"
_WITH_DATA = rf"{RFC5424_HEAD}(?P<structured_data>\[(?s:.*))$"
"""Structured data, and the message after them."""
_ONLY_PRIORITY = r"^<(?P<pri>[0-9]{1,3})>(?P<message>(?s:.*))$"
_PARAMETER = r' ([^ =\]"]+)="((?:[^"\\\]]|\\.)*)"'
_ELEMENT = re.compile(rf'\[([^ =\]"]+)((?:{_PARAMETER})*)\]', re.DOTALL)
_PARAMETERS = re.compile(_PARAMETER, re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\\]])')


class Decoder:
    """Decodes messages, many at a time."""

    def __init__(self, context: Context, timezone: str, max_message: int) -> None:
        """Compile the patterns; ``timezone`` is that of times without an offset."""
        engine = self._engine = context.engine
        options = {"timezone": timezone, "max_length": 4 * max_message}
        parsers = [
            *(
                _parser(context, "regex", pattern=pattern, time_key="time", types={"pri": "int"}, **options)
                for pattern in (_NO_DATA, _WITH_DATA)
            ),
            *(_parser(context, "preset", name=name, **options) for name in ("syslog", "syslog_iso")),
            _parser(
                context, "regex", pattern=_ONLY_PRIORITY, types={"pri": "int"}, max_length=4 * max_message
            ),
        ]
        self._parsers: list[FieldParser] = [engine.field_parser(parser, _RAW) for parser in parsers]
        self._names = engine.assignment(
            [
                ("facility", compile_expression(f"{list(FACILITIES)}[pri // 8]")),
                ("severity", compile_expression(f"{list(SEVERITIES)}[pri % 8] if pri < 192 else None")),
            ]
        )
        self._finish = engine.modify([("rename", _RAW, "message"), ("remove", "pri", None)], {})
        self._has_data = engine.condition(compile_expression("structured_data is not None"))

    def decode(self, messages: Sequence[bytes], now_ns: int) -> tuple[bytes, int]:
        """Return packed entries, one for each message, and how many were of no known form."""
        texts = [{_RAW: to_text(message.rstrip(b"\r\n\0"))} for message in messages]
        entries = pack_entries([now_ns] * len(texts), texts)
        unparsed = 0
        for parser in self._parsers:
            entries, _, unparsed = parser.apply(entries)
            if not unparsed:
                break
        entries = self._finish.apply(self._names.apply(entries, "", None, now_ns), "")
        marks = self._has_data.mark(entries, "", None, now_ns)
        if 1 in marks:
            with_data, without = self._engine.divide(entries, marks)
            entries = self._engine.interleave(_read_data(with_data), without, marks)
        return entries, unparsed


def _parser(context: Context, kind: str, **options: Any) -> Parser:
    return context.parser(load("parser", kind).Config(type=kind, **options))


def _read_data(entries: bytes) -> bytes:
    times: list[EventTime] = []
    records: list[Record] = []
    for time, record in unpack_entries(entries):
        found = parse_structured_data(record["structured_data"])
        times.append(time)
        records.append(record if found is None else record | found)
    return pack_entries(times, records)


def parse_structured_data(text: str) -> Record | None:
    """Parse the elements of RFC 5424, section 6.3, and the message after them.

    Returns:
        ``structured_data``: parameters by the ids of their elements, with a list of the values of one that is
        repeated; ``message``. ``None`` if it is not of this form.
    """
    found: dict[str, dict[str, Any]] = {}
    at = 0
    while match := _ELEMENT.match(text, at):
        element = found.setdefault(match[1], {})
        for name, value in _PARAMETERS.findall(match[2]):
            _add(element, name, _ESCAPED.sub(r"\1", value))
        at = match.end()
    if not found or text[at : at + 1] not in {"", " "}:
        return None
    return {"structured_data": found, "message": text[at + 1 :].removeprefix(BOM)}


def _add(element: dict[str, Any], name: str, value: str) -> None:
    known = element.get(name)
    if known is None:
        element[name] = value
    elif isinstance(known, list):
        known.append(value)
    else:
        element[name] = [known, value]
