"""What lies beside a log file: the names that it gets when it is rotated, and in which order they came.

Rotated files lie beside the current one, under a name that says their place in time::

    0.log.20260131-115950.gz   0.log.20260131-120000   0.log      a stamp: oldest first
    app.log.2.gz               app.log.1               app.log    a number: highest first
    app-20260130.log           app-20260131.log        app.log    a stamp before the suffix
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from logflow.sources.tail.content import COMPRESSED

_PACKED = "|".join(re.escape(suffix) for suffix in COMPRESSED)
_NUMBER_OR_STAMP = rf"[.-](?P<stamp>\d[\d.:TZ_-]*?)(?P<packed>{_PACKED})?"
_STAMP = r"[.-](?P<stamp>\d{4}[\d.:TZ_-]{4,}?)"
_ROTATED = re.compile(r"(?P<stem>.+?)" + _NUMBER_OR_STAMP + "(?P<suffix>)")
_DATED = re.compile(r"(?P<stem>.+?)" + _STAMP + rf"(?P<suffix>\.[^.]+)({_PACKED})?")

_READINGS = 20
"""How often a directory is read at most until two readings agree."""

_PAUSE_S = 0.002

_LONGEST_NUMBER = 5
"""More digits than this are a stamp, not the number of a rotation."""


class Sibling(NamedTuple):
    """A file in the directory of a log file."""

    path: str
    device: int
    inode: int
    mtime_ns: int

    @property
    def place(self) -> tuple[int, int]:
        """Its device and inode."""
        return self.device, self.inode


def rotated(real: str, *, settled: bool = True) -> list[Sibling]:
    """The rotated predecessors of the log file at ``real``, oldest first.

    Args:
        real: of the log file.
        settled: read the directory until nothing changes; else once, and the caller compares.
    """
    stamp = cache(_stamps(real))
    read = entries if settled else _read
    return _ordered(read(real.rpartition("/")[0], lambda name: stamp(name) is not None), stamp)


def are_the_same(one: Sequence[Sibling], other: Sequence[Sibling]) -> bool:
    """Whether two readings of a directory agree; files may have grown in between."""
    return [(s.path, s.place) for s in one] == [(s.path, s.place) for s in other]


def rotated_among(siblings: Sequence[Sibling], real: str) -> list[Sibling]:
    """The same among files of its directory."""
    return _ordered(siblings, _stamps(real))


def _stamps(real: str) -> Callable[[str], str | None]:
    """Return what finds the stamp or number in a name, if it is that of a rotated file."""
    name = real.rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    patterns = [re.compile(re.escape(name) + _NUMBER_OR_STAMP)]
    if stem:  # a number alone, as in worker-1.log beside worker.log, would be another file
        patterns.append(re.compile(re.escape(stem) + _STAMP + re.escape(dot + suffix) + f"({_PACKED})?"))
    return lambda name: next((match["stamp"] for each in patterns if (match := each.fullmatch(name))), None)


def _ordered(siblings: Sequence[Sibling], stamp: Callable[[str], str | None]) -> list[Sibling]:
    stamps = ((stamp(sibling.path.rpartition("/")[2]), sibling) for sibling in siblings)
    stamped = [(_age_order(text), sibling) for text, sibling in stamps if text is not None]
    # While a file is being compressed, both forms are there: the plain one is whole.
    packed_too = {f"{sibling.path}{suffix}" for _, sibling in stamped for suffix in COMPRESSED}
    return [sibling for _, sibling in sorted(stamped) if sibling.path not in packed_too]


def _age_order(stamp: str) -> tuple[int, str]:
    if stamp.isdigit() and len(stamp) <= _LONGEST_NUMBER:
        return -int(stamp), ""
    return 0, stamp


def entries(directory: str, wanted: Callable[[str], bool] = lambda _: True) -> list[Sibling]:
    """The regular files of a directory with a wanted name; none when it is gone.

    One reading while files are renamed may hold a file twice, or not at all: it is read until nothing
    changes.
    """
    found = _read(directory, wanted)
    for _ in range(_READINGS):
        before, found = found, _read(directory, wanted)
        if are_the_same(found, before):
            break
        time.sleep(_PAUSE_S)
    return found


def _read(directory: str, wanted: Callable[[str], bool]) -> list[Sibling]:
    try:
        with os.scandir(directory) as names:
            looks = [_look(entry) for entry in names if wanted(entry.name)]
    except OSError:
        return []
    return sorted(sibling for sibling in looks if sibling is not None)


def _look(entry: os.DirEntry[str]) -> Sibling | None:
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        status = entry.stat(follow_symlinks=False)
    except OSError:  # gone since the directory was read
        return None
    return Sibling(entry.path, status.st_dev, status.st_ino, status.st_mtime_ns)


def origins(path: str) -> list[str]:
    """The paths at which the content of a compressed file may have been before, going by its name."""
    return [path.rpartition(".")[0], *bases(path)]


def bases(path: str) -> list[str]:
    """The paths of which ``path`` may be a rotated file, going by its name."""
    directory, _, name = path.rpartition("/")
    found = [
        match["stem"] + match["suffix"]
        for match in (_ROTATED.fullmatch(name), _DATED.fullmatch(name))
        if match
    ]
    return [f"{directory}/{base}" for base in found]
