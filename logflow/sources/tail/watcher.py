"""Tells at once what changes below the configured paths, where the system can; scans do the rest.

Two kinds of watches: one on every open file (through its descriptor, so that it follows renames), and
one on every directory in which a configured path may appear or a file may be rotated.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import Protocol

from logflow.sources.tail import inotify
from logflow.sources.tail.inotify import Inotify, Notice
from logflow.sources.tail.lane import Lane

_GATHER_S = 0.15
_GATHER_MOST_S = 0.18
_READS_PER_S = 600
"""What is written between two looks at the notices is read in one go. A look costs a read of every file that
was written to, and a chunk of each on the whole way to its end, so the more files these are, the longer the
wait for the next one. After a quiet time there is none."""

_DIRECTORY_MASK = (
    inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO | inotify.IN_ATTRIB
    | inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF | inotify.IN_ONLYDIR
)  # fmt: skip
_ARRIVALS = inotify.IN_CREATE | inotify.IN_MOVED_TO


class Listener(Protocol):
    """Who is told."""

    def wake(self, lane: Lane) -> None:
        """A file of the lane was written to."""

    def look_at(self, path: str) -> None:
        """Something happened to the name ``path``."""

    def look_everywhere(self) -> None:
        """A directory appeared, or notices were lost."""


class Watcher:
    """Watches files and directories. ``complete`` says whether everything that was asked for is watched."""

    def __init__(self, listener: Listener, log: logging.Logger, *, enabled: bool) -> None:
        self.complete = False
        self._listener = listener
        self._log = log
        self._enabled = enabled
        self._inotify: Inotify | None = None
        self._lanes: dict[int, Lane] = {}
        self._directories: dict[int, set[str]] = defaultdict(set)
        self._watched: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Start; where the system has no inotify left, say so."""
        if not self._enabled or self._inotify is not None:
            return
        try:
            self._inotify = Inotify()
        except OSError as error:
            self._log.warning(
                "inotify cannot be used (%s; see fs.inotify.max_user_instances); files are found and read "
                "by scanning, every scan_interval.", error.strerror or error,
            )  # fmt: skip
            return
        self.complete = True
        self._listen()

    def close(self) -> None:
        """End all watches. Safe twice."""
        if self._inotify is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        asyncio.get_running_loop().remove_reader(self._inotify.fd)
        self._inotify.close()
        self._inotify = None
        self.complete = False
        self._lanes.clear()
        self._directories.clear()
        self._watched.clear()

    def watch_file(self, fd: int, lane: Lane) -> int:
        """Watch an open file; returns a number for :meth:`unwatch_file`, -1 when it is not watched."""
        watch = self._watch(f"/proc/self/fd/{fd}", inotify.IN_MODIFY)
        if watch >= 0:
            self._lanes[watch] = lane
        return watch

    def unwatch_file(self, watch: int) -> None:
        """End the watch of a file."""
        if self._inotify is not None and self._lanes.pop(watch, None) is not None:
            self._inotify.unwatch(watch)

    def watch_directories(self, directories: set[str]) -> bool:
        """Watch these directories; whether there were new ones among them."""
        new = directories - self._watched
        for directory in new:
            watch = self._watch(directory, _DIRECTORY_MASK)
            if watch >= 0:
                self._directories[watch].add(directory)
                self._watched.add(directory)
        return bool(new & self._watched)

    def _watch(self, path: str, mask: int) -> int:
        if self._inotify is None:
            return -1
        try:
            return self._inotify.watch(path, mask)
        except FileNotFoundError:
            return -1  # gone again
        except OSError as error:
            if self.complete:
                self._log.warning(
                    "inotify cannot watch %s (%s; see fs.inotify.max_user_watches); what is not watched is "
                    "found and read by scanning, every scan_interval.", path, error.strerror,
                )  # fmt: skip
            self.complete = False
            return -1

    # -- notices -----------------------------------------------------------------------------------

    def _listen(self) -> None:
        self._timer = None
        if self._inotify is not None:
            asyncio.get_running_loop().add_reader(self._inotify.fd, self._take)

    def _take(self) -> None:
        """Take the notices that are there, then leave the kernel to gather more for a moment."""
        assert self._inotify is not None
        notices = self._inotify.read()
        for notice in notices:
            self._tell(notice)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._inotify.fd)
        files = len({notice.watch for notice in notices})
        self._timer = loop.call_later(min(max(_GATHER_S, files / _READS_PER_S), _GATHER_MOST_S), self._listen)

    def _tell(self, notice: Notice) -> None:
        if notice.mask & inotify.IN_Q_OVERFLOW:
            self._listener.look_everywhere()
        elif notice.mask & inotify.IN_IGNORED:
            self._lanes.pop(notice.watch, None)
            self._watched -= self._directories.pop(notice.watch, set())
        elif (lane := self._lanes.get(notice.watch)) is not None:
            self._listener.wake(lane)
        elif notice.watch in self._directories:
            self._tell_directory(notice)

    def _tell_directory(self, notice: Notice) -> None:
        if notice.mask & (inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF):
            # Its names are no longer what we think; the next scan watches what is there now.
            self._watched -= self._directories[notice.watch]
            self._directories[notice.watch].clear()
            self._listener.look_everywhere()
        elif notice.mask & inotify.IN_ISDIR:
            if notice.mask & _ARRIVALS:
                self._listener.look_everywhere()
        else:
            for directory in self._directories[notice.watch]:
                self._listener.look_at(f"{directory}/{notice.name}")
