"""Which files the configured globs name, and which directories to watch for new ones.

One walk gives both. Directories below ``**`` are visited once each, whatever links lead to them, and those
that are reached without a link come first, so that a file has one path however its directories are linked.
"""

# Paths are text here: there are thousands in a scan, and links must stay as they are written.
# ruff: noqa: PTH100, PTH110, PTH112, PTH114, PTH116

from __future__ import annotations

import glob
import os
import stat
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import pairwise, takewhile
from typing import NamedTuple

from logflow.sources.tail.content import is_compressed

_MOST_ENTRIES = 1_000_000
"""Names that one walk looks at; what lies beyond is not found, and it is said."""

_MOST_PATTERNS = 1000
"""What the braces of one path may become."""


class FoundFile(NamedTuple):
    """A file that a glob names; what the link leads to if it is one."""

    path: str
    device: int
    inode: int
    size: int
    mtime_ns: int

    @property
    def place(self) -> tuple[int, int]:
        """Its device and inode."""
        return self.device, self.inode


@dataclass
class Search:
    """What one walk found.

    Attributes:
        files: in the order of their paths.
        directories: existing ones in which a file that matches, or that a link leads to, or a directory or
            link on the way to it, may appear.
        links: links to directories that were followed on the way.
        dangling: links that match and lead nowhere.
        awaited: where these lead, and the links.
        outside: files that match, but lie outside of where they may.
        incomplete: there were too many names to look at all of them.
    """

    files: list[FoundFile] = field(default_factory=list)
    directories: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    dangling: list[str] = field(default_factory=list)
    awaited: dict[str, str] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    incomplete: bool = False


