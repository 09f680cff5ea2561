"""Reports of results: a table on the terminal, and Markdown for the README."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from harness.results import Figures, Results

MARKERS = ("<!-- benchmarks -->", "<!-- /benchmarks -->")
"""Between these, a page holds what :func:`markdown` makes."""
_TAIL_HEAD = f"{'peak MB':>9}{'lost':>8}{'doubled':>9}{'disordered':>12}"
_ENGINE_ROWS = (
    "line_parser cri-json", "line_parser docker-json", "line_parser plain-json", "line_parser nginx-regex",
    "to_ndjson", "splice", "grep", "modify", "normalize_with_metadata", "scan_frames forward",
)  # fmt: skip
"""Those of the micro-benchmarks that say most."""
Speeds: TypeAlias = Mapping[str, Mapping[str, int]]
"""MB/s by function and engine."""
_NAMES = {
    "logflow-native": "logflow",
    "logflow-python": "logflow in pure Python",
    "fluent-bit": "Fluent Bit",
    "fluentd": "Fluentd",
    "vector": "Vector",
    "otelcol": "OpenTelemetry Collector",
}


def named(subject: str) -> str:
    """A subject as prose names it."""
    return _NAMES.get(subject, subject)


def table(results: Results, case: str) -> str:
    """A case for the terminal; CPU beside the first subject's."""
    rows = results.by_subject(case)
    if not rows:
        return f"{case}: nobody here can run it\n"
    lines = {"speed": _speed_table, "rate": _rate_table, "idle": _idle_table}[results.kind(case)](rows)
    if len(results.sessions(case)) > 1:
        lines.append("  The subjects were measured at different times: the ratios mean little.")
    return "\n".join([case, *lines, ""])


def _speed_table(rows: dict[str, Figures]) -> list[str]:
    base = next(iter(rows.values())).cpu_per_gb
    head = (
        f"  {'subject':<16}{'rounds':>7}{'MB':>6}{'CPU s/GB':>10}{'× first':>9}{'MB/s':>8}{'events/s':>12}"
        f"{'start s':>9}{_TAIL_HEAD}"
    )
    return [
        head,
        *(
            f"  {name:<16}{row.rounds:>7}{row.input_mb:>6.0f}{row.cpu_per_gb:>10.2f}"
            f"{_ratio(row.cpu_per_gb, base):>9}{row.mb_per_s:>8.0f}{row.events_per_s:>12,.0f}"
            f"{row.start_cpu_s:>9.2f}{_tail(row)}"
            for name, row in rows.items()
        ),
    ]


def _rate_table(rows: dict[str, Figures]) -> list[str]:
    head = (
        f"  {'subject':<16}{'rounds':>7}{'MB':>6}{'events/s':>12}{'CPU %':>13}{'switches/s':>12}"
        f"{'start s':>9}{_TAIL_HEAD}  p50/p99/p999 ms"
    )
    return [
        head,
        *(
            f"  {name:<16}{row.rounds:>7}{row.input_mb:>6.0f}{row.events_per_s:>12,.0f}{_shares(row):>13}"
            f"{row.switches_per_s:>12,.0f}{row.start_cpu_s:>9.2f}{_tail(row)}  {_latency(row, '/')}"
            for name, row in rows.items()
        ),
    ]


def _shares(row: Figures) -> str:
    """Percent of a core; where there are two, the agent's and the aggregator's."""
    if set(row.cpu_shares) == {"agent", "aggregator"}:
        return f"{row.cpu_shares['agent']:.1f} + {row.cpu_shares['aggregator']:.1f}"
    return f"{row.cpu_share:.1f}"


def _tail(row: Figures) -> str:
    return f"{row.peak_mb:>9.0f}{row.lost:>8}{row.doubled:>9}{row.disordered:>12}"


def _latency(row: Figures, between: str) -> str:
    return between.join(f"{value:.0f}" for value in row.latency_ms) if row.latency_ms else "–"


def _idle_table(rows: dict[str, Figures]) -> list[str]:
    lines = [f"  {'subject':<16}{'rounds':>7}{'CPU %':>8}{'resident MB':>13}{'peak MB':>9}{'start s':>9}"]
    lines += [
        f"  {name:<16}{row.rounds:>7}{row.cpu_share:>8.2f}{row.resident_mb:>13.0f}{row.peak_mb:>9.0f}"
        f"{row.start_cpu_s:>9.2f}"
        for name, row in rows.items()
    ]
    return lines


def _ratio(value: float, base: float) -> str:
    return f"{value / base:.2f}" if base else ""


