"""Times in text: RFC 3339, ISO 8601, unix numbers and patterns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.event import MAX_TIME_NS, NANOSECOND, EventTime
from logflow.timestamps import TimeFormat, parse_rfc3339, parse_timezone

NOON_NS = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()) * NANOSECOND


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"2026-01-31T12:00:00Z", NOON_NS),
        (b"2026-01-31T12:00:00.000000001Z", NOON_NS + 1),
        (b"2026-01-31T12:00:00.5Z", NOON_NS + 500_000_000),
        (b"2026-01-31T12:00:00.1234567899999Z", NOON_NS + 123_456_789),
        (b"2026-01-31T13:30:00+01:30", NOON_NS),
        (b"2026-01-31T00:00:00-12:00", NOON_NS),
        (b"1970-01-01T00:30:00+01:00", None),
        (b"1969-12-31T23:30:00-01:00", 1800 * NANOSECOND),
        (b"2106-02-07T06:28:15.999999999Z", MAX_TIME_NS),
        (b"2106-02-07T06:28:16Z", None),
        (b"2024-02-29T00:00:00Z", 1_709_164_800 * NANOSECOND),
        (b"2023-02-29T00:00:00Z", None),
        (b"2026-01-31T24:00:00Z", None),
        (b"2026-01-31T23:59:60Z", None),
        (b"2026-01-31T12:00:00+24:00", None),
        (b"2026-01-31T12:00:00+00:60", None),
        (b"2026-01-31T12:00:00.Z", None),
        (b"2026-01-31T12:00:00", None),
        (b"2026-01-31 12:00:00Z", None),
        (b"2026-01-31T12:00:00z", None),
        (b"0000-01-01T00:00:00Z", None),
        ("2026-01-31T12:00:0٣Z".encode(), None),
        (b"2026-01-31T12:00:00Z\n", None),
        (b"", None),
    ],
)
def test_rfc3339(text: bytes, expected: int | None) -> None:
    """Only what the RFC allows, with any number of digits, within what an EventTime can carry."""
    assert parse_rfc3339(text) == expected


@given(st.integers(0, MAX_TIME_NS), st.integers(-23 * 60, 23 * 60))
@settings(max_examples=100, deadline=None)
def test_rfc3339_reads_every_time_at_every_offset(time_ns: int, offset_min: int) -> None:
    """To the nanosecond."""
    seconds, fraction = divmod(time_ns, NANOSECOND)
    moment = datetime.fromtimestamp(seconds, timezone(timedelta(minutes=offset_min)))
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}{moment.isoformat()[-6:]}"
    assert parse_rfc3339(text.encode()) == time_ns
    assert TimeFormat("iso8601")(text) == time_ns
    assert parse_rfc3339(EventTime(time_ns).isoformat().encode()) == time_ns


@pytest.mark.parametrize(
    ("time_format", "value", "expected"),
    [
        ("iso8601", "2026-01-31 12:00:00", NOON_NS),
        ("iso8601", "2026-01-31t12:00:00,25 +0000", NOON_NS + 250_000_000),
        ("iso8601", "2026-01-31T13:00:00+01", NOON_NS),
        ("iso8601", "2026-01-31T12:00:00z", NOON_NS),
        ("iso8601", "2026-01-31", None),
        ("iso8601", "2026-01-31T12:00:00  Z", None),
        ("iso8601", "2026-01-31T12:00:00Z" + " " * 100, None),
        ("iso8601", 1_769_860_800, None),
        ("unix", 1_769_860_800, NOON_NS),
        ("unix", 1_769_860_800.123, NOON_NS + 123_000_000),
        ("unix", "1769860800.123456789123", NOON_NS + 123_456_789),
        ("unix", "1769860800.", NOON_NS),
        ("unix", True, None),
        ("unix", -1, None),
        ("unix", -0.0, 0),
        ("unix", -1e-10, 0),
        ("unix", -1e-9, None),
        ("unix", 2**70, None),
        ("unix", 1e300, None),
        ("unix", "1e9", None),
        ("unix", " 1", None),
        ("unix", None, None),
        ("unix", float("nan"), None),
        ("unix", float("inf"), None),
        ("unix_ms", 1_769_860_800_001, NOON_NS + 1_000_000),
        ("unix_ms", "1769860800001.5", NOON_NS + 1_500_000),
        ("unix_us", 1_769_860_800_000_001, NOON_NS + 1000),
        ("unix_ns", 1_769_860_800_000_000_001, NOON_NS + 1),
        ("unix_ns", "1769860800000000001.9", NOON_NS + 1),
        ("%d/%b/%Y:%H:%M:%S %z", "31/Jan/2026:13:00:00 +0100", NOON_NS),
        ("%d/%b/%Y:%H:%M:%S %z", "31/jANUARY/2026:12:00:00 Z", NOON_NS),
        ("%d/%b/%Y:%H:%M:%S %z", "31/Foo/2026:12:00:00 Z", None),
        ("%a %b %e %T %Y", "Sat Jan 31 12:00:00 2026", NOON_NS),
        ("%A, %d %B %Y %I:%M:%S %p", "Saturday, 31 January 2026 12:00:00 PM", NOON_NS),
        ("%F %I:%M %p", "2026-01-31 12:00 am", NOON_NS - 12 * 3600 * NANOSECOND),
        ("%F %I:%M %p", "2026-01-31 13:00 PM", None),
        ("%F %T.%L", "2026-01-31 12:00:00.5", NOON_NS + 500_000_000),
        ("%F %T,%f", "2026-01-31   12:00:00,123456", NOON_NS + 123_456_000),
        ("%D %R", "01/31/26 12:00", NOON_NS),
        ("%y%m%d", "700101", 0),
        ("%y%m%d", "680101", 3_092_601_600 * NANOSECOND),
        ("%s.%N", "1769860800.000000001", NOON_NS + 1),
        ("%%%Y-%m-%d", "%2026-01-31", NOON_NS - 12 * 3600 * NANOSECOND),
        ("%Y-%m-%d", "2026-02-30", None),
    ],
)
def test_formats(time_format: str, value: object, expected: int | None) -> None:
    """What each format reads and what it does not."""
    assert TimeFormat(time_format)(value) == expected


@pytest.mark.parametrize(
    ("zone", "text", "utc"),
    [
        ("+02:00", "2026-01-31T14:00:00", "2026-01-31T12:00:00Z"),
        ("-0330", "2026-01-31T08:30:00", "2026-01-31T12:00:00Z"),
        ("Europe/Berlin", "2026-07-01T14:00:00", "2026-07-01T12:00:00Z"),
        ("Europe/Berlin", "2026-01-31T13:00:00", "2026-01-31T12:00:00Z"),
        ("Europe/Berlin", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
    ],
)
def test_timezone_is_for_times_without_offset(zone: str, text: str, utc: str) -> None:
    """An offset in the text wins."""
    assert TimeFormat("iso8601", zone)(text) == parse_rfc3339(utc.encode())


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "+25:00", "../etc/passwd", "02:00"])
def test_unknown_zones(zone: str) -> None:
    """The error says what to write."""
    with pytest.raises(ValueError, match="not a time zone"):
        parse_timezone(zone)


@pytest.mark.parametrize(
    ("time_format", "problem"),
    [
        ("iso", "does not give month and day"),
        ("%H:%M", "does not give month and day"),
        ("%Y-%m-%d %Q", "'%Q' is not a known directive"),
        ("%Y-%m-%d %", "'%' is not a known directive"),
        ("%Y-%m-%d %Y", "says again"),
        ("%F %Y", "says again"),
    ],
)
def test_useless_formats(time_format: str, problem: str) -> None:
    """They are refused when the configuration is read."""
    with pytest.raises(ValueError, match=problem):
        TimeFormat(time_format)


@given(
    st.one_of(
        st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.binary(), st.lists(st.none())
    )
)
@settings(max_examples=100, deadline=None)
def test_no_value_raises(value: object) -> None:
    """What is not a time is None."""
    for time_format in ("iso8601", "unix", "unix_ms", "unix_us", "unix_ns", "%d/%b/%Y %T %z", "%s"):
        found = TimeFormat(time_format)(value)
        assert found is None or 0 <= found <= MAX_TIME_NS


@pytest.mark.parametrize(
    ("text", "today", "expected"),
    [
        ("Dec 31 23:59:59", "2026-01-01T00:00:00", "2025-12-31T23:59:59"),
        ("Jan  1 00:00:00", "2025-12-31T23:59:59", "2026-01-01T00:00:00"),  # a clock that is ahead, or a zone
        ("Jan  2 12:00:00", "2025-12-31T23:59:59", "2025-01-02T12:00:00"),
        ("Mar 16 22:38:42", "2026-03-16T22:38:43", "2026-03-16T22:38:42"),
        ("Mar 18 00:00:00", "2026-03-16T22:38:43", "2025-03-18T00:00:00"),
        ("Feb 29 12:00:00", "2026-03-16T22:38:43", "2024-02-29T12:00:00"),
        ("Feb 29 12:00:00", "2104-02-28T00:00:00", "2104-02-29T12:00:00"),
        ("Feb 30 12:00:00", "2026-03-16T22:38:43", None),
    ],
)
def test_a_time_without_a_year_is_the_latest_that_is_not_after_tomorrow(
    text: str, today: str, expected: str | None
) -> None:
    now_ns = TimeFormat("iso8601")(today)
    assert now_ns is not None
    read = TimeFormat("%b %d %H:%M:%S", now_ns=lambda: now_ns)
    assert read(text) == TimeFormat("iso8601")(expected)


def test_a_clock_that_goes_on_is_followed() -> None:
    """What was read before is not remembered for another year."""
    now = ["2025-12-31T00:00:00"]
    read = TimeFormat("%m%d %H:%M:%S.%f", now_ns=lambda: TimeFormat("iso8601")(now[0]) or 0)
    assert read("0316 22:38:42.337461") == TimeFormat("iso8601")("2025-03-16T22:38:42.337461")
    now[0] = "2026-12-31T00:00:00"
    assert read("0316 22:38:42.337461") == TimeFormat("iso8601")("2026-03-16T22:38:42.337461")
