"""Protocol buffers and snappy blocks, as far as we read and write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.engine import load_engine
from logflow.errors import LimitExceeded, MalformedData
from logflow.protobuf import delimited, fields, integer, signed, varint
from logflow.snappy import pack_literals, unpack

NATIVE = load_engine("native")


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(-(1 << 63), (1 << 63) - 1) | st.binary())))
def test_what_is_written_can_be_read(items):
    message = b"".join(
        delimited(number, value) if isinstance(value, bytes) else integer(number, value)
        for number, value in items
    )
    found = [
        (number, signed(value) if isinstance(value, int) else bytes(value))
        for number, value in fields(memoryview(message))
    ]
    assert found == items


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\x80" * 11, b"\x0b", b"\x09abc", b"\x0a", b"\x08\xff"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(MalformedData, match=r"\w"):
        list(fields(memoryview(data)))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    try:
        list(fields(memoryview(data)))
        unpack(data, 1 << 20)
    except MalformedData:
        pass


@given(st.binary(max_size=2000) | st.text("ab", max_size=5000).map(str.encode))
def test_blocks_of_both_engines_give_the_data_back(data):
    assert unpack(pack_literals(data), 1 << 20) == data
    assert unpack(NATIVE.snappy(data), 1 << 20) == data


def test_text_becomes_smaller_and_large_data_whole():
    data = b'{"level":"info","message":"a line of a log"}\n' * 10_000
    block = NATIVE.snappy(data)
    assert len(block) < len(data) / 10
    assert unpack(block, len(data)) == data
    assert unpack(pack_literals(data), len(data)) == data


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\x05\x00a",
        b"\x01\x04ab",
        b"\x04\x01\x01",
        b"\x04\x00a\x06\x09\x00",
        b"\xff" * 6,
        b"\x04\xfe\xff",
    ],
)
def test_damaged_blocks_are_refused(block):
    with pytest.raises(MalformedData, match="snappy"):
        unpack(block, 1000)


def test_a_block_that_would_be_too_large_is_refused_at_once():
    with pytest.raises(LimitExceeded, match="1000 are allowed"):
        unpack(varint(1 << 31) + b"\x00a", 1000)
