"""The whole pipeline as real processes on loopback, from the ready configurations.

::

    DIRECTORY/node/                    log files of containers, as on a kubelet's node
              agent/                   the agent's data_dir: positions
              aggregator-0/archive/    JSON Lines files, one for each tag and day
                          /data/       disk buffers, dead letters
              aggregator-1/...
              sink-0/, sink-1/         what the HTTP sinks stored
              logs/                    what each process printed

    writer ~~files~~> agent ──forward──> aggregator-0, aggregator-1 ──┬──> files
                                                                      └──http──> sink-0, sink-1
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

from logflow.testing.oracle import Oracle
from logflow.testing.processes import Process, free_ports, stop_all
from logflow.testing.sinks import read_deliveries, read_requests, without_repeats
from logflow.testing.writer import Plan, Progress, read_progress

AGGREGATORS = ("aggregator-0", "aggregator-1")
SINKS = ("sink-0", "sink-1")
START_TIMEOUT_S = 20.0
"""How long a process may take until it answers."""


def ready_config(name: str) -> Path:
    """The file of a ready configuration, such as ``agent``."""
    return Path(str(resources.files("logflow") / "ready" / f"{name}.yaml"))


def logflow_process(name: str, config: str, *, log: Path, env: dict[str, str]) -> Process:
    """A ``logflow run`` of a ready configuration."""
    argv = [sys.executable, "-m", "logflow", "run", "-c", str(ready_config(config))]
    return Process(name, argv, log=log, env=env)


class Arrivals:
    """Lines that have arrived so far, counted in files and requests and not taken from logflow's word."""

    def __init__(self, pipeline: LocalPipeline) -> None:
        self._pipeline = pipeline
        self._offsets: dict[Path, int] = {}
        self._by_aggregator = dict.fromkeys(AGGREGATORS, 0)
        self.http = 0

    @property
    def files(self) -> int:
        """Lines in the aggregators' files."""
        return sum(self._by_aggregator.values())

    @property
    def busiest(self) -> str:
        """The aggregator that has written the most lines."""
        return max(self._by_aggregator, key=self._by_aggregator.__getitem__)

    def update(self) -> None:
        """Count what has come since the last time."""
        for name in AGGREGATORS:
            for path in self._pipeline.files([name]):
                with path.open("rb") as file:
                    file.seek(self._offsets.get(path, 0))
                    self._by_aggregator[name] += file.read().count(b"\n")
                    self._offsets[path] = file.tell()
        requests = (request for sink in SINKS for request in read_requests(self._pipeline.directory / sink))
        self.http = sum(request.lines for request in requests)


