"""Processes that work together below one directory: for the demo, torture, tests and benchmarks.

::

    DIRECTORY/NAME.yaml      the configuration of a logflow that was given as data
              NAME/          what a process keeps
              logs/NAME.log  what it printed
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from logflow.testing.oracle import Oracle
from logflow.testing.processes import Process, stop_all
from logflow.testing.writer import Plan, WriterProgress, read_progress

_START_S = 30.0
"""How long a process may take until it answers."""


def ready_config(name: str) -> Path:
    """The file of a ready configuration, such as ``agent``."""
    return Path(str(resources.files("logflow") / "ready" / f"{name}.yaml"))


@dataclass(frozen=True)
class Member:
    """A process of a stage that answers over HTTP.

    Attributes:
        process: the process.
        directory: what it keeps; possibly a disk of its own.
        port: where it answers, on 127.0.0.1.
    """

    process: Process
    directory: Path
    port: int

    @property
    def address(self) -> str:
        """Where it answers: host and port."""
        return f"127.0.0.1:{self.port}"

    def wait_until_up(self) -> None:
        """Wait until it answers.

        Raises:
            ComponentError: it ended or does not answer; the text holds the end of its log.
        """
        self.process.wait_for_http(self.port, "/healthz", _START_S)

    def status(self) -> dict[str, Any] | None:
        """What ``/api/status`` says; ``None`` while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/status", timeout=5) as response:
                status: dict[str, Any] = json.load(response)
                return status
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def waiting(self) -> int:
        """Events that wait in its buffers; -1 while it does not answer or is not running yet.

        It answers from the start, but what it recovers is known only once it runs.
        """
        status = self.status()
        return (
            -1
            if status is None or not status["running"]
            else sum(each["buffer"]["events"] for each in status["outputs"].values())
        )

    def dropped(self, reason: str) -> Counter[str]:
        """Events that its ledger calls dropped for a reason, by output; none while it does not answer."""
        events: Counter[str] = Counter()
        for account in (self.status() or {"ledger": []})["ledger"]:
            events[account["output"]] += account["dropped"].get(reason, 0)
        return events


class ProcessStage(ExitStack):
    """Makes processes; every one of them is killed when the ``with`` block is left.

    Attributes:
        directory: where everything is kept.
        node: the log files of :meth:`writer`, as on a node of Kubernetes.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory.resolve()
        self.node = self.directory / "node"

    def process(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        """Any program, not yet started."""
        process = Process(name, argv, log=self.directory / "logs" / f"{name}.log", env=env)
        self.callback(process.kill)
        return process

    def module(self, name: str, module: str, *arguments: object) -> Process:
        """A Python module that is a program, not yet started."""
        return self.process(name, [sys.executable, "-m", module, *map(str, arguments)])

    def logflow(
        self,
        name: str,
        config: Mapping[str, Any] | Path,
        port: int,
        *,
        directory: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Member:
        """A ``logflow run``, not yet started.

        Args:
            name: its name here.
            config: its file, or a configuration that is given ``data_dir`` and ``admin``.
            port: its admin endpoint.
            directory: what it keeps; a directory of its name unless given.
            env: more environment variables.
        """
        directory = directory or self.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        if not isinstance(config, Path):
            place = {"data_dir": str(directory / "data"), "admin": {"listen": f"127.0.0.1:{port}"}}
            path = self.directory / f"{name}.yaml"
            path.write_text(yaml.safe_dump({**place, **config}, sort_keys=False))
            config = path
        argv = [sys.executable, "-m", "logflow", "run", "-c", str(config)]
        return Member(self.process(name, argv, env), directory, port)

    def sink(self, name: str, port: int) -> Member:
        """An HTTP sink that stores what it is sent, not yet started."""
        directory = self.directory / name
        process = self.module(name, "logflow.testing.sinks", directory, "--listen", f"127.0.0.1:{port}")
        return Member(process, directory, port)

    def writer(self, plan: Plan) -> Process:
        """A writer of numbered lines into :attr:`node`, not yet started."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(plan).items()]
        return self.module("writer", "logflow.testing.writer", self.node, *options)

    @property
    def progress(self) -> WriterProgress:
        """What the writer has written."""
        return read_progress(self.node)

    def judge_files(self, archives: Iterable[Path], written: Mapping[str, int] | None = None) -> Oracle:
        """Compare the JSON Lines files below some directories with what was written."""
        oracle = Oracle(self.progress.written if written is None else written)
        for archive in archives:
            for path in sorted(archive.rglob("*.jsonl")):
                oracle.feed_file(path)
        return oracle


def start(*members: Member) -> None:
    """Start processes together and wait until all of them answer.

    Raises:
        ComponentError: one of them does not.
    """
    for member in members:
        member.process.start()
    for member in members:
        member.wait_until_up()


def stop(*members: Member, timeout_s: float) -> list[Process]:
    """End processes with SIGTERM; returns those that had to be killed."""
    return stop_all([member.process for member in members], timeout_s)


def lines_in(archives: Iterable[Path]) -> int:
    """Lines in the JSON Lines files below some directories."""
    return sum(path.read_bytes().count(b"\n") for each in archives for path in each.rglob("*.jsonl"))
