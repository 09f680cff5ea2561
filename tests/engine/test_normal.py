"""What others send, brought to canonical form: one bad event costs that event and no more."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.engine.api import MAX_DEPTH, MAX_GROUP_BYTES, MAX_REFUSED, Engine, Normalized
from logflow.errors import MalformedData
from logflow.event import MAX_TIME_NS, NANOSECOND
from logflow.packing import pack_entry, unpack_entries
from tools.strategies import canonical_entries, damaged, foreign_entries

drawn_often = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
pack = msgpack.Packer(autoreset=True).pack
EXT = b"\x00\x00\x00\x05\x00\x00\x00\x09"
TIME_NS = 5 * 10**9 + 9
NOW_NS = 1_700_000_000_000_000_001
RECORD = b"\x81\xa1a\x01"
CANONICAL = b"\x92\xd7\x00" + EXT + RECORD
START, END = (b"\xd7\x00" + seconds + bytes(4) for seconds in (b"\xff" * 4, b"\xff\xff\xff\xfe"))


def deep_record(levels: int) -> bytes:
    return b"\x81\xa1a" + b"\x91" * (levels - 2) + b"\x90"


def events_of(normalized: Normalized) -> list[tuple[int, Any]]:
    return [(int(time), record) for time, record in unpack_entries(normalized.entries)]


@pytest.mark.parametrize(
    ("time", "time_ns"),
    [
        (pack(5), 5 * 10**9),
        (b"\xd3" + (5).to_bytes(8, "big"), 5 * 10**9),
        (pack(2**32 - 3), (2**32 - 3) * 10**9),
        (pack(1.25), 1_250_000_000),
        (pack(1769860800.123), 1_769_860_800_123_000_000),
        (b"\xca\x3f\xc0\x00\x00", 1_500_000_000),
        (b"\xd7\x00" + EXT, TIME_NS),
        (b"\xc7\x08\x00" + EXT, TIME_NS),
        (b"\xc8\x00\x08\x00" + EXT, TIME_NS),
        (b"\xd7\x00" + b"\xff" * 8, MAX_TIME_NS + 0xFFFFFFFF - 999_999_999),
    ],
)
@pytest.mark.parametrize("metadata", [None, b"\x80", b"\xc0", b"\x91\x01"])
def test_every_form_of_an_entry_is_brought_to_one(
    engine: Engine, time: bytes, time_ns: int, metadata: bytes | None
) -> None:
    """Integer, float and EventTime, with metadata and without, whatever the headers."""
    for head in (b"\x92", b"\xdc\x00\x02", b"\xdd\x00\x00\x00\x02"):
        first = time if metadata is None else head + time + metadata
        entry = head + first + RECORD
        done = engine.normalize(entry, NOW_NS)
        assert done[1:] == (1, len(entry), {}, {}, b"", ())
        assert done.entries.startswith(b"\x92\xd7\x00")
        assert done.entries.endswith(RECORD)
        assert events_of(done) == [(time_ns, {"a": 1})]
        more = engine.normalize(CANONICAL + entry * 3, NOW_NS)
        assert more[:2] == (CANONICAL + done.entries * 3, 4)


@pytest.mark.parametrize("time", [b"\xc0", b"\x00", pack(0.0), b"\xd7\x00" + bytes(8), b"\xd1\x00\x00"])
def test_no_time_means_now(engine: Engine, time: bytes) -> None:
    """As Fluentd takes nil and 0."""
    done = engine.normalize(CANONICAL + b"\x92" + time + RECORD, NOW_NS)
    assert events_of(done) == [(TIME_NS, {"a": 1}), (NOW_NS, {"a": 1})]
    assert done.mended == {"time_missing": 1}
    assert not done.skipped


@pytest.mark.parametrize(
    ("time", "time_ns", "mended"),
    [
        (1_700_000_000_123, 1_700_000_000_123_000_000, "time_scaled"),
        (1_700_000_000_123.5, 1_700_000_000_123_500_000, "time_scaled"),
        (1_700_000_000_123_456, 1_700_000_000_123_456_000, "time_scaled"),
        (1_700_000_000_123_456_789, 1_700_000_000_123_456_789, "time_scaled"),
        (2**32 - 1, MAX_TIME_NS, "time_clamped"),
        (2**32, MAX_TIME_NS, "time_clamped"),
        (2**64 - 1, MAX_TIME_NS, "time_clamped"),
        (-5, 1, "time_clamped"),
        (-1, 1, "time_clamped"),
        (1e300, MAX_TIME_NS, "time_clamped"),
        (-1e300, 1, "time_clamped"),
    ],
)
def test_a_time_that_is_no_number_of_seconds_is_marked_and_counted(
    engine: Engine, time: float, time_ns: int, mended: str
) -> None:
    """Milliseconds, microseconds, nanoseconds; before 1970 and after 2106."""
    done = engine.normalize(pack([time, {"a": 1}]), NOW_NS)
    assert events_of(done) == [(time_ns, {"a": 1, "time_as_sent": time})]
    assert done.mended == {mended: 1}
    own = engine.normalize(pack([time, {"time_as_sent": "mine"}]), NOW_NS)
    assert events_of(own) == [(time_ns, {"time_as_sent": "mine"})]


def test_metadata_of_an_event_are_left_out(engine: Engine) -> None:
    """As every receiver does; the record is what was logged."""
    done = engine.normalize(pack([[5, {"level": "x"}], {"a": 1}]), NOW_NS)
    assert [record for _, record in events_of(done)] == [{"a": 1}]


def test_canonical_entries_are_not_copied(engine: Engine) -> None:
    """The very object comes back."""
    data = CANONICAL * 3
    assert engine.normalize(data, NOW_NS).entries is data
    assert engine.normalize(b"", NOW_NS)[:3] == (b"", 0, 0)


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
    assert engine.normalize(b"\x92\x05" + record, NOW_NS).entries == pack_entry(5 * 10**9, {})[:-1] + record


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"\x91\x05", "not_an_event"),
        (b"\x93\x05\x80\x80", "not_an_event"),
        (b"\x80", "not_an_event"),
        (b"\x92\x91\x05\x80", "not_an_event"),
        (b"\x92\x93\x05\x80\x80\x80", "not_an_event"),
        (b"\x92\xa1x\x80", "bad_time"),
        (b"\x92\xc2\x80", "bad_time"),
        (b"\x92\x92\x92\x05\x80\x80\x80", "bad_time"),
        (b"\x92\xd7\x01" + EXT + b"\x80", "bad_time"),
        (b"\x92\xd6\x00" + EXT[:4] + b"\x80", "bad_time"),
        (pack([float("nan"), {}]), "bad_time"),
        (pack([float("inf"), {}]), "bad_time"),
        (b"\x92\x05\x01", "bad_record"),
        (b"\x92\x05\xc0", "bad_record"),
        (b"\x92\x05\x90", "bad_record"),
        (b"\x92\xd7\x00" + EXT + b"\xa1x", "bad_record"),
        (b"\x92\x05" + deep_record(200), "too_deep"),
        (b"\x92\xd7\x00" + EXT + deep_record(100_000), "too_deep"),
        (b"\x92\x92\x05" + deep_record(MAX_DEPTH) + RECORD, "too_deep"),
        (b"\x92\x05" + b"\x81" * (MAX_DEPTH + 1) + b"\xc0" * (MAX_DEPTH + 2), "too_deep"),
    ],
)
def test_a_bad_event_is_left_out_and_its_neighbours_stay(engine: Engine, bad: bytes, reason: str) -> None:
    """It is counted, by reason."""
    for other in (CANONICAL, b"\x92\x05" + RECORD):
        data = other * 50 + bad + other * 49
        done = engine.normalize(data, NOW_NS)
        assert done.events == 99 == engine.count(done.entries)
        assert done.consumed == len(data)
        assert done.skipped == {reason: 1}
        assert done.refused == ((reason, 50 * len(other), 50 * len(other) + len(bad)),)


def test_it_says_where_the_first_bad_events_are(engine: Engine) -> None:
    """As many as are worth being looked at."""
    done = engine.normalize((CANONICAL + b"\x92\xa1x\x80") * 100, NOW_NS)
    size = len(CANONICAL) + 4
    assert done.skipped == {"bad_time": 100}
    assert list(done.refused) == [
        ("bad_time", size * (n + 1) - 4, size * (n + 1)) for n in range(MAX_REFUSED)
    ]


def test_what_nests_as_deep_as_allowed_is_kept(engine: Engine) -> None:
    """In records and in metadata."""
    for head in (b"\x92\x05", b"\x92\x92\x05\x80", b"\x92\xd7\x00" + EXT):
        assert engine.normalize(head + deep_record(MAX_DEPTH), NOW_NS).events == 1
        assert engine.normalize(head + deep_record(MAX_DEPTH + 1), NOW_NS).skipped == {"too_deep": 1}
    done = engine.normalize(b"\x92\x92\x05" + deep_record(MAX_DEPTH - 1) + RECORD, NOW_NS)
    assert engine.count(done.entries) == 1


@pytest.mark.parametrize("bad", [b"\xc1", b"\x92\x05\x81\xa1a\xc1", b"\x92\xa1x\xc1", b"\x92\xc1"])
def test_what_is_no_msgpack_is_refused(engine: Engine, bad: bytes) -> None:
    """Nobody can tell where the next event begins."""
    for data in (bad, CANONICAL + bad):
        with pytest.raises(MalformedData):
            engine.normalize(data, NOW_NS)


@pytest.mark.parametrize(
    "torn",
    [
        b"\x92", b"\x92\x05", b"\x92\xa1x", b"\x92\x05\x81\xa1a", CANONICAL[:-1], CANONICAL[:5],
        b"\x92\x05\x81\xa1a\xdb\xff\xff\xff\xffx", b"\x92\x05\xdf\xff\xff\xff\xff",
        b"\x92\x05" + b"\x91" * 500,
    ],
)  # fmt: skip
def test_a_torn_end_is_not_consumed(engine: Engine, torn: bytes) -> None:
    """Also when what has come of it is bad."""
    for data in (CANONICAL, CANONICAL + b"\x92\x05" + RECORD):
        done = engine.normalize(data + torn, NOW_NS)
        assert done.consumed == len(data)
        assert not done.skipped


def test_groups_are_no_events_and_their_fields_are_added(engine: Engine) -> None:
    """As Fluent Bit frames what came by OTLP; also across calls."""
    body = {"resource": {"service": "x"}, "a": "group"}
    start = b"\x92\x92" + START + pack({"schema": "otlp"}) + pack(body)
    end = b"\x92\x92" + END + b"\x80\x80"
    inside = pack([5, {"a": 1}]) + CANONICAL + pack([[5, {}], {}])
    data = CANONICAL + start + inside + end + CANONICAL
    expected = [
        {"a": 1},
        {"a": 1, "resource": {"service": "x"}},
        {"a": 1, "resource": {"service": "x"}},
        {"resource": {"service": "x"}, "a": "group"},
        {"a": 1},
    ]
    done = engine.normalize(data, NOW_NS)
    assert [record for _, record in events_of(done)] == expected
    assert (done.events, done.skipped, done.mended, done.group) == (5, {}, {}, b"")
    parts, at, group = [], 0, b""
    while at < len(data):
        part = engine.normalize(data[at:], NOW_NS, limit=1, group=group)
        parts += [record for _, record in events_of(part)]
        at, group = at + part.consumed, part.group
    assert parts == expected
    plain = engine.normalize(data, NOW_NS, group=None)
    assert [record for _, record in events_of(plain)] == [{"a": 1}] * 3 + [{}, {"a": 1}]


def test_marks_of_groups_may_be_integers(engine: Engine) -> None:
    """With metadata only: without, they are times before 1970."""
    data = pack([[-1, {}], {"g": 1}]) + pack([5, {}]) + pack([[-2, {}], {}]) + pack([-1, {}])
    done = engine.normalize(data, NOW_NS)
    assert events_of(done) == [(5 * NANOSECOND, {"g": 1}), (1, {"time_as_sent": -1})]


def test_fields_of_a_group_that_would_multiply_too_much_are_left_out(engine: Engine) -> None:
    """They are repeated for every event."""
    start = b"\x92\x92" + START + b"\x80" + pack({"x": "y" * MAX_GROUP_BYTES})
    done = engine.normalize(start + CANONICAL, NOW_NS)
    assert done.entries == CANONICAL
    assert done.mended == {"group_too_large": 1}


@pytest.mark.parametrize("entry", [CANONICAL, b"\x92\x05" + RECORD])
def test_it_stops_at_the_limit(engine: Engine, entry: bytes) -> None:
    """After the entry that reaches it."""
    whole = engine.normalize(entry, NOW_NS).entries
    for limit in (1, len(whole), len(whole) + 1, 5 * len(whole)):
        done = engine.normalize(entry * 10, NOW_NS, limit=limit)
        expected = -(-limit // len(whole))
        assert done[:3] == (whole * expected, expected, expected * len(entry))
    assert engine.normalize(entry, NOW_NS, limit=0)[:3] == (b"", 0, 0)


@pytest.mark.slow
@given(canonical_entries())
@drawn_often
def test_what_is_canonical_after_it_stays(engine: Engine, entries: bytes) -> None:
    """Normalizing twice is normalizing once."""
    done = engine.normalize(entries, NOW_NS)
    assert engine.normalize(done.entries, NOW_NS)[:2] == (done.entries, done.events)
    assert engine.count(done.entries) == done.events


@pytest.mark.slow
@given(damaged(foreign_entries()), st.integers(1, 200))
@drawn_often
def test_in_parts_it_is_the_same(engine: Engine, data: bytes, limit: int) -> None:
    """Whatever the limit."""
    try:
        whole = engine.normalize(data, NOW_NS)
    except MalformedData:
        return
    entries, at, group, events = b"", 0, b"", 0
    while True:
        part = engine.normalize(data[at:], NOW_NS, limit=limit, group=group)
        entries, at, group, events = (
            entries + part.entries, at + part.consumed, part.group, events + part.events
        )  # fmt: skip
        if not part.consumed:
            break
    assert (entries, events, at, group) == (whole.entries, whole.events, whole.consumed, whole.group)
