"""Cases at a steady rate: a writer writes while the subject follows; and the case without anything to do."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.check import Check
from harness.corpus import cri_json
from harness.ends import HARNESS
from harness.results import Run
from harness.stage import CaseStage, Job
from harness.write import container_log
from logflow.testing.oracle import percentile

_QUIET_S = 20.0
_POLL_S = 0.003
_WRITTEN = re.compile(rb'"t":\s?(\d+)|"t","value":\{"intValue":"(\d+)"')
_WARM_UP = 1 / 3
"""Share of the time before latencies count."""
_LINE_BYTES = 300
"""What a line takes about, as a packed entry."""
_IDLE_FILES = 20
_IDLE_LINES = 100
_IDLE_POLL_S = 0.1
_IDLE_PAUSE_S = 3.0


@dataclass(frozen=True)
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

    def run(self, job: Job) -> Run:
        """Run one subject once.

        Raises:
            ComponentError: the subject did not start, or ended.
        """
        expected_bytes = int(self.lines_per_s * job.seconds * _LINE_BYTES)
        with CaseStage(self.folder, self.directory, job, [self.sink], expected_bytes) as stage:
            latencies = _Latencies(stage.work / "out")
            poll = latencies.read if self.sink == "file" else lambda: None
            started = stage.start()
            writer = self._write(stage)
            begun_s, begun_ns = time.monotonic(), time.time_ns()
            latencies.since_ns = begun_ns + int(job.seconds * _WARM_UP * 1e9)
            while writer.poll() is None:
                poll()
                job.show(0.95 * min((time.monotonic() - begun_s) / job.seconds, 1.0))
                time.sleep(_POLL_S)
            assert writer.stdout is not None
            lines = json.loads(writer.stdout.read())["lines"]
            used = stage.wait_for(sum(lines), _QUIET_S, poll, _POLL_S)
            last_ns = stage.arrived().last_ns
            return stage.result(
                "rate",
                input_bytes=sum(path.stat().st_size for path in (stage.work / "input").glob("*/*/*")),
                events=sum(lines),
                seconds=(last_ns - begun_ns) / 1e9,
                started=started,
                used=used,
                found=stage.check(dict(enumerate(lines))),
                latency_ms=latencies.percentiles(),
            )

    def _write(self, stage: CaseStage) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "harness.write", str(stage.work / "input"), str(self.files)]
        writer = subprocess.Popen(
            [*argv, str(self.lines_per_s), str(stage.job.seconds), str(self.rotate_bytes)],
            stdout=subprocess.PIPE, env={**os.environ, **HARNESS}, text=True,
        )  # fmt: skip
        stage.callback(writer.wait)
        stage.callback(writer.kill)
        return writer


@dataclass(frozen=True)
class IdleCase:
    """An agent that has forwarded a few lines of a few files and has nothing more to do.

    Attributes:
        folder: holds the subjects' configurations, with a forward output or, for want of one, HTTP.
        directory: where to work.
    """

    folder: Path
    directory: Path

    def run(self, job: Job) -> Run:
        """Watch one subject being idle.

        Raises:
            ComponentError: the subject did not start, or ended.
        """
        lines = _IDLE_FILES * _IDLE_LINES
        rng = random.Random(1)
        text = "".join(f"{cri_json(line, line, rng)}\n" for line in range(_IDLE_LINES))
        sinks, expected_bytes = ["forward", "http"], len(text) * _IDLE_FILES
        with CaseStage(self.folder, self.directory, job, sinks, expected_bytes) as stage:
            started = stage.start()
            for index in range(_IDLE_FILES):
                container_log(stage.work / "input", index).write_text(text)
            stage.wait_for(lines, _QUIET_S, lambda: None, _POLL_S)
            time.sleep(_IDLE_PAUSE_S)
            busy = stage.used()
            begun_s = time.monotonic()
            while (spent_s := time.monotonic() - begun_s) < job.seconds:
                job.show(spent_s / job.seconds)
                time.sleep(_IDLE_POLL_S)
            used = stage.used()
            stage.check_running()
            run = stage.result(
                "idle",
                input_bytes=0,
                events=0,
                seconds=spent_s,
                started=busy,
                used=used,
                found=_counted(stage.arrived().events, lines),
            )
        return replace(run, start_cpu_s=started.cpu_s)


def _counted(arrived: int, expected: int) -> Check:
    """What can be told without looking at the lines."""
    return Check(arrived, max(expected - arrived, 0), max(arrived - expected, 0), 0)


@dataclass
class _Latencies:
    """Follows files and compares each line's time of writing with the moment it is seen.

    Attributes:
        directory: holds the files.
        since_ns: lines written before do not count: a subject may take its time to find new files.
    """

    directory: Path
    since_ns: int = 0
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
            for match in _WRITTEN.finditer(data, 0, whole):
                if (written_ns := int(match[1] or match[2])) >= self.since_ns:
                    self._values_ns.append(now_ns - written_ns)

    def percentiles(self) -> tuple[float, float, float] | None:
        """p50, p99 and p999 in milliseconds; None when nothing was seen."""
        if not self._values_ns:
            return None
        p50, p99, p999 = (percentile(self._values_ns, share) / 1e6 for share in (0.5, 0.99, 0.999))
        return p50, p99, p999
