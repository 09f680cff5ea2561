"""Walking over msgpack by its headers, without making objects: entries and Forward frames.

::

    first byte   value                       first byte   value
    00-7f e0-ff  small integer               ca cb        float32, float64
    80-8f        map of n pairs              cc-cf d0-d3  (u)int8, 16, 32, 64
    90-9f        array of n                  d4-d8        fixext1, 2, 4, 8, 16
    a0-bf        str of n bytes              d9 da db     str8, 16, 32
    c0 c2 c3     nil, false, true            dc dd        array16, 32
    c4 c5 c6     bin8, 16, 32                de df        map16, 32
    c7 c8 c9     ext8, 16, 32                c1           never used: malformed

Source: the msgpack specification, https://github.com/msgpack/msgpack/blob/master/spec.md.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgpack

from logflow.engine.api import MAX_FRAMES, Frame, Scanned
from logflow.errors import LimitExceeded, MalformedData
from logflow.jsontext import MAX_DEPTH

Kind: TypeAlias = Literal["nil", "bool", "number", "text", "ext", "array", "map"]

_ANY_SIZE = -1


class Short(Exception):  # noqa: N818, RUF100
    """The data ends within a value; at least ``needed`` bytes, from the start of the data, would do."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


def _sizes() -> list[int]:
    """Size of every value whose first byte tells it; -1 for the others."""
    sizes = [_ANY_SIZE] * 256
    for byte in (*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3):
        sizes[byte] = 1
    for byte in range(0xA0, 0xC0):
        sizes[byte] = 1 + (byte & 31)
    for byte, size in {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5,
                       0xD3: 9, 0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}.items():  # fmt: skip
        sizes[byte] = size
    return sizes


_SIZES = _sizes()
_NOT_CONTAINERS = bytes(set(range(256)) - set(range(0x80, 0xA0)) - set(range(0xDC, 0xE0)))
_WINDOW = 4096
_KINDS: dict[int, Kind] = {
    0xC0: "nil", 0xC2: "bool", 0xC3: "bool",
    **dict.fromkeys(range(0xA0, 0xC0), "text"), **dict.fromkeys(range(0xD4, 0xD9), "ext"),
}  # fmt: skip
# First byte: (kind, bytes of the length, bytes between the length and the content)
_LONG: dict[int, tuple[Kind, int, int]] = {
    0xC4: ("text", 1, 0), 0xC5: ("text", 2, 0), 0xC6: ("text", 4, 0),
    0xD9: ("text", 1, 0), 0xDA: ("text", 2, 0), 0xDB: ("text", 4, 0),
    0xC7: ("ext", 1, 1), 0xC8: ("ext", 2, 1), 0xC9: ("ext", 4, 1),
    0xDC: ("array", 2, 0), 0xDD: ("array", 4, 0), 0xDE: ("map", 2, 0), 0xDF: ("map", 4, 0),
}  # fmt: skip


def head(data: bytes, at: int) -> tuple[Kind, int, int]:
    """Read a header: what the value is, its number of items or bytes, and where they begin.

    What has no length field has the size of its bytes after the first. An ext's content begins with
    its type.

    Raises:
        Short: the header is not whole.
        MalformedData: byte c1.
    """
    if at >= len(data):
        raise Short(at + 1)
    first = data[at]
    if 0x80 <= first < 0xA0:
        return ("map" if first < 0x90 else "array"), first & 15, at + 1
    size = _SIZES[first]
    if size != _ANY_SIZE:
        return _KINDS.get(first, "number"), size - 1, at + 1
    if first not in _LONG:
        raise MalformedData(f"byte c1 at {at} is not msgpack")
    kind, width, gap = _LONG[first]
    start = at + 1 + width
    if start > len(data):
        raise Short(start)
    return kind, int.from_bytes(data[at + 1 : start], "big") + gap, start


def skip(data: bytes, at: int, max_depth: int = MAX_DEPTH) -> int:
    """Find the end of the value at ``at``; the value itself, if a container, is level 1.

    Raises:
        Short: the data ends within it.
        MalformedData: byte c1.
        LimitExceeded: it nests deeper than ``max_depth``.
    """
    end = len(data)
    open_items: list[int] = []
    left = 1
    while True:
        while not left:
            if not open_items:
                return at
            left = open_items.pop()
        left -= 1
        size = _SIZES[data[at]] if at < end else _ANY_SIZE
        if size > 0:
            at += size
            if at > end:
                raise Short(at)
            continue
        kind, count, at = head(data, at)
        if kind in {"array", "map"}:
            if len(open_items) >= max_depth:
                raise LimitExceeded(f"msgpack nests deeper than {max_depth} levels")
            open_items.append(left)
            left = count * 2 if kind == "map" else count
        else:
            at += count
            if at > end:
                raise Short(at)


