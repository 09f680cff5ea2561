"""Finding a known file again after it was rotated, and the files that came after it."""

# Paths are text here: there are thousands in a scan, and links must stay as they are written.
# ruff: noqa: PTH116

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, takewhile
from typing import NamedTuple

from logflow.sources.tail.content import Content, PlainContent, is_compressed, open_content
from logflow.sources.tail.identity import (
    HEAD_BYTES,
    LEAST_COPY_BYTES,
    TAIL_BYTES,
    FileState,
    Sight,
    Verdict,
    judge,
)
from logflow.sources.tail.listing import Sibling, are_the_same, entries, rotated, rotated_among

THE_SAME = frozenset({Verdict.SAME, Verdict.REWRITTEN, Verdict.COPY})

_LISTINGS = 3
"""How often a directory is listed when what it held is gone before it can be opened."""


class Again(NamedTuple):
    """A known file, opened again."""

    content: Content
    sibling: Sibling
    tail: bytes
    """The bytes before its position."""


def locate(state: FileState, elsewhere: str | None = None, *, copies_only: bool = False) -> Again | None:
    """Find the file of ``state``: at its place, renamed beside it, or as a copy or ``.gz`` of it.

    Args:
        state: what is known of it.
        elsewhere: another path that has its inode.
        copies_only: its inode holds something else now.
    """
    own = [] if copies_only else _entry(state.real)
    # Most files are where they were; then nobody has to read the directory.
    again = _first([RotatedCandidate(s) for s in own if _is_inode(s, state)], state, (Verdict.SAME,))
    for _ in range(_LISTINGS):
        if again is not None:
            break
        again, stale = _locate(state, own, elsewhere, copies_only=copies_only)
        if not stale:
            break
    return again


class RotatedCandidate(NamedTuple):
    """A file that may be the one that is looked for; ``named``: as its name says that it was rotated."""

    sibling: Sibling
    named: bool = False


def _locate(
    state: FileState, own: Sequence[Sibling], elsewhere: str | None, *, copies_only: bool
) -> tuple[Again | None, bool]:
    """Look once; also whether the names were no longer right when nothing was found."""
    directory = state.real.rpartition("/")[0]
    beside = entries(directory)
    moved = [s for s in beside if _is_inode(s, state) and (state.known.size or not is_compressed(s.path))]
    moved = [] if copies_only else moved
    if elsewhere is not None and not copies_only:
        moved.append(Sibling(elsewhere, state.device, state.inode, state.mtime_ns))
    copies = [s for s in reversed(rotated_among(beside, state.real)) if not _is_inode(s, state)]
    copies = copies if state.known.size else []
    candidates = [RotatedCandidate(s) for s in moved] + [RotatedCandidate(s, named=True) for s in copies]
    if state.offset:
        candidates += [RotatedCandidate(s) for s in own if s not in moved]
    # What was seen of it but not read may have been written anew in place: that is believed last.
    again = _first(candidates, state, (Verdict.SAME, Verdict.COPY))
    if again is None:
        again = _first(candidates, state, (Verdict.REWRITTEN,))
    return again, again is None and entries(directory) != beside


def _first(
    candidates: Sequence[RotatedCandidate], state: FileState, wanted: Sequence[Verdict]
) -> Again | None:
    """The first file that is wanted."""
    for sibling, named in candidates:
        try:
            content, status = open_content(sibling.path)
        except OSError:
            continue
        same = (status.st_dev, status.st_ino) == sibling.place
        verdict, tail = examine(content, state, named=named) if same else (None, b"")
        if verdict in wanted:
            content.grows &= not named
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
    return sibling.place == (state.device, state.inode)


def reopen(paths: Sequence[str], place: tuple[int, int]) -> Content | None:
    """Open the file of a device and inode again; ``None`` if it is not there, nor beside.

    Raises:
        OSError: it cannot be opened.
    """
    for path in chain(paths, _beside(paths[-1], place)):
        try:
            content, status = open_content(path)
        except FileNotFoundError:
            continue
        if (status.st_dev, status.st_ino) == place:
            return content
        content.close()
    return None


def _beside(path: str, place: tuple[int, int]) -> Iterator[str]:
    """The paths in the directory of ``path`` that have an inode."""
    for _ in range(_LISTINGS):  # it may be renamed again before it is opened
        yield from (s.path for s in entries(path.rpartition("/")[0]) if s.place == place)


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


def is_read(path: str, states: Sequence[FileState]) -> bool:
    """Whether what a file holds is what was read, or is being read, of one of these."""
    try:
        content, _ = open_content(path)
    except OSError:
        return False
    try:
        return is_one_of(content, states)
    finally:
        content.close()


def is_one_of(content: Content, states: Sequence[FileState]) -> bool:
    """Whether an open file is one of those that are known, or a copy of one."""
    return any(examine(content, state, named=True)[0] is not Verdict.OTHER for state in states)


def is_still(content: Content, state: FileState) -> bool:
    """Whether the open file at the place of a known one is that file, rather than one that got its inode."""
    if not state.known.size:
        return False
    return examine(content, state)[0] in {Verdict.SAME, Verdict.REWRITTEN}


def lies_beside(state: FileState) -> bool:
    """Whether a known file is there under a rotated name: then what begins so at its path is a new one."""
    try:
        return any(_holds(sibling, state) for sibling in rotated(state.real))
    except FileNotFoundError:  # it is being renamed or compressed in this moment
        return True


