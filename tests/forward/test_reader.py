"""Whole frames out of bytes that arrive in any pieces."""

from __future__ import annotations

from contextlib import suppress

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.engine.api import Engine, Scanned
from logflow.errors import LimitExceeded, MalformedData
from logflow.forward import reader as module
from logflow.forward.reader import READ_BYTES, BufferPool, FrameReader
from logflow.testing.forwarding import fluentd_request

LIMIT = 1 << 20
MESSAGE = msgpack.packb(["m", 1, {"a": 1}])
FORWARD = msgpack.packb(["f", [[1, {"a": 1}], [2, {"b": "x" * 40}]], {"chunk": "c"}])
PACKED = fluentd_request("p", [(1, {"a": 1})], b"0123456789abcdef")
NIL = b"\xc0"
BIG = fluentd_request("big", [(1, {"x": "y" * 2000})])


def receive(reader: FrameReader, data: bytes, found: list[bytes]) -> None:
    """Receive ``data`` as a transport would deliver it; append the payloads of whole frames to ``found``."""
    while data:
        space = reader.space()
        size = min(len(space), len(data))
        space[:size] = data[:size]
        space.release()
        reader.filled(size)
        data = data[size:]
        while reader.ready:
            slab = reader.take()
            if slab is not None:
                payloads = [bytes(slab.data[frame.start : frame.end]) for frame in slab.frames]
                found += [payload for payload in payloads if payload != NIL]  # some are skipped, some are not


def read_all(engine: Engine, pieces: list[bytes]) -> list[bytes]:
    reader = FrameReader(engine.scan_frames, LIMIT, BufferPool())
    found: list[bytes] = []
    for piece in pieces:
        receive(reader, piece, found)
    assert reader.pending == 0
    return found


def test_frames_torn_at_every_byte_are_put_together(engine):
    data = MESSAGE + NIL + FORWARD + PACKED + MESSAGE
    whole = read_all(engine, [data])
    assert len(whole) == 4
    for cut in range(1, len(data)):
        assert read_all(engine, [data[:cut], data[cut:]]) == whole
    assert read_all(engine, [data[at : at + 1] for at in range(len(data))]) == whole


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=st.lists(st.sampled_from([MESSAGE, FORWARD, PACKED, NIL, BIG]), max_size=20),
    sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=10),
)
def test_pieces_of_any_size_give_the_same_frames(engine, frames, sizes):
    data, pieces, at = b"".join(frames), [], 0
    while at < len(data):
        pieces.append(data[at : at + sizes[len(pieces) % len(sizes)]])
        at += len(pieces[-1])
    assert read_all(engine, pieces) == (read_all(engine, [data]) if data else [])


@pytest.mark.parametrize("cut", [1, 5, 40, 100_000, 200_000, 200_020, 200_050])
def test_a_large_payload_is_scanned_only_around(engine, cut):
    """Whatever comes with it, and wherever it is torn: the positions are those of a scan of the whole."""
    scans: list[int] = []

    def scan(view: memoryview, limit: int, most: int) -> Scanned:
        scans.append(len(view))
        return engine.scan_frames(view, limit, most)

    large = fluentd_request("t", [(1, {"x": "y" * 200_000})], b"id")
    data = large + MESSAGE + large + PACKED
    reader = FrameReader(scan, LIMIT, BufferPool())
    found: list[bytes] = []
    receive(reader, data[:cut], found)
    receive(reader, data[cut:], found)
    whole = engine.scan_frames(data, LIMIT)
    assert found == [data[frame.start : frame.end] for frame in whole.frames]
    assert reader.pending == 0
    assert max(scans) <= 2 * READ_BYTES


@pytest.mark.parametrize("frames", [25, 30])
def test_many_small_frames_are_handed_on_in_slabs_of_one_buffer(engine, frames):
    """They are not copied for each slab, and a frame that is begun at their end goes on in another buffer."""
    reader = FrameReader(engine.scan_frames, LIMIT, BufferPool())
    data = MESSAGE * frames
    reader.feed(data + PACKED[:-1])
    slabs = []
    while reader.ready:
        if (slab := reader.take(10)) is not None:
            slabs.append(slab)
    assert [len(slab.frames) for slab in slabs] == [10, 10, frames - 20]
    assert not slabs[1].last
    assert len({id(slab.buffer) for slab in slabs}) == 1
    assert b"".join(bytes(slab.data[: slab.size]) for slab in slabs) == data
    reader.feed(PACKED[-1:])
    last = reader.take(10)
    assert bytes(last.data[: last.size]) == PACKED
    assert reader.pending == 0


def test_a_flood_of_heartbeats_is_skipped_at_once(engine):
    scans: list[int] = []

    def scan(view: memoryview, limit: int, most: int) -> Scanned:
        scans.append(len(view))
        return engine.scan_frames(view, limit, most)

    reader = FrameReader(scan, LIMIT, BufferPool())
    reader.feed(NIL * 50_000)
    assert reader.take() is None
    assert reader.pending == 0
    assert not reader.ready
    reader.feed(NIL * 50_000 + PACKED)
    slab = reader.take()
    assert bytes(slab.data[: slab.size]) == PACKED
    assert scans == [len(PACKED)]


def test_little_is_held_where_memory_is_tight(engine):
    reader = FrameReader(engine.scan_frames, LIMIT, BufferPool())
    reader.thrifty = True
    receive(reader, MESSAGE + PACKED[:-1], [])
    assert reader.pending == len(PACKED) - 1
    assert reader.demand < READ_BYTES


