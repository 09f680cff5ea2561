"""The stage of one run: a clean directory, ports, the far end, and the subject's processes.

    input ──► subject [──► subject as aggregator] ──► end: a receiver, or files below work/out

A subject's configuration finds the stage in its environment: BENCH_INPUT (a glob of the files to follow),
BENCH_WORK (where it may write; BENCH_WORK/out is the end of cases that end in files), BENCH_IN_PORT (where
it listens), BENCH_OUT_PORT (where a forward receiver listens, or the HTTP one of a case that has no other)
and BENCH_HTTP_PORT (where an HTTP receiver listens, if there is one).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.check import Check, check
from harness.ends import FilesEnd, ReceiverEnd, listens
from harness.measure import Usage, settle, switches_of, usage, usage_of
from harness.receive import Arrived
from harness.results import Kind, Run
from harness.subjects import Subject
from logflow.testing.processes import Process, free_ports
from logflow.testing.stage import ProcessStage

_START_S = 60.0
_GRACE_S = 0.3


@dataclass(frozen=True)
class Job:
    """What a case is asked to do.

    Attributes:
        case: the case's name.
        subject: who runs.
        size_bytes: about how much input to use, where the case has no rate.
        seconds: how long to write at a rate, or to watch an idle subject.
        session: when the suite was started, ISO 8601.
        show: is told how much of the run is done, from 0 to 1.
    """

    case: str
    subject: Subject
    size_bytes: int
    seconds: float
    session: str
    show: Callable[[float], None]


class CaseStage(ProcessStage):
    """One run's surroundings, taken down when it is left."""

    def __init__(
        self, folder: Path, directory: Path, job: Job, sinks: Iterable[str], expected_bytes: int
    ) -> None:
        """Prepare one whose receivers expect about so many bytes."""
        super().__init__(directory / "work")
        self.folder = folder
        self.job = job
        self.work = self.directory
        self.in_port, out_port, http_port = free_ports(3)
        self._env = {
            "BENCH_INPUT": str(self.work / "input" / "*" / "*" / "*.log"),
            "BENCH_WORK": str(self.work),
            "BENCH_IN_PORT": str(self.in_port),
            "BENCH_OUT_PORT": str(out_port),
            "BENCH_HTTP_PORT": str(http_port),
            "AWS_ACCESS_KEY_ID": "bench",  # some subjects find keys of s3 there alone
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        }
        self._sinks = dict.fromkeys(sinks, out_port)
        if len(self._sinks) > 1:
            self._sinks["http"] = http_port
        self._expected_bytes = expected_bytes
        self._ends: list[FilesEnd | ReceiverEnd] = []
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "out").mkdir(parents=True)
        try:
            for sink, port in self._sinks.items():
                self._ends.append(
                    FilesEnd(self.work / "out") if sink == "file" else self._receiver(sink, port)
                )
        except BaseException:
            self.close()
            raise
        return self

    def _receiver(self, protocol: str, port: int) -> ReceiverEnd:
        receiver = ReceiverEnd(self.work, protocol, port, self._expected_bytes)
        self.callback(receiver.kill)
        receiver.start()
        return receiver

    def start(self, *, listening: bool = False) -> Usage:
        """Start the subject, and its aggregator where the case has one; returns what the start used.

        Args:
            listening: whether the subject is ready only when it listens on BENCH_IN_PORT.

        Raises:
            ComponentError: it ended, or is not ready in time.
        """
        subject = self.job.subject
        aggregator = self.folder / f"aggregator-{subject.config}"
        configs = [aggregator] if aggregator.exists() else []
        roles = ["aggregator", "agent"] if configs else ["subject"]
        for role, config in zip(roles, [*configs, self.folder / subject.config], strict=True):
            process = self.process(role, subject.argv(config), {**self._env, **subject.env})
            process.start()
            self._processes.append(process)
            if listening or role == "aggregator":
                process.wait_for(lambda: listens(self.in_port), f"listen on {self.in_port}", _START_S)
        started = settle(self._pids, 1.0)
        self.check_running()
        self._started_s = self._cpu_s_of()
        self._started_switches = switches_of(self._pids)
        return started

    @property
    def _pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def _cpu_s_of(self) -> dict[str, float]:
        return {process.name: usage(process.pid).cpu_s for process in self._processes}

    def used(self) -> Usage:
        """What the subject's processes have used so far."""
        return usage_of(self._pids)

    def check_running(self) -> None:
        """Make sure that all of the subject's processes run.

        Raises:
            ComponentError: one ended.
        """
        for process in self._processes:
            process.check_running()

    def arrived(self) -> Arrived:
        """What has arrived so far, at the one end that got anything."""
        return max(end.read() for end in self._ends)

    def wait_for(self, lines: int, quiet_s: float, poll: Callable[[], None], poll_s: float) -> Usage:
        """Wait until so many lines have arrived, or nothing moves for a while; returns what was used.

        Raises:
            ComponentError: the subject ended before.
        """
        most, moved_s = 0, time.monotonic()
        while True:
            poll()
            events = self.arrived().events
            used = self.used()
            if events > most:
                most, moved_s = events, time.monotonic()
            if events >= lines or time.monotonic() - moved_s > quiet_s:
                return used
            self.check_running()
            self.job.show(events / lines)
            time.sleep(poll_s)

    def check(self, lines: dict[int, int]) -> Check:
        """Compare what arrived with the lines of each file, once stragglers had a moment to arrive."""
        time.sleep(_GRACE_S)
        for end in self._ends:
            end.stop()
        files = sorted(self.work.glob("end-*.data")) or sorted((self.work / "out").rglob("*"))
        packed = "forward" in self._sinks
        return check([path for path in files if path.is_file()], lines, packed=packed)

    def result(
        self,
        kind: Kind,
        *,
        input_bytes: int,
        events: int,
        seconds: float,
        started: Usage,
        used: Usage,
        found: Check,
        latency_ms: tuple[float, float, float] | None = None,
    ) -> Run:
        """Put a run together, while the subject's processes still run."""
        return Run(
            case=self.job.case,
            kind=kind,
            subject=self.job.subject.name,
            session=self.job.session,
            version=self.job.subject.version,
            input_bytes=input_bytes,
            events=events,
            wall_s=max(seconds, 1e-6),
            cpu_s=used.cpu_s - started.cpu_s,
            start_cpu_s=started.cpu_s,
            peak_bytes=used.peak_bytes,
            resident_bytes=used.resident_bytes,
            check=found,
            latency_ms=latency_ms,
            cpu_s_of={name: now_s - self._started_s[name] for name, now_s in self._cpu_s_of().items()},
            switches=switches_of(self._pids) - self._started_switches,
        )
