"""A few seconds of the torture, as part of every run of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from logflow.errors import ComponentError
from tools.disks import small_disk
from tools.torture.__main__ import main
from tools.torture.faults import Faults


def faults_possible_here(directory: Path) -> list[str]:
    """All faults; without full disks where none can be mounted."""
    try:
        with small_disk(directory / "probe", 1 << 20):
            return list(Faults.KINDS)
    except ComponentError:
        return [kind for kind in Faults.KINDS if not kind.startswith("fill")]


@pytest.mark.slow
def test_whatever_strikes_every_line_arrives_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = faults_possible_here(tmp_path)
    options = (
        f"--seed 3 --strikes {len(kinds)} --pause 0.15 --rate 1000 --faults {','.join(kinds)} --dir".split()
    )
    status = main([*options, str(tmp_path / "run")])
    said = capsys.readouterr().out
    assert status == 0, said
    assert all(f"1 × {kind}" in said for kind in kinds), said
