"""One agent, one aggregator and a client made by hand: what the proofs strike."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgpack
import yaml

from logflow.errors import ComponentError
from logflow.testing.forwarding import RawClient, fluentd_request
from logflow.testing.oracle import Oracle, Text, Verdict, numbered_line
from logflow.testing.processes import Process, free_ports
from logflow.testing.writer import Progress, read_progress
from tools.torture.stage import Member

RETRY = {"initial": "50ms", "max": "500ms"}
_WAIT_S = 60.0
_POLL_S = 0.02
_TEXT = Text.of("GET /orders/17 200 " + "x" * 120)


class Rig(ExitStack):
    """Starts processes below a directory; all of them end with the ``with`` block."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory.resolve()
        self.node = self.directory / "node"
        self.forward_port, self._aggregator_admin, self._agent_admin = free_ports(3)
        self.archive = self.directory / "aggregator" / "archive"

    def aggregator(self, outputs: dict[str, Any] | None = None) -> Member:
        """An aggregator; it writes to :attr:`archive` through a disk buffer unless ``outputs`` says more."""
        sources = {"peers": {"type": "forward", "listen": f"127.0.0.1:{self.forward_port}"}}
        return self._member(
            "aggregator", self._aggregator_admin, sources, outputs or {"archive": self.file_output()}
        )

    def file_output(self, **more: Any) -> dict[str, Any]:
        """A file output with a disk buffer, one file for each tag."""
        path = str(self.archive / "{tag}.jsonl")
        return {"type": "file", "path": path, "buffer": {"type": "disk"}, "retry": RETRY, **more}

    def agent(self, port: int) -> Member:
        """An agent that tails :attr:`node` and forwards to a port."""
        sources = {
            "containers": {
                "type": "tail",
                "paths": [str(self.node / "containers" / "*.log")],
                "tag": "kube.{namespace}.{pod}.{container}",
            }
        }
        central = {
            "type": "forward",
            "servers": [{"address": f"127.0.0.1:{port}"}],
            "ack_timeout": "5s",
            "retry": RETRY,
            "buffer": {"chunk_limit": "256KiB"},
        }
        return self._member("agent", self._agent_admin, sources, {"central": central})

    def writer(self, lines_per_s: float) -> Process:
        """A writer of numbered lines into :attr:`node`, not yet started."""
        argv = [
            sys.executable, "-m", "logflow.testing.writer", str(self.node), "--lines-per-s", str(lines_per_s),
            "--duration-s", "100000", "--rotate-bytes", str(1 << 20), "--keep-files", "100000",
        ]  # fmt: skip
        return self.process("writer", argv)

    def finish(self, writer: Process) -> Progress:
        """End the writer; returns what it has written."""
        writer.send(signal.SIGTERM)
        writer.wait(_WAIT_S)
        return read_progress(self.node)

    def archived_lines(self) -> int:
        """Lines in the aggregator's files."""
        return sum(path.read_bytes().count(b"\n") for path in self.archive.rglob("*.jsonl"))

    def verdict(self, written: dict[str, int]) -> Verdict:
        """What became of the written lines in the aggregator's files."""
        oracle = Oracle(written)
        for path in sorted(self.archive.rglob("*.jsonl")):
            oracle.feed_file(path)
        return oracle.verdict()

    def log_of(self, member: Member) -> str:
        """What it has said so far."""
        return member.process.log.read_text(errors="replace")

    def _member(self, name: str, admin_port: int, sources: dict[str, Any], outputs: dict[str, Any]) -> Member:
        directory = self.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        config = {
            "data_dir": str(directory / "data"),
            "admin": {"listen": f"127.0.0.1:{admin_port}"},
            "shutdown_timeout": "200ms",
            "sources": sources,
            "routes": [{"match": "**", "outputs": list(outputs)}],
            "outputs": outputs,
        }
        path = self.directory / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        argv = [sys.executable, "-m", "logflow", "run", "-c", str(path)]
        return Member(self.process(name, argv), directory, admin_port)

    def process(self, name: str, argv: list[str]) -> Process:
        """A process that ends with the rig, not yet started."""
        process = Process(name, argv, log=self.directory / "logs" / f"{name}.log")
        self.callback(process.kill)
        return process


class Client:
    """Sends numbered lines as Fluentd does, and sends a chunk again until it is acknowledged.

    Attributes:
        sent: lines in acknowledged chunks.
        resends: how often a chunk was sent again.
    """

    SERIES = "client"

    def __init__(self, port: int, *, tag: str = "app.client", lines: int = 50) -> None:
        """Send chunks of ``lines`` lines to ``port``."""
        self.sent = self.resends = 0
        self._port = port
        self._tag = tag
        self._lines = lines
        self._chunks = 0
        self._connection: RawClient | None = None

    async def send(self, before_resend: Callable[[], None] = lambda: None) -> None:
        """Send the next chunk; whenever its ack is lost, call ``before_resend`` and send it again."""
        numbers = range(self.sent, self.sent + self._lines)
        self._chunks += 1
        chunk_id = self._chunks.to_bytes(16, "big")
        events = [
            (int(time.time()), json.loads(numbered_line(self.SERIES, n, time.time_ns(), _TEXT)))
            for n in numbers
        ]
        await self.deliver(fluentd_request(self._tag, events, chunk_id), before_resend)
        self.sent += self._lines

    async def deliver(self, request: bytes, before_resend: Callable[[], None] = lambda: None) -> None:
        """Send a request that asks for an ack until there is one."""
        while not await self._try(request):
            self.resends += 1
            before_resend()

    async def _try(self, request: bytes) -> bool:
        try:
            if self._connection is None:
                self._connection = await RawClient.connect(self._port)
            await self._connection.send(request)
            answer = await self._connection.receive()
        except (OSError, EOFError):
            self.cut()
            await asyncio.sleep(_POLL_S)
            return False
        return b"ack" in answer

    def cut(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.cut()
            self._connection = None


def packed_request(tag: str, lines: int, chunk: int, first: int = 0) -> bytes:
    """A large request of numbered lines, made without an object for each line."""
    head = numbered_line(Client.SERIES, 0, 1, _TEXT)
    record = msgpack.packb(json.loads(head))
    before, after = record.split(msgpack.packb("seq") + b"\0", 1)
    before = b"\x92" + msgpack.packb(1_700_000_000) + before + msgpack.packb("seq")
    entries = b"".join(before + msgpack.packb(n) + after for n in range(first, first + lines))
    option = {"size": lines, "chunk": f"{chunk:032x}"}
    request: bytes = b"\x93" + msgpack.packb(tag) + msgpack.packb(entries) + msgpack.packb(option)
    return request


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


def waiting(member: Member) -> int:
    """Events that wait in a member's buffers; -1 while it does not answer."""
    status = member.status()
    if status is None:
        return -1
    return sum(output["buffer"]["events"] for output in status["outputs"].values())
