"""What a log file is known by: its place on disk and hashes of two parts of its content.

::

    0          head.size                       offset
    |----head----|- - - - - - - - -|----tail----|~~~~~~~~~ not read yet
     hash, grows until 1024 bytes    hash of up to
                                     256 bytes

Device and inode alone do not tell: inodes are given out again. A file is the one that we know when its
head and the bytes before our position are the same as before; a copy or a ``.gz`` of it has another
inode but the same content, and is as good. What stands behind the position may be written anew at any
time, so it never decides; as long as little was read, the ``glimpse`` of it helps to find a file again.

Nothing here does I/O: :func:`judge` is given what was found on disk, and :class:`Known` keeps the positions
of files that are away.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable, Iterator
from enum import Enum
from typing import Any, NamedTuple

import msgspec
import xxhash

HEAD_BYTES = 1024
TAIL_BYTES = 256

LEAST_COPY_BYTES = 32
"""Of less than this, the same beginning does not make a file the copy of another one, unless its name or its
times say so too: two programs may begin with the same words."""

_MOST_PER_PATH = 8
_MOST_KNOWN = 4096
_KEPT_NS = 7 * 24 * 3600 * 10**9


class Mark(NamedTuple):
    """A number of bytes and their hash."""

    size: int
    hash: int

    @classmethod
    def of(cls, data: bytes) -> Mark:
        """Mark these bytes."""
        return cls(len(data), xxhash.xxh3_64_intdigest(data))

    def fits(self, data: bytes) -> bool:
        """Whether ``data`` begins with the marked bytes."""
        return len(data) >= self.size and Mark.of(data[: self.size]) == self


NOTHING = Mark.of(b"")


class Point(NamedTuple):
    """A place in a file between two lines."""

    offset: int
    carry: bytes = b""
    """The joins of partial lines that are open there."""
    tail: bytes = b""
    """Up to ``TAIL_BYTES`` before it."""


class FileState(msgspec.Struct, frozen=True, kw_only=True):
    """What is saved of one incarnation of a log file.

    Attributes:
        offset: everything before is safe.
        carry: joins of partial lines that are open there.
        path: where it was found, as the configured glob gave it.
        real: that path with its links followed.
        order: its number among the files that were found at this path, one after another.
        device: of the file system.
        inode: on it.
        head: the file's beginning, as far as it is before the offset.
        tail: the bytes before the offset.
        mtime_ns: when the file was last known to be written to.
        handed: where its open joins were handed to its successor; they are gone from there on.
        format: of its lines; empty when it is not known yet.
        glimpse: the file's beginning as it was last seen, read or not.
        fresh: what may have come before it at its path was not looked for.
        broken: where a line was taken for whole that had no newline for long.
        flushed: where open joins were taken for whole that had not gone on for long, from the offset on; none
            are open there now.
        size: bytes that it was last known to have; 0 if that is not known.
        left_ns: since when it is not followed, because it is away or finished; 0 while it is followed.
        done: it was read to its end, and another one has taken its place.
    """

    offset: int
    carry: bytes
    path: str
    real: str
    order: int
    device: int
    inode: int
    head: Mark
    tail: Mark
    mtime_ns: int
    handed: int | None = None
    format: str = ""
    glimpse: Mark = NOTHING
    fresh: bool = False
    broken: int | None = None
    flushed: tuple[int, ...] = ()
    size: int = 0
    left_ns: int = 0
    done: bool = False

    @property
    def known(self) -> Mark:
        """The mark by which the file is searched for."""
        return max(self.head, self.glimpse)

    def dump(self) -> dict[str, Any]:
        """The state as plain values, for the checkpoints."""
        plain: dict[str, Any] = msgspec.to_builtins(self, builtin_types=(bytes,))
        return plain | {"path": _stored(self.path), "real": _stored(self.real)}

    @classmethod
    def load(cls, plain: dict[str, Any]) -> FileState:
        """Read what :meth:`dump` wrote.

        Raises:
            msgspec.ValidationError: it is not a state.
        """
        names: dict[str, Any] = {
            key: os.fsdecode(plain[key]) for key in ("path", "real") if isinstance(plain.get(key), bytes)
        }
        if not isinstance(
            plain.get("flushed", ()), list | tuple
        ):  # an earlier version kept one of them, or none
            names["flushed"] = [] if plain["flushed"] is None else [plain["flushed"]]
        state = msgspec.convert(plain | names, cls, builtin_types=(bytes,))
        if state.head.size > state.offset:  # an earlier version let it reach beyond the offset
            state = msgspec.structs.replace(state, head=NOTHING, glimpse=state.head)
        return state


def _stored(path: str) -> str | bytes:
    """A path as it is saved: text, or bytes if it is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


