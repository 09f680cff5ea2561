"""Records and entries to and from msgpack, for code that works event by event.

The hot path never decodes: it moves packed bytes through the engine. msgspec does the work;
msgpack takes over where real traffic is looser than msgspec allows (strings that are not UTF-8).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgpack
import msgspec
from msgspec.msgpack import Ext

from logflow.errors import MalformedData
from logflow.event import NANOSECOND, EventTime, Record

ENTRY_HEADER = b"\x92\xd7\x00"
"""Array of two, then fixext8 of type 0: what every canonical entry begins with."""

_EXT = struct.Struct(">II").pack
_NOT_PACKABLE = (OverflowError, UnicodeEncodeError, TypeError, RecursionError)
encode = msgspec.msgpack.Encoder(decimal_format="number").encode


def _decode_ext(code: int, data: memoryview) -> object:
    if code == 0 and len(data) == 8:
        return EventTime.from_ext(bytes(data))
    return Ext(code, bytes(data))


def to_text(data: bytes) -> str:
    r"""Decode UTF-8; every byte that is not valid UTF-8 becomes the four characters ``\xNN``.

    This is the one rule for invalid UTF-8 everywhere in logflow: nothing is lost, and what was
    wrong can be seen.
    """
    return data.decode("utf-8", "backslashreplace")


def pack_record(record: Record) -> bytes:
    """Pack one record. Integers beyond 64 bits become their digits, lone surrogates are escaped."""
    return pack_value(record)


def pack_entry(time_ns: int, record: Record) -> bytes:
    """Pack one entry in canonical form."""
    return ENTRY_HEADER + EventTime(time_ns).to_ext() + pack_record(record)


def pack_value(value: Any) -> bytes:
    """Pack any value by the rules of :func:`pack_record`."""
    try:
        return encode(value)
    except _NOT_PACKABLE:
        return encode(_packable(value))


def pack_entries(times: Sequence[int], records: Sequence[Record]) -> bytes:
    """Pack many entries: as :func:`pack_entry` for each, with one call of the encoder if possible."""
    if not times:
        return b""
    try:
        packed = encode([
            (Ext(0, _EXT(time // NANOSECOND, time % NANOSECOND)), record)
            for time, record in zip(times, records, strict=True)
        ])  # fmt: skip
    except (*_NOT_PACKABLE, struct.error):
        return b"".join(map(pack_entry, times, records))
    return without_head(packed, len(times))


def without_head(array: bytes, count: int) -> bytes:
    """Take the header off a packed array of ``count`` items, so that they stand one after another."""
    return array[1 if count < 16 else 3 if count < 1 << 16 else 5 :]


def unpack_entries(entries: bytes) -> Iterator[tuple[EventTime, Record]]:
    """Decode canonical entries one by one.

    Raises:
        MalformedData: the bytes are not canonical entries.
    """
    unpacker = msgpack.Unpacker(
        raw=False,
        unicode_errors="backslashreplace",
        strict_map_key=False,
        ext_hook=_decode_ext_msgpack,
        max_buffer_size=max(len(entries), 1),
    )
    unpacker.feed(entries)
    try:
        yield from unpacker
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise MalformedData(f"the packed entries are damaged: {error}") from error
    if unpacker.tell() != len(entries):
        raise MalformedData(f"the packed entries end in the middle of one, at byte {unpacker.tell()}")


def _decode_ext_msgpack(code: int, data: bytes) -> object:
    return _decode_ext(code, memoryview(data))


def _packable(value: Any) -> Any:
    """Replace what msgpack cannot hold by what comes nearest."""
    match value:
        case EventTime():
            return Ext(0, value.to_ext())
        case bool() | None | float() | bytes() | Ext():
            return value
        case int():
            return value if -(1 << 63) <= value < (1 << 64) else str(value)
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_packable(key): _packable(item) for key, item in value.items()}
        case list() | tuple() | set():
            return [_packable(item) for item in value]
        case _:
            return str(value)
