"""Results: what a run measured, and the files they are kept in, one of JSON for each case.

A file is written anew after each run, so that an interrupted suite keeps what it has. New runs of a subject
take the place of its former ones; the runs of other subjects stay, as long as they are of the same machine.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeAlias

from harness.check import Check
from harness.machine import Machine

Kind: TypeAlias = Literal["speed", "rate", "idle"]
"""As fast as the subject can; lines at a steady rate; nothing to do."""


@dataclass(frozen=True)
class Run:
    """One run of one subject.

    Attributes:
        case: the case's name.
        kind: what the case is about, which says what of its figures means something.
        subject: who ran.
        session: when the suite was started that this run is part of, ISO 8601.
        version: what the subject says of its version.
        input_bytes: bytes of input (lines of a file, or packed entries).
        events: lines that were put in.
        wall_s: how long it took at the speed of what followed the first arrival; at a rate, from the first
            line written to the last one's arrival; idle, how long it was watched.
        cpu_s: CPU seconds of the subject's processes after they were ready.
        start_cpu_s: CPU seconds until they were ready.
        peak_bytes: highest resident memory.
        resident_bytes: resident memory at the end.
        check: what became of the lines.
        latency_ms: p50, p99 and p999 from written to arrived; for cases that end in a file at a steady rate.
        cpu_s_of: CPU seconds of each process after it was ready, by its role: ``agent`` and ``aggregator``,
            or ``subject``.
        switches: of all threads of the subject's processes after they were ready, wanted or not.
    """

    case: str
    kind: Kind
    subject: str
    session: str
    version: str
    input_bytes: int
    events: int
    wall_s: float
    cpu_s: float
    start_cpu_s: float
    peak_bytes: int
    resident_bytes: int
    check: Check
    latency_ms: tuple[float, float, float] | None = None
    cpu_s_of: dict[str, float] = field(default_factory=dict)
    switches: int = 0


@dataclass(frozen=True)
class Figures:
    """A subject's runs of a case as one: medians over the rounds; memory and latency are the worst.

    Attributes:
        subject: who ran.
        rounds: how many runs there are.
        input_mb: megabytes of input in each.
        cpu_per_gb: CPU seconds for a gigabyte (10**9 bytes) of input, the start left out.
        start_cpu_s: CPU seconds of the start.
        cpu_share: CPU seconds per second of wall time, in percent.
        mb_per_s: megabytes of input per second.
        events_per_s: lines per second.
        peak_mb: highest resident memory, in megabytes.
        resident_mb: resident memory at the end, in megabytes.
        lost: lines, summed over the rounds, and so on.
        latency_ms: p50, p99 and p999.
        cpu_shares: ``cpu_share`` of each process, by its role.
        switches_per_s: switches of all threads, for a second of wall time.
    """

    subject: str
    rounds: int
    input_mb: float
    cpu_per_gb: float
    start_cpu_s: float
    cpu_share: float
    mb_per_s: float
    events_per_s: float
    peak_mb: float
    resident_mb: float
    lost: int
    doubled: int
    disordered: int
    latency_ms: tuple[float, float, float] | None
    cpu_shares: dict[str, float]
    switches_per_s: float


def figures(runs: list[Run]) -> Figures:
    """Sum up the runs of one subject in one case."""

    def middle(value: Callable[[Run], float]) -> float:
        return median(value(run) for run in runs)

    latencies = [run.latency_ms for run in runs if run.latency_ms]
    return Figures(
        subject=runs[0].subject,
        rounds=len(runs),
        input_mb=middle(lambda run: run.input_bytes / 1e6),
        cpu_per_gb=middle(lambda run: run.cpu_s / max(run.input_bytes, 1) * 1e9),
        start_cpu_s=middle(lambda run: run.start_cpu_s),
        cpu_share=middle(lambda run: run.cpu_s / run.wall_s * 100),
        mb_per_s=middle(lambda run: run.input_bytes / run.wall_s / 1e6),
        events_per_s=middle(lambda run: run.events / run.wall_s),
        peak_mb=max(run.peak_bytes for run in runs) / 1e6,
        resident_mb=max(run.resident_bytes for run in runs) / 1e6,
        lost=sum(run.check.lost for run in runs),
        doubled=sum(run.check.doubled for run in runs),
        disordered=sum(run.check.disordered for run in runs),
        latency_ms=max(latencies, key=lambda latency: latency[1]) if latencies else None,
        cpu_shares={
            process: middle(lambda run, process=process: run.cpu_s_of[process] / run.wall_s * 100)
            for process in runs[0].cpu_s_of
        },
        switches_per_s=middle(lambda run: run.switches / run.wall_s),
    )


class Results:
    """The runs of all cases, and the machine they were made on."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._runs: dict[str, list[Run]] = {}
        self._fresh: set[tuple[str, str]] = set()

    @classmethod
    def load(cls, directory: Path, machine: Machine | None = None) -> Results:
        """Read the cases of a directory.

        Args:
            directory: holds a JSON file for each case; it need not exist.
            machine: leave out what was measured on another one; None takes that of the latest file.
        """
        documents = [
            document
            for path in sorted(directory.glob("*.json"))
            if "runs" in (document := json.loads(path.read_text()))
        ]
        documents.sort(key=lambda document: max((run["session"] for run in document["runs"]), default=""))
        latest = Machine(**documents[-1]["machine"]) if documents else Machine.here()
        results = cls(machine or latest)
        for document in documents:
            if Machine(**document["machine"]) == results.machine:
                for run in document["runs"]:
                    results._runs.setdefault(run["case"], []).append(_run(run))
        return results

    @property
    def cases(self) -> list[str]:
        """Names of the cases that have runs."""
        return sorted(case for case, runs in self._runs.items() if runs)

    @property
    def runs(self) -> list[Run]:
        """All runs."""
        return [run for case in self.cases for run in self._runs[case]]

    def add(self, run: Run) -> None:
        """Keep a run; the first one of a subject in a case replaces what was loaded of it."""
        key = (run.case, run.subject)
        kept = self._runs.get(run.case, [])
        if key not in self._fresh:
            kept = [former for former in kept if former.subject != run.subject]
            self._fresh.add(key)
        self._runs[run.case] = [*kept, run]

    def kind(self, case: str) -> Kind:
        """What a case that has runs is about."""
        return self._runs[case][0].kind

    def by_subject(self, case: str) -> dict[str, Figures]:
        """The figures of a case, logflow's first."""
        found: dict[str, list[Run]] = defaultdict(list)
        for run in self._runs.get(case, []):
            found[run.subject].append(run)
        return {subject: figures(found[subject]) for subject in sorted(found, key=_rank)}

    def sessions(self, case: str) -> set[str]:
        """When the suites were started that the runs of a case are from."""
        return {run.session for run in self._runs.get(case, [])}

    def write(self, directory: Path, case: str) -> None:
        """Write a case's file, whole or not at all."""
        directory.mkdir(parents=True, exist_ok=True)
        document = {
            "case": case,
            "machine": asdict(self.machine),
            "runs": [asdict(run) for run in self._runs.get(case, [])],
        }
        partial = directory / f".{case}.json.partial"
        partial.write_text(json.dumps(document, indent=1) + "\n")
        partial.rename(directory / f"{case}.json")


def _rank(subject: str) -> tuple[bool, bool, str]:
    """logflow's engines first, the native one before the other."""
    return not subject.startswith("logflow"), not subject.endswith("native"), subject


def _run(document: dict[str, Any]) -> Run:
    latency = document["latency_ms"]
    return Run(
        **{**document, "check": Check(**document["check"]), "latency_ms": tuple(latency) if latency else None}
    )
