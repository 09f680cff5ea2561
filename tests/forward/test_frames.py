"""Frames: what we build and the small parts that we read."""

from __future__ import annotations

import base64

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.batch import Batch
from logflow.engine import load_engine
from logflow.errors import LimitExceeded, MalformedData
from logflow.forward.frames import Option, pack_ack, pack_chunk_id, pack_request, read_option


def test_a_request_is_what_the_specification_asks_for():
    entries = Batch.from_events("t", [(1_000_000_001, {"a": 1})]).entries
    before, after = pack_request("t", len(entries), 1, chunk=pack_chunk_id(b"0123456789abcdef"))
    tag, payload, option = msgpack.unpackb(before + entries + after)
    assert (tag, payload) == ("t", entries)
    assert option == {
        "size": 1,
        "compressed": "text",
        "logflow": 1,
        "chunk": base64.b64encode(b"0123456789abcdef").decode(),
    }


def test_without_a_chunk_id_no_ack_is_asked_for():
    before, after = pack_request("t", 0, 0, compressed="zstd")
    assert msgpack.unpackb(before + after) == ["t", b"", {"size": 0, "compressed": "zstd"}]


def test_the_engine_reads_what_we_build():
    entries = Batch.from_events("t", [(5, {"a": "b"})]).entries
    before, after = pack_request("söme.tag", len(entries), 1, chunk=pack_chunk_id(bytes(16)))
    data = before + entries + after
    scanned = load_engine("python").scan_frames(data, 1 << 20)
    frame = scanned.frames[0]
    assert scanned.consumed == len(data)
    assert (frame.tag.decode(), data[frame.start : frame.end]) == ("söme.tag", entries)
    assert read_option(data[frame.option_start : frame.option_end]).unique


def test_a_tag_that_is_no_text_is_sent_all_the_same():
    before, _ = pack_request("a\ud800b", 0, 0)
    assert msgpack.unpackb(before[:-5].replace(b"\x93", b"\x91", 1)) == ["a\\ud800b"]


def test_a_payload_beyond_the_protocol_is_refused():
    with pytest.raises(LimitExceeded):
        pack_request("t", 1 << 32, 1)


@pytest.mark.parametrize("chunk", ["abc=\n", b"\x00\xff", "x" * 300, 7])
def test_an_ack_echoes_the_id_byte_for_byte(chunk):
    option = read_option(msgpack.packb({"size": 3, "chunk": chunk}))
    assert pack_ack(option.chunk) == msgpack.packb({"ack": chunk})


@pytest.mark.parametrize("absent", [{}, {"chunk": None}, {"chunk": False}])
def test_an_id_may_be_absent_in_several_ways(absent):
    assert read_option(msgpack.packb(absent)) == Option()


def test_keys_may_be_bin_and_unknown_ones_are_ignored():
    data = msgpack.packb({b"compressed": b"gzip", "metadata": {"a": [1]}, 7: 8, "fluent_signal": 2})
    assert read_option(data) == Option(b"", "gzip", "traces")


@pytest.mark.parametrize(
    "option",
    [
        {"compressed": "lzma"},
        {"compressed": 1},
        {"compressed": ["gzip"]},
        {"fluent_signal": "x"},
        [1],
        "x",
        1,
    ],
)
def test_a_strange_option_is_malformed(option):
    with pytest.raises(MalformedData):
        read_option(msgpack.packb(option))


def test_options_are_bounded():
    with pytest.raises(LimitExceeded, match="chunk id"):
        read_option(msgpack.packb({"chunk": "x" * 2000}))
    with pytest.raises(LimitExceeded, match="options"):
        read_option(msgpack.packb({"x": "x" * 100_000}))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_an_option_or_malformed(data):
    try:
        option = read_option(data)
    except MalformedData:
        return
    assert option.chunk in data
