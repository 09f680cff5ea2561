"""The demo's options and its verdict; tests/e2e runs the whole of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from logflow.cli import demo
from logflow.cli.main import build_parser, main
from logflow.testing.local import LocalPipeline
from logflow.testing.oracle import Text, numbered_line
from logflow.testing.sinks import SinkRequest
from logflow.testing.writer import Plan, WriterProgress


@pytest.mark.parametrize(
    "arguments", [["--rate", "0"], ["--duration", "-1"], ["--containers", "0"], ["--rate", "nan"]]
)
def test_senseless_options_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["demo", *arguments])
    assert exit_info.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_directory_with_something_in_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").touch()
    assert main(["demo", "--dir", str(tmp_path)]) == 1
    assert f"{tmp_path}: it is not empty; choose a new directory" in capsys.readouterr().err


def test_a_directory_that_a_glob_would_not_find_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--dir", str(tmp_path / "[1]")]) == 1
    assert "[ has a meaning in configured paths" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_log_files_are_rotated_and_none_is_dropped() -> None:
    args = build_parser().parse_args(["demo", "--duration", "20", "--rate", "10000"])
    plan = demo._plan(args)
    per_container = plan.lines_per_s * plan.duration_s * 400 / plan.containers
    assert 1 < per_container / plan.rotate_bytes < plan.keep_files


def finished_demo(directory: Path, *, files: range, http: range, written: int = 3) -> demo._Demo:
    """A demo whose processes have ended and left these lines."""
    pipeline = LocalPipeline(directory)
    archive = directory / "aggregator-0" / "archive"
    for path in (pipeline.node, archive, directory / "sink-0"):
        path.mkdir(parents=True)
    progress = WriterProgress({"web-0/stdout": written} if written else {}, finished=True)
    (pipeline.node / "written.json").write_bytes(msgspec.json.encode(progress))
    (archive / "a.jsonl").write_bytes(lines(files))
    (directory / "sink-0" / "bodies.jsonl").write_bytes(lines(http))
    requests = [SinkRequest(2_000_000, "k", "/", 0, len(lines(http)), len(http))] * 2
    (directory / "sink-0" / "requests.jsonl").write_bytes(
        b"".join(msgspec.json.encode(request) + b"\n" for request in requests)
    )
    played = demo._Demo(pipeline, Plan(), kill=True)
    played._took_s = 1.0
    return played


def lines(seqs: range) -> bytes:
    text = Text.of("x")
    written = (numbered_line("web-0", seq, 1_000_000, text) for seq in seqs)
    return b"".join(line[:-1] + b',"stream":"stdout"}\n' for line in written)


def test_every_line_once_passes_though_requests_were_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finished_demo(tmp_path, files=range(3), http=range(3)).judge()
    out = capsys.readouterr().out
    rows = {line[:26].strip(): line[26:].split() for line in out.splitlines()}
    assert rows["files"] == ["3", "3", "0", "0", "0", "0", "0"]
    assert rows["HTTP as it came"] == ["3", "3", "0", "3", "0", "0", "0"]
    assert rows["HTTP by Idempotency-Key"] == ["3", "3", "0", "0", "0", "0", "0"]
    assert "p50 1.0 ms, p99 1.0 ms" in out
    assert "Every line arrived, whole, in order and once." in out
    assert str(tmp_path / "logs") in out


def test_a_lost_line_fails_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not finished_demo(tmp_path, files=range(2), http=range(3)).judge()
    out = capsys.readouterr().out
    assert "FAILED:\n  files: web-0/stdout 2: it did not arrive (1 of 3 did not)\n" in out


def test_nothing_written_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not finished_demo(tmp_path, files=range(0), http=range(0), written=0).judge()
    assert "nothing was written" in capsys.readouterr().out


def test_a_process_that_had_to_be_killed_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    played = finished_demo(tmp_path, files=range(3), http=range(3))
    played._late = ["agent"]
    assert not played.judge()
    assert "agent did not end within 10 s of SIGTERM" in capsys.readouterr().out
