"""gzip, zstd and deflate: whole strings of bytes, with a bound on what they may grow to.

What is received is hostile: a few kilobytes may expand to gigabytes, a body may consist of a million
empty gzip members or skippable zstd frames, and may end in the middle of one. So data is decompressed in
pieces, which are bounded while they are made, members are read through a window that starts small, and a
torn end is an error.

A zstd frame ends where its last block does (RFC 8878, section 3.1.1), which the library does not tell. So
a frame of our own, which nobody can foresee, is read behind the data: unless the end of what is
decompressed is its contents, the data ended within a frame.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import zstandard
from typing_extensions import Buffer

from logflow.errors import LimitExceeded, MalformedData

Compression: TypeAlias = Literal["none", "gzip", "zstd"]

ZSTD_WINDOW_BYTES = 8 << 20
"""RFC 8878, section 3.1.1.1.2, has decoders support 8 MiB; more is memory that a peer could claim."""
_GZIP_LEVEL = 6
_PIECE = 4 << 10
_MOST_PIECE = 256 << 10
PIECE_BYTES = 1 << 20
"""Largest piece that data is decompressed in."""

_SEAL_BYTES = 512


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


def compress_stream(slices: Iterable[bytes], how: Compression) -> Iterator[bytes]:
    """Compress to exactly one gzip member or zstd frame, slice by slice: the whole never lies in memory."""
    if how == "none":
        yield from slices
        return
    stream = (
        zlib.compressobj(_GZIP_LEVEL, wbits=31) if how == "gzip" else zstandard.ZstdCompressor().compressobj()
    )
    for piece in slices:
        if compressed := stream.compress(piece):
            yield compressed
    yield stream.flush()


def decompress(data: Buffer, how: Literal["gzip", "zstd", "deflate"], limit_bytes: int) -> bytes:
    """Decompress concatenated gzip members or zstd frames, or one deflate stream.

    ``deflate`` is HTTP's: zlib's wrapper, or none, as some clients have it.

    Raises:
        LimitExceeded: the result would be larger than ``limit_bytes``.
        MalformedData: the data is damaged or ends too early.
    """
    return b"".join(decompress_pieces(data, how, limit_bytes))


def decompress_pieces(
    data: Buffer, how: Literal["gzip", "zstd", "deflate"], limit_bytes: int
) -> Iterator[bytes]:
    """The same in pieces of at most ``PIECE_BYTES``: memory is taken for one at a time.

    Raises:
        LimitExceeded: the pieces together would be larger than ``limit_bytes``.
        MalformedData: the data is damaged or ends too early; what has been yielded may be wrong too.
    """
    total = 0
    try:
        for piece in _pieces(memoryview(data), how):
            total += len(piece)
            if total > limit_bytes:
                raise LimitExceeded(f"the data is larger than {limit_bytes} bytes when decompressed")
            yield piece
    except (zlib.error, zstandard.ZstdError) as error:
        raise MalformedData(f"cannot decompress {how} data: {error}") from None


def _pieces(view: memoryview, how: str) -> Iterator[bytes]:
    match how:
        case "gzip":
            return _inflate(view, 31)
        case "zstd":
            return _unzstd(view)
    wrapped = len(view) >= 2 and view[0] & 15 == 8 and int.from_bytes(view[:2], "big") % 31 == 0
    return _inflate(view, 15 if wrapped else -15)


def _inflate(view: memoryview, wbits: int) -> Iterator[bytes]:
    position, size = 0, _PIECE
    stream = zlib.decompressobj(wbits)
    while position < len(view):
        window = view[position : position + size]
        if piece := stream.decompress(window, PIECE_BYTES):
            yield piece
        left = stream.unconsumed_tail
        while left:
            yield stream.decompress(left, PIECE_BYTES)
            left = stream.unconsumed_tail
        position += len(window) - len(stream.unused_data)
        # Unused data is copied for every member: the window is small where members are.
        size = _PIECE if stream.eof else min(2 * size, _MOST_PIECE)
        if stream.eof and position < len(view):
            if wbits != 31:
                raise MalformedData(f"{len(view) - position} bytes follow the compressed data")
            stream = zlib.decompressobj(wbits)
    if not stream.eof:
        raise MalformedData("the compressed data ends too early")


def _unzstd(view: memoryview) -> Iterator[bytes]:
    if not view:
        raise MalformedData("the compressed data ends too early")
    # A repetition does not stand in its frame as it is: a torn block that swallows the frame is no seal.
    seal = os.urandom(16) * (_SEAL_BYTES // 16)
    source = b"".join((view, compress(seal, "zstd")))
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    end = b""
    with decompressor.stream_reader(source, read_across_frames=True) as reader:
        # The end is held back, as it may be the seal.
        while piece := reader.read(PIECE_BYTES - _SEAL_BYTES):
            data = end + piece
            end = data[-_SEAL_BYTES:]
            if data := data[:-_SEAL_BYTES]:
                yield data
    if end != seal:
        raise MalformedData("the compressed data ends too early")
