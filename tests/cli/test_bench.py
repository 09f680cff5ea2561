"""``logflow bench``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from logflow.cli.main import main


@pytest.mark.slow
@pytest.mark.parametrize("line_format", ["auto", "cri", "docker", "plain"])
def test_measures_what_a_configuration_carries(
    line_format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sample lines go through the configured route; every one is accounted for in the figures."""
    config = tmp_path / "agent.yaml"
    config.write_text(yaml.safe_dump({
        "data_dir": str(tmp_path / "never-used"),
        "sources": {
            "app": {"type": "tail", "paths": ["/nowhere/*.log"], "tag": "app", "format": line_format}
        },
        "routes": [{"match": "**", "outputs": ["central"]}],
        "outputs": {"central": {"type": "forward", "servers": [{"address": "127.0.0.1:1"}]}},
    }))  # fmt: skip
    assert main(["bench", "-c", str(config), "--size-mb", "6"]) == 0
    printed = capsys.readouterr().out
    events = int(printed.split("events ")[1].split()[0].replace(",", ""))
    assert events % 20_000 == 0
    assert events > 0
    assert "CPU s per GB" in printed
    assert not (tmp_path / "never-used").exists()


def test_an_unreadable_sample_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the file."""
    config = tmp_path / "agent.yaml"
    config.write_text(
        "sources: {app: {type: tail, paths: [/nowhere], tag: app}}\n"
        "routes: [{match: '**', outputs: [drop]}]\noutputs: {drop: {type: 'null'}}\n"
    )
    assert main(["bench", "-c", str(config), "--sample", str(tmp_path / "missing")]) == 1
    assert "missing" in capsys.readouterr().err
