"""The far end of a case: a receiver in a process of its own, or files that grow; each says how far it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from harness.receive import Arrived, Progress
from logflow.testing.processes import Process

_PYTHONPATH = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
HARNESS = {"PYTHONPATH": os.pathsep.join(filter(None, _PYTHONPATH))}
"""Environment of the harness's own processes."""
_START_S = 30.0
_MARK = b'"num"'
"""Every line of JSON has it once, whoever wrote it."""


class FileProgress:
    """Counts the lines in the files below a directory as they grow."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, tuple[int, bytes]] = {}
        self._arrived = Arrived(0, 0, 0, 0)

    def read(self) -> Arrived:
        """What has arrived so far."""
        for path in self._directory.rglob("*"):
            if not path.is_file():
                continue
            offset, rest = self._read.get(path, (0, b""))
            with path.open("rb") as file:
                file.seek(offset)
                while block := file.read(8 << 20):
                    offset += len(block)
                    if lines := (rest + block).count(_MARK):
                        self._arrived = self._arrived.after(lines)
                    rest = (rest + block)[1 - len(_MARK) :]
            self._read[path] = offset, rest
        return self._arrived


def open_receiver(stack: ExitStack, work: Path, protocol: str, port: int) -> Callable[[], Arrived]:
    """Start a receiver of ``forward`` or ``http``; what it gets is in ``end-<protocol>*.data``."""
    path = work / f"end-{protocol}"
    argv = [sys.executable, "-m", "harness.receive", protocol, str(port), str(path)]
    receiver = Process(f"{protocol} receiver", argv, log=work / f"receiver-{protocol}.log", env=HARNESS)
    receiver.start()
    stack.callback(receiver.kill)
    receiver.wait_for(lambda: listens(port), f"listen on {port}", _START_S)
    return Progress(path.with_suffix(".progress")).read


def listens(port: int) -> bool:
    """Whether a process listens on a TCP port, told without connecting to it."""
    wanted = f":{port:04X}"
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    return any(
        line.split()[1].endswith(wanted) and line.split()[3] == "0A"
        for table in tables
        if table.exists()
        for line in table.read_text().splitlines()[1:]
    )
