"""A table of the speeds at the end: functions down, engines across; and the same as JSON on request."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

_ENGINES = ("python", "native")


class Speeds:
    """MB/s by function and engine."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, int]] = defaultdict(dict)

    def add(self, name: str, mb_per_s: int) -> None:
        """Take the name of a test, such as ``test_line_parser[native-cri-json]``, and its speed."""
        function, engine, variant = split(name)
        self.rows[f"{function} {variant}".strip()][engine] = mb_per_s

    def table(self) -> list[str]:
        """The lines of the table."""
        lines = [f"{'MB/s':<32}{'python':>10}{'native':>10}{'ratio':>8}"]
        for function, row in self.rows.items():
            cells = "".join(f"{row.get(engine, ''):>10}" for engine in _ENGINES)
            ratio = f"{row['native'] / row['python']:.1f}" if all(map(row.get, _ENGINES)) else ""
            lines.append(f"{function:<32}{cells}{ratio:>8}")
        return lines


def split(name: str) -> tuple[str, str, str]:
    """A test's name as function, engine (python where it has none) and variant."""
    match = re.fullmatch(r"test_(\w+)(?:\[(.*)\])?", name)
    assert match is not None
    parts = (match[2] or "").split("-")
    engine = next((part for part in parts if part in _ENGINES), "python")
    return match[1], engine, "-".join(part for part in parts if part != engine)


_SPEEDS = pytest.StashKey[Speeds]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--speeds", type=Path, help="also write the table of speeds as JSON to this file")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SPEEDS] = Speeds()


@pytest.fixture
def speeds(request: pytest.FixtureRequest) -> Speeds:
    return request.config.stash[_SPEEDS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash[_SPEEDS]
    if not found.rows:
        return
    terminalreporter.section("speed of the engines")
    for line in found.table():
        terminalreporter.write_line(line)
    if (path := config.getoption("--speeds")) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"speeds": found.rows}, indent=1) + "\n")
