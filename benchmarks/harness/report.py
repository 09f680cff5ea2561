"""Results: collected, as a table, as JSON and as plots."""

from __future__ import annotations

import json
import os
import platform
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from harness.check import Check


@dataclass(frozen=True)
class Run:
    """One run of one subject.

    Attributes:
        case: the case's name.
        subject: who ran.
        input_bytes: bytes of input (lines of a file, or packed entries).
        events: lines that were put in.
        wall_s: from the first arrival at the end to the last.
        cpu_s: CPU seconds of the whole process, from its start.
        start_cpu_s: ... of these, until it was ready.
        peak_bytes: highest resident memory.
        check: what became of the lines.
        latency_ms: p50, p99 and p999 from written to arrived; for cases at a steady rate.
    """

    case: str
    subject: str
    input_bytes: int
    events: int
    wall_s: float
    cpu_s: float
    start_cpu_s: float
    peak_bytes: int
    check: Check
    latency_ms: tuple[float, float, float] | None = None


class Results:
    """All runs."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def add(self, run: Run) -> None:
        """Keep a run."""
        self.runs.append(run)

    @property
    def clean(self) -> bool:
        """Whether logflow lost and doubled nothing."""
        return all(run.check.clean for run in self.runs if run.subject.startswith("logflow"))

    def by_subject(self, case: str) -> dict[str, list[Run]]:
        """The runs of a case."""
        found: dict[str, list[Run]] = defaultdict(list)
        for run in self.runs:
            if run.case == case:
                found[run.subject].append(run)
        return found

    def write(self, directory: Path) -> None:
        """Write ``results.json``."""
        directory.mkdir(parents=True, exist_ok=True)
        machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
        document = {"machine": machine, "runs": [asdict(run) for run in self.runs]}
        (directory / "results.json").write_text(json.dumps(document, indent=1) + "\n")


def cpu_per_gb(run: Run) -> float:
    """CPU seconds for a gigabyte (10**9 bytes) of input."""
    return run.cpu_s / run.input_bytes * 1e9


def print_table(results: Results, case: str) -> None:
    """Print a case: medians over the rounds; CPU beside the first subject's."""
    rows = results.by_subject(case)
    if not rows:
        print(f"{case}: nobody here can run it")
        return
    base = median(cpu_per_gb(run) for run in next(iter(rows.values())))
    print(f"\n{case}")
    print(
        f"  {'subject':<16}{'CPU s/GB':>10}{'× first':>9}{'MB/s':>8}{'events/s':>12}{'peak MB':>9}"
        f"{'lost':>6}{'doubled':>8}{'disordered':>11}   p50/p99/p999 ms"
    )
    for subject, runs in rows.items():
        cpu = median(cpu_per_gb(run) for run in runs)
        speed = median(run.input_bytes / run.wall_s / 1e6 for run in runs)
        events = median(run.events / run.wall_s for run in runs)
        peak = max(run.peak_bytes for run in runs) / 1e6
        latency = next((run.latency_ms for run in runs if run.latency_ms), None)
        shown = "/".join(f"{value:.0f}" for value in latency) if latency else ""
        print(
            f"  {subject:<16}{cpu:>10.2f}{cpu / base:>9.2f}{speed:>8.0f}{events:>12,.0f}{peak:>9.0f}"
            f"{sum(run.check.lost for run in runs):>6}{sum(run.check.doubled for run in runs):>8}"
            f"{sum(run.check.disordered for run in runs):>11}   {shown}"
        )
    print(flush=True)


def write_plots(results: Results, directory: Path) -> None:
    """Write ``cpu.svg``: CPU seconds per GB of every case and subject; nothing without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("No plots: install matplotlib (pip install 'logflow[bench]') to get them.")
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    cases = list(dict.fromkeys(run.case for run in results.runs))
    names = list(dict.fromkeys(run.subject for run in results.runs))
    figure, axes = plt.subplots(figsize=(9, 1 + 0.8 * len(cases)))
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        values = [
            median([cpu_per_gb(run) for run in results.by_subject(case).get(name, [])] or [0])
            for case in cases
        ]
        places = [place + index * height for place in range(len(cases))]
        bars = axes.barh(places, values, height, label=name)
        axes.bar_label(bars, labels=[f"{value:.1f}" if value else "" for value in values], padding=2)
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(cases))], cases)
    axes.invert_yaxis()
    axes.set_xlabel("CPU seconds per GB of input (less is better)")
    axes.legend()
    figure.tight_layout()
    figure.savefig(directory / "cpu.svg", metadata={"Date": None})
    figure.savefig(directory / "cpu.png", dpi=120)
