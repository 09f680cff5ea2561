"""VictoriaLogs."""

from __future__ import annotations

from pathlib import Path

from logflow.testing.processes import Process, free_ports
from tools.servers import Server, answers, find


class VictoriaLogsServer(Server):
    """A server on loopback. Ready at once, takes 12 MB."""

    def __init__(self, directory: Path) -> None:
        program = str(find("victoria-logs", Path("bin")))
        (self.port,) = free_ports(1)
        argv = [program, f"-storageDataPath={directory}/data", f"-httpListenAddr=127.0.0.1:{self.port}"]
        argv += ["-retentionPeriod=100y", "-loggerLevel=WARN"]
        self.process = Process("victorialogs", argv, log=directory / "victorialogs.log")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        """Whether it answers."""
        return answers(f"{self.url}/health")
