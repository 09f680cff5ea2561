"""Which files the configured globs name, and which directories to watch for new ones."""

# Paths are text here: there are thousands in a scan, and links must stay as they are written.
# ruff: noqa: PTH100, PTH112, PTH116, PTH120, PTH207

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple


class Found(NamedTuple):
    """A file that a glob names; what the link leads to if it is one."""

    path: str
    device: int
    inode: int
    size: int
    mtime_ns: int


class Finder:
    """Looks for files by globs: ``*``, ``?``, ``[...]`` within a name, ``**`` for any directories.

    An exclude pattern without a slash is held against the name alone. Compressed files (``.gz``) are
    never found: they are only read where they continue a file that is known.
    """

    def __init__(self, paths: Sequence[str], exclude: Sequence[str]) -> None:
        self._paths = [os.path.abspath(path) for path in paths]
        self._exclude = [pattern if "/" not in pattern else os.path.abspath(pattern) for pattern in exclude]

    def find(self) -> list[Found]:
        """Look at the file system; files in the order of their paths."""
        names = {name for pattern in self._paths for name in glob.iglob(pattern, recursive=True)}
        found = (self.look(name) for name in sorted(names) if self._kept(name))
        return [file for file in found if file is not None]

    @staticmethod
    def look(path: str) -> Found | None:
        """Look at one path; ``None`` when nothing is there or it is a directory."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        if stat.S_ISDIR(status.st_mode):
            return None
        return Found(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def wants(self, path: str) -> bool:
        """Whether a file at ``path`` would be found."""
        parts = path.split("/")
        return self._kept(path) and any(_matches(parts, pattern.split("/")) for pattern in self._paths)

    def directories(self) -> set[str]:
        """Existing directories in which a file that matches, or a directory on the way to it, may appear."""
        found: set[str] = set()
        for pattern in self._paths:
            parent = os.path.dirname(pattern)
            while glob.has_magic(parent):
                found.update(name.rstrip("/") for name in glob.iglob(parent + "/", recursive=True))
                parent = os.path.dirname(parent)
            found.add(parent)
        return {_nearest(directory) for directory in found}

    def _kept(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return not name.endswith((".gz", ".tmp")) and not any(
            _matches(path.split("/"), pattern.split("/")) if "/" in pattern else fnmatchcase(name, pattern)
            for pattern in self._exclude
        )


def _nearest(directory: str) -> str:
    """The directory, or the one above it in which the way to it will appear."""
    while not os.path.isdir(directory) and directory != "/":
        directory = os.path.dirname(directory)
    return directory


def _matches(parts: list[str], patterns: list[str]) -> bool:
    """Hold the parts of a path against those of a glob, in time linear in both."""
    reached = {0}  # how many parts the patterns so far may have taken
    for pattern in patterns:
        if pattern == "**":
            reached = set(range(min(reached), len(parts) + 1))
        else:
            reached = {i + 1 for i in reached if i < len(parts) and _name_matches(parts[i], pattern)}
        if not reached:
            return False
    return len(parts) in reached


def _name_matches(name: str, pattern: str) -> bool:
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return fnmatchcase(name, pattern)
