"""Compression and bounded decompression."""

from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.compression import PIECE_BYTES, compress, decompress, decompress_pieces
from logflow.errors import LimitExceeded, MalformedData

LIMIT = 1 << 20


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=5000), how=st.sampled_from(["gzip", "zstd"]), members=st.integers(1, 4))
def test_concatenated_members_come_back_as_one(data, how, members):
    assert decompress(compress(data, how) * members, how, LIMIT) == data * members


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=500), how=st.sampled_from(["gzip", "zstd"]), cut=st.integers(1, 20)
)
def test_a_torn_end_is_an_error(data, how, cut):
    packed = compress(data, how)
    with pytest.raises(MalformedData):
        decompress(packed + packed[:-cut] if cut < len(packed) else b"", how, LIMIT)


@settings(max_examples=80, deadline=None)
@given(
    data=st.binary(max_size=80),
    prefix=st.sampled_from([b"", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"x\x9c"]),
)
@pytest.mark.parametrize("how", ["gzip", "zstd", "deflate"])
def test_arbitrary_bytes_either_decompress_or_are_malformed(how, data, prefix):
    with contextlib.suppress(MalformedData):
        assert isinstance(decompress(prefix + data, how, LIMIT), bytes)


def test_none_leaves_data_as_it_is():
    assert compress(b"abc", "none") == b"abc"


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_a_bomb_stops_at_the_limit(how):
    bomb = compress(bytes(64 << 20), how)
    assert len(bomb) < 100_000
    with pytest.raises(LimitExceeded, match="larger than 1048576 bytes"):
        decompress(bomb, how, LIMIT)
    assert len(decompress(compress(bytes(LIMIT), how), how, LIMIT)) == LIMIT


def test_many_tiny_members_cost_little():
    assert decompress(gzip.compress(b"", mtime=0) * 50_000, "gzip", LIMIT) == b""


def test_deflate_is_taken_with_and_without_its_wrapper():
    raw = zlib.compressobj(wbits=-15)
    assert decompress(raw.compress(b"abc") + raw.flush(), "deflate", LIMIT) == b"abc"
    assert decompress(zlib.compress(b"abc"), "deflate", LIMIT) == b"abc"
    with pytest.raises(MalformedData, match="follow"):
        decompress(zlib.compress(b"abc") + b"x", "deflate", LIMIT)


def test_zstd_frames_of_every_make_are_read():
    checked = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(b"a" * 400_000)
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    assert decompress(checked + skippable + checked, "zstd", LIMIT) == b"a" * 800_000
    for end in range(1, len(checked)):
        with pytest.raises(MalformedData):
            decompress(checked + checked[:end], "zstd", LIMIT)


def test_millions_of_skippable_frames_cost_little():
    frames = b"\x50\x2a\x4d\x18\0\0\0\0" * 1_000_000 + compress(b"abc", "zstd")
    assert decompress(frames, "zstd", LIMIT) == b"abc"


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_pieces_are_bounded(how):
    pieces = list(decompress_pieces(compress(bytes(5 * PIECE_BYTES + 3), how), how, 64 << 20))
    assert b"".join(pieces) == bytes(5 * PIECE_BYTES + 3)
    assert max(map(len, pieces)) <= PIECE_BYTES


def test_a_zstd_window_beyond_8_mib_is_refused():
    wide = zstandard.ZstdCompressionParameters(window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    data = compressor.compress(b"abc") + compressor.flush()
    with pytest.raises(MalformedData, match="zstd"):
        decompress(data, "zstd", LIMIT)
