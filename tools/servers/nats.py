"""A NATS server with JetStream."""

from __future__ import annotations

import socket
from pathlib import Path

from logflow.testing.processes import Process, free_ports
from tools.servers import Server, find


class NatsServer(Server):
    """A server on loopback that wants a user and a password."""

    def __init__(self, directory: Path) -> None:
        (self.port,) = free_ports(1)
        argv = [str(find("nats-server", Path("nats/bin"))), "-a", "127.0.0.1", "-p", str(self.port)]
        argv += ["-js", "-sd", str(directory / "data"), "--user", "logflow", "--pass", "logflow-test"]
        self.process = Process("nats", argv, log=directory / "nats.log")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
