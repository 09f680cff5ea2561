"""gzip, zstd and deflate: whole strings of bytes, with a bound on what they may grow to.

What is received is hostile: a few kilobytes may expand to gigabytes, a body may consist of a million
empty gzip members, and may end in the middle of one. So output is bounded while it is made, members
are read through a window that starts small, and a torn end is an error.

A zstd frame ends where its last block does (RFC 8878, section 3.1.1), which the library does not tell::

    frame = magic u32le 0xFD2FB528, header, block+, [checksum u32]
    block = u24le: bit 0 last, bits 1-2 type (1: one byte repeated), bits 3-23 size; content
    skippable frame = magic u32le 0x184D2A5?, size u32le, content
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from typing import Literal, TypeAlias

import zstandard

from logflow.errors import LimitExceeded, MalformedData

Compression: TypeAlias = Literal["none", "gzip", "zstd"]

_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_SKIPPABLE = 0x184D2A50
_ZSTD_WINDOW = 8 << 20
"""RFC 8878, section 3.1.1.1.2, has decoders support 8 MiB; more is memory that a peer could claim."""
_GZIP_LEVEL = 6
_PIECE = 4 << 10
_MOST_PIECE = 256 << 10
_READ = 1 << 20


def compress(data: bytes, how: Compression) -> bytes:
    """Compress to exactly one gzip member or zstd frame; the same input gives the same bytes."""
    match how:
        case "gzip":
            return gzip.compress(data, _GZIP_LEVEL, mtime=0)
        case "zstd":
            return zstandard.ZstdCompressor(write_content_size=True).compress(data)
        case "none":
            return data


def compress_slices(slices: Iterable[bytes], how: Compression) -> Iterable[bytes]:
    """The same for data in slices: makes one of all of them; ``none`` gives them back as they are."""
    return slices if how == "none" else [compress(b"".join(slices), how)]


def decompress(data: bytes, how: Literal["gzip", "zstd", "deflate"], limit_bytes: int) -> bytes:
    """Decompress concatenated gzip members or zstd frames, or one deflate stream.

    ``deflate`` is HTTP's: zlib's wrapper, or none, as some clients have it.

    Raises:
        LimitExceeded: the result would be larger than ``limit_bytes``.
        MalformedData: the data is damaged or ends too early.
    """
    try:
        match how:
            case "gzip":
                return _inflate(data, 31, limit_bytes)
            case "zstd":
                return _unzstd(data, limit_bytes)
            case "deflate":
                wrapped = len(data) >= 2 and data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
                return _inflate(data, 15 if wrapped else -15, limit_bytes)
    except (zlib.error, zstandard.ZstdError) as error:
        raise MalformedData(f"cannot decompress {how} data: {error}") from None


def _inflate(data: bytes, wbits: int, limit_bytes: int) -> bytes:
    view, output = memoryview(data), bytearray()
    position, piece = 0, _PIECE
    stream = zlib.decompressobj(wbits)
    while position < len(data):
        window = view[position : position + piece]
        output += stream.decompress(window, limit_bytes - len(output) + 1)
        if len(output) > limit_bytes:
            raise _too_large(limit_bytes)
        position += len(window) - len(stream.unused_data)
        # Unused data is copied for every member: the window is small where members are.
        piece = _PIECE if stream.eof else min(2 * piece, _MOST_PIECE)
        if stream.eof and position < len(data):
            if wbits != 31:
                raise MalformedData(f"{len(data) - position} bytes follow the compressed data")
            stream = zlib.decompressobj(wbits)
    if not stream.eof:
        raise MalformedData("the compressed data ends too early")
    return bytes(output)


def _unzstd(data: bytes, limit_bytes: int) -> bytes:
    _check_zstd_end(data)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    output = bytearray()
    with decompressor.stream_reader(data, read_across_frames=True) as reader:
        while piece := reader.read(_READ):
            output += piece
            if len(output) > limit_bytes:
                raise _too_large(limit_bytes)
    return bytes(output)


def _check_zstd_end(data: bytes) -> None:
    """Raise unless the data is whole frames and nothing else."""
    position = 0
    while position < len(data) or not position:
        magic = int.from_bytes(data[position : position + 4], "little")
        if magic & ~0xF == _ZSTD_SKIPPABLE:
            position += 8 + int.from_bytes(data[position + 4 : position + 8], "little")
        elif magic == _ZSTD_MAGIC:
            position = _zstd_frame_end(data, position)
        else:
            raise MalformedData(f"there is no zstd frame at byte {position}")
    if position > len(data):
        raise MalformedData("the compressed data ends too early")


def _zstd_frame_end(data: bytes, position: int) -> int:
    header = data[position : position + 18]
    has_checksum = zstandard.get_frame_parameters(header).has_checksum
    position += zstandard.frame_header_size(header)
    last = False
    while not last and position < len(data):
        block = int.from_bytes(data[position : position + 3], "little")
        last = bool(block & 1)
        position += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
    return position + 4 * has_checksum if last else len(data) + 1


def _too_large(limit_bytes: int) -> LimitExceeded:
    return LimitExceeded(f"the data is larger than {limit_bytes} bytes when decompressed")
