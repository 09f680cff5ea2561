"""Records: written, scanned and checked, with damage of any kind."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.buffers.disk.records import (
    BatchDescription,
    Kind,
    Record,
    SpanDescription,
    decode,
    describe,
    done_record,
    encode,
    length_of,
)
from logflow.buffers.disk.scan import Damaged, Found, Scanner, check
from logflow.buffers.disk.segments import HEADER_BYTES

MARKER = b"\x01markers"
HEADER = bytes(HEADER_BYTES)


def batch(seq: int, body: bytes) -> Record:
    description = BatchDescription(seq, "tag", 3, 12345, SpanDescription("stream", 1, 2))
    return Record(Kind.BATCH, describe(description), body)


def write(records: list[Record]) -> tuple[bytes, list[int]]:
    """A file of records, and where each of them begins."""
    data, starts = HEADER, []
    for record in records:
        starts.append(len(data))
        head, tail = encode(record, MARKER)
        data += head + record.body + tail
    return data, starts


def scan(data: bytes) -> list[Found | Damaged]:
    return list(Scanner(lambda length, offset: data[offset : offset + length], len(data), MARKER))


RECORDS = [batch(1, b"a" * 100), done_record("tag", 1, 1), batch(2, b""), batch(3, b"b" * 50)]


def test_records_are_found_as_they_were_written() -> None:
    """Kind, description and place; bodies are not read."""
    data, starts = write(RECORDS)
    found = scan(data)
    assert [item.start for item in found] == starts
    assert all(isinstance(item, Found) and not item.restored for item in found)
    assert decode(found[0].head) == BatchDescription(1, "tag", 3, 12345, SpanDescription("stream", 1, 2))
    assert found[-1].end == len(data)


def test_a_length_is_known_before_writing() -> None:
    """Places are worked out before the write."""
    data, _ = write(RECORDS)
    assert len(data) == HEADER_BYTES + sum(map(length_of, RECORDS))


def test_a_damaged_head_is_restored_from_the_tail() -> None:
    """Nothing is lost when a single bit of a description flips."""
    data, starts = write(RECORDS)
    for position in range(starts[1], starts[1] + 20):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        found = scan(bytes(damaged))
        assert [item.start for item in found] == starts
        assert [item.restored for item in found if isinstance(item, Found)] == [False, True, False, False]


def test_the_last_record_is_restored_too() -> None:
    """There is no record behind it to be found by its marker: the end of the file serves."""
    data, starts = write(RECORDS)
    damaged = bytearray(data)
    damaged[starts[-1] + 3] ^= 1
    last = scan(bytes(damaged))[-1]
    assert isinstance(last, Found)
    assert last.restored


def test_a_record_that_lost_both_ends_is_damage_and_the_rest_is_found() -> None:
    """What lies between good records is exactly what was damaged."""
    data, starts = write(RECORDS)
    damaged = data[: starts[1]] + bytes(starts[2] - starts[1]) + data[starts[2] :]
    assert scan(damaged)[1] == Damaged(starts[1], starts[2])
    assert [item.start for item in scan(damaged)] == starts


def test_every_truncation_is_torn_not_damaged() -> None:
    """A write that was cut short was never acknowledged."""
    data, starts = write(RECORDS)
    for size in range(HEADER_BYTES, len(data)):
        found = scan(data[:size])
        whole = [
            start for start, record in zip(starts, RECORDS, strict=True) if start + length_of(record) <= size
        ]
        assert [item.start for item in found if isinstance(item, Found)] == whole
        rest = [item for item in found if isinstance(item, Damaged)]
        assert all(item.torn and item.end == size for item in rest)
        assert bool(rest) == (size not in [*starts, len(data)])


def test_zeros_at_the_end_are_damage() -> None:
    """A power cut may leave the size of a file and not its bytes; so does whoever wipes what was there."""
    data, _ = write(RECORDS)
    assert scan(data + bytes(5000))[-1] == Damaged(len(data), len(data) + 5000)


def test_garbage_at_the_end_is_damage() -> None:
    """Nothing that we write looks like it."""
    data, _ = write(RECORDS)
    assert scan(data + b"garbage" * 20)[-1] == Damaged(len(data), len(data) + 140)


def test_a_body_that_looks_like_a_record_is_none() -> None:
    """The marker is not known outside; even a copy of another file's record is only a body."""
    stranger, _ = write(RECORDS)
    data, starts = write([batch(1, stranger), batch(2, b"x")])
    damaged = bytearray(data)
    damaged[starts[0]] ^= 1
    other = bytes(damaged).replace(MARKER, MARKER[::-1], 0)
    assert [item.start for item in scan(other) if isinstance(item, Found)][-1] == starts[1]


def test_a_body_is_checked_whole() -> None:
    """Any flipped bit of a record is noticed; only those of the body cost its content."""
    record = batch(7, b"some entries")
    head, tail = encode(record, MARKER)
    data = head + record.body + tail
    assert check(data, len(head), MARKER).body == record.body
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 4
        checked = check(bytes(damaged), len(head), MARKER)
        assert not checked.intact
        in_body = len(head) <= position < len(head) + len(record.body)
        assert checked.body == (None if in_body else record.body)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_leaves_the_rest(data: st.DataObject) -> None:
    """Whatever is written over whatever part: the scan ends, what it yields covers the file without gap
    or overlap, and every record that was not touched is found."""
    bodies = data.draw(st.lists(st.binary(max_size=80), min_size=1, max_size=8))
    records = [batch(seq, body) for seq, body in enumerate(bodies)]
    content, starts = write(records)
    start = data.draw(st.integers(HEADER_BYTES, len(content)))
    patch = data.draw(st.one_of(st.binary(max_size=200), st.just(bytes(100)), st.just(content[-90:])))
    damaged = content[:start] + patch + content[start + len(patch) :]
    found = scan(damaged)
    assert [item.start for item in found] == [HEADER_BYTES, *[item.end for item in found[:-1]]]
    assert found[-1].end == len(damaged)
    intact = {
        begin
        for begin, record in zip(starts, records, strict=True)
        if content[begin : begin + length_of(record)] == damaged[begin : begin + length_of(record)]
    }
    assert intact <= {item.start for item in found if isinstance(item, Found)}
