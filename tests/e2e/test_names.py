"""Aggregators behind one name come, move and go under an agent that runs: every line arrives once."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from logflow.testing.processes import Process, free_ports, stop_all

pytestmark = pytest.mark.slow

AGENT = """
import json, sys
from pathlib import Path
from logflow.cli.main import main
from logflow.outputs.forward import ForwardOutput
answer = Path(sys.argv.pop(1))
ForwardOutput._resolve = staticmethod(lambda host: [tuple(pair) for pair in json.loads(answer.read_text())])
sys.exit(main(sys.argv[1:]))
"""
"""An agent whose resolver is a file."""


class Cluster:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (self.port,) = free_ports(1)
        self.answer = directory / "answer.json"
        self.logs = directory / "in"
        self.logs.mkdir()
        self.written = 0

    def config(self, name: str, settings: dict[str, object]) -> Path:
        path = self.directory / f"{name}.yaml"
        path.write_text(
            yaml.safe_dump(
                {"data_dir": str(self.directory / name), "admin": {"listen": None},
                 "routes": [{"match": "**", "outputs": ["o"]}], **settings}
            )
        )  # fmt: skip
        return path

    def aggregator(self, name: str, address: str) -> Process:
        config = self.config(
            name,
            {
                "sources": {"f": {"type": "forward", "listen": f"{address}:{self.port}"}},
                "outputs": {
                    "o": {
                        "type": "file", "path": str(self.directory / f"{name}.jsonl"),
                        "buffer": {"type": "disk"},
                    }
                },
            },
        )  # fmt: skip
        argv = [sys.executable, "-m", "logflow", "run", "-c", str(config)]
        return Process(name, argv, log=self.directory / f"{name}.log")

    def agent(self) -> Process:
        tail = {"type": "tail", "paths": [f"{self.logs}/*.log"], "format": "plain", "tag": "{path}"}
        output = {
            "type": "forward", "servers": [{"dns": f"agg:{self.port}", "refresh": "1s"}],
            "buffer": {"type": "memory", "flush_interval": "50ms"}, "retry": {"initial": "50ms"},
        }  # fmt: skip
        config = self.config("agent", {"sources": {"t": tail}, "outputs": {"o": output}})
        argv = [sys.executable, "-c", AGENT, str(self.answer), "run", "-c", str(config)]
        return Process("agent", argv, log=self.directory / "agent.log")

    def resolves_to(self, *pods: tuple[str, str]) -> None:
        """Say which pods there are: address and name."""
        new = self.answer.with_suffix(".new")
        new.write_text(json.dumps([(address, f"{name}.agg.svc") for address, name in pods]))
        new.replace(self.answer)

    def write(self, lines: int) -> None:
        for number in range(lines):
            with (self.logs / f"{number % 12}.log").open("a") as file:
                file.write(json.dumps({"n": self.written}) + "\n")
            self.written += 1

    def arrived(self, *names: str) -> Counter[int]:
        found: Counter[int] = Counter()
        for path in self.directory.glob("*.jsonl"):
            if not names or path.stem in names:
                found.update(json.loads(line)["n"] for line in path.read_text().splitlines(keepends=True)
                             if line.endswith("\n"))  # fmt: skip
        return found

    def wait_for(self, condition: object, agent: Process) -> None:
        assert callable(condition)
        agent.wait_for(condition, "deliver", 30.0)


def test_pods_come_move_and_go(tmp_path: Path) -> None:
    """One that is killed comes back with another address and its own disk, and gets what it may have had."""
    cluster = Cluster(tmp_path)
    first, second = cluster.aggregator("agg-0", "127.0.0.2"), cluster.aggregator("agg-1", "127.0.0.3")
    agent = cluster.agent()
    processes = [first, second, agent]
    try:
        first.start()
        cluster.resolves_to(("127.0.0.2", "agg-0"))
        agent.start()
        cluster.write(60)
        cluster.wait_for(lambda: len(cluster.arrived("agg-0")) == 60, agent)

        second.start()
        cluster.resolves_to(("127.0.0.2", "agg-0"), ("127.0.0.3", "agg-1"))
        until = time.monotonic() + 30
        while not cluster.arrived("agg-1") and time.monotonic() < until:
            cluster.write(12)
            time.sleep(0.1)
        assert cluster.arrived("agg-1")

        cluster.write(60)
        first.kill()
        cluster.write(60)
        first = cluster.aggregator("agg-0", "127.0.0.4")
        processes.append(first)
        first.start()
        cluster.resolves_to(("127.0.0.4", "agg-0"), ("127.0.0.3", "agg-1"))
        cluster.write(60)
        cluster.wait_for(lambda: len(cluster.arrived()) == cluster.written, agent)

        cluster.resolves_to(("127.0.0.4", "agg-0"))
        cluster.write(60)
        cluster.wait_for(lambda: len(cluster.arrived()) == cluster.written, agent)
        assert set(cluster.arrived().values()) == {1}
        assert "Server agg-0.agg.svc" in agent.log.read_text()
    finally:
        stop_all(processes, 20.0)
