"""Records and entries to and from msgpack, for code that works event by event.

The hot path never comes here: it moves packed bytes through the engine. msgspec does the work;
msgpack takes over where real traffic is looser than msgspec allows (strings that are not UTF-8).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import msgspec

from logflow.errors import MalformedData
from logflow.event import EventTime, Record

ENTRY_HEADER = b"\x92\xd7\x00"
"""Array of two, then fixext8 of type 0: what every canonical entry begins with."""

_encode = msgspec.msgpack.Encoder(decimal_format="number").encode


def _decode_ext(code: int, data: memoryview) -> object:
    if code == 0 and len(data) == 8:
        return EventTime.from_ext(bytes(data))
    return msgspec.msgpack.Ext(code, bytes(data))


_decode_record = msgspec.msgpack.Decoder(ext_hook=_decode_ext).decode


def to_text(data: bytes) -> str:
    r"""Decode UTF-8; every byte that is not valid UTF-8 becomes the four characters ``\xNN``.

    This is the one rule for invalid UTF-8 everywhere in logflow: nothing is lost, and what was
    wrong can be seen.
    """
    return data.decode("utf-8", "backslashreplace")


def pack_record(record: Record) -> bytes:
    """Pack one record. Integers beyond 64 bits become their digits, lone surrogates are escaped."""
    try:
        return _encode(record)
    except (OverflowError, UnicodeEncodeError, TypeError):
        return _encode(_packable(record))


def pack_entry(time_ns: int, record: Record) -> bytes:
    """Pack one entry in canonical form."""
    return ENTRY_HEADER + EventTime(time_ns).to_ext() + pack_record(record)


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
        for time, record in unpacker:
            yield time, record
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
            return msgspec.msgpack.Ext(0, value.to_ext())
        case bool() | None | float() | bytes() | msgspec.msgpack.Ext():
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
