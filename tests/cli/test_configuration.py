"""The option -c FILE..., which takes no name that follows its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from logflow.cli.configuration import each_alone


@pytest.mark.parametrize(
    ("given", "alone"),
    [
        (["-c", "a.yaml", "list"], ["-c", "a.yaml", "list"]),
        (["-c", "a.yaml", "b.yml", "SELECT 1", "x"], ["-c", "a.yaml", "-c", "b.yml", "SELECT 1", "x"]),
        (["show", "n1", "-c", "conf", "n2"], ["show", "n1", "-c", "conf", "n2"]),
        (["-c", "-", "move", "a", "b"], ["-c", "-", "move", "a", "b"]),
        (["-c", "a.yaml", "--all", "b.yaml"], ["-c", "a.yaml", "--all", "b.yaml"]),
        (["-c", "a.yaml", "--", "b.yaml"], ["-c", "a.yaml", "--", "b.yaml"]),
        (["--config", "a.yaml", "x", "b.yaml"], ["--config", "a.yaml", "x", "b.yaml"]),
        (["-c"], ["-c"]),
        ([], []),
    ],
)
def test_names_that_follow_are_not_taken(given: list[str], alone: list[str]) -> None:
    assert each_alone(given, names=True) == alone


def test_without_names_all_that_follows_is_files(tmp_path: Path) -> None:
    assert each_alone(["-c", "a", "b", "--debug"], names=False) == ["-c", "a", "-c", "b", "--debug"]


def test_directories_of_configurations_are_told_from_others(tmp_path: Path) -> None:
    config, logs = tmp_path / "config", tmp_path / "logs"
    for directory in (config, logs):
        directory.mkdir()
    (config / "a.yaml").touch()
    (logs / "a.jsonl").touch()
    given = ["-c", "a.yaml", str(config), str(logs)]
    assert each_alone(given, names=True) == ["-c", "a.yaml", "-c", str(config), str(logs)]
