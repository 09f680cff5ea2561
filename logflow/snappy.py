"""Snappy blocks, without the framing: as Loki and Prometheus take them.

::

    varint(length of the data) element...
    element = literal (00): length, bytes   |   copy (01, 10, 11): length, how far back

Source: "Snappy compressed format description". The native engine compresses. In Python a block is literals
only: valid, and as large as the data.
"""

from __future__ import annotations

from logflow.errors import LimitExceeded, MalformedData
from logflow.protobuf import varint

_LITERAL_BYTES = 1 << 16


def pack_literals(data: bytes) -> bytes:
    """Make a block of data as it is."""
    parts = [varint(len(data))]
    for start in range(0, len(data), _LITERAL_BYTES):
        piece = data[start : start + _LITERAL_BYTES]
        parts += (b"\xf4" + (len(piece) - 1).to_bytes(2, "little"), piece)
    return b"".join(parts)


def unpack(block: bytes, limit_bytes: int) -> bytes:
    """Read a block.

    Raises:
        LimitExceeded: it says that it is longer than ``limit_bytes``.
        MalformedData: the bytes are not one.
    """
    size, at = _length(block)
    if size > limit_bytes:
        raise LimitExceeded(f"it would be {size} bytes when decompressed; {limit_bytes} are allowed")
    out = bytearray()
    try:
        while at < len(block):
            at = _element(block, at, out)
            if len(out) > size:
                raise MalformedData("a snappy block holds more than it says")
    except IndexError:
        raise MalformedData("a snappy block ends too early") from None
    if len(out) != size:
        raise MalformedData("a snappy block holds less than it says")
    return bytes(out)


def _length(block: bytes) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(block[:5]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, index + 1
    raise MalformedData("a snappy block does not begin with its length")


def _element(block: bytes, at: int, out: bytearray) -> int:
    tag = block[at]
    kind = tag & 3
    at += 1
    if kind == 0:
        size = tag >> 2
        if size >= 60:
            more = size - 59
            if at + more > len(block):
                raise IndexError
            size = int.from_bytes(block[at : at + more], "little")
            at += more
        size += 1
        if at + size > len(block):
            raise IndexError
        out += block[at : at + size]
        return at + size
    if kind == 1:
        size = (tag >> 2 & 7) + 4
        back = (tag >> 5) << 8 | block[at]
        at += 1
    else:
        size = (tag >> 2) + 1
        width = 2 if kind == 2 else 4
        if at + width > len(block):
            raise IndexError
        back = int.from_bytes(block[at : at + width], "little")
        at += width
    if not 0 < back <= len(out):
        raise MalformedData("a snappy block refers to before its beginning")
    start = len(out) - back
    if back >= size:
        out += out[start : start + size]
    else:  # it repeats what it has just written
        pattern = bytes(out[start:])
        out += (pattern * (size // back + 1))[:size]
    return at
