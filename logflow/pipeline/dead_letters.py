"""Dead letters: chunks that an output will never take, kept with the reason until somebody decides.

One file for each chunk, written beside and renamed, so that it is whole or not there::

    DATA_DIR/dead-letters/OUTPUT/TIME-ID.letter           kept
                                /replay/TIME-ID.letter    to be delivered again by the service

    letter = b"LFDL0001"  u32 length of the head  u64 xxh3 of head and entries  head  entries
    head   = msgpack {"id", "tag", "count", "reason", "time_ns"}

A chunk has one letter: when a crash came between the letter and the buffer's note of it, the output
rejects the chunk once more, and the new letter replaces the old one.

A letter that is to be replayed is put into the output's buffer as a delivery with a key of its own, and
removed once it is safe there; after a crash in between, the key recognises it. All letters together
may take ``limit_bytes``; beyond that :meth:`DeadLetterStore.put` refuses, and the chunk goes on waiting in
its buffer, so that nothing is lost without anybody having decided so.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import xxhash

from logflow.batch import Batch, Chunk, DeliveryKey
from logflow.clock import Clock
from logflow.errors import DeliveryError, MalformedData

_MAGIC = b"LFDL0001"
_FRAME = struct.Struct("<8sIQ")
_SUFFIX = ".letter"
_REPLAY = "replay"
_LIMIT_BYTES = 1 << 30
_LOOK_AGAIN_S = 5.0


class DeadLetterHead(msgspec.Struct, frozen=True):
    """What is known about a dead chunk.

    Attributes:
        id: the chunk's id.
        tag: its tag.
        count: number of its events.
        reason: why it was given up.
        time_ns: when.
    """

    id: bytes
    tag: str
    count: int
    reason: str
    time_ns: int


@dataclass(frozen=True)
class Letter:
    """One dead letter on disk."""

    path: Path
    head: DeadLetterHead

    @property
    def name(self) -> str:
        """How commands refer to it."""
        return self.path.stem

    @property
    def output(self) -> str:
        """The output that did not take it."""
        return (self.path.parent.parent if self.replaying else self.path.parent).name

    @property
    def replaying(self) -> bool:
        """Whether it waits to be delivered again."""
        return self.path.parent.name == _REPLAY

    def batch(self) -> Batch:
        """Read its events.

        Raises:
            MalformedData: the file is damaged.
        """
        head, entries = _read(self.path)
        return Batch(head.tag, entries, head.count, DeliveryKey(f"letter:{self.name}".encode()))

    def replay(self) -> None:
        """Have the service deliver it again: the one that runs now, or the next one."""
        directory = self.path.parent / _REPLAY
        _make_directory(directory)
        self.path.rename(directory / self.path.name)

    def drop(self) -> None:
        """Delete it for good."""
        self.path.unlink(missing_ok=True)


class DeadLetterStore:
    """The dead letters of one data directory."""

    def __init__(self, directory: Path, clock: Clock, limit_bytes: int = _LIMIT_BYTES) -> None:
        """Keep them below ``directory``, which is made when the first one comes."""
        self._directory = directory
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._writing = asyncio.Lock()
        self._kept: dict[str, dict[str, Path]] = {}
        """Where letters lie, by output and chunk; those that were dropped since may still be there."""
        self._used = 0
        self._looked_s: float | None = None

    def kept(self, output: str) -> int:
        """How many letters of an output there were when somebody last looked, and since; 0 before that."""
        return len(self._kept.get(output, {}))

    async def look(self) -> None:
        """See what is there: commands may have dropped letters, or had them delivered again."""
        async with self._writing:
            await asyncio.to_thread(self._look)

    async def put(self, chunk: Chunk, output: str, reason: str, *, most: int | None = None) -> None:
        """Keep a chunk, unless ``most`` of the output are there; it survives a power cut when this returns.

        Raises:
            DeliveryError: there is no room for it.
        """
        head = DeadLetterHead(chunk.id, chunk.tag, chunk.count, reason, self._clock.time_ns())
        try:
            async with self._writing:
                await asyncio.to_thread(self._write, output, head, chunk.parts, most)
        except OSError as error:
            raise DeliveryError(
                f"the dead letter cannot be written to {self._directory}: {error.strerror}"
            ) from error

    def _write(self, output: str, head: DeadLetterHead, parts: tuple[bytes, ...], most: int | None) -> None:
        packed = msgspec.msgpack.encode(head)
        size = _FRAME.size + len(packed) + sum(map(len, parts))
        self._check_limit(size)
        if most is not None and self.kept(output) >= most:
            raise DeliveryError(f"there are {most} dead letters of {output} already")
        directory = self._directory / output
        _make_directory(directory)
        checksum = xxhash.xxh3_64(packed)
        for part in parts:
            checksum.update(part)
        temporary = directory / f"{head.id.hex()}.tmp"
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.writelines([_FRAME.pack(_MAGIC, len(packed), checksum.intdigest()), packed, *parts])
                file.flush()
                os.fsync(file.fileno())
            path = self._kept.get(output, {}).get(head.id.hex())
            if path is None or not path.exists():
                path = directory / f"{head.time_ns}-{head.id.hex()}{_SUFFIX}"
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self._kept.setdefault(output, {})[head.id.hex()] = path
        self._used += size
        _sync_directory(directory)

    def _check_limit(self, more: int) -> None:
        """Look again only if there seems to be no room: to do so for each letter would be quadratic."""
        now_s = self._clock.monotonic()
        if self._looked_s is None or (self._is_over(more) and now_s - self._looked_s >= _LOOK_AGAIN_S):
            self._look()
        if self._is_over(more):
            raise DeliveryError(
                f"the dead letters in {self._directory} take {self._used:,} bytes, which is their limit; "
                "replay or drop some (logflow dead-letter --help)"
            )

    def _is_over(self, more: int) -> bool:
        return self._used > 0 and self._used + more > self._limit_bytes

    def _look(self) -> None:
        self._looked_s = self._clock.monotonic()
        used, kept = 0, dict[str, dict[str, Path]]()
        for path in self._paths():
            with suppress(FileNotFoundError):  # dropped or delivered meanwhile
                used += path.stat().st_size
                if path.parent.name != _REPLAY:
                    kept.setdefault(path.parent.name, {})[path.stem.rpartition("-")[2]] = path
        self._used, self._kept = used, kept

    def _paths(self) -> list[Path]:
        return [*self._directory.glob(f"*/*{_SUFFIX}"), *self._directory.glob(f"*/{_REPLAY}/*{_SUFFIX}")]

    def letters(self, output: str | None = None) -> Iterator[Letter]:
        """Every letter, oldest first; damaged ones come as such, see :func:`damaged`."""
        return (Letter(path, head) for path, head in self._files(output) if head is not None)

    def damaged(self) -> list[Path]:
        """Files that cannot be understood; they are left where they are."""
        return [path for path, head in self._files(None) if head is None]

    def _files(self, output: str | None) -> Iterator[tuple[Path, DeadLetterHead | None]]:
        for path in sorted(self._paths(), key=lambda path: path.name):
            directory = path.parent.parent if path.parent.name == _REPLAY else path.parent
            if output is None or directory.name == output:
                try:
                    yield path, _read_head(path)
                except FileNotFoundError:
                    continue
                except MalformedData:
                    yield path, None

    def to_replay(self, output: str) -> list[Letter]:
        """Letters that wait to be delivered again to an output."""
        if not (self._directory / output / _REPLAY).is_dir():
            return []
        return [letter for letter in self.letters(output) if letter.replaying]


def _make_directory(directory: Path) -> None:
    """Make a directory and its parents, so that they survive a power cut."""
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in missing:
        _sync_directory(place.parent)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read_head(path: Path) -> DeadLetterHead:
    with path.open("rb") as file:
        frame = file.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            raise MalformedData(f"{path} is no dead letter")
        magic, length, _ = _FRAME.unpack(frame)
        if magic != _MAGIC:
            raise MalformedData(f"{path} is no dead letter")
        try:
            return msgspec.msgpack.decode(file.read(min(length, 1 << 20)), type=DeadLetterHead)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedData(f"the head of the dead letter {path} is damaged: {error}") from error


def _read(path: Path) -> tuple[DeadLetterHead, bytes]:
    head = _read_head(path)
    data = path.read_bytes()
    _, length, checksum = _FRAME.unpack_from(data)
    if xxhash.xxh3_64_intdigest(data[_FRAME.size :]) != checksum:
        raise MalformedData(f"the dead letter {path} is damaged: its checksum is wrong")
    return head, data[_FRAME.size + length :]