class Finder:
    """Looks for files by globs.

    ``*``, ``?`` and ``[...]`` match within a name, ``**`` any directories, ``{a,b}`` either text. An exclude
    pattern without a slash is held against the name alone. Compressed files are found only by
    globs that end as their names do, such as ``*.gz``.
    """

    def __init__(self, paths: Sequence[str], exclude: Sequence[str], *, within: bool = False) -> None:
        """Compile the patterns.

        Args:
            paths: globs of files.
            exclude: globs of files to leave out.
            within: leave out files that links lead to outside of the directory that a glob begins with.

        Raises:
            ValueError: the braces of a path become too many patterns.
        """
        self._paths = [os.path.abspath(pattern) for path in paths for pattern in expand_braces(path)]
        self._packed = [pattern.split("/") for pattern in self._paths if is_compressed(pattern)]
        self._roots = tuple({_root(pattern) for pattern in self._paths}) if within else None
        self._exclude = [
            pattern if "/" not in pattern else os.path.abspath(pattern)
            for path in exclude
            for pattern in expand_braces(path)
        ]

    @property
    def names_packed(self) -> bool:
        """Whether a glob names compressed files."""
        return bool(self._packed)

    def search(self, stopped: Callable[[], bool] = lambda: False) -> Search:
        """Look at the file system; ends early, with what it has, once ``stopped`` says so."""
        walk = _Walk(stopped)
        for pattern in self._paths:
            walk.follow(pattern)
        search = walk.search
        for name in sorted(filter(self._kept, walk.names)):
            if not self.allows(os.path.realpath(name)):
                search.outside.append(name)
            elif (found := self.look(name)) is not None:
                search.files.append(found)
            elif os.path.islink(name) and not os.path.exists(name):
                search.dangling.append(name)
                target = os.path.realpath(name)
                search.awaited[target] = name
                if os.path.isdir(directory := target.rpartition("/")[0]):
                    search.directories.add(directory)
        return search

    def allows(self, real: str) -> bool:
        """Whether a file whose path has no links may be read."""
        return self._roots is None or real.startswith(self._roots)

    def look(self, path: str) -> FoundFile | None:
        """Look at one path; ``None`` if nothing is there, it is a directory, or lies outside."""
        if self._roots is not None and not self.allows(os.path.realpath(path)):
            return None
        try:
            status = os.stat(path)
        except OSError:
            return None
        if stat.S_ISDIR(status.st_mode):
            return None
        return FoundFile(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def wants(self, path: str) -> bool:
        """Whether a file at ``path`` would be found."""
        parts = path.split("/")
        return self._kept(path) and any(_matches(parts, pattern.split("/")) for pattern in self._paths)

    def _kept(self, path: str) -> bool:
        name, parts = path.rpartition("/")[2], path.split("/")
        if is_compressed(name) and not any(_matches(parts, pattern) for pattern in self._packed):
            return False
        return not name.endswith(".tmp") and not any(
            _matches(parts, pattern.split("/")) if "/" in pattern else fnmatchcase(name, pattern)
            for pattern in self._exclude
        )


def _root(pattern: str) -> str:
    """The directory that a glob begins with, without links, and a slash behind it."""
    fixed = list(takewhile(lambda part: not glob.has_magic(part), pattern.split("/")[:-1]))
    return os.path.realpath("/".join(fixed) or "/").rstrip("/") + "/"


class _Walk:
    """Follows patterns, part by part, through the directories that there are."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self.search = Search()
        self.names: set[str] = set()
        self._stopped = stopped
        self._entries = 0
        self._ready: list[tuple[str, int]] = []
        self._linked: deque[tuple[str, int]] = deque()
        """Reached through a link: visited when nothing else is left."""

    def follow(self, pattern: str) -> None:
        """Collect the names that the pattern matches."""
        parts = pattern.split("/")[1:]
        recursive = "**" in parts
        visited: set[tuple[int, int, int]] = set()
        self._ready.append(("", 0))
        while self._ready or self._linked:
            directory, index = self._ready.pop() if self._ready else self._linked.popleft()
            if self._stopped() or self._entries > _MOST_ENTRIES:
                self.search.incomplete = True
                self._ready.clear()
                self._linked.clear()
                return
            if recursive:
                try:
                    status = os.stat(directory or "/")
                except OSError:
                    continue
                place = (status.st_dev, status.st_ino, index)
                if place in visited:
                    continue
                visited.add(place)
            self._step(directory, parts, index)

    def _step(self, directory: str, parts: list[str], index: int) -> None:
        part = parts[index]
        last = index == len(parts) - 1
        if part == "**":
            if not last:
                self._ready.append((directory, index + 1))
            self._list(directory, "*", index, last=last, descend=True)
        elif glob.has_magic(part):
            self._list(directory, part, index + 1, last=last, descend=not last)
        elif last:
            self.search.directories.add(directory or "/")
            self.names.add(f"{directory}/{part}")
        else:
            self._enter(directory, part, index + 1)

    def _enter(self, directory: str, name: str, index: int) -> None:
        path = f"{directory}/{name}"
        if not os.path.isdir(path):
            self.search.directories.add(directory or "/")  # where the way to it will appear
        elif os.path.islink(path):
            self._through_link(directory, path, index)
        else:
            self._ready.append((path, index))

    def _list(self, directory: str, part: str, index: int, *, last: bool, descend: bool) -> None:
        self.search.directories.add(directory or "/")
        try:
            with os.scandir(directory or "/") as entries:
                for entry in entries:
                    self._entries += 1
                    if self._entries > _MOST_ENTRIES:
                        return
                    if not _name_matches(entry.name, part):
                        continue
                    path = f"{directory}/{entry.name}"
                    if _is_directory(entry):
                        if not descend:
                            continue
                        if entry.is_symlink():
                            self._through_link(directory, path, index)
                        else:
                            self._ready.append((path, index))
                    elif last:
                        self.names.add(path)
        except OSError:
            return

    def _through_link(self, directory: str, path: str, index: int) -> None:
        self.search.directories.add(directory or "/")
        self.search.links.add(path)
        self._linked.append((path, index))


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links
        return False


def expand_braces(pattern: str) -> list[str]:
    """Return the patterns that ``{a,b}`` stands for; braces without a comma or a partner are themselves.

    Raises:
        ValueError: there are too many.
    """
    waiting, done = [pattern], []
    while waiting:
        text = waiting.pop()
        group = _first_group(text)
        if group is None:
            done.append(text)
        else:
            start, end, choices = group
            waiting += [text[:start] + choice + text[end:] for choice in reversed(choices)]
        if len(waiting) + len(done) > _MOST_PATTERNS:
            raise ValueError(f"the braces of {pattern!r} stand for more than {_MOST_PATTERNS} paths")
    return done


def _first_group(text: str) -> tuple[int, int, list[str]] | None:
    """Find the first pair of braces with a comma of its own: where it is, and its choices."""
    opened: list[tuple[int, list[int]]] = []
    found: tuple[int, int, list[int]] | None = None
    for index, char in enumerate(text):
        if char == "{":
            opened.append((index, []))
        elif char == "," and opened:
            opened[-1][1].append(index)
        elif char == "}" and opened:
            start, commas = opened.pop()
            if commas and (found is None or start < found[0]):
                found = (start, index + 1, commas)
            if found is not None and not opened:
                break
    if found is None:
        return None
    start, end, commas = found
    edges = [start, *commas, end - 1]
    choices = [text[left + 1 : right] for left, right in pairwise(edges)]
    return start, end, choices


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
