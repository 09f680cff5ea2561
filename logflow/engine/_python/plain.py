"""Records as JSON can hold them: the view of ``to_ndjson``, ``grep`` and templates of ``modify``.

bin is text; an ext of type 0 with 8 bytes is an RFC 3339 string, any other ext a base64 string; keys
that are not strings are the beginning of their JSON text. What two keys have in common after that is
one key: its first place, its last value.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import pairwise
from operator import itemgetter
from typing import Any

import msgpack
import msgspec
from typing_extensions import Buffer

from logflow.engine._python.entries import HEADER_SIZE, bounds, time_ns
from logflow.engine._python.walk import Short, head
from logflow.errors import MalformedData
from logflow.event import NANOSECOND, EventTime
from logflow.jsontext import json_text
from logflow.packing import to_text

MAX_KEY_TEXT = 256
"""Characters that are kept of the JSON of a key: escapes in keys within keys would double with each level."""

# Records that are plain already, unless they are nested deeper than this.
_Scalar = str | int | float | bool | None
_Level1 = _Scalar | list[_Scalar] | dict[str, _Scalar]
_Level2 = _Scalar | list[_Level1] | dict[str, _Level1]
_Level3 = _Scalar | list[_Level2] | dict[str, _Level2]
SimpleRecord = dict[str, _Level3]
_decode_simple = msgspec.msgpack.Decoder(SimpleRecord).decode
_decode_lot = msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, SimpleRecord]]).decode
_decode_scalar = msgspec.msgpack.Decoder(int | float | bool | None).decode
_TOGETHER = 128


def plain_record(packed: bytes | memoryview) -> dict[str, Any]:
    """Decode one packed record."""
    try:
        return _decode_simple(packed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # not malformed: rarer than what the fast decoder takes
    try:
        record: dict[str, Any] = msgpack.unpackb(
            packed, raw=False, unicode_errors="backslashreplace", strict_map_key=False, use_list=True,
            object_pairs_hook=_from_pairs, ext_hook=_from_ext, list_hook=_from_list,
        )  # fmt: skip
    except (ValueError, TypeError, msgpack.UnpackException):
        record = _read_exactly(bytes(packed))
    return record


def _read_exactly(packed: bytes) -> dict[str, Any]:
    """Decode a record whose extensions of type -1 are not times that the library knows."""
    try:
        record: dict[str, Any] = _read(packed, 0)[0]
    except (Short, RecursionError) as error:
        raise MalformedData(f"a packed record is damaged: {error}") from error
    return record


def _read(data: bytes, at: int) -> tuple[Any, int]:
    kind, count, at_content = head(data, at)
    if kind == "map":
        pairs: list[tuple[Any, Any]] = []
        for _ in range(count):
            key, middle = _read(data, at_content)
            value, at_content = _read(data, middle)
            pairs.append((key, value))
        return _from_pairs(pairs), at_content
    if kind == "array":
        items: list[Any] = []
        for _ in range(count):
            item, at_content = _read(data, at_content)
            items.append(item)
        return items, at_content
    end = at_content + count
    if end > len(data):
        raise Short(end)
    if kind == "text":
        return to_text(data[at_content:end]), end
    if kind == "ext":
        code = int.from_bytes(data[at_content : at_content + 1], "big", signed=True)
        return _from_ext(code, data[at_content + 1 : end]), end
    return _decode_scalar(data[at:end]), end


def plain_events(entries: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Decode entries one by one, as (nanoseconds, plain record)."""
    view = memoryview(entries)
    for start, end in pairwise(bounds(entries)):
        yield time_ns(entries, start), plain_record(view[start + HEADER_SIZE : end])


def plain_records(entries: bytes, found: list[int]) -> Iterator[dict[str, Any]]:
    """Decode the records of entries with these bounds, many with one call where they are simple."""
    for first in range(0, len(found) - 1, _TOGETHER):
        last = min(first + _TOGETHER, len(found) - 1)
        lot = entries[found[first] : found[last]]
        try:
            yield from map(itemgetter(1), _decode_lot(b"\xdc" + (last - first).to_bytes(2, "big") + lot))
        except (ValueError, RecursionError):
            for start, end in pairwise(found[first : last + 1]):
                yield plain_record(entries[start + HEADER_SIZE : end])


def plain_value(packed: Buffer) -> Any:
    """Decode one packed value."""
    return plain_record(b"\x81\xa0" + bytes(packed))[""]


def plain_key(packed: Buffer) -> str:
    """Decode one packed key to its text."""
    (key,) = plain_record(b"\x81" + bytes(packed) + b"\xc0")
    return key


def _plain(value: Any) -> Any:
    if isinstance(value, msgpack.Timestamp):
        if not 0 <= value.seconds < 1 << 32:
            raise ValueError("not a time of an event")
        return EventTime.from_parts(value.seconds, value.nanoseconds).isoformat()
    return to_text(value) if isinstance(value, bytes) else value


def _from_list(values: list[Any]) -> list[Any]:
    return [_plain(value) for value in values]


def _from_pairs(pairs: Any) -> dict[str, Any]:
    return {_key_text(_plain(key)): _plain(value) for key, value in pairs}


def _key_text(key: Any) -> str:
    return key if isinstance(key, str) else json_text(key)[:MAX_KEY_TEXT]


def _from_ext(code: int, data: bytes) -> str:
    if code == 0 and len(data) == 8:
        return EventTime.from_ext(data).isoformat()
    if code == -1 and (parts := _timestamp(data)) is not None:
        return EventTime.from_parts(*parts).isoformat()
    return base64.b64encode(data).decode()


def _timestamp(data: bytes) -> tuple[int, int] | None:
    """Seconds and nanoseconds of msgpack's own timestamp, if an event could have that time."""
    number = int.from_bytes(data, "big")
    match len(data):
        case 4:
            seconds, nanoseconds = number, 0
        case 8:
            seconds, nanoseconds = number & ((1 << 34) - 1), number >> 34
        case 12:
            seconds, nanoseconds = number & ((1 << 64) - 1), number >> 64
        case _:
            return None
    return (seconds, nanoseconds) if seconds < 1 << 32 and nanoseconds < NANOSECOND else None
