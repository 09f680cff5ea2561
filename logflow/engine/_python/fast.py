r"""The fast path: lines that are alike are handled a hundred or so at a time, column by column.

Python costs about 50 ns for every small object, and decoding a message with msgspec about 500 ns, so
there must be no loop over lines but those inside C functions. Messages are decoded by one call, entries
encoded by one, and times are read by columns. That is done for messages that are JSON objects and for
those that are text; a lot of lines in which one is unlike in some way goes the exact way of
:mod:`logflow.engine._python.lines`. The results are always the same.
"""

from __future__ import annotations

import threading
from binascii import unhexlify
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Raw

from logflow.event import MAX_TIME_NS, NANOSECOND, EventTime, Record
from logflow.packing import ENTRY_HEADER, encode, without_head
from logflow.timestamps import parse_rfc3339

LOT = 64 << 10
"""Bytes of lines that are handled together: what is made of them stays in the processor's cache."""
LINES = 2048
"""Most lines that are handled together."""

_CACHED = 4096
_OPENING, _CLOSING = b"{}"

# Messages that are not nested deep; all that the unions say is how deep.
Flat = str | int | float | bool | None
_Level1 = Flat | list[Flat] | dict[str, Flat]
_Level2 = Flat | list[_Level1] | dict[str, _Level1]
_Level3 = Flat | list[_Level2] | dict[str, _Level2]
_decode_messages = msgspec.json.Decoder(dict[str, _Level3]).decode_lines

_TO_VALUES = bytes(byte & 15 for byte in range(256))
_FROM_HEX = bytes((byte >> 4) * 10 + (byte & 15) for byte in range(256))


class Unlike(Exception):  # noqa: N818, RUF100 - nothing is wrong with the lines
    """The lines must go the exact way."""


UNLIKE = (Unlike, KeyError, IndexError, ValueError, OverflowError, RecursionError)
"""What is raised for such lines. ValueError is for msgspec's errors, and those of UTF-8, among others."""


class Packed(NamedTuple):
    """Entries, one for each line, and how many of them hold a message that was not parsed."""

    entries: bytes
    unparsed: int


class FastLines(Protocol):
    """Packs lots of lines that are alike; safe to use from several threads."""

    def pack(self, lines: list[bytes], busy: Collection[str], now_ns: int) -> Packed | None:
        r"""Make entries of whole lines that end with ``\n``; ``None`` when they must go the exact way.

        ``busy`` are streams with an open join, whose lines do not stand for themselves.
        """
        ...


def decode(messages: bytes, count: int) -> list[Record]:
    r"""Decode messages, one from each of so many lines; each begins with ``{`` and ends with ``}\n``.

    So no value goes from one line on to the next: there are at least as many values as lines, and if
    there are no more, each line is one.
    """
    records: list[Record] = _decode_messages(messages)
    if len(records) != count:
        raise Unlike
    return records


def begin_with_brace(lines: list[bytes]) -> bool:
    """Whether all lines do."""
    return [line[0] for line in lines].count(_OPENING) == len(lines)


def check_ends(lines: list[bytes]) -> None:
    """Check that all lines end with a closing brace."""
    if [line[-2] for line in lines].count(_CLOSING) != len(lines):
        raise Unlike


def check_lengths(lines: list[bytes], max_line: int, size: int) -> None:
    """Check, if together they have ``size`` bytes, that none of the lines is too long."""
    if size > max_line and max(map(len, lines)) > max_line:
        raise Unlike


@dataclass(frozen=True, slots=True)
class Texts:
    """How messages become records that are not parsed, or need not be.

    Attributes:
        key: field that holds the message.
        unless_json: only messages that cannot be JSON objects, and they count as unparsed.
    """

    key: str
    unless_json: bool

    def records(self, messages: bytes, lines: list[bytes], start: int) -> list[Record]:
        r"""Make records of messages, which end with ``\n`` and begin in their lines at ``start``."""
        if self.unless_json:
            beginnings = bytes(map(itemgetter(start), lines))
            if len(beginnings.translate(None, b"{ \t\r")) != len(lines):
                raise Unlike
        if list(map(itemgetter(slice(-2, -1)), lines)).count(b"\r"):
            raise Unlike
        texts = messages.decode().split("\n")
        texts.pop()
        key = self.key
        return [{key: text} for text in texts]


class _Nanoseconds(threading.local):
    """Nanoseconds on the wire, made once and filled anew: the n-th is a view of four bytes."""

    def __init__(self) -> None:
        self.packed = bytearray(4 * LINES)
        view = memoryview(self.packed)
        self.raws = [Raw(view[start : start + 4]) for start in range(0, len(view), 4)]


