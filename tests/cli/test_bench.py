"""``logflow bench``."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
import yaml

from logflow.cli.bench import _Progress
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
    printed, told = capsys.readouterr()
    assert told.startswith("The sources app (tail) are given ")
    assert "The outputs central (forward) are replaced" in told
    assert [line[:13].strip() for line in printed.splitlines()[:2]] == ["this machine", "per core"]
    events = int(printed.split("events ")[1].split()[0].replace(",", ""))
    assert events % 20_000 == 0
    assert events > 0
    assert "CPU s per GB" in printed
    assert not (tmp_path / "never-used").exists()


def test_a_configuration_without_files_is_measured_with_generated_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a filter drops has gone through too."""
    config = tmp_path / "aggregator.yaml"
    config.write_text(yaml.safe_dump({
        "data_dir": str(tmp_path / "never-used"),
        "sources": {"peers": {"type": "forward", "listen": "127.0.0.1:0"}},
        "routes": [{"match": "**", "outputs": ["drop"]}],
        "outputs": {"drop": {"type": "null"}},
    }))  # fmt: skip
    assert main(["bench", "-c", str(config), "--size-mb", "1"]) == 0
    assert "5,000 of 200 bytes" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "lines"), [(io.StringIO(), 1), (Terminal(), 0)])
def test_progress_says_how_far_it_is(stream: io.StringIO, lines: int) -> None:
    """A pipe gets lines; on a terminal one line is written over."""
    progress = _Progress(stream, total_bytes=1000, started_s=time.monotonic() - 10.0)
    progress.show(50, 500)
    progress.show(60, 600)
    assert " 50%   10.0 s  50 events, about 10 s to go" in stream.getvalue()
    assert stream.getvalue().count("\n") == lines
    assert "60 events" not in stream.getvalue()


def test_an_unreadable_sample_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the file."""
    config = tmp_path / "agent.yaml"
    config.write_text(
        "sources: {app: {type: tail, paths: [/nowhere], tag: app}}\n"
        "routes: [{match: '**', outputs: [drop]}]\noutputs: {drop: {type: 'null'}}\n"
    )
    assert main(["bench", "-c", str(config), "--sample", str(tmp_path / "missing")]) == 1
    assert "missing" in capsys.readouterr().err
