"""An S3 server: versitygw where it is there, else moto."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

from logflow.testing.processes import Process, free_ports
from tools.servers import Absent, Server, find

ACCESS_KEY = "logflow-test"
SECRET_KEY = "logflow-test-secret"


class S3Server(Server):
    """A bucket on loopback."""

    start_s = 30.0

    def __init__(self, directory: Path) -> None:
        (self.port,) = free_ports(1)
        self.bucket = "logs"
        data = directory / "buckets"
        data.mkdir(parents=True)
        self._data = data
        self.keeps = True
        """Whether its objects outlive it."""
        try:
            argv = [str(find("versitygw", Path("bin"))), "--access", ACCESS_KEY, "--secret", SECRET_KEY]
            argv += ["--port", f"127.0.0.1:{self.port}", "posix", str(data)]
        except Absent:
            argv = [str(find("moto_server", Path("moto/bin"))), "-H", "127.0.0.1", "-p", str(self.port)]
            self.keeps = False
        self.process = Process("s3", argv, log=directory / "s3.log")

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """How an output or a client gets in."""
        return {
            "bucket": self.bucket, "endpoint": self.endpoint, "region": "us-east-1",
            "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY,
        }  # fmt: skip

    def ready(self) -> bool:
        """Whether it answers anything."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def make_bucket(self, name: str) -> None:
        """Make a bucket and use it from now on."""
        self.bucket = name
        if self.keeps:
            (self._data / name).mkdir()
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("PUT", f"/{name}")
        connection.getresponse().read()
        connection.close()
