r"""The fast path: lines that are alike are handled a hundred or so at a time, column by column.

Python costs about 50 ns for every small object, and decoding a message with msgspec about 500 ns, so
there must be no loop over lines but those inside C functions. Messages are decoded by one call, entries
encoded by one, and times are read by columns. That is done for messages that are JSON objects and for
those that are text; a lot of lines in which one is unlike in some way goes the exact way of
:mod:`logflow.engine._python.lines`. The results are always the same.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Collection
from dataclasses import dataclass
from itertools import repeat
from operator import add, itemgetter
from typing import NamedTuple, Protocol

import msgspec
from msgspec.msgpack import Ext

from logflow.event import MAX_TIME_NS, NANOSECOND, EventTime, Record
from logflow.packing import encode, without_head
from logflow.timestamps import parse_rfc3339

LOT = 32 << 10
"""Bytes of lines that are handled together: what stays in the processor's nearest cache."""
LINES = 1024
"""Most lines that are handled together."""
OTHER = {"stdout": "stderr", "stderr": "stdout"}

_CACHED = 4096
_OPENING, _CLOSING, _RETURN = b"{}\r"
_first, _before_last = itemgetter(0), itemgetter(-2)

# Messages that are not nested deep; all that the unions say is how deep.
Flat = str | int | float | bool | None
_Level1 = Flat | list[Flat] | dict[str, Flat]
_Level2 = Flat | list[_Level1] | dict[str, _Level1]
_Level3 = Flat | list[_Level2] | dict[str, _Level2]
_decode_messages = msgspec.json.Decoder(dict[str, _Level3]).decode_lines
_decode_integers = msgspec.json.Decoder(list[int]).decode


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
    return list(map(_first, lines)).count(_OPENING) == len(lines)


def check_ends(lines: list[bytes]) -> None:
    """Check that all lines end with a closing brace."""
    if list(map(_before_last, lines)).count(_CLOSING) != len(lines):
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


class _Times(threading.local):
    """Times on the wire, made once and filled anew: the n-th is a view of eight bytes."""

    def __init__(self) -> None:
        self.packed = bytearray(8 * LINES)
        view = memoryview(self.packed)
        self.exts = [Ext(0, view[start : start + 8]) for start in range(0, len(view), 8)]


class Packer:
    """Puts times and records together."""

    def __init__(self) -> None:
        self._times = _Times()

    def pack(self, times: list[int], records: list[Record], stream: str, others: list[int]) -> bytes:
        """Add the stream to records, the other one to some of them, and pack them."""
        count = len(records)
        struct.pack_into(f">{count}Q", self._times.packed, 0, *times)
        for index in others:
            records[index].setdefault("stream", OTHER[stream])
        for record in records:
            record.setdefault("stream", stream)
        entries = list(zip(self._times.exts, records, strict=False))  # there are more exts than records
        return without_head(encode(entries), count)


class Seconds(dict[bytes, int]):
    """``YYYY-MM-DDTHH:MM:SS`` to seconds, shifted to the upper half of a time on the wire.

    1,000,000,000 is taken off, because the fractions that are added to it have a leading 1.
    """

    def __init__(self, offset: bytes) -> None:
        self._offset = offset

    def __missing__(self, prefix: bytes) -> int:
        time_ns = parse_rfc3339(prefix + self._offset)
        if time_ns is None or time_ns + NANOSECOND > MAX_TIME_NS:
            raise KeyError(prefix)
        if len(self) >= _CACHED:
            self.clear()
        self[prefix] = value = (time_ns // NANOSECOND << 32) - NANOSECOND
        return value

    def times(self, heads: bytes, count: int) -> list[int]:
        """Times on the wire, as integers, of heads of equal width that begin with a time of nine digits."""
        width = len(heads) // count
        digits = bytearray(b",1000000000" * count)
        for column in range(9):
            digits[column + 2 :: 11] = heads[column + 20 :: width]
        digits[0] = ord("[")
        digits += b"]"
        fractions: list[int] = _decode_integers(digits)
        first = heads[:19]
        if heads.count(first) == count:
            base = self[first]
            return [base + fraction for fraction in fractions]
        prefixes = [heads[start : start + 19] for start in range(0, len(heads), width)]
        return list(map(add, map(self.__getitem__, prefixes), fractions))


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
            time = Ext(0, EventTime(now_ns).to_ext())
            packed = encode(list(zip(repeat(time), records, strict=False)))
        except UNLIKE:
            return None
        unparsed = len(lines) if self._texts.unless_json and not is_json else 0
        return Packed(without_head(packed, len(records)), unparsed)
