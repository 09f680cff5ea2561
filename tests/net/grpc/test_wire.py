"""What stands in the frames of a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.errors import MalformedData
from logflow.net.grpc import wire
from logflow.net.grpc.wire import Code


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_a_prefix_is_read_back(size, compressed):
    assert wire.read_prefix(wire.prefix(size, compressed=compressed)) == (compressed, size)


def test_a_prefix_of_something_else_is_refused():
    with pytest.raises(MalformedData, match="begins with 80"):
        wire.read_prefix(b"POST ")


@given(st.sampled_from(Code), st.text(max_size=50))
def test_a_status_is_read_back_with_its_message(status, message):
    shown = wire.message_text(message)
    assert shown.isascii()
    assert shown.isprintable()
    trailers = {"grpc-status": str(int(status)), "grpc-message": shown}
    expected = message.encode("utf-8", "backslashreplace").decode()
    assert wire.read_status(trailers) == (status, expected)


@pytest.mark.parametrize("text", ["", "x", "-1", "1" * 5000, "\u0661"])
def test_what_is_no_status_is_none(text):
    assert wire.read_status({"grpc-status": text}) is None


def test_a_status_that_nobody_knows_is_unknown():
    assert wire.read_status({"grpc-status": "99"}) == (Code.UNKNOWN, "")


@given(st.floats(0, 1e6), st.text())
def test_the_pause_is_read_back(delay_s, message):
    details = wire.retry_details(Code.UNAVAILABLE, message, delay_s)
    assert wire.read_retry_s({"grpc-status-details-bin": details}) == pytest.approx(delay_s, abs=1e-6)


@given(st.text())
def test_details_of_any_kind_are_no_pause(text):
    found = wire.read_retry_s({"grpc-status-details-bin": text})
    assert found is None or found >= 0


def test_details_as_another_library_writes_them():
    """RetryInfo of 2.5 s, in the bytes that Google's libraries make of it."""
    text = "CA4SBGJ1c3kaNgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIKCggIAhCAyrXuAQ=="
    assert wire.read_retry_s({"grpc-status-details-bin": text}) == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5S", 5.0), ("1500m", 1.5), ("1H", 3600.0), ("2M", 120.0), ("7u", 7e-6), ("7n", 7e-9), ("1", None),
     ("123456789S", None), ("-1S", None)],
)  # fmt: skip
def test_timeouts(text, seconds):
    assert wire.read_timeout(text) == (None if seconds is None else pytest.approx(seconds))


@given(st.floats(0.001, 1e5))
def test_a_timeout_is_read_back(seconds):
    assert wire.read_timeout(wire.timeout_text(seconds)) == pytest.approx(
        min(seconds, 99_999.999), abs=0.0011
    )
