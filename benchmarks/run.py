"""Run the benchmark cases and print their figures: ``python benchmarks/run.py [CASE ...]``.

Subjects run in turn within each round, so that a noisy moment of the machine hits all of them; figures
are medians over the rounds. Every line is numbered: beside each speed stands what was lost, doubled or
out of order. After each run the case's results are written to ``benchmarks/results/<case>.json``, and
plots after the last one where matplotlib is there. ``benchmarks/README.md`` says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from harness.cases import Case
from harness.display import Display
from harness.live import IdleCase, LiveCase
from harness.machine import Machine
from harness.plots import SUMMARIES, write_plots
from harness.report import markdown, replace_between_markers, table
from harness.results import Results, Run
from harness.stage import Job
from harness.stores import PROTOCOLS
from harness.subjects import Subject, choose, input_bytes, subjects

from logflow.errors import ComponentError

HERE = Path(__file__).parent


class Runnable(Protocol):
    """A case."""

    def run(self, job: Job) -> Run:
        """Run one subject once."""
        ...


CASES: dict[str, Callable[[Path, Path], Runnable]] = {
    "cri_json_to_forward": partial(Case, corpus="cri_json", source="files", sink="forward"),
    "cri_json_filtered_to_forward": partial(Case, corpus="cri_json", source="files", sink="forward"),
    "cri_mixed_to_forward": partial(Case, corpus="cri_mixed", source="files", sink="forward"),
    "docker_json_to_forward": partial(Case, corpus="docker_json", source="files", sink="forward"),
    "plain_json_to_forward": partial(Case, corpus="plain_json", source="files", sink="forward"),
    "nginx_regex_to_forward": partial(Case, corpus="nginx", source="files", sink="forward"),
    "cri_json_to_http": partial(Case, corpus="cri_json", source="files", sink="http"),
    "forward_to_file": partial(Case, corpus="cri_json", source="forward", sink="file"),
    "forward_to_forward": partial(Case, corpus="cri_json", source="forward", sink="forward"),
    "forward_to_http": partial(Case, corpus="cri_json", source="forward", sink="http"),
    **{
        f"forward_to_{store}": partial(Case, corpus="cri_json", source="forward", sink=store)
        for store in PROTOCOLS
    },
    "cri_multifile_rotating_to_forward": partial(
        LiveCase, files=100, lines_per_s=200_000, rotate_bytes=2 << 20, sink="forward"
    ),
    "cri_to_agent_to_aggregator_to_file": partial(
        LiveCase, files=4, lines_per_s=10_000, rotate_bytes=10 << 20, sink="file"
    ),
    **{
        f"steady_{rate}_lines_{files}_files": partial(
            LiveCase, files=files, lines_per_s=rate, rotate_bytes=10 << 20, sink="file"
        )
        for files in (10, 100)
        for rate in (200, 1_000, 10_000)
    },
    "agent_idle": IdleCase,
}


def folder(case: str) -> Path:
    """Where a case's configurations are; those at a steady rate share one folder."""
    return HERE / "cases" / ("steady" if case.startswith("steady_") else case)


