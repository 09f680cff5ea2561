r"""The fast path: lines whose messages are JSON objects, a hundred or so at a time, column by column.

Python costs about 50 ns for every small object, and decoding a message with msgspec about 500 ns, so
there must be no loop over lines but those inside C functions. What makes that possible is that such
lines are alike; CRI::

    2026-01-31T12:00:00.123456789Z stdout F {"level":"info",...}\n
    └ second ─────────┘└ fraction┘└ tail ─────┘
    └ head ──────────────────────────────────┘└ the message begins with its {, which is in the head

The heads are checked together: all of them, joined, with every digit made 0 and the letters in which
the streams differ made one, must be the same template repeated. Where trailing zeros of the fraction
were left out, they are put back first. Columns of the joined heads are then taken by strides.
Messages are decoded by one call, and entries encoded by one.

A lot of lines in which one is unlike in another way goes the exact way of
:mod:`logflow.engine._python.lines`; the results are always the same.
"""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Collection, Sequence
from itertools import repeat
from operator import add, attrgetter, itemgetter
from typing import Literal, Protocol

import msgspec
from msgspec.msgpack import Ext

from logflow.event import MAX_TIME_NS, NANOSECOND, EventTime, Record
from logflow.packing import encode, without_head
from logflow.timestamps import parse_rfc3339

LOT = 32 << 10
"""Bytes of lines that are handled together: what stays in the processor's nearest cache."""
LINES = 1024
"""Most lines that are handled together."""

_FRACTION_END = 29
_ZEROS = b"0000-00-00T00:00:00.000000000"
_TO_TEMPLATE = bytes.maketrans(b"123456789outer", b"000000000xxxxx")
_OTHER = {"stdout": "stderr", "stderr": "stdout"}
_CACHED = 4096
_first_head = re.compile(
    rb"[0-9T:-]{19}(?:\.[0-9]{1,9})?(?P<offset>Z|[+-][0-9]{2}:[0-9]{2}) (?:stdout|stderr) F \{"
).match
_find_zero, _find_e, _find_o = (re.compile(text).finditer for text in (b"\0", b"e", b"o"))
_first, _before_last = itemgetter(0), itemgetter(-2)

# Messages that are not nested deep; all that the unions say is how deep.
_Flat = str | int | float | bool | None
_Level1 = _Flat | list[_Flat] | dict[str, _Flat]
_Level2 = _Flat | list[_Level1] | dict[str, _Level1]
_Level3 = _Flat | list[_Level2] | dict[str, _Level2]
_decode_messages = msgspec.json.Decoder(dict[str, _Level3]).decode_lines
_decode_integers = msgspec.json.Decoder(list[int]).decode


class Unlike(Exception):
    """The lines must go the exact way."""


_UNLIKE = (Unlike, KeyError, IndexError, ValueError, OverflowError, RecursionError)
# ValueError: msgspec's errors, and those of UTF-8, among others.


class FastLines(Protocol):
    """Packs lots of lines that are alike; safe to use from several threads."""

    def pack(self, lines: list[bytes], busy: Collection[str], now_ns: int) -> bytes | None:
        r"""Make entries of whole lines that end with ``\n``; ``None`` when they must go the exact way.

        ``busy`` are streams with an open join, whose lines do not stand for themselves.
        """
        ...


class _Times(threading.local):
    """Times on the wire, made once and filled anew: the n-th is a view of eight bytes."""

    def __init__(self) -> None:
        self.packed = bytearray(8 * LINES)
        view = memoryview(self.packed)
        self.exts = [Ext(0, view[start : start + 8]) for start in range(0, len(view), 8)]


class _Seconds(dict[bytes, int]):
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


def _decode(messages: bytes, lines: Sequence[bytes | str]) -> list[Record]:
    r"""Decode the messages of lines, one from each.

    Each begins with ``{`` and ends with ``}\n``, so that no value goes from one line on to the next:
    there are at least as many values as lines, and if there are no more, each line is one.
    """
    records: list[Record] = _decode_messages(messages)
    if len(records) != len(lines):
        raise Unlike
    return records


