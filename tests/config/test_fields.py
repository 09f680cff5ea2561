"""Sizes, durations and addresses."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.config.fields import parse_address, parse_duration, parse_size

SIZE_UNITS = {"": 1, "B": 1, "kB": 1000, "k": 1000, "KiB": 1024, "MiB": 1 << 20, "GiB": 1 << 30, "TB": 10**12}
DURATION_UNITS = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}


@given(st.integers(0, 10**6), st.sampled_from(sorted(SIZE_UNITS)), st.sampled_from(["", " "]))
def test_a_size_is_a_number_times_its_unit(number: int, unit: str, blank: str) -> None:
    assert parse_size(f"{number}{blank}{unit}") == number * SIZE_UNITS[unit]


@given(st.integers(0, 2**63 - 1))
def test_a_number_of_bytes_is_a_size_to_the_last_digit(number: int) -> None:
    assert parse_size(number) == parse_size(str(number)) == number


@given(
    st.lists(st.tuples(st.integers(0, 9000), st.sampled_from(sorted(DURATION_UNITS))), min_size=1, max_size=4)
)
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert parse_duration(text) == pytest.approx(sum(n * DURATION_UNITS[unit] for n, unit in parts))


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.integers())))
def test_any_value_is_read_or_refused(value: object) -> None:
    for parse in (parse_size, parse_duration, parse_address):
        with suppress(ValueError):
            result = parse(value)
            assert isinstance(result, tuple) or 0 <= result < 2**63


@pytest.mark.parametrize("text", ["", "8Mi8", "MiB", "-1", "1e3", "5 parsecs", "8 M i B", "9" * 30, "1,5MiB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size; write a number and a unit, such as 8MiB"):
        parse_size(text)


@pytest.mark.parametrize(
    "text", ["", "5", "5month", "s", "1h x", "-1s", float("inf"), float("nan"), True, 1e30]
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; write a number and a unit, such as 5s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:24224", ("127.0.0.1", 24224)),
        ("aggregator-0:0", ("aggregator-0", 0)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["host", ":80", "host:", "host:65536", "::1:80", "host:²", "ho st:1", "http://h:1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address; write host:port"):
        parse_address(text)
