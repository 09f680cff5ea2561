"""The kernel's notices of changed files, through ctypes on libc.

Our own, because the four calls that we need are shorter than the glue to any library, and a loop of
our own is to read them. See inotify(7) for the meaning of masks and for the layout::

    event = i32 watch, u32 mask, u32 cookie, u32 length, name padded with NUL to length
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x01000000
IN_ISDIR = 0x40000000

_HEADER = struct.Struct("iIII")
_READ_BYTES = 64 * 1024


class Notice(NamedTuple):
    """One event of a watch."""

    watch: int
    mask: int
    name: str
    """Name in the watched directory; empty for the watched thing itself."""


class Inotify:
    """One inotify instance; its descriptor becomes readable when there are notices."""

    def __init__(self) -> None:
        """Open the instance.

        Raises:
            OSError: the system has no inotify or no instance left.
        """
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self.fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        except AttributeError as error:
            raise OSError("this system has no inotify") from error

    def watch(self, path: str, mask: int) -> int:
        """Watch a file or directory; the same thing under another name has the same watch.

        Raises:
            OSError: it cannot be watched, or the system has no watch left.
        """
        return self._checked(self._libc.inotify_add_watch(self.fd, os.fsencode(path), mask))

    def unwatch(self, watch: int) -> None:
        """End a watch; nothing happens when it has ended by itself."""
        self._libc.inotify_rm_watch(self.fd, watch)

    def read(self) -> list[Notice]:
        """Take the notices that have gathered."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return []
        notices, position = [], 0
        while position < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, position)
            position += _HEADER.size
            name = data[position : position + length].rstrip(b"\0")
            notices.append(Notice(watch, mask, os.fsdecode(name)))
            position += length
        return notices

    def close(self) -> None:
        """End all watches. Safe twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
