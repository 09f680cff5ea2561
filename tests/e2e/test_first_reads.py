"""``kill -9`` within milliseconds of a new file's first line: it keeps its name, and is written once.

``FIRST_READ_KILLS`` says how often each kind is killed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from logflow.testing.processes import Process, free_ports, stop_all

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("FIRST_READ_KILLS", "3"))
FILES_PER_KILL = 3


def service(directory: Path, name: str, settings: dict[str, object]) -> Process:
    """A process of logflow with these settings."""
    path = directory / f"{name}.yaml"
    settings = {"data_dir": str(directory / name), "admin": {"listen": None}, **settings}
    path.write_text(yaml.safe_dump(settings))
    argv = [sys.executable, "-m", "logflow", "run", "-c", str(path)]
    return Process(name, argv, log=directory / f"{name}.log")


def agent(directory: Path, output: dict[str, object]) -> Process:
    """A process that follows the files in ``in``."""
    tail = {"type": "tail", "paths": [str(directory / "in" / "*.log")], "format": "plain", "tag": "t"}
    settings = {
        "sources": {"a": tail},
        "routes": [{"match": "**", "outputs": ["o"]}],
        "outputs": {"o": output},
    }
    return service(directory, "agent", settings)


def aggregator(directory: Path, port: int, output: dict[str, object]) -> Process:
    """A process that writes what it is sent."""
    settings = {
        "sources": {"f": {"type": "forward", "listen": f"127.0.0.1:{port}"}},
        "routes": [{"match": "**", "outputs": ["o"]}],
        "outputs": {"o": output},
    }
    return service(directory, "aggregator", settings)


def delivered(path: Path) -> Counter[int]:
    """How often each number stands in the output."""
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(json.loads(line)["n"] for line in lines)


def strike(agent: Process, directory: Path, first: int) -> None:
    """Write new files, and kill the agent as soon as something of them was delivered."""
    path = directory / "o.ndjson"
    before = path.stat().st_size if path.exists() else 0
    for number in range(first, first + FILES_PER_KILL):
        (directory / "in" / f"{number}.log").write_text(json.dumps({"n": number}) + "\n")
    deadline_s = time.monotonic() + 60
    while not path.exists() or path.stat().st_size == before:
        assert time.monotonic() < deadline_s
        time.sleep(0.0005)
    agent.kill()


@pytest.mark.parametrize("over", ["file", "forward"])
@pytest.mark.parametrize("buffer", ["disk", "memory"])
def test_a_kill_right_after_the_first_read_of_a_file_doubles_nothing(
    tmp_path: Path, buffer: str, over: str
) -> None:
    (tmp_path / "in").mkdir()
    (port,) = free_ports(1)
    path = tmp_path / "o.ndjson"
    to_file: dict[str, object] = {"type": "file", "path": str(path)}
    to_peer = {"type": "forward", "servers": [{"address": f"127.0.0.1:{port}"}]}
    under_test = agent(tmp_path, {**(to_file if over == "file" else to_peer), "buffer": {"type": buffer}})
    peer = aggregator(tmp_path, port, {**to_file, "buffer": {"type": "disk"}})
    processes = [under_test, peer] if over == "forward" else [under_test]
    for process in processes:
        process.start()
    try:
        for number in range(0, KILLS * FILES_PER_KILL, FILES_PER_KILL):
            strike(under_test, tmp_path, number)
            under_test.start()
        everything = set(range(KILLS * FILES_PER_KILL))
        under_test.wait_for(lambda: delivered(path).keys() >= everything, "deliver everything", 60 + KILLS)
    finally:
        stop_all(processes, 20)
    assert delivered(path) == Counter(dict.fromkeys(everything, 1))
