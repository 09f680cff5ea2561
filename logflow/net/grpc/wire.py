"""What stands in the frames of a call: messages, statuses, times."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from urllib.parse import quote, unquote

from logflow.errors import MalformedData
from logflow.protobuf import delimited, fields, integer, signed

CONTENT_TYPE = "application/grpc"
PREFIX_BYTES = 5
_RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MOST_TIMEOUT_MS = 99_999_999
_MESSAGE_CHARACTERS = 400
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class Code(IntEnum):
    """How a call ended."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


AS_HTTP = {
    Code.OK: 200,
    Code.CANCELLED: 500, Code.DEADLINE_EXCEEDED: 504, Code.ABORTED: 500, Code.OUT_OF_RANGE: 500,
    Code.DATA_LOSS: 500, Code.UNAVAILABLE: 503,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNAUTHENTICATED: 401, Code.PERMISSION_DENIED: 403, Code.UNIMPLEMENTED: 404,
    Code.NOT_FOUND: 404,
}  # fmt: skip
"""Statuses of HTTP that mean the same to whoever sends; what is not here is final, as 400 is.

Which statuses may be tried again: "OTLP/gRPC Response", in the OTLP specification.
"""

FROM_HTTP = {
    401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED, 404: Code.UNIMPLEMENTED,
    408: Code.DEADLINE_EXCEEDED, 413: Code.RESOURCE_EXHAUSTED, 415: Code.UNIMPLEMENTED,
    429: Code.RESOURCE_EXHAUSTED, 500: Code.INTERNAL, 503: Code.UNAVAILABLE,
}  # fmt: skip
"""Statuses that our own refusals become; what is not here is ``INVALID_ARGUMENT``."""

_WITHOUT_GRPC = {401: 401, 403: 403, 404: 404, 429: 503, 502: 503, 503: 503, 504: 503}
"""What an answer means that is not of gRPC, such as that of a proxy: "HTTP to gRPC Status Code Mapping"."""


def status_of_page(status: int) -> int:
    """What the status of an answer means that has no status of gRPC: tried again later, unless known."""
    return _WITHOUT_GRPC.get(status, 500)


def prefix(size: int, *, compressed: bool) -> bytes:
    """What stands before a message of so many bytes."""
    return bytes([compressed]) + size.to_bytes(4, "big")


def read_prefix(head: bytes | bytearray) -> tuple[bool, int]:
    """Read what stands before a message: whether it is compressed, and its size.

    Raises:
        MalformedData: it is not one.
    """
    if head[0] > 1:
        raise MalformedData(f"a message begins with {head[0]}, which is neither 0 nor 1")
    return bool(head[0]), int.from_bytes(head[1:PREFIX_BYTES], "big")


def timeout_text(timeout_s: float) -> str:
    """Write ``grpc-timeout``."""
    return f"{min(max(1, math.ceil(timeout_s * 1000)), _MOST_TIMEOUT_MS)}m"


def read_timeout(text: str) -> float | None:
    """Read ``grpc-timeout``, in seconds; None if it is not one."""
    found = _TIMEOUT.fullmatch(text)
    return int(found[1]) * _UNITS_S[found[2]] if found else None


def message_text(message: str) -> str:
    """Write ``grpc-message``: percent-encoded UTF-8."""
    return quote(message[:_MESSAGE_CHARACTERS].encode("utf-8", "backslashreplace"), safe=_PLAIN)


def read_status(trailers: Mapping[str, str]) -> tuple[Code, str] | None:
    """Read how a call ended: its status and what it says; None if it does not say."""
    text = trailers.get("grpc-status", "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 3):
        return None
    number = int(text)
    status = Code(number) if number in Code.__members__.values() else Code.UNKNOWN
    return status, unquote(trailers.get("grpc-message", ""), errors="backslashreplace")


def retry_details(status: Code, message: str, delay_s: float) -> str:
    """Write ``grpc-status-details-bin``: a ``google.rpc.Status`` with a ``RetryInfo``."""
    seconds, part = divmod(delay_s, 1)
    duration = integer(1, int(seconds)) + integer(2, int(part * 1e9))
    detail = delimited(1, _RETRY_INFO) + delimited(2, delimited(1, duration))
    data = integer(1, status) + delimited(2, message.encode("utf-8", "backslashreplace"))
    return base64.b64encode(data + delimited(3, detail)).decode().rstrip("=")


def read_retry_s(trailers: Mapping[str, str]) -> float | None:
    """Read after how many seconds to try again, from ``grpc-status-details-bin``; None if it does not say."""
    text = trailers.get("grpc-status-details-bin", "")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        for detail in _messages([memoryview(data)], 3):
            if b"".join(map(bytes, _messages([detail], 1))) == _RETRY_INFO:
                return _duration_s(_messages(_messages([detail], 2), 1))
    except (MalformedData, binascii.Error, ValueError):
        pass
    return None


def _duration_s(durations: Iterable[memoryview]) -> float:
    """Read a ``google.protobuf.Duration``."""
    parts = {n: value for found in durations for n, value in fields(found) if isinstance(value, int)}
    return max(0.0, signed(parts.get(1, 0)) + signed(parts.get(2, 0)) / 1e9)


def _messages(within: Iterable[memoryview], wanted: int) -> list[memoryview]:
    return [
        value
        for message in within
        for number, value in fields(message)
        if number == wanted and not isinstance(value, int)
    ]
