"""Records and entries, packed one by one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.errors import LimitExceeded, MalformedData
from logflow.event import MAX_TIME_NS, EventTime
from logflow.packing import pack_entries, pack_entry, pack_record, pack_value, to_text, unpack_entries
from tools.strategies import canonical_entries


class _Odd:
    def __str__(self) -> str:
        return "odd"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**64, str(2**64)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        ("a\ud800", "a\\ud800"),
        ((1, 2), [1, 2]),
        (_Odd(), "odd"),
        ({"a": [2**70, {"b": "\ud800"}]}, {"a": [str(2**70), {"b": "\\ud800"}]}),
        (b"\xff", b"\xff"),
        (Decimal("1.5"), 1.5),
    ],
)
def test_what_msgpack_cannot_hold_becomes_what_comes_nearest(value: Any, expected: Any) -> None:
    """A plugin's record never fails to pack."""
    assert msgpack.unpackb(pack_value(value)) == expected


def test_event_times_are_packed_as_such() -> None:
    """Extension type 0, also inside records."""
    packed = pack_record({"seen": EventTime(1_000_000_002)})
    assert packed == b"\x81\xa4seen\xd7\x00\x00\x00\x00\x01\x00\x00\x00\x02"


def nested(levels: int, value: Any = 0) -> Any:
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("odd", [0, 2**70])
def test_a_record_that_nests_too_deep_is_refused(odd: int) -> None:
    """Whatever else is in it; it could not be rendered later."""
    assert pack_record({"a": nested(127, odd)})
    assert pack_value(nested(127, odd), 2)
    for levels in (128, 500, 5000):
        for refused in ({"a": nested(levels, odd)}, {"a": {"\x80" * 200: nested(levels, odd)}}):
            with pytest.raises(LimitExceeded, match="nests deeper than 128 levels"):
                pack_record(refused)
    with pytest.raises(LimitExceeded):
        pack_value(nested(128, odd), 2)


def test_a_record_that_contains_itself_is_refused() -> None:
    """Nesting without end does not end the program."""
    record: dict[str, Any] = {"a": 1}
    record["self"] = record
    with pytest.raises(LimitExceeded):
        pack_record(record)


def test_wide_records_are_not_deep() -> None:
    assert pack_record({str(n): [[], {}, "é" * 50] for n in range(1000)})


@given(
    st.lists(
        st.tuples(
            st.integers(-5, MAX_TIME_NS + 5),
            st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.floats()), max_size=3),
        ),
        max_size=20,
    )
)
@settings(max_examples=100, deadline=None)
def test_many_entries_are_packed_as_each_by_itself(events: list[tuple[int, dict[str, Any]]]) -> None:
    """Times out of range, huge integers and surrogates included."""
    times, records = [time for time, _ in events], [record for _, record in events]
    assert pack_entries(times, records) == b"".join(pack_entry(*event) for event in events)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65535, 65536])
def test_any_number_of_entries(count: int) -> None:
    """No trace of an array's header is left."""
    packed = pack_entries([0] * count, [{}] * count)
    assert packed == b"\x92\xd7\0\0\0\0\0\0\0\0\0\x80" * count


def test_unpacking_gives_times_with_nanoseconds_and_text() -> None:
    """Strings that are not UTF-8 are escaped."""
    entry = pack_entry(5, {})[:-1] + b"\x82\xa1a\xa1\xff\xa1b\xc4\x01\xff"
    assert list(unpack_entries(entry)) == [(EventTime(5), {"a": "\\xff", "b": b"\xff"})]


@pytest.mark.parametrize(
    "damaged", [b"\x92", b"\xc1", pack_entry(0, {"a": 1})[:-1], b"\x92\xd7\0" + bytes(8)]
)
def test_damage_is_reported(damaged: bytes) -> None:
    """Not as an error of the library that was used."""
    with pytest.raises(MalformedData):
        list(unpack_entries(pack_entry(0, {}) + damaged))


@pytest.mark.parametrize("junk", [b"\x01", b"\x91\x01", b"\x92\x01\x80", b"\x92\xd7\0" + bytes(8) + b"\x01"])
def test_what_is_no_entry_is_reported(junk: bytes) -> None:
    """Whole msgpack that is not a canonical entry is damage too."""
    with pytest.raises(MalformedData):
        list(unpack_entries(junk))


@given(canonical_entries())
@settings(max_examples=100, deadline=None)
def test_all_canonical_entries_can_be_unpacked(entries: bytes) -> None:
    """Whatever their keys are."""
    assert all(isinstance(time, EventTime) for time, _ in unpack_entries(entries))


def test_keys_that_python_cannot_have_become_text() -> None:
    """The entries before and after stay what they are."""
    entry = pack_entry(5, {})[:-1] + b"\x81\x91\x01\x02"
    records = [record for _, record in unpack_entries(pack_entry(0, {1: 2}) + entry * 2)]
    assert records == [{1: 2}, {"[1]": 2}, {"[1]": 2}]


def test_text() -> None:
    """Each invalid byte is visible."""
    assert to_text(b"a\xffb\xe2\x82") == "a\\xffb\\xe2\\x82"
