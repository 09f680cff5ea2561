"""Counting, cutting and normalizing packed entries."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings

from logflow.engine.api import MAX_DEPTH, Engine
from logflow.errors import LimitExceeded, MalformedData
from logflow.event import MAX_TIME_NS
from logflow.packing import pack_entries, pack_entry, unpack_entries
from tools.strategies import canonical_entries

drawn_often = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
pack = msgpack.Packer(autoreset=True).pack
EXT = b"\x00\x00\x00\x05\x00\x00\x00\x09"
TIME_NS = 5 * 10**9 + 9
RECORD = b"\x81\xa1a\x01"
CANONICAL = b"\x92\xd7\x00" + EXT + RECORD


def deep_record(levels: int) -> bytes:
    return b"\x81\xa1a" + b"\x91" * (levels - 2) + b"\x90"


@pytest.mark.parametrize("count", [0, 1, 2, 100, 1000])
def test_entries_are_counted_and_cut(engine: Engine, count: int) -> None:
    """Offsets are where each begins."""
    records = [{"n": index, "text": "x" * (index % 50)} for index in range(count)]
    entries = pack_entries(range(count), records)
    assert engine.count(entries) == count
    offsets = engine.offsets(entries)
    assert len(offsets) == count
    for index, (start, end) in enumerate(pairwise([*offsets, len(entries)])):
        assert list(unpack_entries(entries[start:end])) == [(index, records[index])]


def test_time_range(engine: Engine) -> None:
    """Smallest and largest, wherever they stand; (0, 0) without entries."""
    assert engine.time_range(pack_entries([5, MAX_TIME_NS, 3], [{}] * 3)) == (3, MAX_TIME_NS)
    assert engine.time_range(b"") == (0, 0)


def test_nanoseconds_beyond_a_second_carry_over(engine: Engine) -> None:
    """Such times are received; their bytes stay."""
    entry = b"\x92\xd7\x00\x00\x00\x00\x01\xff\xff\xff\xff\x80"
    assert engine.time_range(entry) == (10**9 + 0xFFFFFFFF,) * 2
    assert engine.normalize(entry).entries == entry


@pytest.mark.parametrize("name", ["count", "offsets", "time_range", "to_ndjson"])
@pytest.mark.parametrize(
    "bad",
    [
        CANONICAL[:-1], CANONICAL[:5], CANONICAL + b"\x92", CANONICAL + b"\xc1", b"\x01",
        CANONICAL[:-4] + b"\x01", b"\x92\xc7\x08\x00" + EXT + RECORD, b"\xdc\x00\x02\xd7\x00" + EXT + RECORD,
        b"\x92\x05" + RECORD,
        b"\x92\xd7\x01" + EXT + RECORD, b"\x93\xd7\x00" + EXT + RECORD + b"\xc0", CANONICAL[:-1] + b"\xc1",
    ],
)  # fmt: skip
def test_what_is_not_canonical_is_refused(engine: Engine, name: str, bad: bytes) -> None:
    """Alone and after good entries."""
    arguments = ("tag",) if name == "to_ndjson" else ()
    for data in (bad, CANONICAL * 200 + bad):
        with pytest.raises(MalformedData):
            getattr(engine, name)(data, *arguments)


@pytest.mark.parametrize(
    ("time", "time_ns"),
    [
        (pack(5), 5 * 10**9),
        (b"\xd3" + (5).to_bytes(8, "big"), 5 * 10**9),
        (pack(2**32), MAX_TIME_NS),
        (pack(2**64 - 1), MAX_TIME_NS),
        (pack(-5), 0),
        (pack(1.25), 1_250_000_000),
        (pack(1769860800.123), 1_769_860_800_123_000_000),
        (pack(1e300), MAX_TIME_NS),
        (pack(-1e300), 0),
        (b"\xca\x3f\xc0\x00\x00", 1_500_000_000),
        (b"\xd7\x00" + EXT, TIME_NS),
        (b"\xc7\x08\x00" + EXT, TIME_NS),
        (b"\xc8\x00\x08\x00" + EXT, TIME_NS),
    ],
)
@pytest.mark.parametrize("metadata", [None, b"\x80", b"\x81\xa1m\x90", b"\xc0"])
def test_every_form_of_an_entry_is_brought_to_one(
    engine: Engine, time: bytes, time_ns: int, metadata: bytes | None
) -> None:
    """Integer, float and EventTime, with metadata and without, whatever the headers."""
    expected = pack_entry(time_ns, {"a": 1})
    for head in (b"\x92", b"\xdc\x00\x02", b"\xdd\x00\x00\x00\x02"):
        first = time if metadata is None else head + time + metadata
        entry = head + first + RECORD
        assert engine.normalize(entry) == (expected, 1)
        assert engine.normalize(CANONICAL + entry * 3) == (CANONICAL + expected * 3, 4)


def test_canonical_entries_are_not_copied(engine: Engine) -> None:
    """The very object comes back."""
    data = CANONICAL * 3
    assert engine.normalize(data).entries is data
    assert engine.normalize(b"") == (b"", 0)


@pytest.mark.parametrize(
    "record",
    [
        b"\x81\xa1a\xa1\xff",  # str that is not UTF-8
        b"\x81\xc4\x01a\xc4\x02\xff\x00",  # bin key and value, as Yajl sends them
        b"\xde\x00\x01\xd9\x01a\xcd\x00\x01",  # headers that are longer than needed
        b"\x82\xa1a\x01\xa1a\x02",  # a repeated key
        b"\x81\x91\x01\x81\xc0\xc7\x03\x05abc",  # containers as keys, other extensions
    ],
)
def test_records_stay_byte_for_byte(engine: Engine, record: bytes) -> None:
    """Whatever their encoding."""
    assert engine.normalize(b"\x92\x05" + record).entries == pack_entry(5 * 10**9, {})[:-1] + record


@pytest.mark.parametrize(
    "bad",
    [
        b"\x92\x05", b"\x92\x05\x01", b"\x92\xa1x\x80", b"\x92\xc0\x80", b"\x91\x05", b"\x93\x05\x80\x80",
        b"\x80", b"\xc1", b"\x92\xd7\x01" + EXT + b"\x80", b"\x92\xd6\x00" + EXT[:4] + b"\x80",
        b"\x92\x91\x05\x80",
        b"\x92\x93\x05\x80\x80\x80", b"\x92\x92\x92\x05\x80\x80\x80", b"\x92\x05\x81\xa1a", b"\x92\x05\x90",
        pack([float("nan"), {}]), pack([float("inf"), {}]), b"\x92\x05\x81\xa1a\xdb\xff\xff\xff\xffx",
        b"\x92\x05\xdf\xff\xff\xff\xff",
    ],
)  # fmt: skip
def test_what_is_no_entry_is_refused(engine: Engine, bad: bytes) -> None:
    """Wrong types, torn ends, lengths of 4 GB."""
    for data in (bad, CANONICAL + bad):
        with pytest.raises(MalformedData):
            engine.normalize(data)


@pytest.mark.parametrize("wrap", [b"\x92\x05", b"\x92\x92\x05\x80", b"\x92\xd7\x00" + EXT])
def test_nesting_is_bounded(engine: Engine, wrap: bytes) -> None:
    """In records, in keys and in metadata."""
    assert engine.normalize(wrap + deep_record(MAX_DEPTH)).events == 1
    with pytest.raises(LimitExceeded):
        engine.normalize(wrap + deep_record(MAX_DEPTH + 1))
    with pytest.raises(LimitExceeded):
        engine.normalize(CANONICAL * 50 + wrap + deep_record(100_000))
    with pytest.raises(LimitExceeded):
        engine.normalize(b"\x92\x92\x05" + deep_record(MAX_DEPTH + 1) + RECORD)
    with pytest.raises(LimitExceeded):
        engine.normalize(wrap + b"\x81" * (MAX_DEPTH + 1) + b"\xc0" * (MAX_DEPTH + 2))


def test_many_containers_are_not_deep(engine: Engine) -> None:
    """Only levels count."""
    entry = pack_entry(0, {"a": [[], {}] * 500, "b": "é" * 500, "c": b"\x91" * 500})
    assert engine.count(entry * 40) == 40


@pytest.mark.slow
@given(canonical_entries())
@drawn_often
def test_normalizing_canonical_entries_changes_nothing(engine: Engine, entries: bytes) -> None:
    """And they can be counted."""
    assert engine.normalize(entries) == (entries, engine.count(entries))


def test_any_buffer_of_bytes_will_do(engine: Engine) -> None:
    """Results are bytes."""
    data: Any
    for data in (bytearray(CANONICAL), memoryview(b"x" + CANONICAL)[1:]):
        assert engine.count(data) == 1
        assert engine.normalize(data) == (CANONICAL, 1)
        assert engine.to_ndjson(data, "t") == engine.to_ndjson(CANONICAL, "t")