def markdown(
    results: Results,
    order: Sequence[str],
    speeds: Speeds | None = None,
    plots: Mapping[str, str] | None = None,
) -> str:
    """The README's tables: at full speed, at a steady rate, idle, the engines; and the conditions.

    Args:
        results: of the cases.
        order: the cases in the order in which they are shown.
        speeds: of the micro-benchmarks, as ``--speeds`` writes them.
        plots: where plots of all cases are, seen from the page, by what they show.
    """
    cases = [case for case in order if case in results.cases]
    rows = {case: results.by_subject(case) for case in cases}
    subjects = list(dict.fromkeys(name for found in rows.values() for name in found))
    fast, steady, idle = (
        [case for case in cases if results.kind(case) == kind] for kind in ("speed", "rate", "idle")
    )
    parts = [_conditions(results)]
    parts += [f"![{title}]({path})" for title, path in (plots or {}).items()]
    if fast:
        parts.append(
            _grid(
                ["CPU seconds per GB (MB/s)", *map(named, subjects)],
                [[f"`{case}`", *(_speed(rows[case].get(name)) for name in subjects)] for case in fast],
            )
        )
    if steady:
        heads = [
            "at a steady rate",
            "subject",
            "events/s",
            "CPU (agent + aggregator)",
            "switches/s",
            "peak MB",
        ]
        parts.append(
            _grid(
                [*heads, "lost / doubled / disordered", "p50 / p99 / p999 ms"],
                [_steady_row(case, row) for case in steady for row in rows[case].values()],
                names=2,
            )
        )
    if idle:
        parts.append(
            _grid(
                ["idle", "resident MB", "CPU", "CPU seconds to start"],
                [
                    [
                        named(row.subject),
                        f"{row.resident_mb:.0f}",
                        f"{row.cpu_share:.2f} %",
                        f"{row.start_cpu_s:.2f}",
                    ]
                    for case in idle
                    for row in rows[case].values()
                ],
            )
        )
    if speeds:
        parts.append(
            _grid(
                ["engine, one core, MB/s", "native", "pure Python"],
                [
                    [function.replace("_", " "), f"{row.get('native', '–')}", f"{row.get('python', '–')}"]
                    for function in _ENGINE_ROWS
                    if (row := speeds.get(function))
                ],
            )
        )
    return "\n\n".join(parts)


def replace_between_markers(page: str, text: str) -> str:
    """A page with ``text`` between its markers.

    Raises:
        ValueError: the page has no such markers.
    """
    first, last = MARKERS
    pattern = re.compile(f"({re.escape(first)}\n).*?(\n?{re.escape(last)})", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"there is no {first} before a {last}")
    return pattern.sub(lambda match: f"{match[1]}{text}\n{last}", page, count=1)


def _conditions(results: Results) -> str:
    versions = dict.fromkeys(run.version for run in results.runs)
    days = sorted({run.session[:10] for run in results.runs})
    rounds = sorted({found.rounds for case in results.cases for found in results.by_subject(case).values()})
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    counts = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
    how = "one round" if rounds == [1] else f"medians of {counts} rounds"
    return (
        f"Measured on {span}: {results.machine}; {how}, the subjects in turn, everything on one machine over "
        f"loopback. {'; '.join(versions)}. CPU seconds are those after the start{_inputs(results)}."
    )


def _inputs(results: Results) -> str:
    """How much input each subject got at full speed, where that differs."""
    sizes: dict[str, float] = {}
    for case in results.cases:
        if results.kind(case) == "speed":
            for name, row in results.by_subject(case).items():
                sizes[name] = max(row.input_mb, sizes.get(name, 0.0))
    if not sizes or max(sizes.values()) < 1.5 * min(sizes.values()):
        return ""
    listed = ", ".join(f"{size:.0f} MB for {named(name)}" for name, size in sizes.items())
    return f", for a GB of input, of which there were {listed}"


def _speed(row: Figures | None) -> str:
    if row is None:
        return "–"
    faults = [
        f"{count:,} {what}" for what in ("lost", "doubled", "disordered") if (count := getattr(row, what))
    ]
    return f"{row.cpu_per_gb:.2f} ({row.mb_per_s:.0f})" + "".join(f", {fault}" for fault in faults)


def _steady_row(case: str, row: Figures) -> list[str]:
    return [
        f"`{case}`",
        named(row.subject),
        f"{row.events_per_s:,.0f}",
        f"{_shares(row)} %",
        f"{row.switches_per_s:,.0f}",
        f"{row.peak_mb:.0f}",
        f"{row.lost:,} / {row.doubled:,} / {row.disordered:,}",
        _latency(row, " / "),
    ]


def _grid(head: list[str], rows: list[list[str]], names: int = 1) -> str:
    ruler = ["---" if column < names else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ruler, *rows])
