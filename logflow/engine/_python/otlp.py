"""Entries as log records of OpenTelemetry in protocol buffers.

::

    LogRecord { fixed64 time_unix_nano = 1; SeverityNumber severity_number = 2; string severity_text = 3;
                AnyValue body = 5; repeated KeyValue attributes = 6; bytes trace_id = 9; bytes span_id = 10; }
    KeyValue  { string key = 1; AnyValue value = 2; }
    AnyValue  { string = 1 | bool = 2 | int64 = 3 | double = 4 | ArrayValue = 5 | KeyValueList = 6 }

Source: ``opentelemetry/proto/logs/v1/logs.proto`` and ``common/v1/common.proto``. Numbers of severities are
those of the page "Logs Data Model".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from logflow.engine._python.plain import plain_events
from logflow.engine.stores import OtlpForm
from logflow.errors import MalformedData
from logflow.protobuf import delimited, varint

SEVERITIES: Mapping[str, int] = {
    "trace": 1, "10": 1, "debug": 5, "20": 5, "info": 9, "information": 9, "informational": 9, "30": 9,
    "notice": 10, "warn": 13, "warning": 13, "40": 13, "error": 17, "err": 17, "50": 17, "critical": 18,
    "crit": 18, "alert": 19, "fatal": 21, "panic": 21, "emerg": 21, "emergency": 21, "60": 21,
}  # fmt: skip
"""By the text of a level in small letters; the numbers are those of pino and bunyan."""

_double = struct.Struct("<d").pack
_fixed64 = struct.Struct("<Q").pack
_LARGEST = (1 << 63) - 1


def to_otlp(entries: bytes, form: OtlpForm) -> list[bytes]:
    """See :meth:`logflow.engine.stores.StoreForms.to_otlp`."""
    groups = [bytearray() for _ in range(form.groups)]
    try:
        for index, (time, record) in enumerate(plain_events(entries)):
            uid = form.uid + str(form.places[index]).encode()
            groups[0 if form.which is None else form.which[index]] += delimited(
                2, _log_record(time, record, uid, form)
            )
    except IndexError:
        raise MalformedData("there are fewer groups or places than entries") from None
    return list(map(bytes, groups))


def _log_record(time: int, record: dict[str, Any], uid: bytes, form: OtlpForm) -> bytes:
    out = bytearray(b"\x09" + _fixed64(time))
    attributes = bytearray()
    late = b""
    for key, value in record.items():
        if key == form.severity and isinstance(value, str | int) and not isinstance(value, bool):
            text = str(value)
            if number := SEVERITIES.get(text.lower() if text.isascii() else text):
                out += b"\x10" + varint(number)
            out += delimited(3, text.encode())
        elif key == form.body:
            out += delimited(5, any_value(value))
        elif key == form.trace_id and (found := _identifier(value, 16)) is not None:
            late += delimited(9, found)
        elif key == form.span_id and (found := _identifier(value, 8)) is not None:
            late += delimited(10, found)
        else:
            attributes += _key_value(6, key.encode(), any_value(value))
    attributes += _key_value(6, b"log.record.uid", delimited(1, uid))
    return bytes(out + attributes) + late


def _identifier(value: object, size: int) -> bytes | None:
    if isinstance(value, str) and len(value) == 2 * size and value.isascii() and value.isalnum():
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass
    return None


def any_value(value: object) -> bytes:
    """Write a value of a record as an ``AnyValue``; nothing for ``None``."""
    match value:
        case None:
            return b""
        case str():
            return delimited(1, value.encode("utf-8", "backslashreplace"))
        case bool():
            return b"\x10\x01" if value else b"\x10\x00"
        case int():
            return b"\x18" + varint(value) if value <= _LARGEST else delimited(1, str(value).encode())
        case float():
            return b"\x21" + _double(value)
        case list():
            return delimited(5, b"".join(delimited(1, any_value(item)) for item in value))
        case dict():
            pairs = (_key_value(1, str(key).encode(), any_value(item)) for key, item in value.items())
            return delimited(6, b"".join(pairs))
        case _:
            return delimited(1, str(value).encode())


def _key_value(number: int, key: bytes, value: bytes) -> bytes:
    return delimited(number, delimited(1, key) + delimited(2, value))