class Times(NamedTuple):
    """Times on the wire, column by column."""

    seconds: list[Raw]
    """Of each entry all that comes before its nanoseconds."""
    nanoseconds: bytes
    """Four bytes of each entry."""


class Packer:
    """Puts times and records together."""

    def __init__(self) -> None:
        self._nanoseconds = _Nanoseconds()

    def pack(self, times: Times, records: list[Record], streams: Iterable[str]) -> bytes:
        """Add the streams to records, where they have no such field, and pack them."""
        for record, stream in zip(records, streams, strict=True):
            record.setdefault("stream", stream)
        nanoseconds, count = self._nanoseconds, len(records)
        nanoseconds.packed[: 4 * count] = times.nanoseconds
        values: list[Any] = [None] * (3 * count)
        values[::3] = times.seconds
        values[1::3] = nanoseconds.raws[:count]
        values[2::3] = records
        return without_head(encode(values), 3 * count)


class Seconds(dict[bytes, Raw]):
    """``YYYY-MM-DDTHH:MM:SS`` to the beginning of an entry: its header and the seconds of its time."""

    def __init__(self, offset: bytes) -> None:
        self._offset = offset

    def __missing__(self, prefix: bytes) -> Raw:
        time_ns = parse_rfc3339(prefix + self._offset)
        if time_ns is None or time_ns + NANOSECOND > MAX_TIME_NS:
            raise KeyError(prefix)
        if len(self) >= _CACHED:
            self.clear()
        self[prefix] = value = Raw(ENTRY_HEADER + (time_ns // NANOSECOND).to_bytes(4, "big"))
        return value

    def times(self, heads: bytes, count: int) -> Times:
        """Read heads of equal width that begin with a time of nine digits."""
        width = len(heads) // count
        first = heads[:19]
        if heads.count(first) == count:
            seconds = [self[first]] * count
        else:
            seconds = [self[heads[start : start + 19]] for start in range(0, len(heads), width)]
        return Times(seconds, _pack_fractions(heads, count, width))


def _pack_fractions(heads: bytes, count: int, width: int) -> bytes:
    """Read the nine digits at 20 of each head; return four bytes for each.

    All of them are read together, as one very long number: pairs of digits become bytes, pairs of
    bytes two bytes, and these four, ``count`` in each step.
    """
    digits = bytearray(8 * count)
    for column in range(8):
        digits[column::8] = heads[column + 20 :: width]
    last = bytearray(4 * count)
    last[3::4] = heads[28::width].translate(_TO_VALUES)
    bytes_mask, pairs_mask = _masks(count)
    number = int.from_bytes(unhexlify(digits).translate(_FROM_HEX), "big")
    number = (number & bytes_mask) + (number >> 8 & bytes_mask) * 100
    number = (number & pairs_mask) + (number >> 16 & pairs_mask) * 10_000
    return (number * 10 + int.from_bytes(last, "big")).to_bytes(4 * count, "big")


@lru_cache(64)
def _masks(count: int) -> tuple[int, int]:
    """Every other byte, and every other pair of bytes, of four bytes for each of so many."""
    return int.from_bytes(b"\0\xff\0\xff" * count, "big"), int.from_bytes(b"\0\0\xff\xff" * count, "big")


class FastPlain:
    """Lines that are messages themselves."""

    def __init__(self, texts: Texts, max_line: int, stream: str | None) -> None:
        self._texts = texts
        self._max_line = max_line
        self._stream = stream

    def pack(self, lines: list[bytes], busy: Collection[str], now_ns: int) -> Packed | None:  # noqa: ARG002
        """See :class:`FastLines`."""
        try:
            is_json = self._texts.unless_json and begin_with_brace(lines)
            messages = b"".join(lines)
            check_lengths(lines, self._max_line, len(messages))
            if is_json:
                check_ends(lines)
                records = decode(messages, len(lines))
            else:
                records = self._texts.records(messages, lines, 0)
            if self._stream is not None:
                for record in records:
                    record.setdefault("stream", self._stream)
            values: list[Any] = [Raw(ENTRY_HEADER + EventTime(now_ns).to_ext())] * (2 * len(records))
            values[1::2] = records
            packed = encode(values)
        except UNLIKE:
            return None
        unparsed = len(lines) if self._texts.unless_json and not is_json else 0
        return Packed(without_head(packed, len(values)), unparsed)