def _check_lines(lines: list[bytes], max_line: int, size: int) -> None:
    """Check how lines end and, if together they have ``size`` bytes, that none is too long."""
    if list(map(_before_last, lines)).count(0x7D) != len(lines):
        raise Unlike
    if size > max_line and max(map(len, lines)) > max_line:
        raise Unlike


class _Packer:
    """Puts times and records together."""

    def __init__(self) -> None:
        self._times = _Times()

    def pack(self, times: list[int], records: list[Record], stream: str, others: list[int]) -> bytes:
        """Add the stream to records, the other one to some of them, and pack them."""
        count = len(records)
        struct.pack_into(f">{count}Q", self._times.packed, 0, *times)
        for index in others:
            records[index].setdefault("stream", _OTHER[stream])
        for record in records:
            record.setdefault("stream", stream)
        entries = list(zip(self._times.exts, records, strict=False))  # there are more exts than records
        return without_head(encode(entries), count)


class _CriLayout:
    """What CRI lines look like that have one offset."""

    def __init__(self, offset: bytes) -> None:
        self._offset = offset
        self._stdout, self._stderr = offset + b" stdout F {", offset + b" stderr F {"
        self._width = _FRACTION_END + len(self._stdout)
        self._template = (_ZEROS + self._stdout).translate(_TO_TEMPLATE)
        self._letter = self._width - len("out F {")
        self._is_offset = bytes(byte == offset[0] for byte in range(256))
        self._head = itemgetter(slice(0, self._width))
        self.message = itemgetter(slice(self._width - 1, None))
        self.seconds = _Seconds(offset)

    def align(self, lines: list[bytes]) -> tuple[list[bytes], bytes]:
        """Make the lines alike; return them and their heads."""
        heads = b"".join(map(self._head, lines))
        if not self._alike(heads, len(lines)):
            if len(heads) != self._width * len(lines):
                raise Unlike
            lines = lines.copy()
            for match in _find_zero(heads[_FRACTION_END :: self._width].translate(self._is_offset)):
                lines[match.start()] = self._with_zeros(lines[match.start()])
            heads = b"".join(map(self._head, lines))
            if not self._alike(heads, len(lines)):
                raise Unlike
        return lines, heads

    def _alike(self, heads: bytes, count: int) -> bool:
        """Whether all are of the template, and then, what it leaves open: the offset and the stream."""
        return heads.translate(_TO_TEMPLATE) == self._template * count and (
            heads.count(self._stdout) == count
            or heads.count(self._stdout) + heads.count(self._stderr) == count
        )

    def _with_zeros(self, line: bytes) -> bytes:
        """Write out the trailing zeros of a fraction."""
        at = line.find(self._offset, 19, _FRACTION_END - 1 + len(self._offset))
        if at < 0 or at == 20:  # a point without digits
            raise Unlike
        return line[:at] + b".000000000"[at - 19 :] + line[at:]

    def streams(self, heads: bytes) -> tuple[str, list[int]]:
        """Which stream the first of the lines is of, and which lines are of the other."""
        letters = heads[self._letter :: self._width]
        if letters[0] == ord("o"):
            return "stdout", [match.start() for match in _find_e(letters)]
        return "stderr", [match.start() for match in _find_o(letters)]


