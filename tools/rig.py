"""Agents and aggregators whose configurations tools write: what torture and proofs strike."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from logflow.errors import ComponentError
from logflow.testing.oracle import DeliveryVerdict
from logflow.testing.processes import Process, free_ports
from logflow.testing.stage import Member, ProcessStage, lines_in
from logflow.testing.writer import Plan, WriterProgress

RETRY = {"initial": "50ms", "max": "500ms"}
ENDLESS = Plan(duration_s=100_000.0, keep_files=100_000, rotate_bytes=1 << 20)
"""The writer goes on until it is told to stop, and nothing that it wrote is deleted."""

_WAIT_S = 60.0
_POLL_S = 0.02


class Rig(ProcessStage):
    """A stage with one aggregator that listens on :attr:`forward_port`, and what feeds it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.forward_port, self._aggregator_port, self._agent_port = free_ports(3)
        self.archive = self.directory / "aggregator" / "archive"

    def aggregator(self, outputs: Mapping[str, Any] | None = None) -> Member:
        """An aggregator; it writes to :attr:`archive` through a disk buffer unless ``outputs`` says more."""
        config = aggregator_config(self.forward_port, outputs or {"archive": file_output(self.archive)})
        return self.logflow("aggregator", {"shutdown_timeout": "200ms", **config}, self._aggregator_port)

    def agent(self, port: int, **buffer: Any) -> Member:
        """An agent that tails :attr:`node` and forwards to a port."""
        config = agent_config(self.node, [port], {"chunk_limit": "256KiB", **buffer})
        return self.logflow("agent", {"shutdown_timeout": "200ms", **config}, self._agent_port)

    def endless_writer(self, lines_per_s: float) -> Process:
        """A writer that goes on until it is told to stop, not yet started."""
        return self.writer(replace(ENDLESS, lines_per_s=lines_per_s))

    def finish(self, writer: Process) -> WriterProgress:
        """Have the writer stop; returns what it has written."""
        finish(writer)
        return self.progress

    def archived_lines(self) -> int:
        """Lines in the aggregator's files."""
        return lines_in([self.archive])

    def verdict(self, written: Mapping[str, int]) -> DeliveryVerdict:
        """What became of the written lines in the aggregator's files."""
        return self.judge_files([self.archive], written).verdict()


def aggregator_config(port: int, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """What takes forwarded events at a port and gives all of them to each output."""
    return {
        "sources": {"peers": {"type": "forward", "listen": f"127.0.0.1:{port}"}},
        "routes": [{"match": "**", "outputs": list(outputs)}],
        "outputs": dict(outputs),
    }


def agent_config(node: Path, ports: Iterable[int], buffer: Mapping[str, Any]) -> dict[str, Any]:
    """What follows the containers' logs of a node and forwards them to ports."""
    containers = {
        "type": "tail",
        "paths": [str(node / "containers" / "*.log")],
        "tag": "kube.{namespace}.{pod}.{container}",
    }
    central = {
        "type": "forward",
        "servers": [{"address": f"127.0.0.1:{port}"} for port in ports],
        "ack_timeout": "5s",
        "retry": RETRY,
        "buffer": dict(buffer),
    }
    return {
        "sources": {"containers": containers},
        "routes": [{"match": "**", "outputs": ["central"]}],
        "outputs": {"central": central},
    }


def file_output(archive: Path, **more: Any) -> dict[str, Any]:
    """A file output with a disk buffer, one file for each tag."""
    path = str(archive / "{tag}.jsonl")
    return {"type": "file", "path": path, "buffer": {"type": "disk"}, "retry": RETRY, **more}


def finish(writer: Process) -> None:
    """Have a writer stop."""
    writer.send(signal.SIGTERM)
    writer.wait(_WAIT_S)


async def launch(*members: Member) -> None:
    """Start processes and wait until they answer; from the thread that they must not outlive.

    Raises:
        ComponentError: one of them does not.
    """
    for member in members:
        member.process.start()
    await up(*members)


async def up(*members: Member) -> None:
    """Wait until processes answer.

    Raises:
        ComponentError: one of them does not.
    """
    for member in members:
        await asyncio.to_thread(member.wait_until_up)


async def until(condition: Callable[[], bool], what: str, timeout_s: float = _WAIT_S) -> float:
    """Wait until ``condition()``; returns how many seconds that took.

    Raises:
        ComponentError: it took too long.
    """
    started_s = time.monotonic()
    while not await asyncio.to_thread(condition):
        if time.monotonic() - started_s > timeout_s:
            raise ComponentError(f"waited {timeout_s:g} s in vain until {what}")
        await asyncio.sleep(_POLL_S)
    return time.monotonic() - started_s
