"""Where messages end in a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.net.framing import Framing

LIMIT = 480


def cut(data, *, size=None, limit=LIMIT):
    frames = Framing(limit, counted=True)
    found = []
    for start in range(0, len(data), size or len(data) or 1):
        found += frames.feed(data[start : start + (size or len(data))])
    return found, frames


@pytest.mark.parametrize("size", [None, 1, 3, 7])
def test_both_framings_may_be_mixed(size):
    found, frames = cut(b"5 <1>ab<2>line\n6 <3>\nxy\n<4>last\r\n<5>", size=size)
    assert found == [b"<1>ab", b"<2>line", b"<3>\nxy", b"<4>last\r"]
    assert frames.rest() == b"<5>"


def test_lines_may_begin_with_digits():
    assert cut(b"2026-01-01 text\n12:00 text\n1text\n")[0] == [b"2026-01-01 text", b"12:00 text", b"1text"]


@pytest.mark.parametrize("size", [None, 1, 100])
def test_a_long_message_is_cut_and_what_follows_is_sane(size):
    found, frames = cut(b"1000 <1>" + b"x" * 997 + b"5 <2>ab<3>" + b"y" * 2000 + b"\n<4>z\n", size=size)
    assert [len(message) for message in found] == [LIMIT, 5, LIMIT, 4]
    assert found[3] == b"<4>z"
    assert frames.truncated == 2


@pytest.mark.parametrize("size", [None, 1])
def test_a_length_that_lies_ends_the_stream_after_what_came_before(size):
    frames = Framing(LIMIT, counted=True)
    data = b"5 <1>ab3 <2>abcd6 <3>abc"
    found = []
    for start in range(0, len(data), size or len(data)):
        found += frames.feed(data[start : start + (size or len(data))])
    assert frames.broken
    assert found == [b"<1>ab", b"<2>"]
    assert frames.rest()


def test_a_length_of_many_digits_is_none():
    assert cut(b"99999999999999999999 <1>a\n")[0] == [b"99999999999999999999 <1>a"]
    found, frames = cut(b"9999999999 <1>a" + b"b" * 1000)
    assert len(found) == 1
    assert frames.held > 1000


@given(st.lists(st.binary(min_size=1, max_size=600), max_size=8), st.integers(1, 100))
def test_counted_messages_come_as_they_are_however_they_arrive(messages, size):
    data = b"".join(b"%d %b" % (len(message), message) for message in messages)
    found, frames = cut(data, size=size)
    assert found == [message[:LIMIT] for message in messages]
    assert frames.held == 0


@given(st.binary(max_size=3000), st.integers(1, 500))
def test_memory_is_bounded_whatever_comes(data, size):
    frames = Framing(LIMIT, counted=True)
    for start in range(0, len(data), size):
        found = frames.feed(data[start : start + size])
        if frames.broken:
            break
        assert all(len(message) <= LIMIT for message in found)
        assert len(frames._rest) <= LIMIT + size + 16