def arguments() -> argparse.ArgumentParser:
    """Declare the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of: {', '.join(CASES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each subject (default 3)")
    parser.add_argument(
        "--size-mb", action="append", metavar="N|SUBJECT=N",
        help="megabytes of input (default 500; slow subjects get less), or those of one subject",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, help="how long cases at a rate (15) and idle ones (30) take")
    parser.add_argument(
        "--subjects", help="comma-separated names, such as native,fluent-bit (default: all here)"
    )
    parser.add_argument("--dir", type=Path, help="where to work (default: a temporary directory)")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where results are")
    parser.add_argument("--plots-only", action="store_true", help="only make the plots of the results")
    parser.add_argument(
        "--markdown", action="store_true", help="only print the results as the README's tables"
    )
    parser.add_argument(
        "--update-readme", type=Path, nargs="?", const=HERE.parent / "README.md", metavar="PAGE",
        help="only put these tables between the markers of a page (default: the README)",
    )  # fmt: skip
    return parser


@dataclass(frozen=True)
class Turn:
    """One run to be made."""

    case: str
    subject: Subject
    size_bytes: int
    round: int
    last_of_case: bool


def main() -> int:
    """Do what is asked for; 1 when a subject failed or logflow lost, doubled or disordered a line."""
    parser = arguments()
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    if options.plots_only or options.markdown or options.update_readme:
        return report_only(options)
    try:
        chosen = choose(options.subjects, subjects()) if options.subjects else subjects()
        turns = plan(options.cases or list(CASES), chosen, options.size_mb or [], options.rounds)
    except ValueError as error:
        parser.error(str(error))
    results = Results.load(options.results, Machine.here())
    try:
        with tempfile.TemporaryDirectory(prefix="logflow-bench-") as temporary:
            clean = run_all(turns, results, options, options.dir or Path(temporary))
    except KeyboardInterrupt:
        print(f"\nInterrupted; the runs that ended are in {options.results}.", file=sys.stderr)
        return 130
    write_plots(results, options.results, list(CASES))
    return 0 if clean else 1


def plan(cases: list[str], chosen: list[Subject], sizes_mb: list[str], rounds: int) -> list[Turn]:
    """All runs in order: in each round of a case, every subject that has a configuration for it.

    Raises:
        ValueError: a size is none, or names a subject that does not take part.
    """
    known = {name for subject in chosen for name in (subject.name, subject.short)}
    for text in sizes_mb:
        if "=" in text and text.partition("=")[0] not in known:
            raise ValueError(f"there is no subject {text.partition('=')[0]!r} to give a size to")
    turns: list[Turn] = []
    for case in cases:
        able = [subject for subject in chosen if (folder(case) / subject.config).exists()]
        turns += [
            Turn(
                case, subject, input_bytes(subject, ["500", *sizes_mb]), number,
                last_of_case=number == rounds and subject is able[-1],
            )
            for number in range(1, rounds + 1)
            for subject in able
        ]  # fmt: skip
    return turns


def run_all(turns: list[Turn], results: Results, options: argparse.Namespace, directory: Path) -> bool:
    """Make the runs, and write the results after each; whether all went well."""
    session = datetime.now(UTC).isoformat(timespec="seconds")
    display = Display(sys.stderr, [(turn.case, turn.subject.name) for turn in turns])
    clean = True
    for turn in turns:
        case = CASES[turn.case](folder(turn.case), directory)
        seconds = options.seconds or (30.0 if isinstance(case, IdleCase) else 15.0)
        display.begin(f"{turn.case}: {turn.subject.name}, round {turn.round} of {options.rounds}")
        try:
            run = case.run(Job(turn.case, turn.subject, turn.size_bytes, seconds, session, display.update))
        except ComponentError as error:
            clean = False
            display.end(f"failed: {error}")
        else:
            results.add(run)
            results.write(options.results, turn.case)
            clean &= run.check.clean or not turn.subject.name.startswith("logflow")
            display.end(summary(run))
        if turn.last_of_case:
            print(f"\n{table(results, turn.case)}", flush=True)
    return clean


def summary(run: Run) -> str:
    """A run in a few words."""
    faults = f"{run.check.lost} lost, {run.check.doubled} doubled, {run.check.disordered} disordered"
    speed = f"{run.cpu_s / run.input_bytes * 1e9:.2f} CPU s/GB, " if run.input_bytes else ""
    return f"{speed}{run.cpu_s:.2f} CPU s in {run.wall_s:.2f} s, {run.peak_bytes / 1e6:.0f} MB, {faults}"


def report_only(options: argparse.Namespace) -> int:
    """Make reports of results that are there."""
    results = Results.load(options.results)
    if not results.cases:
        print(f"There are no results in {options.results}; run the cases first.", file=sys.stderr)
        return 1
    if options.plots_only:
        return 0 if write_plots(results, options.results, list(CASES)) else 1
    micro = options.results / "micro.json"
    speeds = json.loads(micro.read_text())["speeds"] if micro.exists() else None
    page: Path = options.update_readme or HERE.parent / "README.md"
    plots = {
        title: os.path.relpath(options.results / name, page.parent)
        for title, name in SUMMARIES.items()
        if (options.results / name).exists()
    }
    text = markdown(results, list(CASES), speeds, plots)
    if options.update_readme is None:
        print(text)
        return 0
    try:
        page.write_text(replace_between_markers(page.read_text(), text))
    except (OSError, ValueError) as error:
        print(f"cannot put the tables into {page}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
