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

from collections.abc import Iterable, Iterator
from pathlib import Path

from logflow.testing.oracle import DeliveryVerdict, Oracle
from logflow.testing.processes import Process, free_ports, stop_all
from logflow.testing.sinks import read_deliveries, read_requests, without_repeats
from logflow.testing.stage import Member, ProcessStage, ready_config, start
from logflow.testing.writer import Plan

AGGREGATORS = ("aggregator-0", "aggregator-1")
SINKS = ("sink-0", "sink-1")


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


class LocalPipeline(ProcessStage):
    """Starts, kills and stops the processes; leaving the ``with`` block ends all of them."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        ports = iter(free_ports(7))
        self._ports = {name: next(ports) for name in (*SINKS, *AGGREGATORS, "agent")}
        self._forward = {name: next(ports) for name in AGGREGATORS}
        self.processes: dict[str, Process] = {}

    def start(self) -> None:
        """Make the node's directory and start everything but the writer, receivers first.

        Raises:
            ComponentError: a process did not come up.
        """
        (self.node / "containers").mkdir(parents=True, exist_ok=True)
        self._start(*(self.sink(name, self._ports[name]) for name in SINKS))
        self._start(*(self._aggregator(name) for name in AGGREGATORS))
        self._start(self._agent())

    def _start(self, *members: Member) -> None:
        self.processes |= {member.process.name: member.process for member in members}
        start(*members)

    def write(self, plan: Plan) -> Process:
        """Start the writer."""
        self.processes["writer"] = self.writer(plan)
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

    def files(self, aggregators: Iterable[str] = AGGREGATORS) -> Iterator[Path]:
        """The files that aggregators wrote."""
        for name in aggregators:
            yield from sorted((self.directory / name / "archive").rglob("*.jsonl"))

    def arrivals(self) -> Arrivals:
        """A count of the lines that have arrived."""
        return Arrivals(self)

    def verdict_of_files(self) -> DeliveryVerdict:
        """What became of the written lines in the aggregators' files."""
        return self.judge_files(self.directory / name / "archive" for name in AGGREGATORS).verdict()

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

    def _agent(self) -> Member:
        servers = {
            f"LOGFLOW_AGGREGATOR_{index}": f"127.0.0.1:{self._forward[name]}"
            for index, name in enumerate(AGGREGATORS)
        }
        return self._ready("agent", "agent", {
            **servers,
            "LOGFLOW_CONTAINER_LOGS": f"{self.node}/containers/*.log",
            "LOGFLOW_DATA_DIR": str(self.directory / "agent"),
        })  # fmt: skip

    def _aggregator(self, name: str) -> Member:
        sinks = {
            f"LOGFLOW_SINK_{index}": f"http://127.0.0.1:{self._ports[sink]}/{name}"
            for index, sink in enumerate(SINKS)
        }
        return self._ready(name, "aggregator", {
            **sinks,
            "LOGFLOW_LISTEN": f"127.0.0.1:{self._forward[name]}",
            "LOGFLOW_ARCHIVE_DIR": str(self.directory / name / "archive"),
            "LOGFLOW_DATA_DIR": str(self.directory / name / "data"),
        })  # fmt: skip

    def _ready(self, name: str, config: str, env: dict[str, str]) -> Member:
        port = self._ports[name]
        env = {"LOGFLOW_ADMIN": f"127.0.0.1:{port}", **env}
        return self.logflow(name, ready_config(config), port, env=env)
