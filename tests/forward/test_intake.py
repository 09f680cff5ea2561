"""Frames made into batches."""

from __future__ import annotations

import gzip
import struct

import msgpack
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.batch import Batch, DeliveryKey
from logflow.compression import compress
from logflow.engine.api import Engine
from logflow.errors import LimitExceeded, MalformedData
from logflow.forward.intake import PART_BYTES, Opening, Request, RequestPart, requests
from logflow.testing.forwarding import fluentd_request

LIMIT = 1 << 20
EXT8_TIME = b"\xc7\x08\x00" + struct.pack(">II", 5, 6)
SECOND = 1_000_000_000
NOW_NS = 1_700_000_000_000_000_001


def split(engine: Engine, data: bytes) -> list[Request]:
    scanned = engine.scan_frames(data, LIMIT)
    assert scanned.consumed == len(data)
    return list(requests(data, scanned.frames))


def parts_of(
    engine: Engine, request: Request, peer: bytes = b"address 10.0.0.1", limit: int = LIMIT
) -> list[RequestPart]:
    opening = Opening(engine, request, peer, limit=limit, now_ns=NOW_NS)
    parts = []
    while (part := opening.next()) is not None:
        parts.append(part)
    return parts


def read(engine: Engine, data: bytes, peer: bytes = b"address 10.0.0.1") -> list[RequestPart]:
    return [part for request in split(engine, data) for part in parts_of(engine, request, peer)]


def events(engine: Engine, data: bytes) -> list[tuple[str, int, dict]]:
    return [
        (part.batch.tag, int(time), record)
        for part in read(engine, data)
        for time, record in part.batch.events()
    ]


ONE = ("t", 3 * SECOND, {"a": 1})
ENTRY = msgpack.packb([3, {"a": 1}])
META = msgpack.packb([[msgpack.ExtType(0, struct.pack(">II", 5, 6)), {"m": 1}], {"a": 1}])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (msgpack.packb(["t", 3, {"a": 1}]), [ONE]),
        (msgpack.packb(["t", 3, {"a": 1}, None]), [ONE]),
        (b"\x93\xa1t" + EXT8_TIME + b"\x81\xa1a\x01", [("t", 5 * SECOND + 6, {"a": 1})]),
        (b"\x93\xc4\x01t\x03\x81\xa1a\x01", [ONE]),
        (msgpack.packb(["t", [[3, {"a": 1}], [4, {"b": 2}]]]), [ONE, ("t", 4 * SECOND, {"b": 2})]),
        (msgpack.packb(["t", [], {"size": 0}]), []),
        (b"\x92\xa1t\x91" + META, [("t", 5 * SECOND + 6, {"a": 1})]),
        (b"\x92\xa1t" + msgpack.packb(META), [("t", 5 * SECOND + 6, {"a": 1})]),
        (b"\x92\xa1t\xdb" + len(ENTRY).to_bytes(4, "big") + ENTRY, [ONE]),
        (b"\x92\xa1t" + msgpack.packb(ENTRY, use_bin_type=True), [ONE]),
        (fluentd_request("t", [(3, {"a": b"\xff\x00"})]), [("t", 3 * SECOND, {"a": b"\xff\x00"})]),
        (msgpack.packb(["t", gzip.compress(ENTRY, mtime=0) * 2, {"compressed": "gzip"}]), [ONE, ONE]),
        (msgpack.packb(["t", zstandard.compress(ENTRY) * 2, {"compressed": "zstd"}]), [ONE, ONE]),
        (b"\xc0", []),
        (msgpack.packb(["", 3, {}]), [("", 3 * SECOND, {})]),
        (msgpack.packb(["../../etc/passwd", 3, {}]), [("../../etc/passwd", 3 * SECOND, {})]),
        (b"\x93\xa3a\xffb\x03\x80", [("a\\xffb", 3 * SECOND, {})]),
        (msgpack.packb(["t", [[3, {"a": 1}]], {"size": 99, "tag": "lie"}]), [ONE]),
    ],
)  # fmt: skip
def test_every_form_of_request_is_understood(engine, data, expected):
    assert events(engine, data) == expected


def test_messages_of_one_tag_become_one_batch(engine):
    data = b"".join(msgpack.packb(["a" if number < 3 else "b", number, {"n": number}]) for number in range(5))
    batches = [part.batch for part in read(engine, data)]
    assert [(batch.tag, batch.count, batch.origin) for batch in batches] == [("a", 3, None), ("b", 2, None)]


def test_a_request_with_an_id_stands_alone(engine):
    data = b"".join(msgpack.packb(["t", number, {}, {"chunk": f"c{number}"}]) for number in range(3))
    keys = {part.batch.origin for part in read(engine, data)}
    assert len(keys) == 3
    assert all(isinstance(key, DeliveryKey) for key in keys)


def test_an_empty_option_asks_for_nothing(engine):
    assert len(split(engine, msgpack.packb(["t", 1, {}, {}]) * 3)) == 1


def test_very_many_messages_are_not_put_into_one_batch_without_bound(engine):
    data = msgpack.packb(["t", 1, {"x": "y" * 100_000}]) * 5
    scanned = engine.scan_frames(data, LIMIT)
    assert len(list(requests(data * 4, scanned.frames * 4))) == 2


