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
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import msgspec
import xxhash

HEAD_BYTES = 1024
TAIL_BYTES = 256


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
        names = {
            key: os.fsdecode(plain[key]) for key in ("path", "real") if isinstance(plain.get(key), bytes)
        }
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
