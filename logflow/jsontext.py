r"""JSON objects in text to records, by the rules of :mod:`logflow.engine.api`.

msgspec does the work and sets most rules; this module adds what it leaves open: invalid UTF-8 is
escaped and nesting is bounded. Integers beyond 64 bits stay what they are here; packing makes
strings of them.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

import msgspec

from logflow.event import Record

MAX_DEPTH = 128
"""Levels of nesting in JSON and msgpack beyond which input is refused."""

_decoder = msgspec.json.Decoder(dict[str, Any])
_decode, _decode_lines = _decoder.decode, _decoder.decode_lines
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_encode = msgspec.json.Encoder().encode
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""An escape; one of a surrogate that is half of no pair has a group."""
_MAY_BEGIN = b"{ \t\r\n"
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


def _escape_for_json(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    bad = error.object[error.start : error.end]
    return "".join(f"\\\\x{byte:02x}" for byte in bad), error.end


JSON_ESCAPES = "logflow.json"
"""Error handler of codecs that escapes what is not UTF-8 for within JSON: ``\\\\xNN``."""
codecs.register_error(JSON_ESCAPES, _escape_for_json)


def json_text(value: Any) -> str:
    """Text of a plain value: strings as they are, all else as compact JSON."""
    return value if isinstance(value, str) else _encode(value).decode()


def decode_object(text: bytes) -> Record | None:
    """Parse one JSON object; None if the text is not a JSON object or breaks a rule."""
    if text[:1] not in _MAY_BEGIN:
        return None  # sooner than by an exception
    try:
        record: Record = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = _mended(text)
        try:
            record = _decode(text)
        except (msgspec.DecodeError, RecursionError):
            return None
    return record if _depth_allowed(text) else None


def _mended(text: bytes) -> bytes:
    """Escape what is not UTF-8, and put U+FFFD where a surrogate is escaped that is half of no pair."""
    text = text.decode("utf-8", JSON_ESCAPES).encode()
    if b"\\ud" in text or b"\\uD" in text:
        text = _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], text)
    return text


def decode_objects(texts: list[bytes]) -> list[Record | None]:
    """Parse many texts, each by itself: the same results as :func:`decode_object`, sooner."""
    if not texts:
        return []
    joined = b"\n".join(texts)
    # Every text is one object for certain when each begins with { and ends with }, as no value can
    # go on from }\n{, and as many objects as texts are found.
    boundaries = len(texts) - 1
    if (
        joined[:1] == b"{"
        and joined[-1:] == b"}"
        and joined.count(b"\n") == boundaries
        and joined.count(b"}\n{") == boundaries
    ):
        try:
            records: list[Record | None] = [*_decode_lines(joined)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            if len(records) == len(texts) and max(map(_brackets, texts)) <= MAX_DEPTH:
                return records
    return [decode_object(text) for text in texts]


def _brackets(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[")


def _depth_allowed(text: bytes) -> bool:
    """Whether valid JSON stays within MAX_DEPTH levels: each round takes the innermost one away."""
    if _brackets(text) <= MAX_DEPTH:
        return True
    brackets = _STRING.sub(b"", text).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return True
    return False