def test_options_after_a_large_payload_are_found(engine):
    data = fluentd_request("t", [(1, {"x": "y" * 200_000})], b"id")
    reader = FrameReader(engine.scan_frames, LIMIT, BufferPool())
    slabs = []
    for piece in (data[:70_000], data[70_000:-3], data[-3:]):
        reader.feed(piece)
        while reader.ready:
            slabs.append(reader.take())
    (slab,) = filter(None, slabs)
    frame = slab.frames[0]
    assert msgpack.unpackb(slab.data[frame.option_start : frame.option_end])["chunk"] == "aWQ=\n"
    assert slab.size == len(data)


def test_a_frame_without_announced_length_is_not_walked_again_for_every_read(engine):
    """The work stays in proportion to the size: each scan sees at least half as much again."""
    scans: list[int] = []

    def scan(view: memoryview, limit: int, most: int) -> Scanned:
        scans.append(len(view))
        return engine.scan_frames(view, limit, most)

    frame = msgpack.packb(["t", [[1, {"x": "y" * 100}]] * 8000])
    reader = FrameReader(scan, LIMIT, BufferPool())
    receive(reader, frame, [])
    if reader.pending:  # the end came before the reader asked again: it says that asking makes sense
        assert reader.scannable
        assert reader.take() is not None
    assert sum(scans) < 6 * len(frame)


def test_reading_never_goes_far_past_a_frame():
    """So that what follows a large frame need not be copied."""
    sizes = []

    def scan(view: memoryview, limit: int, most: int) -> Scanned:
        return Scanned([], 0, 500_000)

    reader = FrameReader(scan, LIMIT, BufferPool())
    receive(reader, b"\xc0" * 1000, [])
    while reader.pending < 500_000 - 1:
        sizes.append(len(reader.space()))
        reader.filled(min(len(reader.space()), 500_000 - 1 - reader.pending))
    assert reader.pending + len(reader.space()) <= 500_000 + READ_BYTES


def test_memory_grows_with_what_came_and_not_with_what_was_announced(engine):
    reader = FrameReader(engine.scan_frames, 1 << 30, BufferPool())
    receive(reader, b"\x93\xa1t\xc6\x30\x00\x00\x00" + b"x" * 1000, [])
    assert len(reader.space()) <= READ_BYTES


def test_a_large_frame_after_another_is_read_at_once(engine):
    """A peer that has kept its word is given room for the whole frame as soon as it has begun."""
    large = fluentd_request("t", [(1, {"x": "y" * 500_000})], b"id")
    reader = FrameReader(engine.scan_frames, LIMIT, BufferPool())
    receive(reader, large + large[:1000], [])
    assert len(reader.space()) >= len(large) - 1000


@pytest.mark.parametrize("header", [b"\xc6", b"\xdb"])
def test_a_length_of_4_gb_is_refused_at_once(engine, header):
    reader = FrameReader(engine.scan_frames, LIMIT, BufferPool())
    with pytest.raises(LimitExceeded):
        receive(reader, b"\x93\xa1t" + header + b"\xff\xff\xff\xff", [])


def test_frames_before_a_bad_one_are_found(engine):
    reader = FrameReader(engine.scan_frames, LIMIT, BufferPool())
    found: list[bytes] = []
    with pytest.raises(MalformedData):
        receive(reader, MESSAGE + PACKED + b"\x93\x01\x02\x03", found)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"POST /x HTTP/1.1\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01", "TLS"),
        (msgpack.packb(["PING", "me", "salt", "digest", "", ""]), "handshake"),
        (b"hello\n", "begins with b'hello"),
        (b"\xc1", "begins with"),
    ],
)
def test_strangers_are_told_apart(engine, data, hint):
    reader = FrameReader(engine.scan_frames, LIMIT, BufferPool())
    with pytest.raises(MalformedData, match=hint):
        receive(reader, data, [])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_frames_or_malformed(engine, data):
    reader = FrameReader(engine.scan_frames, LIMIT, BufferPool())
    with suppress(MalformedData):
        receive(reader, data, [])


def test_feeding_is_receiving(engine):
    reader = FrameReader(engine.scan_frames, LIMIT, BufferPool())
    data = fluentd_request("t", [(1, {"x": "y" * 200_000})])
    reader.feed(data[:-1])
    reader.feed(data[-1:])
    slab = None
    while slab is None:
        slab = reader.take()
    assert len(slab.frames) == 1


def test_release_forgets_what_was_begun(engine):
    reader = FrameReader(engine.scan_frames, LIMIT, BufferPool())
    reader.feed(PACKED[:10])
    reader.release()
    assert reader.pending == 0
    found: list[bytes] = []
    receive(reader, PACKED, found)
    assert len(found) == 1


def test_the_pool_uses_buffers_again_up_to_its_size():
    pool = BufferPool(kept_bytes=3 * READ_BYTES)
    one, two = pool.take(10), pool.take(2 * READ_BYTES)
    assert (len(one), len(two)) == (READ_BYTES, 2 * READ_BYTES)
    pool.give(one)
    pool.give(two)
    pool.give(bytearray(READ_BYTES))
    assert pool.take(2 * READ_BYTES) is two
    assert pool.take(1) is one
    assert pool.take(1) is not one
    pool.give(bytearray(100 * READ_BYTES))
    assert len(pool.take(50 * READ_BYTES)) < 100 * READ_BYTES, "too large to be kept"


def test_a_huge_buffer_is_not_used_for_a_small_need():
    pool = BufferPool()
    pool.give(bytearray(module._ROUND_BYTES))
    assert len(pool.take(READ_BYTES)) == READ_BYTES
