"""Records and entries to and from msgpack, for code that works event by event.

The hot path never decodes: it moves packed bytes through the engine. msgspec does the work;
msgpack takes over where real traffic is looser than msgspec allows (strings that are not UTF-8).

Nothing is packed that nests deeper than ``MAX_DEPTH``, so that entries can always be read and rendered again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgpack
import msgspec
from msgspec.msgpack import Ext

from logflow.errors import LimitExceeded, MalformedData
from logflow.event import NANOSECOND, EventTime, Record
from logflow.jsontext import MAX_DEPTH

ENTRY_HEADER = b"\x92\xd7\x00"
"""Array of two, then fixext8 of type 0: what every canonical entry begins with."""

_EXT = struct.Struct(">II").pack
_NOT_PACKABLE = (OverflowError, UnicodeEncodeError, TypeError, RecursionError)
_CONTAINERS = (dict, list, tuple, set, frozenset)
_NOT_CONTAINERS = bytes(set(range(256)) - set(range(0x80, 0xA0)) - set(range(0xDC, 0xE0)))
_TOO_DEEP = f"a record nests deeper than {MAX_DEPTH} levels"
encode = msgspec.msgpack.Encoder(decimal_format="number").encode


def to_text(data: bytes) -> str:
    r"""Decode UTF-8; every byte that is not valid UTF-8 becomes the four characters ``\xNN``.

    This is the one rule for invalid UTF-8 everywhere in logflow: nothing is lost, and what was
    wrong can be seen.
    """
    return data.decode("utf-8", "backslashreplace")


def pack_record(record: Record) -> bytes:
    """Pack one record. Integers beyond 64 bits become their digits, lone surrogates are escaped.

    Raises:
        LimitExceeded: it nests deeper than MAX_DEPTH, itself being level 1.
    """
    return pack_value(record)


def pack_entry(time_ns: int, record: Record) -> bytes:
    """Pack one entry in canonical form; raises as :func:`pack_record` does."""
    return ENTRY_HEADER + EventTime(time_ns).to_ext() + pack_record(record)


def pack_value(value: Any, level: int = 1) -> bytes:
    """Pack any value by the rules of :func:`pack_record`; it will stand at this level of a record."""
    try:
        packed = encode(value)
    except _NOT_PACKABLE:
        return encode(_packable(value, level))
    if len(packed.translate(None, _NOT_CONTAINERS)) > MAX_DEPTH - level:
        check_depth(value, level)
    return packed


def check_depth(value: Any, level: int = 1) -> None:
    """Check that a value at a level of a record does not nest too deep.

    Raises:
        LimitExceeded: it does.
    """
    inside = [value]
    for _ in range(level - 1, MAX_DEPTH):
        inside = [item for container in inside for item in _items(container) if isinstance(item, _CONTAINERS)]
        if not inside:
            return
    raise LimitExceeded(_TOO_DEEP)


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return chain(value, value.values())
    return value if isinstance(value, _CONTAINERS) else ()


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
    """Decode canonical entries one by one. Keys that cannot be hashed become text.

    Raises:
        MalformedData: the bytes are not canonical entries.
    """
    unpacker = msgpack.Unpacker(**_UNPACK, max_buffer_size=max(len(entries), 1))
    unpacker.feed(entries)
    done = 0
    try:
        for item in unpacker:
            yield _entry(item)
            done = unpacker.tell()
        if not unpacker.read_bytes(1):
            return
    except TypeError:  # a key that cannot be hashed
        yield from map(_entry, _unpack_odd(entries[done:]))
        return
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedData(f"the packed entries are damaged: {error}") from error
    raise MalformedData(f"the packed entries end in the middle of one, which begins at byte {done}")


def _unpack_odd(entries: bytes) -> Iterator[Any]:
    unpacker = msgpack.Unpacker(
        **_UNPACK, object_pairs_hook=_from_pairs, max_buffer_size=max(len(entries), 1)
    )
    unpacker.feed(entries)
    try:
        yield from unpacker
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedData(f"the packed entries are damaged: {error}") from error


def _from_pairs(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    return {_hashable(key): value for key, value in pairs}


def _hashable(key: Any) -> Any:
    if isinstance(key, Ext):
        return f"ext {key.code}: {bytes(key.data).hex()}"
    return str(key) if isinstance(key, list | dict) else key


def _entry(item: Any) -> tuple[EventTime, Record]:
    match item:
        case [EventTime() as time, dict() as record]:
            return time, record
    raise MalformedData("the packed entries hold something that is not an entry")


def _decode_ext(code: int, data: bytes) -> object:
    return EventTime.from_ext(data) if code == 0 and len(data) == 8 else Ext(code, data)


_UNPACK: dict[str, Any] = {
    "raw": False,
    "unicode_errors": "backslashreplace",
    "strict_map_key": False,
    "ext_hook": _decode_ext,
}


def _packable(value: Any, level: int) -> Any:
    """Replace what msgpack cannot hold by what comes nearest."""
    if level > MAX_DEPTH and isinstance(value, _CONTAINERS):
        raise LimitExceeded(_TOO_DEEP)
    match value:
        case EventTime():
            return Ext(0, value.to_ext())
        case msgpack.Timestamp():
            return Ext(-1, value.to_bytes())
        case bool() | None | float() | bytes() | Ext():
            return value
        case int():
            return int(value) if -(1 << 63) <= value < (1 << 64) else str(value)
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_packable(key, level + 1): _packable(item, level + 1) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_packable(item, level + 1) for item in value]
        case _:
            return str(value)
