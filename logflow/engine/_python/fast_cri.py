r"""The fast path for CRI lines.

::

    2026-01-31T12:00:00.123456789Z stdout F {"level":"info",...}\n
    └ second ─────────┘└ fraction┘└ tail ─────┘
    └ head ──────────────────────────────────┘└ a JSON message begins with its {, which is in the head

The heads are checked together: all of them, joined, with every digit made 0 and the letters in which
the streams differ made one, must be the same template repeated. Where trailing zeros of the fraction
were left out, they are put back first. Columns of the joined heads are then taken by strides.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from operator import itemgetter

from logflow.engine._python.fast import (
    LINES,
    UNLIKE,
    Packed,
    Packer,
    Seconds,
    Texts,
    Unlike,
    check_ends,
    check_lengths,
    decode,
)

FRACTION_END = 29
"""Bytes of a time with nine digits, before the offset."""
ZEROS = b"0000-00-00T00:00:00.000000000"
TO_TEMPLATE = bytes.maketrans(b"123456789outer", b"000000000xxxxx")

_MOST_LAYOUTS = 8
_match_head = re.compile(
    rb"[0-9T:-]{19}(?:\.[0-9]{1,9})?(?P<offset>Z|[+-][0-9]{2}:[0-9]{2}) (?:stdout|stderr) F (?P<brace>\{?)"
).match
_find_zero = re.compile(b"\0").finditer
_STREAMS = {ord("o"): "stdout", ord("e"): "stderr"}


class _Layout:
    """What lines look like that have one offset, and messages that begin with a brace or do not."""

    def __init__(self, offset: bytes, brace: bytes) -> None:
        self._offset = offset
        self._stdout, self._stderr = (offset + stream + brace for stream in (b" stdout F ", b" stderr F "))
        self._width = FRACTION_END + len(self._stdout)
        self._template = (ZEROS + self._stdout).translate(TO_TEMPLATE)
        self._letter = FRACTION_END + len(offset) + len(" std")
        self._is_offset = bytes(byte == offset[0] for byte in range(256))
        self._head = itemgetter(slice(0, self._width))
        self.start = self._width - len(brace)
        self.message = itemgetter(slice(self.start, None))
        self.seconds = Seconds(offset)

    def align(self, lines: list[bytes]) -> tuple[list[bytes], bytes]:
        """Make the lines alike; return them and their heads."""
        heads = b"".join(map(self._head, lines))
        if not self._alike(heads, len(lines)):
            if len(heads) != self._width * len(lines):
                raise Unlike
            lines = lines.copy()
            for match in _find_zero(heads[FRACTION_END :: self._width].translate(self._is_offset)):
                lines[match.start()] = self._with_zeros(lines[match.start()])
            heads = b"".join(map(self._head, lines))
            if not self._alike(heads, len(lines)):
                raise Unlike
        return lines, heads

    def _alike(self, heads: bytes, count: int) -> bool:
        """Whether all are of the template, and then, what it leaves open: the offset and the stream."""
        if heads.translate(TO_TEMPLATE) != self._template * count:
            return False
        rest = count - heads.count(self._stdout)
        return not rest or heads.count(self._stderr) == rest

    def _with_zeros(self, line: bytes) -> bytes:
        """Write out the trailing zeros of a fraction."""
        at = line.find(self._offset, 19, FRACTION_END - 1 + len(self._offset))
        if at < 0 or at == 20:  # a point without digits
            raise Unlike
        return line[:at] + b".000000000"[at - 19 :] + line[at:]

    def streams(self, heads: bytes) -> Iterator[str]:
        """Which streams the lines are of."""
        return map(_STREAMS.__getitem__, heads[self._letter :: self._width])


class FastCri:
    """CRI lines."""

    def __init__(self, texts: Texts, max_line: int) -> None:
        self._texts = texts
        self._max_line = max_line
        self._packer = Packer()
        self._layouts: dict[tuple[bytes, bytes], _Layout] = {}

    def pack(self, lines: list[bytes], busy: Collection[str], now_ns: int) -> Packed | None:  # noqa: ARG002
        """See :class:`FastLines`."""
        match = _match_head(lines[0])
        if match is None or len(lines) > LINES:
            return None
        brace = match["brace"] if self._texts.unless_json else b""
        try:
            return self._pack(self._layout(match["offset"], brace), lines, busy, is_json=bool(brace))
        except UNLIKE:
            return None

    def _layout(self, offset: bytes, brace: bytes) -> _Layout:
        layout = self._layouts.get((offset, brace))
        if layout is None:
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[offset, brace] = _Layout(offset, brace)
        return layout

    def _pack(self, layout: _Layout, lines: list[bytes], busy: Collection[str], *, is_json: bool) -> Packed:
        lines, heads = layout.align(lines)
        if busy and not set(layout.streams(heads)).isdisjoint(busy):
            raise Unlike
        messages = b"".join(map(layout.message, lines))
        check_lengths(lines, self._max_line, len(messages))
        if is_json:
            check_ends(lines)
            records = decode(messages, len(lines))
        else:
            records = self._texts.records(messages, lines, layout.start)
        entries = self._packer.pack(layout.seconds.times(heads, len(lines)), records, layout.streams(heads))
        return Packed(entries, len(lines) if self._texts.unless_json and not is_json else 0)
