"""Results are kept by case, and reported as tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from harness.check import Check
from harness.machine import Machine, cpu_name
from harness.plots import write_plots
from harness.report import MARKERS, markdown, replace_between_markers, table
from harness.results import Kind, Results, Run, figures

MACHINE = Machine("A processor", 2, 8, "Linux 6.1", "3.11.7")
CLEAN = Check(1000, 0, 0, 0)


def run(
    case: str = "a_to_b", subject: str = "logflow-native", cpu_s: float = 1.0, kind: Kind = "speed"
) -> Run:
    return Run(
        case, kind, subject, "2026-01-01T10:00:00+00:00", "1.0", input_bytes=500_000_000, events=1000,
        wall_s=2.0, cpu_s=cpu_s, start_cpu_s=0.5, peak_bytes=80_000_000, resident_bytes=60_000_000,
        check=CLEAN,
    )  # fmt: skip


def results(*runs: Run) -> Results:
    found = Results(MACHINE)
    for each in runs:
        found.add(each)
    return found


def test_figures_are_medians_and_memory_and_latency_the_worst() -> None:
    """Faults are added up."""
    runs = [
        replace(run(cpu_s=1.0), peak_bytes=90_000_000, latency_ms=(1.0, 5.0, 9.0)),
        replace(run(cpu_s=9.0), check=Check(998, 2, 0, 1), latency_ms=(2.0, 7.0, 8.0)),
        replace(run(cpu_s=2.0), check=Check(999, 1, 0, 0)),
    ]
    found = figures(runs)
    assert (found.rounds, found.cpu_per_gb, found.mb_per_s, found.events_per_s) == (3, 4.0, 250.0, 500.0)
    assert (found.peak_mb, found.latency_ms) == (90.0, (2.0, 7.0, 8.0))
    assert (found.lost, found.doubled, found.disordered) == (3, 0, 1)


def test_what_was_written_is_loaded_again(tmp_path: Path) -> None:
    """Each case has a file of its own, and a file that is none of them does no harm."""
    written = results(run(), replace(run(case="c"), latency_ms=(1.0, 2.0, 3.0)))
    written.write(tmp_path, "a_to_b")
    written.write(tmp_path, "c")
    (tmp_path / "micro.json").write_text('{"speeds": {}}')
    loaded = Results.load(tmp_path)
    assert loaded.runs == written.runs
    assert loaded.machine == MACHINE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_to_b.json", "c.json", "micro.json"]


def test_new_runs_of_a_subject_replace_its_former_ones_alone(tmp_path: Path) -> None:
    """The first new run makes the change, the others add to it; other subjects and cases stay."""
    results(run(cpu_s=1.0), run(subject="fluent-bit"), run(case="c")).write(tmp_path, "a_to_b")
    results(run(case="c")).write(tmp_path, "c")
    again = Results.load(tmp_path, MACHINE)
    again.add(run(cpu_s=5.0))
    again.add(run(cpu_s=6.0))
    again.write(tmp_path, "a_to_b")
    kept = Results.load(tmp_path)
    assert kept.by_subject("a_to_b")["logflow-native"].rounds == 2
    assert kept.by_subject("a_to_b")["fluent-bit"].rounds == 1
    assert kept.cases == ["a_to_b", "c"]


def test_results_of_another_machine_are_left_out(tmp_path: Path) -> None:
    """They could not be compared; their files stay."""
    results(run()).write(tmp_path, "a_to_b")
    assert Results.load(tmp_path, replace(MACHINE, cores=64)).cases == []
    assert (tmp_path / "a_to_b.json").exists()


def test_an_empty_place_has_no_results(tmp_path: Path) -> None:
    assert Results.load(tmp_path / "missing").cases == []


def test_a_table_has_ratios_to_the_first_subject() -> None:
    """logflow's native engine is the first, whoever ran first."""
    text = table(results(run(subject="fluent-bit", cpu_s=10.0), run(cpu_s=1.0)), "a_to_b")
    first, second = text.splitlines()[2:4]
    assert first.split()[:5] == ["logflow-native", "1", "500", "2.00", "1.00"]
    assert second.split()[:5] == ["fluent-bit", "1", "500", "20.00", "10.00"]