def skip_flat(data: bytes, at: int) -> int:
    """The same however deep it nests: counts what is still to come, and so needs no stack.

    Raises:
        Short: the data ends within it.
        MalformedData: byte c1.
    """
    end, left = len(data), 1
    while left:
        left -= 1
        kind, count, at = head(data, at)
        if kind == "array":
            left += count
        elif kind == "map":
            left += 2 * count
        else:
            at += count
            if at > end:
                raise Short(at)
    return at


def scan_frames(data: bytes, max_size: int, most: int = MAX_FRAMES) -> Scanned:
    """See :meth:`logflow.engine.api.Engine.scan_frames`."""
    frames: list[Frame] = []
    at = 0
    while at < len(data) and len(frames) < most:
        try:
            frame, end = _frame(data, at)
            if end - at > max_size:
                raise LimitExceeded(f"a frame of {end - at} bytes is larger than the limit of {max_size}")
        except Short as short:
            if short.needed - at <= max_size:
                return Scanned(frames, at, short.needed - at)
            if frames:
                return Scanned(frames, at, 0)
            raise LimitExceeded(
                f"a frame of at least {short.needed - at} bytes is larger than the limit of {max_size}"
            ) from None
        except MalformedData:
            if frames:
                return Scanned(frames, at, 0)
            raise
        frames.append(frame)
        at = end
    return Scanned(frames, at, 1)


def _frame(data: bytes, start: int) -> tuple[Frame, int]:
    """Read the frame at ``start``; return it with its end."""
    kind, elements, at = head(data, start)
    if kind != "array":
        end = skip(data, start)
        return Frame(b"", "other", start, end, 0, end, end), end
    if not 2 <= elements <= 4:
        raise MalformedData(f"an array of {elements} is not a frame of the Forward Protocol")
    kind, _, tag_start = head(data, at)
    if kind != "text":
        raise MalformedData("the first element of a frame is not a tag")
    tag_end = skip(data, at)
    mode, events, content, end, read = _content(data, tag_end)
    if elements - read not in {0, 1}:
        raise MalformedData(f"a frame of mode {mode} has {elements} elements")
    option_end = end
    if elements > read:
        kind = head(data, end)[0]
        option_end = skip(data, end)
        if kind == "nil":
            return Frame(
                data[tag_start:tag_end], mode, content, end, events, option_end, option_end
            ), option_end
        if kind != "map":
            raise MalformedData("the option of a frame is not a map")
    return Frame(data[tag_start:tag_end], mode, content, end, events, end, option_end), option_end


def _content(data: bytes, at: int) -> tuple[Literal["message", "forward", "packed"], int, int, int, int]:
    """Read what follows a tag: mode, events, start, end, and how many elements of the frame were read."""
    kind, count, content = head(data, at)
    if kind == "array":
        if content + count > len(data):  # an entry has at least one byte
            raise Short(content + count)
        return "forward", count, content, _skip_many(data, content, count), 2
    if kind == "text":
        if content + count > len(data):
            raise Short(content + count)
        return "packed", -1, content, content + count, 2
    if kind in {"number", "ext", "nil"}:
        return "message", 1, at, _skip_many(data, at, 2), 3
    raise MalformedData(f"the second element of a frame is a {kind}")


def _skip_many(data: bytes, at: int, count: int) -> int:
    """Find the end of ``count`` values in C, or one by one where something may be wrong.

    How deep they nest is looked into when they are opened.
    """
    size = _WINDOW
    while True:
        try:
            end = _skip_window(data[at : at + size], count)
        except msgpack.OutOfData:
            if at + size < len(data):
                size *= 8
                continue
            end = None
        if end is not None:
            return at + end
        for _ in range(count):
            at = skip_flat(data, at)
        return at


def _skip_window(window: bytes, count: int) -> int | None:
    """Find the end of values that begin the window; ``None`` if one is not msgpack or is deep."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(window), 1))
    unpacker.feed(window)
    ends = [0]
    try:
        for _ in range(count):
            unpacker.skip()
            ends.append(unpacker.tell())
    except ValueError:  # malformed, or deeper than the library goes
        return None
    return ends[-1]


def containers(data: bytes) -> int:
    """Most arrays and maps that there can be: what is no deeper than that is not too deep."""
    return len(data.translate(None, _NOT_CONTAINERS))
