"""What is attacked: one aggregator with a Forward and an HTTP source, and a limit to its memory."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

import yaml

from logflow.testing.processes import free_ports
from logflow.testing.stage import Member, ProcessStage
from tools.rig import aggregator_config, file_output

SHUTDOWN_S = 3.0
GONE = (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError)
"""What a connection to the target may end with."""
MEMORY_BYTES = 256 << 20
"""What the configuration lets events on their way take; the process may have 150 MiB more."""
_ADDRESS_SPACE_BYTES = 4 << 30
"""Beyond this, allocations fail: a bound for the machine's sake; what counts is the resident size."""


@dataclass(frozen=True)
class Target:
    """Where attacks go.

    Attributes:
        forward_port: the Forward source.
        http_port: the HTTP source.
        admin_port: the admin endpoint.
        until_s: when an attack should be over, on the monotonic clock.
    """

    forward_port: int
    http_port: int
    admin_port: int
    until_s: float

    @property
    def left_s(self) -> float:
        """Seconds that an attack still has."""
        return self.until_s - time.monotonic()


Attack: TypeAlias = Callable[[Target, Random], Awaitable[None]]


class AttackStage(ProcessStage):
    """The aggregator and its ports."""

    def __init__(self, directory: Path, engine: str) -> None:
        super().__init__(directory)
        self.forward_port, self.http_port, self.admin_port = free_ports(3)
        self.archive = self.directory / "aggregator" / "archive"
        self._engine = engine

    def aggregator(self) -> Member:
        """The aggregator, not yet started; the shell that starts it limits its address space."""
        config = aggregator_config(
            self.forward_port,
            {"archive": {**file_output(self.archive), "path": str(self.archive / "{tag}" / "all.jsonl")}},
        )
        config["sources"]["posts"] = {"type": "http", "listen": f"127.0.0.1:{self.http_port}"}
        directory = self.directory / "aggregator"
        directory.mkdir(parents=True, exist_ok=True)
        place = {
            "data_dir": str(directory / "data"),
            "engine": self._engine,
            "memory_limit": f"{MEMORY_BYTES >> 20}MiB",
            "shutdown_timeout": f"{SHUTDOWN_S}s",
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
        }
        path = self.directory / "aggregator.yaml"
        path.write_text(yaml.safe_dump({**place, **config}, sort_keys=False))
        command = f'ulimit -v {_ADDRESS_SPACE_BYTES >> 10}; exec "$0" -m logflow run -c "$1"'
        process = self.process("aggregator", ["/bin/sh", "-c", command, sys.executable, str(path)])
        return Member(process, directory, self.admin_port)

    def target(self, seconds: float) -> Target:
        """Where an attack of so many seconds goes."""
        return Target(self.forward_port, self.http_port, self.admin_port, time.monotonic() + seconds)


def resident_bytes(pid: int) -> int:
    """The resident size of a process now; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((line for line in fields.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0 kB")
    return int(line.split()[1]) << 10


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a port of the target."""
    return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 5.0)


async def send(port: int, data: bytes, linger_s: float = 0.2) -> None:
    """Send some bytes, and wait for an answer, for the end, or for ``linger_s``."""
    with suppress(*GONE):
        reader, writer = await connect(port)
        try:
            writer.write(data)
            await asyncio.wait_for(writer.drain(), 5.0)
            await asyncio.wait_for(reader.read(4096), linger_s)
        finally:
            writer.transport.abort()
