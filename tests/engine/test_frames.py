"""Scanning for frames of the Forward Protocol."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.engine.api import MAX_DEPTH, MAX_FRAMES, Engine, Frame, Scanned
from logflow.errors import LimitExceeded, MalformedData
from logflow.packing import pack_entry
from tools.strategies import frames

drawn_often = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LIMIT = 1 << 20
ENTRY = pack_entry(1, {"a": 1})
PACKED = msgpack.packb(["tag", ENTRY * 2, {"chunk": "x"}])


def scan_one(engine: Engine, data: bytes) -> Frame:
    scanned = engine.scan_frames(data, LIMIT)
    assert (len(scanned.frames), scanned.consumed, scanned.needed) == (1, len(data), 1)
    return scanned.frames[0]


@pytest.mark.parametrize("option", [None, {}, {"chunk": "abc=\n", "size": 2}, b"\xc0"])
@pytest.mark.parametrize(
    ("mode", "content", "events"),
    [
        ("forward", b"\x92" + ENTRY * 2, 2),
        ("forward", b"\xdc\x00\x00", 0),
        ("forward", b"\x91\x92\x05\x80", 1),
        ("packed", b"\xc4" + bytes([len(ENTRY)]) + ENTRY, -1),
        ("packed", b"\xdb\x00\x00\x00" + bytes([len(ENTRY)]) + ENTRY, -1),
        ("packed", b"\xa0", -1),
        ("message", b"\x05\x81\xa1a\x01", 1),
        ("message", ENTRY[1:], 1),
        ("message", b"\xc7\x08\x00" + bytes(8) + b"\x80", 1),
        ("message", b"\xcb" + bytes(8) + b"\x80", 1),
    ],
)
def test_all_modes(engine: Engine, mode: str, content: bytes, events: int, option: Any) -> None:
    """With an option, without, or with nil; tags as str or bin."""
    packed_option = msgpack.packb(option) if isinstance(option, dict) else option or b""
    elements = (3 if mode == "message" else 2) + bool(packed_option)
    for tag in (b"\xa3tag", b"\xc4\x03tag", b"\xd9\x03tag"):
        data = bytes([0x90 | elements]) + tag + content + packed_option
        frame = scan_one(engine, data)
        assert (frame.tag, frame.mode, frame.events) == (b"tag", mode, events)
        entries = data[frame.start : frame.end]
        assert content.endswith(entries)
        assert len(content) - len(entries) in {0, 1, 2, 3, 5}
        found = data[frame.option_start : frame.option_end]
        assert found == (packed_option if isinstance(option, dict) else b"")
        assert frame.option_end == len(data)


@pytest.mark.parametrize("junk", [b"\xc0", b"\xa3abc", b"\x05", b"\x81\xa1a\x90"])
def test_what_is_no_array_is_ignored(engine: Engine, junk: bytes) -> None:
    """Heartbeats are nil."""
    frame = scan_one(engine, junk)
    assert frame == Frame(b"", "other", 0, len(junk), 0, len(junk), len(junk))


def test_many_frames_at_once(engine: Engine) -> None:
    """Positions are in the data as a whole."""
    data = (PACKED + b"\xc0" + msgpack.packb(["t", 5, {"b": 1}])) * 50
    scanned = engine.scan_frames(memoryview(data), LIMIT)
    assert [frame.mode for frame in scanned.frames] == ["packed", "other", "message"] * 50
    assert all(data[frame.start : frame.end] == ENTRY * 2 for frame in scanned.frames[::3])


@pytest.mark.parametrize(
    ("data", "needed"),
    [
        (b"", 1),
        (b"\x92", 2),
        (b"\x92\xa3t", 5),
        (b"\x92\xa1t", 4),
        (b"\x92\xa1t\xc6", 8),
        (b"\x92\xa1t\xc6\x00\x00\x01\x00", 264),
        (b"\x93\xa1t\xc4\x01x", 7),
        (b"\x92\xa1t\xdc\x00\x05\x92", 11),
        (b"\x92\xa1t\x91\x92\x05\x81\xa4ab", 12),
        (b"\x93\xa1t\xd7\x00", 13),
        (b"\x81\xa1", 3),
    ],
)
def test_torn_frames_say_how_much_they_need(engine: Engine, data: bytes, needed: int) -> None:
    """So that a large one is not scanned again with every read."""
    assert engine.scan_frames(data, LIMIT) == Scanned([], 0, needed)
    scanned = engine.scan_frames(PACKED + data, LIMIT)
    assert (len(scanned.frames), scanned.consumed, scanned.needed) == (1, len(PACKED), needed)


@pytest.mark.parametrize(
    "bad",
    [
        b"\xc1", b"\x90", b"\x91\xa1t", b"\x95\xa1t\x05\x80\x80\x80", b"\x92\x05\x90", b"\x92\xa1t\xc0\x80",
        b"\x92\xa1t\x80", b"\x92\xa1t\xc3", b"\x92\xa1t\x05\x80", b"\x94\xa1t\x90\x80\x80",
        b"\x93\xa1t\x90\x05", b"\x94\xa1t\x05\x80\xa1x", b"\x92\xa1t\x91\xc1", b"\x92\x90\x90",
    ],
)  # fmt: skip
def test_what_is_no_frame_is_refused(engine: Engine, bad: bytes) -> None:
    """After the good frames before it were handed out."""
    with pytest.raises(MalformedData):
        engine.scan_frames(bad, LIMIT)
    scanned = engine.scan_frames(PACKED + bad, LIMIT)
    assert (len(scanned.frames), scanned.consumed, scanned.needed) == (1, len(PACKED), 0)


@pytest.mark.parametrize(
    "large",
    [
        b"\x92\xa1t\xc6\xff\xff\xff\xff", b"\x92\xdb\xff\xff\xff\xff", b"\x92\xa1t\xdd\xff\xff\xff\xff",
        b"\x92\xa1t\xc5\x10\x00" + bytes(4096), b"\x93\xa1t\x05\x81\xa1a\xc6\xff\xff\xff\xff",
        b"\x92\xa1t\x91\x92\x05\x81\xa1a\xc5\x10\x00", b"\xdb\x00\x01\x00\x00",
    ],
)  # fmt: skip
def test_frames_that_are_too_large_are_refused_at_once(engine: Engine, large: bytes) -> None:
    """When the length is known, not when the bytes have come."""
    with pytest.raises(LimitExceeded):
        engine.scan_frames(large, 1000)
    assert engine.scan_frames(PACKED + large, 1000).needed == 0


def test_how_deep_events_nest_is_looked_into_when_they_are_opened(engine: Engine) -> None:
    """One of them costs no frame, and no stack."""
    for levels in (MAX_DEPTH, MAX_DEPTH + 5, 100_000):
        deep = b"\x81\xa1a" + b"\x91" * levels + b"\x90"
        for head in (b"\x92\xa1t\x92\x92\x05\x80\x92\x05", b"\x93\xa1t\x05", b"\x93\xa1t\xc0"):
            frame = scan_one(engine, head + deep)
            assert frame.end == len(head + deep)
    assert engine.scan_frames(b"\x92\xa1t" + b"\x91" * 100_000, LIMIT).frames == []
    with pytest.raises(LimitExceeded):
        engine.scan_frames(b"\x94\xa1t\x05\x80\x81\xa1o" + b"\x91" * 200 + b"\x90", LIMIT)


def test_large_forward_frames(engine: Engine) -> None:
    """Thousands of entries, cut anywhere."""
    entries = pack_entry(1, {"text": "é" * 100, "n": [1, 2]}) * 3000
    data = b"\x93\xa3tag\xdc\x0b\xb8" + entries + b"\x80"
    frame = scan_one(engine, data)
    assert (frame.events, data[frame.start : frame.end]) == (3000, entries)
    for cut in (100, 5000, len(data) - 2):
        scanned = engine.scan_frames(data[:cut], LIMIT)
        assert scanned.frames == []
        assert cut < scanned.needed <= len(data)


@pytest.mark.slow
@given(frames(), st.data())
@drawn_often
def test_frames_are_found_however_they_arrive(engine: Engine, data: bytes, drawn: st.DataObject) -> None:
    """In pieces as in one, or refused in both."""
    try:
        whole = engine.scan_frames(data, LIMIT)
    except MalformedData:
        return
    found: list[tuple[bytes, str, bytes]] = []
    buffer = b""
    cuts = sorted(drawn.draw(st.lists(st.integers(0, whole.consumed), max_size=3)))
    for start, end in zip([0, *cuts], [*cuts, whole.consumed], strict=True):
        buffer += data[start:end]
        scanned = engine.scan_frames(buffer, LIMIT)
        assert scanned.consumed + scanned.needed > len(buffer)
        found += [(frame.tag, frame.mode, buffer[frame.start : frame.end]) for frame in scanned.frames]
        buffer = buffer[scanned.consumed :]
    assert found == [(frame.tag, frame.mode, data[frame.start : frame.end]) for frame in whole.frames]
    assert buffer == b""


def test_the_number_of_frames_of_a_scan_is_bounded(engine: Engine) -> None:
    """The next scan finds the others."""
    data = b"\x93\xa1t\x05\x80" * (MAX_FRAMES + 10)
    scanned = engine.scan_frames(data, LIMIT)
    assert (len(scanned.frames), scanned.consumed, scanned.needed) == (MAX_FRAMES, 5 * MAX_FRAMES, 1)
    assert len(engine.scan_frames(data[scanned.consumed :], LIMIT).frames) == 10
