"""Counting, cutting and normalizing packed entries."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, settings

from logflow.engine.api import Engine
from logflow.errors import MalformedData
from logflow.event import MAX_TIME_NS
from logflow.packing import pack_entries, pack_entry, unpack_entries

drawn_often = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
pack = msgpack.Packer(autoreset=True).pack
EXT = b"\x00\x00\x00\x05\x00\x00\x00\x09"
TIME_NS = 5 * 10**9 + 9
NOW_NS = 1_700_000_000_000_000_001
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
    assert engine.normalize(entry, NOW_NS).entries == entry


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


def test_many_containers_are_not_deep(engine: Engine) -> None:
    """Only levels count."""
    entry = pack_entry(0, {"a": [[], {}] * 500, "b": "é" * 500, "c": b"\x91" * 500})
    assert engine.count(entry * 40) == 40


def test_any_buffer_of_bytes_will_do(engine: Engine) -> None:
    """Results are bytes."""
    data: Any
    for data in (bytearray(CANONICAL), memoryview(b"x" + CANONICAL)[1:]):
        assert engine.count(data) == 1
        assert engine.normalize(data, NOW_NS)[:2] == (CANONICAL, 1)
        assert engine.to_ndjson(data, "t") == engine.to_ndjson(CANONICAL, "t")
