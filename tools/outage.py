"""Measure how long lines take while one of two aggregators hangs or is dead.

``python -m tools.outage --fault stop`` (or ``kill``).

An agent with the ready configuration follows many containers and forwards to two aggregators with disk
buffers and files. One aggregator in turn is struck: stopped with SIGSTOP and let go on, or killed with
SIGKILL and started again. A line's time is from its writing until it is in an aggregator's file.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from logflow.errors import LogflowError
from logflow.testing.oracle import NumberedLine
from logflow.testing.processes import Process, free_ports
from logflow.testing.stage import Member, ProcessStage, ready_config, start, stop
from tools.rig import ENDLESS, aggregator_config, file_output, finish

_LOOK_S = 0.02
_SETTLE_S = 10.0
"""Calm before each strike; after a stop, chunks that the aggregator may have come back to it in this time."""
_DRAIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A line in a file of an aggregator; times in seconds of the wall clock."""

    container: str
    aggregator: int
    written_s: float
    seen_s: float

    @property
    def waited_s(self) -> float:
        """From its writing until it was seen."""
        return self.seen_s - self.written_s


@dataclass(frozen=True, slots=True)
class Strike:
    """An aggregator that was away from ``since_s`` to ``until_s``."""

    aggregator: int
    since_s: float
    until_s: float


class Follower(threading.Thread):
    """Notes when lines come into the files of the aggregators' archives."""

    def __init__(self, archives: Iterable[Path]) -> None:
        super().__init__(daemon=True)
        self.arrivals: list[Arrival] = []
        self._archives = list(archives)
        self._read: dict[str, int] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until :meth:`end`."""
        while not self._ended.wait(_LOOK_S):
            for aggregator, archive in enumerate(self._archives):
                self._look(aggregator, archive)

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()

    def _look(self, aggregator: int, archive: Path) -> None:
        if not archive.is_dir():
            return
        with os.scandir(archive) as entries:
            grown = [entry.path for entry in entries if entry.stat().st_size > self._read.get(entry.path, 0)]
        for path in grown:
            seen_s = time.time()
            for line in self._lines(path):
                self.arrivals.append(Arrival(line.container, aggregator, line.written_ns / 1e9, seen_s))

    def _lines(self, path: str) -> Iterator[NumberedLine]:
        start = self._read.get(path, 0)
        with Path(path).open("rb") as file:
            file.seek(start)
            block = file.read()
        whole = block.rfind(b"\n") + 1
        self._read[path] = start + whole
        for line in block[:whole].splitlines():
            yield msgspec.json.decode(line, type=NumberedLine)


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 when nothing was lost or doubled."""
    parser = argparse.ArgumentParser(prog="python -m tools.outage", description=__doc__)
    parser.add_argument("--fault", choices=("stop", "kill"), default="stop", help="SIGSTOP or SIGKILL")
    parser.add_argument("--times", type=int, default=10, help="how often (default 10)")
    parser.add_argument("--away", type=float, default=30.0, help="seconds that it is away (default 30)")
    parser.add_argument("--containers", type=int, default=80, help="log files (default 80)")
    parser.add_argument("--rate", type=float, default=800.0, help="lines a second of all (default 800)")
    options = parser.parse_args(argv)
    directory = Path(tempfile.mkdtemp(prefix="logflow-outage-"))
    print(f"Everything is kept in {directory}.", flush=True)
    try:
        with ProcessStage(directory) as stage:
            return _run(stage, options)
    except LogflowError as error:
        print(error, file=sys.stderr)
        return 2


def _run(stage: ProcessStage, options: argparse.Namespace) -> int:
    *ports, first, second, admin = free_ports(5)
    archives = [stage.directory / f"archive-{index}" for index in range(2)]
    aggregators = [
        stage.logflow(
            f"aggregator-{index}",
            aggregator_config(ports[index], {"archive": file_output(archives[index])}),
            at,
        )
        for index, at in enumerate((first, second))
    ]
    agent = stage.logflow("agent", ready_config("agent"), admin, env=_environment(stage, ports, admin))
    writer = stage.writer(replace(ENDLESS, containers=options.containers, lines_per_s=options.rate))
    follower = Follower(archives)
    start(*aggregators, agent)
    follower.start()
    writer.start()
    strikes = [
        _strike(aggregators, number % 2, options.fault, options.away) for number in range(options.times)
    ]
    _drain(writer, [agent, *aggregators])
    follower.end()
    for strike in strikes:
        print(_told(strike, follower.arrivals), flush=True)
    stop(agent, *aggregators, timeout_s=10.0)
    verdict = stage.judge_files(archives).verdict()
    print(verdict)
    return 0 if verdict.lost == verdict.doubled == 0 else 1


def _environment(stage: ProcessStage, ports: list[int], admin: int) -> dict[str, str]:
    return {
        "LOGFLOW_AGGREGATOR_0": f"127.0.0.1:{ports[0]}",
        "LOGFLOW_AGGREGATOR_1": f"127.0.0.1:{ports[1]}",
        "LOGFLOW_CONTAINER_LOGS": str(stage.node / "containers" / "*.log"),
        "LOGFLOW_DATA_DIR": str(stage.directory / "agent"),
        "LOGFLOW_ADMIN": f"127.0.0.1:{admin}",
    }


def _strike(aggregators: list[Member], index: int, fault: str, away_s: float) -> Strike:
    time.sleep(_SETTLE_S)
    member = aggregators[index]
    since_s = time.time()
    if fault == "stop":
        member.process.send(signal.SIGSTOP)
        time.sleep(away_s)
        member.process.send(signal.SIGCONT)
    else:
        member.process.kill()
        time.sleep(away_s)
        start(member)
    return Strike(index, since_s, time.time())


def _drain(writer: Process, members: list[Member]) -> None:
    finish(writer)
    deadline_s = time.monotonic() + _DRAIN_S
    time.sleep(_SETTLE_S)
    while any(member.waiting() for member in members) and time.monotonic() < deadline_s:
        time.sleep(1.0)
    time.sleep(_LOOK_S * 10)


def _told(strike: Strike, arrivals: list[Arrival]) -> str:
    """How long lines waited that were written in a strike: those of the struck aggregator, and the others."""
    homes: dict[str, int] = {}
    for arrival in arrivals:
        if arrival.seen_s < strike.since_s:
            homes[arrival.container] = arrival.aggregator
    struck: list[float] = []
    others: list[float] = []
    for arrival in arrivals:
        if strike.since_s <= arrival.written_s < strike.until_s:
            of_struck = homes.get(arrival.container) == strike.aggregator
            (struck if of_struck else others).append(arrival.waited_s)
    return f"aggregator {strike.aggregator}: others {_spread(others)}; its own {_spread(struck)}"


def _spread(waits_s: list[float]) -> str:
    if not waits_s:
        return "none"
    waits_s.sort()
    middle, late, last = (waits_s[min(len(waits_s) - 1, int(len(waits_s) * q))] for q in (0.5, 0.99, 1.0))
    return f"p50 {middle:.2f} p99 {late:.2f} max {last:.2f} s of {len(waits_s):,} lines"


if __name__ == "__main__":
    sys.exit(main())
