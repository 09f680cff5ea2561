"""Child processes are started, watched and ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from logflow.errors import ComponentError
from logflow.testing.processes import Process, answers, free_ports, stop_all

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def process(tmp_path: Path, code: str, name: str = "child", **env: str) -> Process:
    return Process(name, [sys.executable, "-S", "-c", code], log=tmp_path / f"{name}.log", env=env)


def start_and_wait_until_up(child: Process) -> None:
    child.start()
    child.wait_for(lambda: child.log.read_text().endswith("up\n"), "come up", 20.0)


def test_output_and_environment_reach_the_process_and_its_log(tmp_path: Path) -> None:
    child = process(tmp_path, "import os; print(os.environ['WORD'])", WORD="hello")
    child.start()
    assert child.wait(20.0) == 0
    assert child.log.read_text() == "hello\n"
    assert not child.running


def test_a_killed_process_is_gone_and_can_be_started_again(tmp_path: Path) -> None:
    child = process(tmp_path, SLEEPER)
    for _ in range(2):
        start_and_wait_until_up(child)
        pid = child.pid
        child.kill()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_stop_all_kills_what_does_not_end_in_time(tmp_path: Path) -> None:
    children = [process(tmp_path, SLEEPER, "polite"), process(tmp_path, STUBBORN, "stubborn")]
    for child in children:
        start_and_wait_until_up(child)
    assert stop_all(children, 0.2) == [children[1]]
    assert [child.wait(0.0) for child in children] == [-signal.SIGTERM, -signal.SIGKILL]


def test_waiting_for_a_process_that_ended_says_why(tmp_path: Path) -> None:
    child = process(tmp_path, "raise SystemExit('no configuration')")
    child.start()
    with pytest.raises(ComponentError, match=r"child ended; its log .* ends with: no configuration"):
        child.wait_for_http(1, "/healthz", 20.0)


def test_waiting_is_bounded(tmp_path: Path) -> None:
    child = process(tmp_path, SLEEPER)
    start_and_wait_until_up(child)
    try:
        with pytest.raises(ComponentError, match=r"did not become idle within 0\.01 s"):
            child.wait_for(lambda: False, "become idle", 0.01)
        with pytest.raises(ComponentError, match=r"did not end within 0 s"):
            child.wait(0.0)
    finally:
        child.kill()


def test_a_process_dies_with_its_parent(tmp_path: Path) -> None:
    code = f"""
import pathlib, sys, os, signal
from logflow.testing.processes import Process
log = pathlib.Path({str(tmp_path / "child.log")!r})
child = Process("child", [sys.executable, "-S", "-c", {SLEEPER!r}], log=log)
child.start()
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = Process("parent", [sys.executable, "-c", code], log=tmp_path / "parent.log")
    parent.start()
    assert parent.wait(20.0) == -signal.SIGKILL
    pid = int(parent.log.read_text())
    deadline_s = time.monotonic() + 20.0
    while _is_alive(pid) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # a zombie is dead, whoever may reap it


def test_free_ports_differ_and_nobody_answers() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert not any(answers(port, "/") for port in ports)