class Until(NamedTuple):
    """The file that came after those that are looked for."""

    content: Content
    state: Callable[[], FileState]
    """Asked once the directory was listed: it may have been rotated away, and compressed, just before."""


def newer(latest: FileState, until: Until | None = None, read: Sequence[FileState] = ()) -> list[Sibling]:
    """The rotated files that came after the one that is known as ``latest``, and before ``until``.

    Where ``latest`` is gone, what was written to later than it came after it: unless it is one of those that
    were ``read``, and was compressed since then.
    """
    found: list[Sibling] = []
    for attempt in range(_LISTINGS):
        siblings = rotated(latest.real, settled=attempt > 0)
        with suppress(FileNotFoundError):  # renamed or compressed meanwhile: the names are no longer right
            found = _newer(siblings, latest, until, read)
            if are_the_same(rotated(latest.real, settled=attempt > 0), siblings):
                break
    return found


def _newer(
    siblings: Sequence[Sibling], latest: FileState, until: Until | None, read: Sequence[FileState]
) -> list[Sibling]:
    """Walk from the newest one backwards, as the answer is nearly always there."""
    end = until.state() if until is not None else None
    later: list[Sibling] = []
    seen_end = False
    for sibling in reversed(siblings):
        if until is not None and end is not None:
            if _is_until(sibling, until.content, end):
                later.clear()
                seen_end = True
                continue
            if _is_copied_from(sibling, until.content):
                continue
        if _holds(sibling, latest):
            return later[::-1]
        later.append(sibling)
    if until is not None and not seen_end and until.content.deleted:
        return []  # the oldest ones are deleted first, so what is left came after it
    # If that is yet to come, the clock was set back: then no time tells which came later.
    set_back = latest.mtime_ns > time.time_ns()
    return [
        sibling
        for sibling in reversed(later)
        if (set_back or sibling.mtime_ns > latest.mtime_ns) and not _is_one_of(sibling, read)
    ]


def unseen(
    real: str, current: tuple[int, int], after_ns: int = 0, read: Sequence[FileState] = ()
) -> list[Sibling]:
    """The rotated predecessors of a file that was never seen before, oldest first; compressed ones too.

    Args:
        real: where the file is.
        current: its device and inode; it may be rotated away in this moment.
        after_ns: what was last written to before this time is left out.
        read: files of which something was read; these are left out.
    """
    for _ in range(_LISTINGS):
        siblings = takewhile(lambda sibling: sibling.place != current, rotated(real))
        new = [sibling for sibling in siblings if sibling.mtime_ns > after_ns]
        with suppress(FileNotFoundError):  # renamed or compressed meanwhile
            return [sibling for sibling in new if not read or not _is_one_of(sibling, read)]
    return new


def _holds(sibling: Sibling, state: FileState) -> bool:
    """Whether a file holds the content of ``state``.

    Raises:
        FileNotFoundError: it is not there any more.
    """
    if not state.known.size:
        return _is_inode(sibling, state)
    with _opened(sibling) as content:
        return content is not None and examine(content, state, named=True)[0] in THE_SAME


def _is_until(sibling: Sibling, content: Content, state: FileState) -> bool:
    """Whether a file is the one that is open as ``content``, or holds all of it.

    Its beginning is not enough: that may be a hole, as in others.
    """
    size = _plain_size(content)
    if not size or _is_inode(sibling, state):
        return _holds(sibling, state)
    with _opened(sibling) as other:
        if other is not None and _begins_alike(content, other, size):
            return True
    return _plain_size(content) < size and _holds(sibling, state)  # it was truncated in this moment


def _is_one_of(sibling: Sibling, states: Sequence[FileState]) -> bool:
    with _opened(sibling) as content:
        return content is not None and is_one_of(content, states)


def _is_copied_from(sibling: Sibling, content: Content) -> bool:
    with _opened(sibling) as copy:
        return copy is not None and is_beginning(copy, content)


@contextmanager
def _opened(sibling: Sibling) -> Iterator[Content | None]:
    """Open a file; ``None`` if it cannot be read.

    Raises:
        FileNotFoundError: it is not there any more.
    """
    try:
        content, _ = open_content(sibling.path)
    except FileNotFoundError:
        raise
    except OSError:
        yield None
        return
    try:
        yield content
    finally:
        content.close()


def is_beginning(part: Content, whole: Content) -> bool:
    """Whether all that a file holds stands at the beginning of another one: it is copied from there."""
    size = _plain_size(part)
    return size >= LEAST_COPY_BYTES and _begins_alike(part, whole, size)


def _plain_size(content: Content) -> int:
    """The size of a file that is not compressed; 0 if it is, or is gone."""
    return os.fstat(content.fd).st_size if not content.slow and content.fd >= 0 else 0


def _begins_alike(one: Content, other: Content, size: int) -> bool:
    """Whether the first bytes, and those before ``size``, are the same."""
    samples = [(0, min(size, HEAD_BYTES)), (max(size - TAIL_BYTES, 0), min(size, TAIL_BYTES))]
    try:
        return all(one.read(offset, count) == other.read(offset, count) for offset, count in samples)
    except OSError:  # one of them is damaged
        return False