def test_a_table_says_when_subjects_were_measured_apart() -> None:
    later = replace(run(subject="fluent-bit"), session="2026-02-02T10:00:00+00:00")
    assert "different times" in table(results(run(), later), "a_to_b")
    assert "different times" not in table(results(run()), "a_to_b")


def test_a_case_that_nobody_ran() -> None:
    assert "nobody" in table(results(), "a_to_b")


def test_markdown_has_a_table_of_each_kind() -> None:
    """Conditions come first; a subject that did not run has a dash, and faults stand beside the speed."""
    text = markdown(
        results(
            run(),
            replace(run(subject="fluent-bit", cpu_s=8.0), check=Check(990, 10, 0, 0), version="2.0"),
            run(case="only_ours"),
            replace(
                run(case="steady", kind="rate"),
                latency_ms=(1.0, 2.0, 3.0),
                cpu_s_of={"agent": 0.3, "aggregator": 0.7},
                switches=4000,
            ),
            replace(run(case="idle", kind="idle"), input_bytes=0, cpu_s=0.01),
        ),
        ["a_to_b", "only_ours", "steady", "idle"],
        {"to_ndjson": {"native": 900, "python": 90}},
        {"CPU seconds per GB": "results/summary.svg"},
    )
    lines = text.splitlines()
    assert lines[0].startswith(
        "Measured on 2026-01-01: A processor, 2 cores, 8 GB of memory, Linux 6.1, Python"
    )
    assert lines[0].endswith("1.0; 2.0. CPU seconds are those after the start.")
    assert "](results/summary.svg)" in lines[2]
    assert "| `a_to_b` | 2.00 (250) | 16.00 (250), 10 lost |" in lines
    assert "| `only_ours` | 2.00 (250) | – |" in lines
    assert "| `steady` | logflow | 500 | 15.0 + 35.0 % | 2,000 | 80 | 0 / 0 / 0 | 1 / 2 / 3 |" in lines
    assert "| logflow | 60 | 0.50 % | 0.50 |" in lines
    assert "| to ndjson | 900 | 90 |" in lines


def test_markdown_says_who_got_less_input() -> None:
    """Figures per GB can be compared then, but the reader should know."""
    less = replace(run(subject="fluentd"), input_bytes=50_000_000)
    first = markdown(results(run(), less), ["a_to_b"]).splitlines()[0]
    assert first.endswith("of which there were 500 MB for logflow, 50 MB for Fluentd.")


def test_a_page_is_changed_between_its_markers_alone() -> None:
    """Putting the tables there twice is the same as once."""
    page = f"before\n{MARKERS[0]}\nold\n{MARKERS[1]}\nafter\n"
    once = replace_between_markers(page, r"new \1")
    assert once == f"before\n{MARKERS[0]}\nnew \\1\n{MARKERS[1]}\nafter\n"
    assert replace_between_markers(once, r"new \1") == once


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no <!-- benchmarks -->"):
        replace_between_markers("text", "new")


def test_the_readme_has_the_markers() -> None:
    readme = Path(__file__).parents[2] / "README.md"
    assert replace_between_markers(readme.read_text(), "tables")


@pytest.mark.slow
def test_plots_are_the_same_again(tmp_path: Path) -> None:
    """Each case has one; those at full speed have one together, as have those at a steady rate."""
    pytest.importorskip("matplotlib")
    steady = "steady_200_lines_10_files"
    found = results(
        run(),
        run(subject="fluent-bit", cpu_s=3.0),
        run(case="idle", kind="idle"),
        run(case=steady, kind="rate"),
    )
    order = ["a_to_b", steady, "idle"]
    written = write_plots(found, tmp_path, order)
    assert [path.name for path in written] == [
        "a_to_b.svg", f"{steady}.svg", "idle.svg", "summary.svg", "steady.svg",
    ]  # fmt: skip
    before = [path.read_bytes() for path in written]
    write_plots(found, tmp_path, order)
    assert [path.read_bytes() for path in written] == before


def test_the_processor_is_named_as_the_kernel_names_it() -> None:
    assert cpu_name("processor\t: 0\nmodel name\t: A  fast\tone\n") == "A fast one"
    assert cpu_name("Processor : ARM\n") == ""


def test_this_machine_can_be_told() -> None:
    """It survives JSON, as results keep it there."""
    here = Machine.here()
    assert here.cores >= 1
    assert Machine(**json.loads(json.dumps(here.__dict__))) == here