class Sight(NamedTuple):
    """What was found on disk, held against one known file.

    Attributes:
        place: device and inode.
        size: in bytes; of a compressed file, -1.
        mtime_ns: when it was last written to.
        head: its first ``HEAD_BYTES``.
        tail: the ``tail.size`` bytes before the known offset.
    """

    place: tuple[int, int]
    size: int
    mtime_ns: int
    head: bytes
    tail: bytes


class Verdict(Enum):
    """What a file on disk is to a known one."""

    SAME = "it, where it was"
    REWRITTEN = "it, where it was, but what had not been read is another text now"
    COPY = "another file that begins with all that was read of it"
    BEGINNING = "another file that holds a part of what was read of it, and nothing else"
    OTHER = "another file"


def judge(state: FileState, sight: Sight, *, named: bool = False) -> Verdict:
    """Say what the file that was found is to a known one.

    Args:
        state: of the known file.
        sight: of what was found.
        named: its name says that it is a rotation of the known one.
    """
    at_place = sight.place == (state.device, state.inode)
    if state.head.fits(sight.head) and state.tail.fits(sight.tail) and not 0 <= sight.size < state.offset:
        if at_place and state.glimpse.fits(sight.head):
            return Verdict.SAME
        if at_place and state.offset:  # else nothing tells it from a new file that was given the inode
            return Verdict.REWRITTEN
        likely = named or state.offset >= LEAST_COPY_BYTES or sight.mtime_ns == state.mtime_ns
        if likely and state.known.size and state.glimpse.fits(sight.head):
            return Verdict.COPY
    elif named and not at_place and 0 < sight.size < state.offset and _begins(state, sight):
        return Verdict.BEGINNING
    return Verdict.OTHER


def _begins(state: FileState, sight: Sight) -> bool:
    return 0 < state.head.size <= len(sight.head) and state.head.fits(sight.head)


class Known:
    """Files that are not followed now, but may come back: kept for a week, and bounded in number."""

    def __init__(self) -> None:
        self._states: dict[str, FileState] = {}
        self._streams: defaultdict[Hashable, dict[str, None]] = defaultdict(dict)

    def __contains__(self, stream: str) -> bool:
        return stream in self._states

    def add(self, stream: str, state: FileState) -> list[str]:
        """Keep a file; returns the streams that are forgotten for it."""
        self._states[stream] = state
        for key in _keys(state):
            self._streams[key][stream] = None
        excess = list(self._streams[state.path])[:-_MOST_PER_PATH] + list(self._states)[:-_MOST_KNOWN]
        return [old for old in excess if self.take(old) is not None]

    def take(self, stream: str) -> FileState | None:
        """Keep a file no longer, as it is followed or gone for good."""
        state = self._states.pop(stream, None)
        for key in _keys(state) if state else ():
            self._streams[key].pop(stream, None)
            if not self._streams[key]:
                del self._streams[key]
        return state

    def candidates(self, path: str, real: str, place: tuple[int, int]) -> list[tuple[str, FileState]]:
        """Files that what is found at a path may be: those of its place first, then the latest."""
        streams: dict[str, None] = {}
        for key in (place, real, path):
            streams |= dict.fromkeys(reversed(self._streams.get(key, {})))
        return [(stream, self._states[stream]) for stream in streams]

    def away(self, path: str) -> Iterator[tuple[str, FileState]]:
        """The files of a path that had not been read to their end, in their order."""
        states = [(stream, self._states[stream]) for stream in self._streams.get(path, ())]
        yield from sorted((pair for pair in states if not pair[1].done), key=lambda pair: pair[1].order)

    def finished(self, path: str) -> list[FileState]:
        """The files of a path that were read to their end."""
        states = (self._states[stream] for stream in self._streams.get(path, ()))
        return [state for state in states if state.done]

    def latest(self, path: str) -> FileState | None:
        """The last file with content of a path."""
        states = [self._states[stream] for stream in self._streams.get(path, ())]
        return max(
            (state for state in states if state.known.size), key=lambda state: state.order, default=None
        )

    def next_order(self, path: str) -> int:
        """The number of a file that comes after all those of a path."""
        return max((self._states[stream].order + 1 for stream in self._streams.get(path, ())), default=0)

    def expire(self, now_ns: int) -> list[str]:
        """Forget what was not seen for a week; returns the streams."""
        old = [stream for stream, state in self._states.items() if state.left_ns < now_ns - _KEPT_NS]
        return [stream for stream in old if self.take(stream) is not None]


def _keys(state: FileState) -> tuple[Hashable, ...]:
    return tuple(dict.fromkeys((state.path, state.real, (state.device, state.inode))))
