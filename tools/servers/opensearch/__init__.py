"""OpenSearch 2.19, a node in one process: the jars of ``pom.xml``, run by ``Server.java``."""

from __future__ import annotations

from pathlib import Path

from logflow.testing.processes import Process, free_ports
from tools.servers import CACHE, Absent, Server, answers, find

HERE = Path(__file__).parent
POM = HERE / "pom.xml"


class OpenSearchServer(Server):
    """A node on loopback. Ready in about 11 s, takes 250 MB."""

    start_s = 60.0

    def __init__(self, directory: Path) -> None:
        libraries = CACHE / "opensearch/lib"
        if not libraries.exists():
            raise Absent("OpenSearch is not on this machine; python -m tools.servers opensearch gets it")
        java = str(find("java"))
        self.port, transport = free_ports(2)
        argv = [java, "-Xms256m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        argv += ["-cp", f"{libraries}/*", str(HERE / "Server.java"), str(directory)]
        argv += [str(self.port), str(transport)]
        self.process = Process("opensearch", argv, log=directory / "opensearch.log")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        """Whether it answers."""
        return answers(f"{self.url}/")
