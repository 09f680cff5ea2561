"""Beside every speed: what was lost, doubled or out of order."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.corpus import FILE_STEP

_PACKED = re.compile(
    rb"\xa3num(?:([\x00-\x7f])|\xcc(.)|\xcd(..)|[\xce\xd2](....)|[\xcf\xd3](.{8}))|/item/(\d+) ", re.DOTALL
)
_JSON = re.compile(rb'"num":\s?(\d+)|"num","value":\{"intValue":"(\d+)"|/item/(\d+) ')
_BLOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class Check:
    """What arrived, in numbers of lines."""

    arrived: int
    lost: int
    doubled: int
    disordered: int

    @property
    def clean(self) -> bool:
        """Whether each line arrived once and in order."""
        return not (self.lost or self.doubled or self.disordered)


def check(paths: Iterable[Path], expected: dict[int, int], *, packed: bool) -> Check:
    """Compare the numbers found in files with ``expected``: lines by number of file."""
    seen = {file: bytearray(count) for file, count in expected.items()}
    last: dict[tuple[Path, int], int] = {}
    arrived = doubled = disordered = 0
    for path in paths:
        for number in _numbers(path, packed=packed):
            arrived += 1
            file, line = divmod(number, FILE_STEP)
            marks = seen[file]
            if marks[line]:
                doubled += 1
                continue
            marks[line] = 1
            if line < last.get((path, file), -1):
                disordered += 1
            last[path, file] = line
    lost = sum(marks.count(0) for marks in seen.values())
    return Check(arrived, lost, doubled, disordered)


def _numbers(path: Path, *, packed: bool) -> Iterator[int]:
    if not path.stat().st_size:
        return
    pattern = _PACKED if packed else _JSON
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for match in pattern.finditer(data):
            value = match[match.lastindex or 0]
            text = match.lastindex == pattern.groups or not packed
            yield int(value) if text else int.from_bytes(value, "big")
