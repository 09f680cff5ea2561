"""A PostgreSQL server: Debian's where it is there, else that of the wheel ``pgserver``."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from logflow.testing.processes import Process, free_ports
from tools.servers import CACHE, Absent, Server

PASSWORD = "logflow-test"
_NOBODY = 65534


class PostgresServer(Server):
    """A cluster on loopback with the database ``postgres``; its user has a password."""

    def __init__(self, directory: Path) -> None:
        programs = _programs()
        (self.port,) = free_ports(1)
        self._data = Path(tempfile.mkdtemp(prefix="logflow-postgres-"))
        as_nobody: list[str] = []
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(self._data, _NOBODY, _NOBODY)
            as_nobody = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
        password = self._data / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        subprocess.run(
            [*as_nobody, str(programs / "initdb"), "-D", str(self._data / "cluster"), "-U", "postgres",
             "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync", "--encoding=UTF8", "--locale=C"],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        argv = [*as_nobody, str(programs / "postgres"), "-D", str(self._data / "cluster"), "-h", "127.0.0.1"]
        argv += ["-p", str(self.port), "-k", str(self._data), "-c", "fsync=off", "-c", "shared_buffers=16MB"]
        self.process = Process("postgres", argv, log=directory / "postgres.log")

    def ready(self) -> bool:
        """Whether it takes connections."""
        log = self.process.log
        return log.exists() and self._started < log.read_text().count("ready to accept connections")

    def start(self) -> None:
        """Start it and wait until it is ready."""
        log = self.process.log
        self._started = log.read_text().count("ready to accept connections") if log.exists() else 0
        super().start()

    def stop(self) -> None:
        """End it and remove its data."""
        super().stop()
        shutil.rmtree(self._data, ignore_errors=True)


def _programs() -> Path:
    places = [
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
        *CACHE.glob("postgres/lib/python*/site-packages/pgserver/pginstall/bin"),
    ]
    for place in places:
        if (place / "initdb").exists():
            return place
    raise Absent("PostgreSQL is not on this machine; python -m tools.servers postgres gets it")
