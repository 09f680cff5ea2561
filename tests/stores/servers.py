"""Real servers from package registries: fetched once, started on loopback.

::

    ~/.cache/logflow-stores/opensearch/lib    jars of Maven Central       needs java 17 and mvn
    ~/.cache/logflow-stores/bin               programs of Go modules      needs go 1.22

``python -m tests.stores.servers`` fetches what is missing, as ``make test-stores`` does first. Another
directory is named by ``LOGFLOW_STORES``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from logflow.testing.processes import free_ports

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("LOGFLOW_STORES") or Path.home() / ".cache" / "logflow-stores")
VICTORIALOGS = "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs@v1.52.1"


class Absent(Exception):
    """A server cannot be had here; the text says why."""


def fetch_opensearch() -> None:
    lib = CACHE / "opensearch" / "lib"
    if lib.exists():
        return
    _need("mvn")
    work = lib.with_name("fetching")
    work.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "opensearch" / "pom.xml", work)
    _run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"], cwd=work)
    (work / "lib").rename(lib)


def fetch_victorialogs() -> None:
    if not (CACHE / "bin" / "victoria-logs").exists():
        _need("go")
        _run(["go", "install", VICTORIALOGS], GOBIN=str(CACHE / "bin"), CGO_ENABLED="0")


@contextmanager
def opensearch(directory: Path) -> Iterator[str]:
    """Run OpenSearch 2.19; yields its URL. Ready in about 11 s, takes 250 MB."""
    lib = CACHE / "opensearch" / "lib"
    if not lib.exists():
        raise Absent("OpenSearch is not here; make test-stores fetches it with mvn")
    _need("java")
    http, transport = free_ports(2)
    command = [
        "java", "-Xms256m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{lib}/*",
        str(HERE / "opensearch" / "Server.java"), str(directory), str(http), str(transport),
    ]  # fmt: skip
    with _running(command, f"http://127.0.0.1:{http}", "/", 60.0, directory) as url:
        yield url


@contextmanager
def victorialogs(directory: Path) -> Iterator[str]:
    """Run VictoriaLogs; yields its URL. Ready at once, takes 12 MB."""
    program = CACHE / "bin" / "victoria-logs"
    if not program.exists():
        raise Absent("VictoriaLogs is not here; make test-stores builds it with go")
    (port,) = free_ports(1)
    command = [
        str(program), f"-storageDataPath={directory}/data", f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=100y", "-loggerLevel=WARN",
    ]  # fmt: skip
    with _running(command, f"http://127.0.0.1:{port}", "/health", 20.0, directory) as url:
        yield url


@contextmanager
def _running(command: list[str], url: str, path: str, within_s: float, directory: Path) -> Iterator[str]:
    log = directory / "server.log"
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            deadline_s = time.monotonic() + within_s
            while not _answers(url + path):
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise AssertionError(f"{command[0]} does not start: {log.read_text()[-2000:]}")
                time.sleep(0.1)
            yield url
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _need(program: str) -> None:
    if shutil.which(program) is None:
        raise Absent(f"there is no {program} on this machine")


def _run(command: list[str], cwd: Path | None = None, **variables: str) -> None:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    if done.returncode:
        raise Absent(f"{command[0]} failed: {(done.stdout + done.stderr).strip()[-500:]}")


def main() -> None:
    for fetch in (fetch_opensearch, fetch_victorialogs):
        try:
            fetch()
        except Absent as error:
            sys.stderr.write(f"{fetch.__name__}: {error}; its tests are skipped.\n")


if __name__ == "__main__":
    main()
