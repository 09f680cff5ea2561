"""What ``benchmarks/run.py`` makes of its command line, and of the cases' folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import run as suite
import yaml
from harness.subjects import Subject, choose, input_bytes

from logflow.cli.main import main

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CASES = sorted(path.name for path in (BENCHMARKS / "cases").iterdir() if path.is_dir())
LOGFLOW = sorted((BENCHMARKS / "cases").glob("*/*logflow.yaml"))


def subject(name: str, config: str, most_mb: int = 200) -> Subject:
    return Subject(name, config, lambda path: [name, str(path)], {}, (name, "--version"), most_mb)


NATIVE = subject("logflow-native", "logflow.yaml", 2000)
BIT = subject("fluent-bit", "fluent-bit.conf")
VECTOR = subject("vector", "vector.yaml")


def test_subjects_have_short_names() -> None:
    """The order is that of the suite; the long names will do too."""
    here = [NATIVE, BIT]
    assert choose("fluent-bit, native", here) == here
    assert choose("logflow-native", here) == [NATIVE]


def test_an_unknown_subject_is_refused_with_those_that_are_here() -> None:
    with pytest.raises(
        ValueError, match=r"no subject 'nativ'; there are logflow-native, fluent-bit; .*VECTOR"
    ):
        choose("nativ", [NATIVE, BIT])


@pytest.mark.parametrize(
    ("sizes", "native_mb", "bit_mb"),
    [
        (["500"], 500, 200),
        (["500", "20"], 20, 20),
        (["500", "fluent-bit=400"], 500, 400),
        (["0.5"], 0.5, 0.5),
    ],
)
def test_slow_subjects_get_less_unless_told_otherwise(
    sizes: list[str], native_mb: float, bit_mb: float
) -> None:
    assert input_bytes(NATIVE, sizes) == native_mb * 1e6
    assert input_bytes(BIT, sizes) == bit_mb * 1e6


@pytest.mark.parametrize("size", ["x", "0", "-1", "native=", "inf", "nan"])
def test_what_is_no_size_is_refused(size: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        input_bytes(NATIVE, [size])


def test_subjects_take_turns_within_each_round() -> None:
    """One without a configuration for the case is left out, and the table comes after the last run."""
    turns = suite.plan(["cri_json_to_forward", "forward_to_file"], [NATIVE, BIT, VECTOR], ["10"], 2)
    first = [turn for turn in turns if turn.case == "cri_json_to_forward"]
    assert [(turn.subject.name, turn.round) for turn in first] == [
        ("logflow-native", 1), ("fluent-bit", 1), ("logflow-native", 2), ("fluent-bit", 2),
    ]  # fmt: skip
    assert [turn.last_of_case for turn in first] == [False, False, False, True]
    assert len(turns) == 4 + 6


def test_a_size_for_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="no subject 'vector'"):
        suite.plan(["forward_to_file"], [NATIVE], ["vector=5"], 1)


def test_every_case_has_a_folder_and_every_folder_is_a_case() -> None:
    assert sorted({suite.folder(case).name for case in suite.CASES}) == CASES


@pytest.mark.parametrize("path", LOGFLOW, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_configurations_of_logflow_can_be_used(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path.parent.name == "forward_to_s3":
        pytest.importorskip("obstore", reason="the extra s3 is not installed")
    monkeypatch.setenv("BENCH_WORK", str(tmp_path))
    monkeypatch.setenv("BENCH_INPUT", str(tmp_path / "*.log"))
    monkeypatch.setenv("BENCH_IN_PORT", "24001")
    monkeypatch.setenv("BENCH_OUT_PORT", "24002")
    assert main(["check", "-c", str(path)]) == 0


@pytest.mark.parametrize("case", CASES)
def test_configurations_of_peers_stay_on_this_machine(case: str) -> None:
    """They can be read, and name no address but the loopback one."""
    for path in (BENCHMARKS / "cases" / case).iterdir():
        text = path.read_text()
        if path.suffix == ".yaml":
            assert isinstance(yaml.safe_load(text), dict)
        assert "0.0.0.0" not in text
        for word in ("Host", "host", "bind", "Listen"):
            for line in text.splitlines():
                if line.split()[:1] == [word]:
                    assert line.split()[1] == "127.0.0.1", line
