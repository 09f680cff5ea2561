"""Cases at a steady rate: a writer writes while the subject follows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from harness.cases import FileProgress, listens, open_receiver
from harness.check import check
from harness.measure import Usage, usage
from harness.report import Run
from harness.subjects import Subject
from logflow.testing.oracle import percentile
from logflow.testing.processes import Process, free_ports

_SECONDS = 15.0
_QUIET_S = 20.0
_POLL_S = 0.003
_WRITTEN = re.compile(rb'"t":\s?(\d+)')


@dataclass
class LiveCase:
    """Lines written at a rate, followed through one process or through an agent and an aggregator.

    Attributes:
        folder: holds the subjects' configurations; with an aggregator, also ``aggregator-<config>``.
        directory: where to work.
        files: how many files are written.
        lines_per_s: in all files together.
        rotate_bytes: size at which a file is rotated.
        sink: ``forward`` or ``file``.
    """

    folder: Path
    directory: Path
    files: int
    lines_per_s: float
    rotate_bytes: int
    sink: str

    def run(self, subject: Subject) -> Run:
        """Run one subject once."""
        work = self.directory / "work"
        shutil.rmtree(work, ignore_errors=True)
        (work / "input").mkdir(parents=True)
        (work / "out").mkdir()
        latencies = _Latencies(work / "out") if self.sink == "file" else None
        with ExitStack() as stack:
            processes, end = self._start(stack, subject, work)
            time.sleep(2.0)
            started = _sum(processes)
            writer = self._write(stack, work / "input")
            while writer.poll() is None:
                if latencies is not None:
                    latencies.read()
                time.sleep(_POLL_S)
            assert writer.stdout is not None
            lines = json.loads(writer.stdout.read())["lines"]
            used, first_ns, last_ns = self._wait(end, latencies, processes, sum(lines))
        files = sorted(work.glob("end*.data")) or sorted((work / "out").rglob("*"))
        found = check(
            [path for path in files if path.is_file()], dict(enumerate(lines)), packed=self.sink == "forward"
        )
        size = sum(path.stat().st_size for path in (work / "input").iterdir())
        return Run(
            self.folder.name, subject.name, size, sum(lines), max((last_ns - first_ns) / 1e9, 1e-6),
            used.cpu_s, started.cpu_s, used.peak_bytes, found,
            latencies.percentiles() if latencies else None,
        )  # fmt: skip

    def _start(
        self, stack: ExitStack, subject: Subject, work: Path
    ) -> tuple[list[Process], Callable[[], tuple[int, int, int]]]:
        ports = free_ports(2)
        env = {
            "BENCH_INPUT": str(work / "input" / "*.log"),
            "BENCH_WORK": str(work),
            "BENCH_IN_PORT": str(ports[0]),
            "BENCH_OUT_PORT": str(ports[1]),
        }
        end = (
            FileProgress(work / "out").read
            if self.sink == "file"
            else open_receiver(stack, work, self.sink, ports[1])
        )
        processes = []
        for role in ("aggregator-", ""):
            config = self.folder / f"{role}{subject.config}"
            if config.exists():
                log = work / f"{role}subject.log"
                process = Process(
                    f"{role}{subject.name}", subject.argv(config), log=log, env={**env, **subject.env}
                )
                process.start()
                stack.callback(process.kill)
                processes.append(process)
                if role:
                    process.wait_for(lambda: listens(ports[0]), "listen", 30.0)
        return processes, end

    def _write(self, stack: ExitStack, directory: Path) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "harness.write", str(directory), str(self.files), str(self.lines_per_s)]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        writer = subprocess.Popen(
            [*argv, str(_SECONDS), str(self.rotate_bytes)], stdout=subprocess.PIPE, env=env, text=True
        )
        stack.callback(writer.wait)
        stack.callback(writer.kill)
        return writer

    def _wait(
        self,
        end: Callable[[], tuple[int, int, int]],
        latencies: _Latencies | None,
        processes: list[Process],
        lines: int,
    ) -> tuple[Usage, int, int]:
        deadline_s = time.monotonic() + _QUIET_S
        while True:
            if latencies is not None:
                latencies.read()
            events, first_ns, last_ns = end()
            if events >= lines or time.monotonic() > deadline_s:
                return _sum(processes), first_ns, last_ns
            time.sleep(_POLL_S)


@dataclass
class _Latencies:
    """Follows files and compares each line's time of writing with the moment it is seen."""

    directory: Path
    _offsets: dict[Path, int] = field(default_factory=dict)
    _values_ns: list[int] = field(default_factory=list)

    def read(self) -> None:
        for path in self.directory.rglob("*"):
            if not path.is_file():
                continue
            offset = self._offsets.get(path, 0)
            if path.stat().st_size == offset:
                continue
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read()
            now_ns = time.time_ns()
            whole = data.rfind(b"\n") + 1
            self._offsets[path] = offset + whole
            self._values_ns += [now_ns - int(match[1]) for match in _WRITTEN.finditer(data, 0, whole)]

    def percentiles(self) -> tuple[float, float, float]:
        """p50, p99 and p999 in milliseconds."""
        p50, p99, p999 = (percentile(self._values_ns, share) / 1e6 for share in (0.5, 0.99, 0.999))
        return p50, p99, p999


def _sum(processes: list[Process]) -> Usage:
    total = Usage(0.0, 0)
    for process in processes:
        total += usage(process.pid)
    return total
