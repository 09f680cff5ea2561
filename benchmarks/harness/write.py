"""A live writer: CRI lines into many files at a steady rate, rotated as the kubelet does.

``python -m harness.write DIRECTORY FILES LINES_PER_S SECONDS ROTATE_BYTES``. Prints the lines of each
file when it is done. Every line holds its number and, as ``t``, the nanoseconds at which it was written.
Rotated files are neither compressed nor removed: what takes a subject's time is left to the subject.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from harness.corpus import FILE_STEP

_TICK_S = 0.005
_PAD = "x" * 120


def container_log(directory: Path, index: int) -> Path:
    """Where a kubelet's node has the log file of a container; makes the folders."""
    path = directory / f"bench_app-{index:03d}_0" / "app" / "0.log"
    path.parent.mkdir(parents=True)
    return path


class _Log:
    """One container's file."""

    def __init__(self, directory: Path, index: int, rotate_bytes: int) -> None:
        self._path = container_log(directory, index)
        self._first = index * FILE_STEP
        self._rotate_bytes = rotate_bytes
        self._file = self._path.open("ab", buffering=0)
        self._renamed = False
        self.lines = 0
        self.rotations = 0

    def write(self, count: int, head: str, now_ns: int) -> None:
        first = self._first + self.lines
        tail = f'"t":{now_ns},"level":"info","msg":"{_PAD}","status":200}}\n'
        self._file.write("".join([f'{head}"num":{first + step},{tail}' for step in range(count)]).encode())
        self.lines += count
        if self._renamed:  # the runtime opens the new file some time after the rename
            self._file.close()
            self._file = self._path.open("ab", buffering=0)
            self._renamed = False
        elif self._file.tell() > self._rotate_bytes:
            stamp = datetime.fromtimestamp(now_ns // 10**9, UTC)
            target = self._path.with_name(f"{self._path.name}.{stamp:%Y%m%d-%H%M%S}")
            if not target.exists():  # at most once a second, as the name has no fractions
                self._path.rename(target)
                self.rotations += 1
                self._renamed = True


def main() -> None:
    """Write until the time is up."""
    directory, files, rate = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    seconds, rotate_bytes = float(sys.argv[4]), int(sys.argv[5])
    directory.mkdir(parents=True, exist_ok=True)
    logs = [_Log(directory, index, rotate_bytes) for index in range(files)]
    started_s, said = time.monotonic(), 0
    while (elapsed_s := time.monotonic() - started_s) < seconds:
        due = int(elapsed_s * rate) - said
        now_ns = time.time_ns()
        moment = datetime.fromtimestamp(now_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        head = f"{moment}.{now_ns % 10**9:09d}Z stdout F {{"
        for place in range(min(due, files)):
            # In turn, so that every file gets its share at a few lines a second too.
            count = (due - place - 1) // files + 1
            logs[(said + place) % files].write(count, head, now_ns)
        said += due
        time.sleep(_TICK_S)
    result = {"lines": [log.lines for log in logs], "rotations": sum(log.rotations for log in logs)}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
