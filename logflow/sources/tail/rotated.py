"""Finding a known file again after it was rotated, and the files that came after it.

Rotated files lie beside the current one, under a name that says their place in time::

    0.log.20260131-115950.gz   0.log.20260131-120000   0.log      a stamp: oldest first
    app.log.2.gz               app.log.1               app.log    a number: highest first
    app-20260130.log           app-20260131.log        app.log    a stamp before the suffix
"""

# Paths are text here: there are thousands in a scan, and links must stay as they are written.
# ruff: noqa: PTH116

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, takewhile
from typing import NamedTuple

from logflow.sources.tail.content import Content, PlainContent, open_content
from logflow.sources.tail.identity import HEAD_BYTES, FileState, Sight, Verdict, judge

_NUMBER_OR_STAMP = r"[.-](?P<stamp>\d[\d.:TZ_-]*?)(?P<packed>\.gz)?"
_STAMP = r"[.-](?P<stamp>\d{4}[\d.:TZ_-]{4,}?)"
_ROTATED = re.compile(r"(?P<stem>.+?)" + _NUMBER_OR_STAMP + "(?P<suffix>)")
_DATED = re.compile(r"(?P<stem>.+?)" + _STAMP + r"(?P<suffix>\.[^.]+)(\.gz)?")

THE_SAME = frozenset({Verdict.SAME, Verdict.REWRITTEN, Verdict.COPY})

_LISTINGS = 3
"""How often a directory is listed when what it held is gone before it can be opened."""

_LONGEST_NUMBER = 5
"""More digits than this are a stamp, not the number of a rotation."""


class Sibling(NamedTuple):
    """A file in the directory of a log file."""

    path: str
    device: int
    inode: int
    mtime_ns: int


class Again(NamedTuple):
    """A known file, opened again."""

    content: Content
    sibling: Sibling
    tail: bytes
    """The bytes before its position."""


def rotated(real: str) -> list[Sibling]:
    """The rotated predecessors of the log file at ``real``, oldest first."""
    directory, _, name = real.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    patterns = [re.compile(re.escape(name) + _NUMBER_OR_STAMP)]
    if stem:  # a number alone, as in worker-1.log beside worker.log, would be another file
        patterns.append(re.compile(re.escape(stem) + _STAMP + re.escape(dot + suffix) + r"(\.gz)?"))
    stamped: dict[str, tuple[tuple[int, str], Sibling]] = {}
    for sibling in _entries(directory):
        own_name = sibling.path.rpartition("/")[2]
        match = next((found for pattern in patterns if (found := pattern.fullmatch(own_name))), None)
        if match:
            stamped[sibling.path] = (_age_order(match["stamp"]), sibling)
    # While a file is being compressed, both forms are there: the plain one is whole.
    packed_too = {f"{path}.gz" for path in stamped}
    return [sibling for _, sibling in sorted(stamped.values()) if sibling.path not in packed_too]


def _age_order(stamp: str) -> tuple[int, str]:
    if stamp.isdigit() and len(stamp) <= _LONGEST_NUMBER:
        return -int(stamp), ""
    return 0, stamp


def _entries(directory: str) -> Iterator[Sibling]:
    """The regular files of a directory; none when it is gone."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    yield Sibling(entry.path, status.st_dev, status.st_ino, status.st_mtime_ns)
    except OSError:
        return


def bases(path: str) -> list[str]:
    """The paths of which ``path`` may be a rotated file, going by its name."""
    directory, _, name = path.rpartition("/")
    found = [
        match["stem"] + match["suffix"]
        for match in (_ROTATED.fullmatch(name), _DATED.fullmatch(name))
        if match
    ]
    return [f"{directory}/{base}" for base in found]


def locate(state: FileState, elsewhere: str | None = None, *, copies_only: bool = False) -> Again | None:
    """Find the file of ``state``: at its place, renamed beside it, or as a copy or ``.gz`` of it.

    Args:
        state: what is known of it.
        elsewhere: another path that has its inode.
        copies_only: its inode holds something else now.
    """
    entries = () if copies_only else _entries(state.real.rpartition("/")[0])
    moved = [s for s in entries if _is_inode(s, state) and (state.known.size or not s.path.endswith(".gz"))]
    if elsewhere is not None and not copies_only:
        moved.append(Sibling(elsewhere, state.device, state.inode, state.mtime_ns))
    copies = [s for s in reversed(rotated(state.real)) if not _is_inode(s, state)] if state.known.size else []
    own = [] if copies_only or not state.offset else [s for s in _entry(state.real) if s not in moved]
    # What was seen of it but not read may have been written anew in place: that is believed last.
    for wanted in ((Verdict.SAME, Verdict.COPY), (Verdict.REWRITTEN,)):
        for sibling in moved + copies + own:
            try:
                content, status = open_content(sibling.path)
            except OSError:
                continue
            same = (status.st_dev, status.st_ino) == (sibling.device, sibling.inode)
            verdict, tail = examine(content, state, named=sibling in copies) if same else (None, b"")
            if verdict in wanted:
                content.grows &= sibling in moved or sibling in own
                return Again(content, sibling, tail)
            content.close()
    return None


def _entry(path: str) -> list[Sibling]:
    """The file at a path, if there is one."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [Sibling(path, status.st_dev, status.st_ino, status.st_mtime_ns)]


