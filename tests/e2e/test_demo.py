"""The demo as a user runs it: real processes, a kill half-way, a verdict; and nothing left behind."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from logflow.testing.processes import Process

_TIMEOUT_S = 60.0


def demo(tmp_path: Path, *arguments: str) -> Process:
    argv = [sys.executable, "-m", "logflow", "demo", "--dir", str(tmp_path / "demo"), *arguments]
    return Process("demo", argv, log=tmp_path / "demo.out", env={"PYTHONUNBUFFERED": "1"})


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # a zombie is dead, whoever may reap it


@pytest.mark.slow
def test_every_line_arrives_once_though_an_aggregator_is_killed(tmp_path: Path) -> None:
    process = demo(tmp_path, "--duration", "3", "--rate", "2000", "--containers", "6")
    process.start()
    try:
        status = process.wait(_TIMEOUT_S)
    finally:
        process.kill()
    out = process.log.read_text()
    assert "was killed with SIGKILL" in out
    assert "was started again" in out
    rows = {line[:26].strip(): line[26:].split() for line in out.splitlines()}
    assert rows["files"] == ["6,000", "6,000", "0", "0", "0", "0", "0"], out
    assert rows["HTTP by Idempotency-Key"] == rows["files"]
    assert "Every line arrived, whole, in order and once." in out
    assert status == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_ends_its_processes(tmp_path: Path, number: signal.Signals) -> None:
    process = demo(tmp_path, "--duration", "60", "--rate", "100")
    process.start()
    try:
        process.wait_for(lambda: len(children(process.pid)) >= 3, "start some", _TIMEOUT_S)
        pids = children(process.pid)
        process.send(number)
        assert process.wait(_TIMEOUT_S) == 130
    finally:
        process.kill()
    deadline_s = time.monotonic() + _TIMEOUT_S
    while any(map(is_alive, pids)) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not [pid for pid in pids if is_alive(pid)]
