"""The far end of a case: a receiver in a process of its own, or files that grow; each says how far it is."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from harness.receive import Arrived, Progress
from logflow.testing.processes import Process

_PYTHONPATH = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
HARNESS = {"PYTHONPATH": os.pathsep.join(filter(None, _PYTHONPATH))}
"""Environment of the harness's own processes."""
_START_S = 30.0
_STOP_S = 60.0
_MARK = b'"num"'
"""Every line of JSON has it once, whoever wrote it."""


class FilesEnd:
    """The files below a directory; their lines are counted as they grow."""

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

    def stop(self) -> None:
        """They are there."""


class ReceiverEnd:
    """A receiver of ``forward`` or ``http`` in a process of its own.

    Once it has been stopped, what it got is in ``end-<protocol>*.data`` below the directory.
    """

    def __init__(self, work: Path, protocol: str, port: int, expected_bytes: int) -> None:
        """Prepare one that has memory for so many bytes from the start."""
        self._path = work / f"end-{protocol}"
        self._port = port
        argv = [sys.executable, "-m", "harness.receive", protocol, str(port), str(self._path)]
        self._process = Process(
            f"{protocol} receiver",
            [*argv, str(expected_bytes)],
            log=work / f"receiver-{protocol}.log",
            env=HARNESS,
        )

    def start(self) -> None:
        """Start it, and return when it listens."""
        self._process.start()
        self._process.wait_for(lambda: listens(self._port), f"listen on {self._port}", _START_S)
        self._progress = Progress(self._path.with_suffix(".progress"))

    def read(self) -> Arrived:
        """What has arrived so far."""
        return self._progress.read()

    def stop(self) -> None:
        """Have it write what it got, and end."""
        self._process.send(signal.SIGTERM)
        self._process.wait(_STOP_S)

    def kill(self) -> None:
        """End it, if it still runs."""
        self._process.kill()


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
