"""The processes that the torture strikes, and what connects them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from logflow.testing.processes import free_ports
from logflow.testing.stage import Member, ProcessStage, stop
from tools.disks import small_disk
from tools.rig import RETRY, agent_config, aggregator_config, file_output, up
from tools.torture.proxy import CruelProxy

_CLEAN = [
    {"type": "redact", "detectors": ["email", "jwt", "bearer", "private_key"]},
    {"type": "limit", "field_bytes": "1MiB", "depth": 100},
    {"type": "dedupe", "fields": ["container", "stream", "seq"], "within": "10m", "max_events": 500_000},
]
"""These find nothing in what the writer writes, and so must change nothing, whatever is sent again."""
_ROUTES = [
    {"match": "**", "continue": True, "filters": _CLEAN, "outputs": ["archive", "archive-rest"]},
    {"match": "**", "where": "seq % 2 == 0", "outputs": ["sink"]},
    {"match": "**", "outputs": ["sink"]},
]
"""A copy of everything goes to the files; the rest is split and comes to the sink on two ways."""

_HALF = 2**63 - 1
_SAMPLED = [
    {"type": "sample", "rate": 0.5, "key": "seq"},
    {"type": "set", "fields": {"sampled": "True"}, "remove": ["none.**"]},
]
_REST = [{"type": "select", "drop": f"hash(seq) <= {_HALF}"}]
"""One output takes a sample, the other the rest: both together have each event once, whatever strikes."""


class TortureStage(ProcessStage):
    """Two sinks, two aggregators, two proxies and an agent, on loopback, below one directory.

    Args:
        directory: where everything is kept.
        small_disk_bytes: mount disks of this size for the agent and the aggregators.
        engine: which engine they use.
        agent_buffer: ``memory`` or ``disk``.
    """

    def __init__(
        self, directory: Path, *, small_disk_bytes: int | None, engine: str, agent_buffer: str = "memory"
    ) -> None:
        super().__init__(directory)
        self._agent_buffer = agent_buffer
        self.forward_ports: list[int] = []
        self._small_disk_bytes = small_disk_bytes
        self._engine = engine
        self.proxies: list[CruelProxy] = []
        self.sinks: list[Member] = []
        self.aggregators: list[Member] = []
        self.agent: Member

    async def __aenter__(self) -> Self:
        try:
            await self._build()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for members in ([self.agent], self.aggregators, self.sinks):
            stop(*members, timeout_s=10.0)
        await self._end()

    async def _end(self) -> None:
        for proxy in self.proxies:
            await proxy.close()
        self.close()

    async def _build(self) -> None:
        ports = iter(free_ports(7))
        self.sinks = [self.sink(f"sink-{index}", next(ports)) for index in range(2)]
        for index in range(2):
            forward_port = next(ports)
            self.forward_ports.append(forward_port)
            proxy = CruelProxy(forward_port)
            self.proxies.append(proxy)
            await proxy.open()
            name = f"aggregator-{index}"
            directory = self._disk(name)
            config = {**aggregator_config(forward_port, self._outputs(directory)), "routes": _ROUTES}
            self.aggregators.append(self._logflow(name, config, next(ports), directory))
        buffer = {"type": self._agent_buffer, "limit": "16MiB", "chunk_limit": "256KiB"}
        config = agent_config(self.node, [proxy.port for proxy in self.proxies], buffer)
        self.agent = self._logflow("agent", config, next(ports), self._disk("agent"))
        await self.restore()

    @property
    def archives(self) -> list[Path]:
        """The directories of the files that the aggregators write."""
        return [member.directory / "archive" for member in self.aggregators]

    @property
    def stores(self) -> list[Path]:
        """The directories of the sinks."""
        return [member.directory for member in self.sinks]

    async def restore(self) -> None:
        """Have every process run."""
        members = (*self.sinks, *self.aggregators, self.agent)
        for member in members:
            if not member.process.running:
                member.process.start()
        await up(*members)

    def idle(self) -> bool:
        """Whether nothing waits in any buffer of the agent and the aggregators."""
        return all(member.waiting() == 0 for member in (self.agent, *self.aggregators))

    def _outputs(self, directory: Path) -> dict[str, Any]:
        endpoints = [f"http://{sink.address}/logs" for sink in self.sinks]
        buffer = {"type": "disk", "limit": "32MiB"}
        return {
            "archive": {**file_output(directory / "archive" / "sampled", buffer=buffer), "filters": _SAMPLED},
            "archive-rest": {**file_output(directory / "archive" / "rest", buffer=buffer), "filters": _REST},
            "sink": {
                "type": "http",
                "endpoints": endpoints,
                "buffer": buffer,
                "retry": RETRY,
                "filters": [{"type": "modify", "set": {"via": "sink"}}],
            },
        }

    def _logflow(self, name: str, config: Mapping[str, Any], port: int, directory: Path) -> Member:
        return self.logflow(name, {"engine": self._engine, **config}, port, directory=directory)

    def _disk(self, name: str) -> Path:
        directory = self.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        if self._small_disk_bytes is not None:
            self.enter_context(small_disk(directory, self._small_disk_bytes))
        return directory