def _is_inode(sibling: Sibling, state: FileState) -> bool:
    return (sibling.device, sibling.inode) == (state.device, state.inode)


def reopen(paths: Sequence[str], place: tuple[int, int]) -> Content | None:
    """Open the file of a device and inode again; ``None`` if it is not there, nor beside.

    Raises:
        OSError: it cannot be opened.
    """
    beside = (s.path for s in _entries(paths[-1].rpartition("/")[0]) if (s.device, s.inode) == place)
    for path in chain(paths, beside):
        try:
            content, status = open_content(path)
        except FileNotFoundError:
            continue
        if (status.st_dev, status.st_ino) == place:
            return content
        content.close()
    return None


def examine(content: Content, state: FileState, *, named: bool = False) -> tuple[Verdict, bytes]:
    """Say what an open file is to a known one, and return the bytes before the known position."""
    try:
        status = os.fstat(content.fd)
        head = content.read(0, HEAD_BYTES)
        tail = content.read(state.offset - state.tail.size, state.tail.size)
    except OSError:
        return Verdict.OTHER, b""
    size = status.st_size if isinstance(content, PlainContent) and not content.slow else -1
    sight = Sight((status.st_dev, status.st_ino), size, status.st_mtime_ns, head, tail)
    return judge(state, sight, named=named), tail


def is_still(content: Content, state: FileState) -> bool:
    """Whether the open file at the place of a known one is that file, rather than one that got its inode."""
    if not state.known.size:
        return False
    verdict, _ = examine(content, state)
    return verdict is Verdict.SAME or (verdict is Verdict.REWRITTEN and state.offset > 0)


def lies_beside(state: FileState) -> bool:
    """Whether a known file is there under a rotated name: then what begins so at its path is a new one."""
    try:
        return any(_holds(sibling, state) for sibling in rotated(state.real))
    except FileNotFoundError:  # it is being renamed or compressed in this moment
        return True


def newer(latest: FileState, until: Callable[[], FileState] | None = None) -> list[Sibling]:
    """The rotated files that came after the one that is known as ``latest``, and before ``until``.

    Where ``latest`` is gone, what was written to later than it came after it. ``until`` is asked once the
    directory was listed: it may have been rotated away, and compressed, just before.
    """
    for _ in range(_LISTINGS):
        with suppress(FileNotFoundError):  # renamed or compressed meanwhile: the names are no longer right
            return _newer(latest, until)
    return []


def _newer(latest: FileState, until: Callable[[], FileState] | None) -> list[Sibling]:
    siblings = rotated(latest.real)
    if until is not None:
        state = until()
        end = next((i for i, sibling in enumerate(siblings) if _holds(sibling, state)), len(siblings))
        del siblings[end:]
    for index in reversed(range(len(siblings))):
        if _holds(siblings[index], latest):
            return siblings[index + 1 :]
    return [sibling for sibling in siblings if sibling.mtime_ns > latest.mtime_ns]


def unseen(real: str, current: tuple[int, int], after_ns: int) -> list[Sibling]:
    """The rotated predecessors of a file that was never seen before, oldest first.

    Not the compressed ones: when they were written to does not tell how old their lines are.

    Args:
        real: where the file is.
        current: its device and inode; it may be rotated away in this moment.
        after_ns: what was not written to since then is older than the last look at the directory.
    """
    siblings = takewhile(lambda sibling: (sibling.device, sibling.inode) != current, rotated(real))
    return [s for s in siblings if s.mtime_ns > after_ns and not s.path.endswith(".gz")]


def _holds(sibling: Sibling, state: FileState) -> bool:
    """Whether a file holds the content of ``state``.

    Raises:
        FileNotFoundError: it is not there any more.
    """
    if not state.known.size:
        return _is_inode(sibling, state)
    try:
        content, _ = open_content(sibling.path)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    try:
        return examine(content, state, named=True)[0] in THE_SAME
    finally:
        content.close()
