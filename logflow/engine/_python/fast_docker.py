"""The fast path for lines of Docker's json-file driver."""

from __future__ import annotations

from collections.abc import Collection
from itertools import repeat
from operator import attrgetter
from typing import Literal

import msgspec

from logflow.engine._python.fast import (
    LINES,
    UNLIKE,
    Flat,
    Packed,
    Packer,
    Seconds,
    Times,
    Unlike,
    begin_with_brace,
    check_ends,
    check_lengths,
    decode,
)
from logflow.engine._python.fast_cri import FRACTION_END, TO_TEMPLATE, ZEROS


class _Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    log: str
    stream: Literal["stdout", "stderr"]
    time: str
    attrs: dict[str, Flat] | msgspec.UnsetType = msgspec.UNSET


_decode_lines = msgspec.json.Decoder(_Line).decode_lines
_log, _stream, _time = attrgetter("log"), attrgetter("stream"), attrgetter("time")


class FastDocker:
    """Lines of Docker's json-file driver whose messages are JSON objects."""

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._packer = Packer()
        self._seconds = Seconds(b"Z")

    def pack(self, lines: list[bytes], busy: Collection[str], now_ns: int) -> Packed | None:  # noqa: ARG002
        """See :class:`FastLines`."""
        if busy or len(lines) > LINES:
            return None
        try:
            return Packed(self._pack(lines), 0)
        except UNLIKE:
            return None

    def _pack(self, lines: list[bytes]) -> bytes:
        block = b"".join(lines)
        check_lengths(lines, self._max_line, len(block))
        check_ends(lines)
        if not begin_with_brace(lines):
            raise Unlike
        found: list[_Line] = _decode_lines(block)
        logs = list(map(_log, found))
        if (
            len(found) != len(lines)
            or sum(map(str.startswith, logs, repeat("{"))) != len(logs)
            or sum(map(str.endswith, logs, repeat("}\n"))) != len(logs)
        ):
            raise Unlike
        records = decode("".join(logs).encode(), len(logs))
        for line, record in zip(found, records, strict=True):
            if line.attrs is not msgspec.UNSET:
                record.setdefault("attrs", line.attrs)
        return self._packer.pack(self._times(found), records, map(_stream, found))

    def _times(self, found: list[_Line]) -> Times:
        heads = "".join(map(_time, found)).encode()
        if len(heads) != (FRACTION_END + 1) * len(found):
            heads = "".join([_with_zeros(line.time) for line in found]).encode()
        if heads.translate(TO_TEMPLATE) != (ZEROS + b"Z") * len(found):
            raise Unlike
        return self._seconds.times(heads, len(found))


def _with_zeros(time: str) -> str:
    """Write out the trailing zeros of a fraction."""
    if not time.endswith("Z") or not 21 < len(time) <= FRACTION_END + 1:
        raise Unlike
    return time[:-1].ljust(FRACTION_END, "0") + "Z"
