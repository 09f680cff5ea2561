"""Run the benchmark cases and print their figures: ``python benchmarks/run.py [CASE ...]``.

Subjects run in turn within each round, so that a noisy moment of the machine hits all of them; figures
are medians over the rounds. Every line is numbered: beside each speed stands what was lost, doubled or
out of order. Results go to ``benchmarks/results/`` as JSON, and as plots where matplotlib is there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from harness.cases import CASES as FULL_SPEED
from harness.live import LiveCase
from harness.report import Results, print_table, write_plots
from harness.subjects import subjects

HERE = Path(__file__).parent

CASES = {
    **FULL_SPEED,
    "cri_multifile_rotating_to_forward": lambda folder, directory, _: LiveCase(
        folder, directory, files=100, lines_per_s=200_000, rotate_bytes=2 << 20, sink="forward"
    ),
    "cri_to_agent_to_aggregator_to_file": lambda folder, directory, _: LiveCase(
        folder, directory, files=4, lines_per_s=10_000, rotate_bytes=10 << 20, sink="file"
    ),
}


def main() -> int:
    """Run what is asked for; 1 when a logflow run lost or doubled a line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of: {', '.join(CASES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each subject (default 3)")
    parser.add_argument("--size-mb", type=int, default=500, help="megabytes of input (default 500)")
    parser.add_argument("--subjects", help="comma-separated names (default: all that are here)")
    parser.add_argument("--dir", type=Path, help="where to work (default: a temporary directory)")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where results are written")
    options = parser.parse_args()
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    wanted = options.subjects.split(",") if options.subjects else None
    taking_part = [subject for subject in subjects() if wanted is None or subject.name in wanted]
    results = Results()
    with tempfile.TemporaryDirectory(prefix="logflow-bench-") as temporary:
        directory = options.dir or Path(temporary)
        for name in options.cases or CASES:
            case = CASES[name](HERE / "cases" / name, directory, options.size_mb * 10**6)
            for turn in range(options.rounds):
                for subject in taking_part:
                    if not (case.folder / subject.config).exists():
                        continue
                    print(f"{name}: {subject.name}, round {turn + 1} of {options.rounds}", flush=True)
                    results.add(case.run(subject))
            print_table(results, name)
        results.write(options.results)
        write_plots(results, options.results)
    return 0 if results.clean else 1


if __name__ == "__main__":
    sys.exit(main())
