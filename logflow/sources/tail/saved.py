"""What is known of files: as it was saved, and as it is for one that is new."""

# Paths are text here: there are thousands in a scan, and links must stay as they are written.
# ruff: noqa: PTH120

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from logflow.component import Context
from logflow.sources.tail import rotated
from logflow.sources.tail.content import Content
from logflow.sources.tail.discovery import Finder
from logflow.sources.tail.file import is_leftover
from logflow.sources.tail.identity import HEAD_BYTES, NOTHING, FileState, Mark
from logflow.sources.tail.rotated import Again


def saved_states(context: Context, finder: Finder) -> list[tuple[str, FileState]]:
    """The saved states of files that are still configured, in the order in which they are read."""
    states = []
    for stream, plain in context.checkpoints.streams(context.name).items():
        try:
            state = FileState.load(plain)
        except (msgspec.ValidationError, TypeError) as error:
            context.log.warning("A saved position cannot be understood and is ignored: %s.", error)
            continue
        if finder.wants(state.path):
            states.append((stream, state))
    return sorted(states, key=lambda pair: (pair[1].path, pair[1].order))


def locate_all(
    states: Sequence[tuple[str, FileState]], paths: Mapping[tuple[int, int], str]
) -> list[Again | None]:
    """Find files again; ``paths`` are the places that the configured paths lead to."""
    return [
        None if is_leftover(stream) else rotated.locate(state, paths.get((state.device, state.inode)))
        for stream, state in states
    ]


def by_place(states: Sequence[tuple[str, FileState]]) -> Mapping[tuple[int, int], Sequence[FileState]]:
    """The files that were last seen at each device and inode."""
    by_place: defaultdict[tuple[int, int], list[FileState]] = defaultdict(list)
    for stream, state in states:
        if is_leftover(stream):
            continue
        by_place[state.device, state.inode].append(state)
    return by_place


def is_unknowable(state: FileState, again: Again | None, *, told_by_content: bool) -> bool:
    """Whether a file had no content when it was last seen, so that what is there now may be another's.

    Its inode is enough only if no other file of its path is known by its content.
    """
    return not state.known.size and (state.handed is not None or told_by_content or again is None)


def unread_of(state: FileState, *, replaced: bool) -> int:
    """Bytes that were not read of a file that is missing, if it is known to be deleted.

    That is when its place is taken, or empty among others: where nothing else is, a mount may be missing.
    """
    if state.left_ns:  # it was missing before
        return 0
    directory = os.path.dirname(state.path)
    deleted = replaced or (not os.path.lexists(state.path) and _has_entries(directory))
    return max(state.size - state.offset, 0) if deleted else 0


def _has_entries(directory: str) -> bool:
    try:
        with os.scandir(directory) as names:
            return next(names, None) is not None
    except OSError:
        return False


def state_of(path: str, real: str, content: Content) -> FileState:
    """What is known of a file of which nothing was read."""
    status = os.fstat(content.fd)
    return FileState(
        offset=0,
        carry=b"",
        path=path,
        real=real,
        order=0,
        device=status.st_dev,
        inode=status.st_ino,
        head=NOTHING,
        glimpse=_head(content),
        tail=NOTHING,
        mtime_ns=status.st_mtime_ns,
        size=status.st_size if content.grows else 0,
    )


def _head(content: Content) -> Mark:
    try:
        return Mark.of(content.read(0, HEAD_BYTES))
    except OSError:  # compressed and damaged: reading it will tell
        return NOTHING
