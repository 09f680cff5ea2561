"""The processes that the torture strikes, and what connects them."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from logflow.testing.processes import Process, free_ports, stop_all
from tools.torture.faults import small_disk
from tools.torture.proxy import CruelProxy

_START_S = 30.0
_RETRY = {"initial": "50ms", "max": "500ms"}


@dataclass
class Member:
    """One process of the stage.

    Attributes:
        process: the process.
        directory: its own directory, possibly a small disk.
        port: where it answers over HTTP.
        path: what it answers 200 at when it is up.
    """

    process: Process
    directory: Path
    port: int
    path: str = "/healthz"

    async def wait_until_up(self) -> None:
        """Wait until it answers.

        Raises:
            ComponentError: it does not; the text holds the end of its log.
        """
        await asyncio.to_thread(self.process.wait_for_http, self.port, self.path, _START_S)

    def status(self) -> dict[str, Any] | None:
        """What ``/api/status`` says; ``None`` while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/status", timeout=5) as response:
                status: dict[str, Any] = json.load(response)
                return status
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def dropped(self, reason: str) -> Counter[str]:
        """Events that its ledger calls dropped for a reason, by output; none while it does not answer."""
        events: Counter[str] = Counter()
        for account in (self.status() or {"ledger": []})["ledger"]:
            events[account["output"]] += account["dropped"].get(reason, 0)
        return events


class Stage:
    """Two sinks, two aggregators, two proxies and an agent, on loopback, below one directory.

    Args:
        directory: where everything is kept.
        small_disk_bytes: mount disks of this size for the agent and the aggregators.
        engine: which engine they use.
    """

    def __init__(self, directory: Path, *, small_disk_bytes: int | None, engine: str) -> None:
        self.directory = directory
        self.node = directory / "node"
        self._small_disk_bytes = small_disk_bytes
        self._engine = engine
        self._stack = AsyncExitStack()
        self.proxies: list[CruelProxy] = []
        self.sinks: list[Member] = []
        self.aggregators: list[Member] = []
        self.agent: Member

    async def __aenter__(self) -> Self:
        try:
            await self._build()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop_all([self.agent.process], 10)
        stop_all([member.process for member in self.aggregators], 10)
        stop_all([member.process for member in self.sinks], 5)
        await self._stack.aclose()

    async def _build(self) -> None:
        ports = iter(free_ports(7))
        self.sinks = [self._sink(index, next(ports)) for index in range(2)]
        for index in range(2):
            forward_port, admin_port = next(ports), next(ports)
            self.aggregators.append(self._aggregator(index, forward_port, admin_port))
            proxy = CruelProxy(forward_port)
            await proxy.open()
            self._stack.push_async_callback(proxy.close)
            self.proxies.append(proxy)
        self.agent = self._agent(next(ports))
        for member in (*self.sinks, *self.aggregators, self.agent):
            member.process.start()
            self._stack.callback(member.process.kill)
        for member in (*self.sinks, *self.aggregators, self.agent):
            await member.wait_until_up()

    def archives(self) -> list[Path]:
        """The directories of the files that the aggregators write."""
        return [member.directory / "archive" for member in self.aggregators]

    def stores(self) -> list[Path]:
        """The directories of the sinks."""
        return [member.directory for member in self.sinks]

    async def restore(self) -> None:
        """Have every process run again."""
        for member in (*self.sinks, *self.aggregators, self.agent):
            if not member.process.running:
                member.process.start()
            await member.wait_until_up()

    def idle(self) -> bool:
        """Whether nothing waits in any buffer of the agent and the aggregators."""
        states = [member.status() for member in (self.agent, *self.aggregators)]
        return all(
            state is not None and not any(output["buffer"]["events"] for output in state["outputs"].values())
            for state in states
        )

    def _sink(self, index: int, port: int) -> Member:
        directory = self.directory / f"sink-{index}"
        argv = [
            sys.executable,
            "-m",
            "logflow.testing.sinks",
            str(directory),
            "--listen",
            f"127.0.0.1:{port}",
        ]
        return Member(self._process(f"sink-{index}", argv), directory, port)

    def _aggregator(self, index: int, forward_port: int, admin_port: int) -> Member:
        directory = self._disk(f"aggregator-{index}")
        sinks = [f"http://127.0.0.1:{sink.port}/logs" for sink in self.sinks]
        buffer = {"type": "disk", "limit": "32MiB"}
        config = {
            **self._common(directory, admin_port),
            "sources": {"agents": {"type": "forward", "listen": f"127.0.0.1:{forward_port}"}},
            "routes": [{"match": "**", "outputs": ["archive", "sink"]}],
            "outputs": {
                "archive": {
                    "type": "file",
                    "path": str(directory / "archive" / "{tag}.jsonl"),
                    "buffer": buffer,
                    "retry": _RETRY,
                },
                "sink": {"type": "http", "endpoints": sinks, "buffer": buffer, "retry": _RETRY},
            },
        }
        return self._logflow(f"aggregator-{index}", directory, admin_port, config)

    def _agent(self, admin_port: int) -> Member:
        directory = self._disk("agent")
        servers = [{"address": f"127.0.0.1:{proxy.port}"} for proxy in self.proxies]
        config = {
            **self._common(directory, admin_port),
            "sources": {
                "containers": {
                    "type": "tail",
                    "paths": [str(self.node / "containers" / "*.log")],
                    "tag": "kube.{namespace}.{pod}.{container}",
                }
            },
            "routes": [{"match": "**", "outputs": ["central"]}],
            "outputs": {
                "central": {
                    "type": "forward",
                    "servers": servers,
                    "ack_timeout": "5s",
                    "retry": _RETRY,
                    "buffer": {"limit": "16MiB", "chunk_limit": "256KiB"},
                }
            },
        }
        return self._logflow("agent", directory, admin_port, config)

    def _common(self, directory: Path, admin_port: int) -> dict[str, Any]:
        return {
            "data_dir": str(directory / "data"),
            "engine": self._engine,
            "admin": {"listen": f"127.0.0.1:{admin_port}"},
        }

    def _logflow(self, name: str, directory: Path, admin_port: int, config: dict[str, Any]) -> Member:
        path = self.directory / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        argv = [sys.executable, "-m", "logflow", "run", "-c", str(path)]
        return Member(self._process(name, argv), directory, admin_port)

    def _process(self, name: str, argv: list[str]) -> Process:
        return Process(name, argv, log=self.directory / "logs" / f"{name}.log")

    def _disk(self, name: str) -> Path:
        directory = self.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        if self._small_disk_bytes is not None:
            self._stack.enter_context(small_disk(directory, self._small_disk_bytes))
        return directory