class LocalPipeline:
    """Starts, kills and stops the processes; leaving the ``with`` block ends all of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.node = directory / "node"
        names = [*SINKS, *AGGREGATORS, "agent"]
        self._admin = dict(zip(names, free_ports(len(names)), strict=True))
        self._forward = dict(zip(AGGREGATORS, free_ports(len(AGGREGATORS)), strict=True))
        self.processes: dict[str, Process] = {}
        for sink in SINKS:
            self._add_module(sink, "logflow.testing.sinks", str(directory / sink), "--listen", self._at(sink))
        for aggregator in AGGREGATORS:
            self._add_logflow(aggregator, "aggregator", self._aggregator_env(aggregator))
        self._add_logflow("agent", "agent", self._agent_env())

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every process, at once."""
        for process in self.processes.values():
            process.kill()

    def start(self) -> None:
        """Make the node's directory and start everything but the writer, receivers first.

        Raises:
            ComponentError: a process did not come up.
        """
        (self.node / "containers").mkdir(parents=True, exist_ok=True)
        for names in (SINKS, AGGREGATORS, ("agent",)):
            for name in names:
                self.processes[name].start()
            for name in names:
                self.wait_until_up(name)

    def wait_until_up(self, name: str) -> None:
        """Wait until a sink, an aggregator or the agent answers.

        Raises:
            ComponentError: it ended or did not answer in time.
        """
        self.processes[name].wait_for_http(self._admin[name], "/healthz", START_TIMEOUT_S)

    def write(self, plan: Plan) -> Process:
        """Start the writer."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(plan).items()]
        self._add_module("writer", "logflow.testing.writer", str(self.node), *options)
        self.processes["writer"].start()
        return self.processes["writer"]

    def check_alive(self, *, except_for: Process | None = None) -> None:
        """Make sure that nothing has ended by itself.

        Raises:
            ComponentError: something has; the text holds the end of its log.
        """
        for process in self.processes.values():
            if process is not except_for and process.name != "writer":
                process.check_running()

    def stop(self, timeout_s: float) -> list[str]:
        """Let every process finish what it has, senders first; returns what had to be killed."""
        late: list[str] = []
        for names in (("writer", "agent"), AGGREGATORS, SINKS):
            running = [self.processes[name] for name in names if name in self.processes]
            late += [process.name for process in stop_all(running, timeout_s)]
        return late

    # -- what came out ----------------------------------------------------------------------------

    @property
    def progress(self) -> Progress:
        """What the writer has written."""
        return read_progress(self.node)

    def files(self, aggregators: Iterable[str] = AGGREGATORS) -> Iterator[Path]:
        """The files that aggregators wrote."""
        for name in aggregators:
            yield from sorted((self.directory / name / "archive").rglob("*.jsonl"))

    def arrivals(self) -> Arrivals:
        """A count of the lines that have arrived."""
        return Arrivals(self)

    def judge_files(self) -> Oracle:
        """Compare the aggregators' files with what was written."""
        oracle = Oracle(self.progress.written)
        for path in self.files():
            oracle.feed_file(path)
        return oracle

    def judge_http(self, *, repeats: bool) -> Oracle:
        """Compare what the sinks got with what was written, with or without repeated requests.

        The order is compared per aggregator, whose name is the path of the URL.
        """
        oracle = Oracle(self.progress.written)
        deliveries = read_deliveries(self.directory / sink for sink in SINKS)
        for request, body in deliveries if repeats else without_repeats(deliveries):
            oracle.feed(body, flow=request.path, received_ns=request.received_ns)
        return oracle

    # -- how it is made ---------------------------------------------------------------------------

    def _at(self, name: str) -> str:
        return f"127.0.0.1:{self._admin[name]}"

    def _agent_env(self) -> dict[str, str]:
        servers = {
            f"LOGFLOW_AGGREGATOR_{index}": f"127.0.0.1:{self._forward[name]}"
            for index, name in enumerate(AGGREGATORS)
        }
        return servers | {
            "LOGFLOW_CONTAINER_LOGS": f"{self.node}/containers/*.log",
            "LOGFLOW_DATA_DIR": str(self.directory / "agent"),
            "LOGFLOW_ADMIN": self._at("agent"),
        }

    def _aggregator_env(self, name: str) -> dict[str, str]:
        sinks = {
            f"LOGFLOW_SINK_{index}": f"http://{self._at(sink)}/{name}" for index, sink in enumerate(SINKS)
        }
        return sinks | {
            "LOGFLOW_LISTEN": f"127.0.0.1:{self._forward[name]}",
            "LOGFLOW_ARCHIVE_DIR": str(self.directory / name / "archive"),
            "LOGFLOW_DATA_DIR": str(self.directory / name / "data"),
            "LOGFLOW_ADMIN": self._at(name),
        }

    def _log(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.log"

    def _add_logflow(self, name: str, config: str, env: dict[str, str]) -> None:
        self.processes[name] = logflow_process(name, config, log=self._log(name), env=env)

    def _add_module(self, name: str, module: str, *arguments: str) -> None:
        argv = [sys.executable, "-m", module, *arguments]
        self.processes[name] = Process(name, argv, log=self._log(name))
