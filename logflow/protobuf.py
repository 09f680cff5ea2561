"""Protocol buffers on the wire: as much as writing and reading messages by hand takes.

::

    field = varint(number << 3 | type) value
    value = varint (0) | 8 bytes (1) | varint(length) bytes (2) | 4 bytes (5)

Groups (3, 4) are refused. Source: "Encoding" in the documentation of Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Iterator

from logflow.errors import MalformedData

LOGS_EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
"""The method of gRPC that OpenTelemetry has for logs."""
_MOST_VARINT = 10


def varint(value: int) -> bytes:
    """Write an unsigned integer; a negative one counts as its 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(number: int, data: bytes) -> bytes:
    """Write a field of bytes: text, or a message within a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def integer(number: int, value: int) -> bytes:
    """Write a field of an integer."""
    return varint(number << 3) + varint(value)


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Read a message: numbers of its fields, and their values: integers, or bytes as they stand.

    Raises:
        MalformedData: the bytes are not one.
    """
    at, end = 0, len(data)
    while at < end:
        head, at = _read_varint(data, at)
        kind = head & 7
        if kind == 0:
            value, at = _read_varint(data, at)
            yield head >> 3, value
            continue
        if kind == 2:
            size, at = _read_varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise MalformedData(f"a field of type {kind} at byte {at} is not one of protocol buffers")
        if size > end - at:
            raise MalformedData(f"the message ends within the field at byte {at}")
        yield head >> 3, data[at : at + size]
        at += size


def signed(value: int) -> int:
    """An integer as the signed one of 64 bits."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[at : at + _MOST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & (1 << 64) - 1, at + index + 1
    raise MalformedData(f"there is no number at byte {at}")
