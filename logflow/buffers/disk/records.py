"""The record: what segments and key files are made of.

::

    record = head body tail

    head   0  marker       8   random bytes of this file: where a record may begin
           8  kind         1   see Kind
           9  (zero)       3
          12  description  4   length of the description
          16  body         4   length of the body
          20  body sum     8   xxh3_64 of the body
          28  description      msgpack array, see the classes below
              head sum     8   xxh3_64 of everything in the head before it
    body                       packed entries of a batch, keys; empty for other kinds
    tail      description      the same again
              marker ... body sum   the same 28 bytes, with the marker's bytes reversed
              tail sum     8   xxh3_64 of everything in the tail before it

Integers are little-endian. The description stands before and after the body, so that damage to one of
them costs nothing and damage to the body has a known price: after a bad head, the next good
one is looked for by the marker, and from there tails lead backwards (see ``scan``). The marker is
different in every file and not known outside, so that no log line can pass for a record.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import msgspec
import xxhash

from logflow.batch import DeliveryKey, Origin, Span

_FIXED = struct.Struct("<8sB3xIIQ")
_SUM = struct.Struct("<Q")
FIXED_BYTES = _FIXED.size
FRAME_BYTES = FIXED_BYTES + _SUM.size
"""Bytes of a head or a tail besides its description."""
MAX_DESCRIPTION = 64 * 1024
MAX_BODY = 1 << 30

checksum = xxhash.xxh3_64_intdigest


class Kind(IntEnum):
    """What a record says."""

    BATCH = 1
    CUT = 2
    DONE = 3
    TRIED = 4
    KEYS = 5
    VOID = 6
    """Nothing: it covers damage that was set aside."""


# Descriptions: fields in order, as a msgpack array; a later version may append more of them.


class SpanDescription(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The origin of a batch that can be read again."""

    stream: str
    start: int
    end: int


class BatchDescription(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A batch; the body is its packed entries."""

    seq: int
    """Counts up over the buffer's life; the batch keeps it when it is moved to another segment."""
    tag: str
    count: int
    time_ns: int
    """When it was put, by the wall clock."""
    origin: SpanDescription | bytes | None
    """A part of a stream, a delivery's key, or neither."""


class CutDescription(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A chunk: every batch of the tag up to ``last`` that is not in an earlier chunk."""

    id: bytes
    tag: str
    last: int


class DoneDescription(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The batches of the tag with sequence numbers from ``first`` to ``last`` wait no longer."""

    tag: str
    first: int
    last: int


class TriedDescription(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How often the delivery of a chunk was tried."""

    id: bytes
    attempts: int


Description: TypeAlias = BatchDescription | CutDescription | DoneDescription | TriedDescription
_DECODERS: dict[int, msgspec.msgpack.Decoder[Description]] = {
    Kind.BATCH: msgspec.msgpack.Decoder(BatchDescription),
    Kind.CUT: msgspec.msgpack.Decoder(CutDescription),
    Kind.DONE: msgspec.msgpack.Decoder(DoneDescription),
    Kind.TRIED: msgspec.msgpack.Decoder(TriedDescription),
}
describe = msgspec.msgpack.Encoder().encode


class Record(NamedTuple):
    """A record to be written."""

    kind: Kind
    description: bytes
    body: bytes = b""


class Head(NamedTuple):
    """What a head (or a tail) says."""

    kind: int
    description: bytes
    body_length: int
    body_sum: int

    @property
    def frame_length(self) -> int:
        """Bytes of the head; the tail has as many."""
        return FRAME_BYTES + len(self.description)

    @property
    def length(self) -> int:
        """Bytes of the whole record."""
        return 2 * self.frame_length + self.body_length


def cut_record(chunk_id: bytes, tag: str, last: int) -> Record:
    """Make a CUT record."""
    return Record(Kind.CUT, describe(CutDescription(chunk_id, tag, last)))


def done_record(tag: str, first: int, last: int) -> Record:
    """Make a DONE record."""
    return Record(Kind.DONE, describe(DoneDescription(tag, first, last)))


def tried_record(chunk_id: bytes, attempts: int) -> Record:
    """Make a TRIED record."""
    return Record(Kind.TRIED, describe(TriedDescription(chunk_id, attempts)))


def describe_origin(origin: Origin) -> SpanDescription | bytes | None:
    """The origin as a description holds it."""
    match origin:
        case Span(_, start, end) as span:
            return SpanDescription(span.name, start, end)
        case DeliveryKey(key):
            return key
        case _:
            return None


def decode(head: Head) -> Description | None:
    """Read the description; ``None`` for kinds that have none, and for kinds of the future."""
    decoder = _DECODERS.get(head.kind)
    return None if decoder is None else decoder.decode(head.description)


def encode(record: Record, marker: bytes) -> tuple[bytes, bytes]:
    """Make the head and the tail of a record; its body goes between them as it is."""
    kind, description, body = record
    return encode_frames(Head(kind, description, len(body), checksum(body)), marker)


def encode_frames(head: Head, marker: bytes) -> tuple[bytes, bytes]:
    """Make the head and the tail from what one of them says."""
    kind, description, body_length, body_sum = head
    numbers = (kind, len(description), body_length, body_sum)
    first = _FIXED.pack(marker, *numbers) + description
    last = description + _FIXED.pack(marker[::-1], *numbers)
    return first + _SUM.pack(checksum(first)), last + _SUM.pack(checksum(last))


def length_of(record: Record) -> int:
    """Bytes that the record takes."""
    return 2 * (FRAME_BYTES + len(record.description)) + len(record.body)


def description_length(data: bytes, start: int, marker: bytes) -> int | None:
    """How long the description of a head (or tail) is, by its first 28 bytes; None if they are not a head."""
    if len(data) - start < FIXED_BYTES or not data.startswith(marker, start):
        return None
    length: int = _FIXED.unpack_from(data, start)[2]
    return length if length <= MAX_DESCRIPTION else None


def parse_head(data: bytes) -> Head | None:
    """Read a whole head; ``None`` when its sum is wrong."""
    if checksum(data[:-8]) != _SUM.unpack_from(data, len(data) - 8)[0]:
        return None
    _, kind, _, body_length, body_sum = _FIXED.unpack_from(data)
    return Head(kind, data[FIXED_BYTES:-8], body_length, body_sum)


def parse_tail(data: bytes) -> Head | None:
    """Read a whole tail; ``None`` when its sum is wrong."""
    if checksum(data[:-8]) != _SUM.unpack_from(data, len(data) - 8)[0]:
        return None
    _, kind, _, body_length, body_sum = _FIXED.unpack_from(data, len(data) - FRAME_BYTES)
    return Head(kind, data[:-FRAME_BYTES], body_length, body_sum)
