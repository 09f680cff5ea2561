"""Frames: what is built to send, and what is read from the small parts of received ones.

::

    Request    = [tag, time, record, option?]                  message
               | [tag, [[time, record], ...], option?]         forward
               | [tag, bin|str of entries, option?]            packed (what we send)
               | nil                                           a heartbeat, ignored
    option     = {"chunk": id, "size": n, "compressed": "text"|"gzip"|"zstd", "fluent_signal": 0|1|2, ...}
    Response   = {"ack": id}                                   only for a request that has a chunk id

Finding frames in received bytes is the engine's work (``Engine.scan_frames``); see
https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import msgpack

from logflow.compression import Compression
from logflow.errors import LimitExceeded, MalformedData

MAX_OPTION_BYTES = 64 * 1024
MAX_CHUNK_ID_BYTES = 1024
MAX_TAG_BYTES = 4096
MAX_PAYLOAD_BYTES = (1 << 32) - 1
"""What the length of a msgpack bin can say."""

UNIQUE_IDS = b"logflow"
"""Our senders' own option, ``"logflow": 1``: the chunk ids are unique in the whole world. Peers ignore it."""

_COMPRESSIONS: dict[object, Compression] = {None: "none", b"text": "none", b"gzip": "gzip", b"zstd": "zstd"}
_SIGNALS = {None: "logs", 0: "logs", 1: "metrics", 2: "traces"}


@dataclass(frozen=True, slots=True)
class Option:
    """What a frame's option map says, as far as it matters here.

    Attributes:
        chunk: the chunk id as a msgpack value, byte for byte as received; ``b""`` when there is none.
        compressed: how the payload of a packed frame is compressed.
        signal: ``logs``; or what Fluent Bit sends besides logs.
        unique: the sender vouches that its ids are unique (see :data:`UNIQUE_IDS`).
    """

    chunk: bytes = b""
    compressed: Compression = "none"
    signal: str = "logs"
    unique: bool = False


NO_OPTION = Option()


def read_option(data: bytes) -> Option:
    """Read an option map. Keys and values may be str or bin; unknown keys are ignored.

    Raises:
        MalformedData: it is not a map, or a value that matters is of no known kind.
        LimitExceeded: it is longer than :data:`MAX_OPTION_BYTES`, or its id than :data:`MAX_CHUNK_ID_BYTES`.
    """
    if len(data) > MAX_OPTION_BYTES:
        raise LimitExceeded(f"a frame's options take {len(data):,} bytes; {MAX_OPTION_BYTES:,} are allowed")
    values = _read_map(data)
    chunk = b"" if values.get(b"chunk", b"\xc0") in (b"\xc0", b"\xc2") else values[b"chunk"]
    if len(chunk) > MAX_CHUNK_ID_BYTES:
        raise LimitExceeded(f"a chunk id has {len(chunk):,} bytes; {MAX_CHUNK_ID_BYTES:,} are allowed")
    try:
        compressed = _COMPRESSIONS[_value(values, b"compressed")]
        signal = _SIGNALS[_value(values, b"fluent_signal")]
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedData(f"a frame's options hold an unknown value: {error}") from None
    return Option(chunk, compressed, signal, UNIQUE_IDS in values)


def _read_map(data: bytes) -> dict[bytes, bytes]:
    """Split a map into its keys and its values, each value still packed."""
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=max(len(data), 1))
    unpacker.feed(data)
    values: dict[bytes, bytes] = {}
    try:
        for _ in range(unpacker.read_map_header()):
            key = unpacker.unpack()
            start = unpacker.tell()
            unpacker.skip()
            if isinstance(key, bytes):
                values[key] = data[start : unpacker.tell()]
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise MalformedData(f"a frame's options are not a map: {error}") from error
    return values


def _value(values: dict[bytes, bytes], key: bytes) -> Any:
    return msgpack.unpackb(values[key], raw=True) if key in values else None


def pack_ack(chunk: bytes) -> bytes:
    """Build the answer to a request whose option had the (packed) chunk id ``chunk``."""
    return b"\x81\xa3ack" + chunk


def pack_chunk_id(chunk_id: bytes) -> bytes:
    """Build the packed form of our own ids: base64, as the specification asks."""
    packed: bytes = msgpack.packb(base64.b64encode(chunk_id).decode())
    return packed


def pack_request(
    tag: str, payload_size: int, events: int, *, chunk: bytes = b"", compressed: Compression = "none"
) -> tuple[bytes, bytes]:
    """Build what stands before and after the payload of a packed frame.

    Args:
        tag: the events' tag.
        payload_size: bytes of the payload, compressed as it is sent.
        events: number of entries.
        chunk: the id from :func:`pack_chunk_id`; ``b""`` asks for no ack.
        compressed: how the payload is compressed.

    Raises:
        LimitExceeded: the payload is too long for the protocol.
    """
    if payload_size > MAX_PAYLOAD_BYTES:
        raise LimitExceeded(f"a chunk of {payload_size:,} bytes is too large for the Forward Protocol")
    packer = msgpack.Packer(autoreset=False, unicode_errors="backslashreplace")
    packer.pack_array_header(3)
    packer.pack(tag)
    header = packer.bytes() + b"\xc6" + payload_size.to_bytes(4, "big")
    option = {"size": events, "compressed": "text" if compressed == "none" else compressed}
    if not chunk:
        return header, msgpack.packb(option)
    packer.reset()
    packer.pack_map_header(len(option) + 2)
    for key, value in option.items():
        packer.pack(key)
        packer.pack(value)
    packer.pack("logflow")
    packer.pack(1)
    packer.pack("chunk")
    return header, packer.bytes() + chunk
