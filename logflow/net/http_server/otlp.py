"""Log records of OpenTelemetry, read from protocol buffers and from JSON.

Source: ``opentelemetry/proto/logs/v1/logs.proto``, ``common/v1/common.proto``, and "JSON Protobuf Encoding"
in the OTLP specification: 64-bit integers may be text there, ids are hexadecimal.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from logflow.errors import LimitExceeded, MalformedData
from logflow.event import MAX_TIME_NS
from logflow.jsontext import MAX_DEPTH
from logflow.net.http_server.events import Events
from logflow.packing import to_text
from logflow.protobuf import fields, signed

_double = struct.Struct("<d").unpack

JSON_GROWTH = 18
"""Bytes that reading JSON takes for each of its own: a record that is not looked into takes 48 of them."""


class _Export(msgspec.Struct, rename="camel"):
    resource_logs: list[msgspec.Raw] = []


class _ResourceLogs(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw = msgspec.Raw(b"{}")
    scope_logs: list[msgspec.Raw] = []


class _ScopeLogs(msgspec.Struct, rename="camel"):
    scope: dict[str, Any] = {}
    log_records: list[msgspec.Raw] = []


_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_export = msgspec.json.Decoder(_Export).decode
_decode_resource_logs = msgspec.json.Decoder(_ResourceLogs).decode
_decode_scope_logs = msgspec.json.Decoder(_ScopeLogs).decode
_MOST_DEPTH = MAX_DEPTH - 4
"""Levels within an attribute; a record has some more around it."""


@dataclass(slots=True)
class LogRecord:
    """A log record, with what its resource and its scope say.

    Attributes:
        shared_bytes: size of what it has of its resource and its scope, about.
        time_ns: when it happened, or was observed; 0 if it does not say.
        severity: a number from 1 to 24; 0 if it does not say.
    """

    resource: dict[str, Any]
    scope: str
    shared_bytes: int = 0
    time_ns: int = 0
    severity: int = 0
    severity_text: str = ""
    body: Any = None
    attributes: dict[str, Any] = field(default_factory=dict)
    trace_id: str = ""
    span_id: str = ""


def read_protobuf(body: bytes, events: Events) -> Iterator[LogRecord]:
    """Read an ``ExportLogsServiceRequest``.

    Args:
        body: the message.
        events: told of the work.

    Raises:
        MalformedData: the bytes are not one.
        LimitExceeded: it has too many parts.
    """
    for resource_logs in _messages(memoryview(body), 1):
        resource: dict[str, Any] = {}
        resource_bytes = 0
        events.hold()
        for message in _messages(resource_logs, 1):
            resource |= _pairs(message, 1)
            resource_bytes += len(message)
        for scope_logs in _messages(resource_logs, 2):
            events.hold()
            scope = b"".join(bytes(name) for part in _messages(scope_logs, 1) for name in _messages(part, 1))
            shared = (resource, to_text(scope), resource_bytes + len(scope))
            for message in _messages(scope_logs, 2):
                yield _log_record(message, *shared)


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, value in fields(message):
        if number == wanted and not isinstance(value, int):
            yield value


def _log_record(message: memoryview, resource: dict[str, Any], scope: str, shared_bytes: int) -> LogRecord:
    found = LogRecord(resource, scope, shared_bytes)
    plain: dict[int, int | memoryview] = {}
    for number, value in fields(message):
        if number == 6 and not isinstance(value, int):
            key, attribute = _pair(value, 0)
            found.attributes[key] = attribute
        else:
            plain[number] = value
    texts = {number: bytes(value) for number, value in plain.items() if not isinstance(value, int)}
    times = [int.from_bytes(texts.get(number, b""), "little") for number in (1, 11)]
    found.time_ns = min(times[0] or times[1], MAX_TIME_NS)
    severity = plain.get(2)
    found.severity = severity if isinstance(severity, int) else 0
    found.severity_text = to_text(texts.get(3, b""))
    if (body := plain.get(5)) is not None and not isinstance(body, int):
        found.body = _any(body, 0)
    found.trace_id, found.span_id = texts.get(9, b"").hex(), texts.get(10, b"").hex()
    return found


def _pairs(message: memoryview, number: int, depth: int = 0) -> dict[str, Any]:
    return dict(_pair(pair, depth) for pair in _messages(message, number))


def _pair(message: memoryview, depth: int) -> tuple[str, Any]:
    key, found = "", None
    for number, value in fields(message):
        if number == 1 and not isinstance(value, int):
            key = to_text(bytes(value))
        elif number == 2 and not isinstance(value, int):
            found = _any(value, depth)
    return key, found


def _any(message: memoryview, depth: int) -> Any:
    """Read an ``AnyValue``."""
    if depth > _MOST_DEPTH:
        raise LimitExceeded(f"a value nests deeper than {_MOST_DEPTH} levels")
    found: Any = None
    for number, value in fields(message):
        if isinstance(value, int):
            found = bool(value) if number == 2 else signed(value)
        elif number == 1:
            found = to_text(bytes(value))
        elif number == 4:
            (found,) = _double(value) if len(value) == 8 else (None,)
        elif number == 5:
            found = [_any(item, depth + 1) for item in _messages(value, 1)]
        elif number == 6:
            found = _pairs(value, 1, depth + 1)
        elif number == 7:
            found = bytes(value)
    return found


def read_json(body: bytes, events: Events) -> Iterator[LogRecord]:
    """Read the same as JSON; takes and raises the same."""
    try:
        for part in _decode_export(body).resource_logs:
            events.hold()
            resource_logs = _decode_resource_logs(part)
            resource = _json_pairs(_decode(resource_logs.resource).get("attributes", ()))
            for scope_part in resource_logs.scope_logs:
                events.hold()
                scope_logs = _decode_scope_logs(scope_part)
                scope = str(scope_logs.scope.get("name", ""))
                shared = (resource, scope, memoryview(resource_logs.resource).nbytes + len(scope))
                for record in scope_logs.log_records:
                    yield _json_record(_decode(record), *shared)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise MalformedData(f"the body is not an export of logs in JSON: {type(error).__name__}") from None


def _json_record(
    record: dict[str, Any], resource: dict[str, Any], scope: str, shared_bytes: int
) -> LogRecord:
    time_ns = int(record.get("timeUnixNano") or 0) or int(record.get("observedTimeUnixNano") or 0)
    return LogRecord(
        resource, scope, shared_bytes,
        time_ns=min(max(time_ns, 0), MAX_TIME_NS),
        severity=int(record.get("severityNumber") or 0),
        severity_text=str(record.get("severityText") or ""),
        body=_json_any(record.get("body"), 0),
        attributes=_json_pairs(record.get("attributes", ())),
        trace_id=str(record.get("traceId") or ""),
        span_id=str(record.get("spanId") or ""),
    )  # fmt: skip


def _json_pairs(pairs: Sequence[dict[str, Any]], depth: int = 0) -> dict[str, Any]:
    return {str(pair["key"]): _json_any(pair.get("value"), depth) for pair in pairs}


def _json_any(value: dict[str, Any] | None, depth: int) -> Any:
    if depth > _MOST_DEPTH:
        raise LimitExceeded(f"a value nests deeper than {_MOST_DEPTH} levels")
    for kind, found in (value or {}).items():
        match kind:
            case "intValue":
                return int(found)
            case "doubleValue":
                return float(found)
            case "arrayValue":
                return [_json_any(item, depth + 1) for item in found.get("values", ())]
            case "kvlistValue":
                return _json_pairs(found.get("values", ()), depth + 1)
            case _:
                return found
    return None
