"""Makes chunks into batches of messages: what goes to which topic and partition under which key."""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, repeat
from operator import itemgetter
from typing import Any, TypeAlias
from zlib import crc32

import msgspec

from logflow.batch import Chunk
from logflow.component import Context
from logflow.encoders import text_of
from logflow.expressions import Expression
from logflow.templates import PathTemplate, Splitter

_TIME_AT = 3
_read_time = struct.Struct(">II").unpack_from
_decode = msgspec.msgpack.decode
_NOT_IN_TOPICS = re.compile(r"[^a-zA-Z0-9._-]")
_MOST_TOPIC_LETTERS = 249
_AROUND = 200
"""Bytes that a message has at most beside value, key and tag."""

_Headers: TypeAlias = list[tuple[str, bytes]]


class EventTooLarge(Exception):
    """An event of a chunk makes a message that is too large."""


class RecordBatches:
    """Batches under construction, by topic and partition."""

    def __init__(self, new: Callable[[], Any], partitions: Mapping[str, int]) -> None:
        """``new`` makes an empty batch of the library; ``partitions`` says how many each topic has."""
        self._new = new
        self._partitions = partitions
        self._full: dict[tuple[str, int], list[Any]] = defaultdict(list)

    def add(
        self,
        topic: str,
        spread: bytes,
        messages: Iterable[tuple[bytes | None, int, bytes]],
        headers: _Headers,
    ) -> None:
        """Add messages (key, time in milliseconds, value) to the partition that ``spread`` leads to."""
        batches = self._full[topic, _murmur2(spread) % self._partitions[topic]]
        append = batches[-1].append if batches else _full
        for key, time_ms, value in messages:
            if append(timestamp=time_ms, key=key, value=value, headers=headers) is None:
                batches.append(self._new())
                append = batches[-1].append
                if append(timestamp=time_ms, key=key, value=value, headers=headers) is None:
                    raise EventTooLarge

    def all(self) -> Iterator[tuple[str, int, Any]]:
        """Every batch with its topic and partition; those of a partition in order."""
        for (topic, partition), batches in self._full.items():
            for batch in batches:
                yield topic, partition, batch


class MessageMaker:
    """Makes the messages of a topic from chunks; may be used in a thread."""

    def __init__(
        self, topic: str, key: Expression | None, time_key: str | None, tag_key: str | None, context: Context
    ) -> None:
        self._splitter = Splitter(PathTemplate(f"/{topic}"), context.engine)
        self._key = context.engine.computation(key) if key is not None else None
        self._engine = context.engine
        self._clock = context.clock
        self._keys = (time_key, tag_key)

    def topics(self, chunks: Sequence[Chunk]) -> set[str]:
        """The topics that events of these chunks go to."""
        return {_topic(path) for chunk in chunks for path in self._splitter.parts(chunk)}

    def check(self, chunk: Chunk, limit: int) -> None:
        """Make sure that each event makes a message of at most ``limit`` bytes.

        Raises:
            EventTooLarge: one does not.
        """
        if chunk.size + len(chunk.tag) + _AROUND < limit // 6:  # JSON is never six times as long
            return
        for entries in chunk.parts:
            lines = self._engine.to_ndjson(entries, chunk.tag, *self._keys).splitlines()
            if max(map(len, lines), default=0) + 2 * len(chunk.tag) + _AROUND > limit:
                raise EventTooLarge

    def fill(self, chunks: Sequence[Chunk], batches: RecordBatches) -> None:
        """Add the messages of chunks, in order."""
        for chunk in chunks:
            tag = chunk.tag.encode("utf-8", "backslashreplace")
            headers = [("tag", tag)]
            for path, parts in self._splitter.parts(chunk).items():
                topic = _topic(path)
                for entries in parts:
                    messages = self._messages(entries, chunk.tag)
                    if self._key is None:
                        batches.add(topic, tag, messages, headers)
                        continue
                    for key, of_key in groupby(messages, key=itemgetter(0)):
                        batches.add(topic, tag if key is None else key, of_key, headers)

    def _messages(self, entries: bytes, tag: str) -> Iterator[tuple[bytes | None, int, bytes]]:
        lines = self._engine.to_ndjson(entries, tag, *self._keys).splitlines()
        # Brokers refuse whole batches with a time that is to come; the event's own stands in the message.
        now_ms = self._clock.time_ns() // 1_000_000
        times = [min(_milliseconds(entries, at), now_ms) for at in self._engine.offsets(entries)]
        if self._key is None:
            return zip(repeat(None), times, lines, strict=False)
        values = self._key.values(entries, tag, None, self._clock.time_ns())
        return zip(map(_key_of, values), times, lines, strict=True)


def _full(**_: object) -> None:
    """The place of a batch where there is none yet."""


def _milliseconds(entries: bytes, at: int) -> int:
    seconds, nanoseconds = _read_time(entries, at + _TIME_AT)
    milliseconds: int = seconds * 1000 + nanoseconds // 1_000_000
    return milliseconds


def _key_of(packed: bytes) -> bytes | None:
    value = _decode(packed)
    return None if value is None else text_of(value).encode("utf-8", "backslashreplace")


@lru_cache(maxsize=4096)
def _topic(path: str) -> str:
    """The topic that a rendered template means; a long one keeps a hash of what it was."""
    name = _NOT_IN_TOPICS.sub("_", path.lstrip("/"))
    if name in (".", ".."):
        return name.replace(".", "_")
    if len(name) > _MOST_TOPIC_LETTERS:
        return f"{name[: _MOST_TOPIC_LETTERS - 9]}-{crc32(path.encode()):08x}"
    return name


@lru_cache(maxsize=65536)
def _murmur2(data: bytes) -> int:
    """The hash by which Kafka's own producers choose a partition; without its sign."""
    length, m, h = len(data), 0x5BD1E995, 0x9747B28C ^ len(data)
    whole = length & ~3
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        k = k * m & 0xFFFFFFFF  # noqa: PLW2901
        k = (k ^ (k >> 24)) * m & 0xFFFFFFFF  # noqa: PLW2901
        h = (h * m & 0xFFFFFFFF) ^ k
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & 0xFFFFFFFF
    h = (h ^ (h >> 13)) * m & 0xFFFFFFFF
    return (h ^ (h >> 15)) & 0x7FFFFFFF
