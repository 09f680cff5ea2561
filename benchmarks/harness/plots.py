"""Plots of results, by matplotlib: one of each case; of all at full speed, and of CPU against the rate."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.report import named
from harness.results import Figures, Kind, Results

_COLOURS = {
    "logflow-native": "#1b6ca8",
    "logflow-python": "#7fb3d5",
    "fluent-bit": "#e07b39",
    "fluentd": "#c0392b",
    "vector": "#7d5ba6",
    "otelcol": "#6b8e23",
}
SUMMARIES = {
    "CPU seconds per GB of input, by case and subject": "summary.svg",
    "CPU of agent and aggregator together against the rate of lines": "steady.svg",
}
"""Plots of more than one case: what they show, and their files."""
_STEADY = re.compile(r"steady_(\d+)_lines_(\d+)_files")
_Panel = tuple[str, Callable[[Figures], float], str]
_SPEED: list[_Panel] = [
    ("CPU seconds per GB", lambda row: row.cpu_per_gb, "{:.2f}"),
    ("MB/s", lambda row: row.mb_per_s, "{:.0f}"),
    ("peak memory, MB", lambda row: row.peak_mb, "{:.0f}"),
]
_RATE: list[_Panel] = [
    ("events/s", lambda row: row.events_per_s, "{:,.0f}"),
    ("CPU, percent of a core", lambda row: row.cpu_share, "{:.0f}"),
    ("peak memory, MB", lambda row: row.peak_mb, "{:.0f}"),
]
_LATENCY: _Panel = ("p99 latency, ms", lambda row: row.latency_ms[1] if row.latency_ms else 0.0, "{:.0f}")
_IDLE: list[_Panel] = [
    ("CPU, percent of a core", lambda row: row.cpu_share, "{:.2f}"),
    ("resident memory, MB", lambda row: row.resident_mb, "{:.0f}"),
    ("CPU seconds to start", lambda row: row.start_cpu_s, "{:.2f}"),
]


def write_plots(results: Results, directory: Path, order: Sequence[str]) -> list[Path]:
    """Write ``<case>.svg`` and those of :data:`SUMMARIES`; the same results give the same files.

    Returns:
        What was written: nothing where matplotlib is missing.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        print("There are no plots: install matplotlib to get them.")
        return []
    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "logflow", "svg.fonttype": "none", "font.size": 9.0})
    cases = [case for case in order if case in results.cases]
    written = [_write_case(case, results.kind(case), results.by_subject(case), directory) for case in cases]
    fast = {case: results.by_subject(case) for case in cases if results.kind(case) == "speed"}
    if fast:
        written.append(_write_summary(fast, directory))
    if any(map(_STEADY.fullmatch, cases)):
        written.append(_write_steady({case: results.by_subject(case) for case in cases}, directory))
    return written


def _write_case(case: str, kind: Kind, rows: dict[str, Figures], directory: Path) -> Path:
    from matplotlib import pyplot as plt

    panels = list({"speed": _SPEED, "rate": _RATE, "idle": _IDLE}[kind])
    if any(row.latency_ms for row in rows.values()):
        panels.append(_LATENCY)
    size = (3.2 * len(panels), 0.9 + 0.4 * len(rows))
    figure, all_axes = plt.subplots(1, len(panels), figsize=size, sharey=True)
    for axes, (title, value, form) in zip(all_axes, panels, strict=True):
        values = [value(row) for row in rows.values()]
        bars = axes.barh(list(map(named, rows)), values, color=[_colour(name) for name in rows])
        axes.bar_label(bars, labels=[form.format(each) for each in values], padding=2)
        axes.set_title(title, fontsize=9)
        axes.margins(x=0.25)
        axes.locator_params(axis="x", nbins=4)
        _tidy(axes)
    all_axes[0].invert_yaxis()
    figure.suptitle(case, x=0.01, ha="left", fontsize=10)
    return _save(figure, directory / f"{case}.svg")


def _write_summary(cases: dict[str, dict[str, Figures]], directory: Path) -> Path:
    """CPU seconds per GB of all subjects in all cases at full speed."""
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(name for rows in cases.values() for name in rows))
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.17 * sum(len(rows) + 1 for rows in cases.values())))
    place, ticks = 0.0, []
    labelled: set[str] = set()
    for rows in cases.values():
        ticks.append(place + (len(rows) - 1) / 2)
        for name in (name for name in names if name in rows):
            label = None if name in labelled else named(name)
            labelled.add(name)
            bars = axes.barh([place], [rows[name].cpu_per_gb], 0.9, color=_colour(name), label=label)
            axes.bar_label(bars, labels=[_short(rows[name].cpu_per_gb)], padding=2, fontsize=8)
            place += 1
        place += 1
    axes.set_yticks(ticks, list(cases))
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.02)
    axes.set_xlabel("CPU seconds per GB of input (less is better)")
    axes.legend(loc="lower right", frameon=False)
    _tidy(axes)
    return _save(figure, directory / "summary.svg")


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _colour(name: str) -> str:
    return _COLOURS.get(name, "#888888")


def _write_steady(cases: dict[str, dict[str, Figures]], directory: Path) -> Path:
    """CPU against the rate of lines, a line for each subject, a panel for each number of files."""
    from matplotlib import pyplot as plt

    points: dict[int, dict[str, list[tuple[int, float]]]] = {}
    for case, rows in cases.items():
        if match := _STEADY.fullmatch(case):
            panel = points.setdefault(int(match[2]), {})
            for name, row in rows.items():
                panel.setdefault(name, []).append((int(match[1]), row.cpu_share))
    figure, all_axes = plt.subplots(
        1, len(points), figsize=(4.2 * len(points), 3.2), sharey=True, squeeze=False
    )
    for axes, (files, panel) in zip(all_axes[0], sorted(points.items()), strict=True):
        for name, line in panel.items():
            rates, shares = zip(*sorted(line), strict=True)
            axes.loglog(rates, shares, marker="o", color=_colour(name), label=named(name))
        axes.set_title(f"{files} files", fontsize=9)
        axes.set_xlabel("lines per second")
        _tidy(axes)
    all_axes[0][0].set_ylabel("CPU, percent of a core")
    all_axes[0][0].legend(frameon=False)
    return _save(figure, directory / "steady.svg")


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(left=False)


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=120)
    plt.close(figure)
    return path