def test_a_resend_has_the_same_key_although_gzip_wrote_another_time(engine):
    keys = []
    for mtime in (1, 2):
        payload = gzip.compress(ENTRY, mtime=mtime)
        data = msgpack.packb(["t", payload, {"compressed": "gzip", "chunk": "c\n"}])
        keys.append(read(engine, data)[0].batch.origin)
    assert keys[0] == keys[1]


def test_one_bad_event_costs_that_event(engine):
    good = msgpack.packb(["t", 1, {"n": 1}])
    (part,) = read(engine, good + good + msgpack.packb(["t", 1, "no map"]) + good)
    assert part.batch.count == 3
    assert part.skipped == {"bad_record": 1}


@pytest.mark.parametrize("compressed", ["text", "gzip", "zstd"])
@pytest.mark.parametrize("canonical", [True, False])
def test_a_large_request_is_opened_in_parts_that_a_resend_has_too(engine, monkeypatch, compressed, canonical):
    monkeypatch.setattr("logflow.forward.intake.PART_BYTES", 5000)
    record = {"text": "x" * 90}
    entries = Batch.from_events("t", [(number * SECOND, record) for number in range(1, 301)]).entries
    plain = entries if canonical else b"".join(msgpack.packb([number, record]) for number in range(1, 301))
    payload = plain if compressed == "text" else compress(plain, compressed)
    data = msgpack.packb(["t", payload, {"chunk": "c", "compressed": compressed}])
    (request,) = split(engine, data)
    parts = parts_of(engine, request)
    assert b"".join(part.batch.entries for part in parts) == entries
    assert len(parts) == -(-len(entries) // 5000)
    assert all(len(part.batch.entries) < 5200 for part in parts)
    keys = [part.batch.origin for part in parts]
    assert len(set(keys)) == len(parts)
    assert [part.batch.origin for part in parts_of(engine, request)] == keys
    monkeypatch.setattr("logflow.forward.intake.PART_BYTES", PART_BYTES)
    (whole,) = parts_of(engine, request)
    assert whole.batch.origin == keys[0]


def test_an_event_that_is_larger_than_a_part_comes_alone(engine, monkeypatch):
    monkeypatch.setattr("logflow.forward.intake.PART_BYTES", 1000)
    entries = Batch.from_events("t", [(SECOND, {"text": "x" * 7000})] * 2).entries
    for payload, option in ((entries, {}), (gzip.compress(entries), {"compressed": "gzip"})):
        (request,) = split(engine, msgpack.packb(["t", payload, option]))
        assert [part.batch.count for part in parts_of(engine, request)] == [1, 1]


def test_nothing_of_a_bomb_in_parts_is_taken(engine, monkeypatch):
    monkeypatch.setattr("logflow.forward.intake.PART_BYTES", 1000)
    bomb = gzip.compress(b"\x92\x00\x80" * LIMIT, mtime=0)
    (request,) = split(engine, msgpack.packb(["t", bomb, {"compressed": "gzip"}]))
    opening = Opening(engine, request, b"", limit=LIMIT, now_ns=NOW_NS)
    with pytest.raises(LimitExceeded):
        opening.next()


@pytest.mark.parametrize(
    "data",
    [
        msgpack.packb(["t", ENTRY[:-1]]),
        msgpack.packb(["t", b"hello"]),
        msgpack.packb(["t", b"\xc1"]),
        msgpack.packb(["t", ENTRY, {"compressed": "gzip"}]),
        msgpack.packb(["t", gzip.compress(ENTRY, mtime=0)[:-1], {"compressed": "gzip"}]),
        msgpack.packb(["t", zstandard.compress(ENTRY)[:-1], {"compressed": "zstd"}]),
        msgpack.packb(["t", [[3, {"a": 1}]], {"compressed": "gzip"}]),
        msgpack.packb(["t" * 5000, 3, {}]),
        b"\x07",
        b"\xa5hello",
    ],
)
def test_bad_requests_are_malformed(engine, data):
    with pytest.raises(MalformedData):
        read(engine, data)


@pytest.mark.parametrize(
    ("how", "bomb"),
    [("gzip", gzip.compress(bytes(8 << 20), mtime=0)), ("zstd", zstandard.compress(bytes(8 << 20)))],
)
def test_a_bomb_is_refused(engine, how, bomb):
    assert len(bomb) < 10_000
    with pytest.raises(LimitExceeded):
        read(engine, msgpack.packb(["t", bomb, {"compressed": how}]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.lists(st.integers(1, (1 << 32) - 3), max_size=8),
    mode=st.sampled_from(["message", "forward", "packed", "gzip", "zstd"]),
)
def test_all_modes_carry_the_same_events(engine, times, mode):
    entries = Batch.from_events("t", [(time * SECOND + 7, {"time": time}) for time in times]).entries
    parsed = [[msgpack.ExtType(0, struct.pack(">II", time, 7)), {"time": time}] for time in times]
    match mode:
        case "message":
            data = b"".join(msgpack.packb(["t", *entry]) for entry in parsed)
        case "forward":
            data = msgpack.packb(["t", parsed])
        case "packed":
            data = msgpack.packb(["t", entries])
        case "gzip":
            data = msgpack.packb(["t", gzip.compress(entries), {"compressed": "gzip"}])
        case _:
            data = msgpack.packb(["t", zstandard.compress(entries), {"compressed": "zstd"}])
    assert b"".join(part.batch.entries for part in read(engine, data)) == entries