class FastCri:
    """CRI lines."""

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._packer = _Packer()
        self._layouts: dict[bytes, _CriLayout] = {}

    def pack(self, lines: list[bytes], busy: Collection[str], now_ns: int) -> bytes | None:  # noqa: ARG002
        """See :class:`FastLines`."""
        match = _first_head(lines[0])
        if match is None or len(lines) > LINES:
            return None
        try:
            return self._pack(self._layout(match["offset"]), lines, busy)
        except _UNLIKE:
            return None

    def _layout(self, offset: bytes) -> _CriLayout:
        layout = self._layouts.get(offset)
        if layout is None:
            if len(self._layouts) >= 8:
                self._layouts.clear()
            layout = self._layouts[offset] = _CriLayout(offset)
        return layout

    def _pack(self, layout: _CriLayout, lines: list[bytes], busy: Collection[str]) -> bytes:
        lines, heads = layout.align(lines)
        stream, others = layout.streams(heads)
        if busy and (stream in busy or others):
            raise Unlike
        messages = b"".join(map(layout.message, lines))
        _check_lines(lines, self._max_line, len(messages))
        records = _decode(messages, lines)
        return self._packer.pack(layout.seconds.times(heads, len(lines)), records, stream, others)


class _DockerLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    log: str
    stream: Literal["stdout", "stderr"]
    time: str
    attrs: dict[str, _Flat] | msgspec.UnsetType = msgspec.UNSET


_decode_docker = msgspec.json.Decoder(_DockerLine).decode_lines
_log, _stream, _time = attrgetter("log"), attrgetter("stream"), attrgetter("time")


class FastDocker:
    """Lines of Docker's json-file driver."""

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._packer = _Packer()
        self._seconds = _Seconds(b"Z")

    def pack(self, lines: list[bytes], busy: Collection[str], now_ns: int) -> bytes | None:  # noqa: ARG002
        """See :class:`FastLines`."""
        if busy or len(lines) > LINES:
            return None
        try:
            return self._pack(lines)
        except _UNLIKE:
            return None

    def _pack(self, lines: list[bytes]) -> bytes:
        block = b"".join(lines)
        _check_lines(lines, self._max_line, len(block))
        if list(map(_first, lines)).count(0x7B) != len(lines):
            raise Unlike
        found: list[_DockerLine] = _decode_docker(block)
        logs = list(map(_log, found))
        if (
            len(found) != len(lines)
            or list(map(_first, logs)).count("{") != len(logs)
            or sum(map(str.endswith, logs, repeat("}\n"))) != len(logs)
        ):
            raise Unlike
        records = _decode("".join(logs).encode(), logs)
        streams = list(map(_stream, found))
        stream = streams[0]
        others = [] if streams.count(stream) == len(streams) else self._others(streams)
        for line, record in zip(found, records, strict=True):
            if line.attrs is not msgspec.UNSET:
                record.setdefault("attrs", line.attrs)
        return self._packer.pack(self._times(found), records, stream, others)

    @staticmethod
    def _others(streams: list[str]) -> list[int]:
        return [index for index, stream in enumerate(streams) if stream != streams[0]]

    def _times(self, found: list[_DockerLine]) -> list[int]:
        heads = "".join(map(_time, found)).encode()
        if len(heads) != 30 * len(found):
            heads = "".join([_with_zeros(line.time) for line in found]).encode()
        if heads.translate(_TO_TEMPLATE) != (_ZEROS + b"Z") * len(found):
            raise Unlike
        return self._seconds.times(heads, len(found))


def _with_zeros(time: str) -> str:
    if not time.endswith("Z") or not 21 < len(time) <= 30:
        raise Unlike
    return time[:-1].ljust(_FRACTION_END, "0") + "Z"


class FastPlain:
    """Lines that are JSON objects themselves."""

    def __init__(self, max_line: int, stream: str | None) -> None:
        self._max_line = max_line
        self._stream = stream

    def pack(self, lines: list[bytes], busy: Collection[str], now_ns: int) -> bytes | None:  # noqa: ARG002
        """See :class:`FastLines`."""
        try:
            if list(map(_first, lines)).count(0x7B) != len(lines):
                return None
            messages = b"".join(lines)
            _check_lines(lines, self._max_line, len(messages))
            records = _decode(messages, lines)
            if self._stream is not None:
                for record in records:
                    record.setdefault("stream", self._stream)
            time = Ext(0, EventTime(now_ns).to_ext())
            packed = encode(list(zip(repeat(time), records, strict=False)))
        except _UNLIKE:
            return None
        return without_head(packed, len(records))
