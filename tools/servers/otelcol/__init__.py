"""An OpenTelemetry Collector: the other end of many outputs, and a client of the source ``otlp``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from logflow.testing.processes import Process, free_ports
from tools.servers import Server, find

BUILDER = Path(__file__).with_name("builder.yaml")
"""What the Collector's builder is given."""


class OtelcolServer(Server):
    """A collector on loopback: what each receiver takes goes into a file of its own.

    Attributes:
        ports: where each receiver listens, by its name.
        followed: lines that are written into this file are sent on.
        port: the port that they are sent to by OTLP over HTTP; nobody listens there yet.
        grpc_port: the same for gRPC.
    """

    def __init__(self, directory: Path) -> None:
        program = str(find("otelcol", Path("bin")))
        names = ("otlp", "otlp/grpc", "fluentforward", "loki", "splunk_hec", "syslog")
        self.port, self.grpc_port, *ports = free_ports(2 + len(names))
        self.ports = dict(zip(names, ports, strict=True))
        self.followed = directory / "followed.log"
        self._directory = directory
        config = directory / "otelcol.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        self.process = Process("otelcol", [program, "--config", str(config)], log=directory / "otelcol.log")

    def ready(self) -> bool:
        """Whether all receivers listen."""
        log = self._directory / "otelcol.log"
        return log.exists() and "Everything is ready" in log.read_text()

    def taken(self, receiver: str) -> list[dict[str, Any]]:
        """The log records that a receiver has taken so far, in OTLP's JSON."""
        file = self._file(receiver)
        if not file.exists():
            return []
        requests = [
            json.loads(line) for line in file.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"
        ]
        return [
            record
            for request in requests
            for resource in request["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        ]

    def _file(self, receiver: str) -> Path:
        return self._directory / f"{receiver.replace('/', '-')}.json"

    def _config(self) -> dict[str, Any]:
        at = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        receivers: dict[str, Any] = {
            "otlp": {"protocols": {"http": {"endpoint": at["otlp"]}}},
            "otlp/grpc": {"protocols": {"grpc": {"endpoint": at["otlp/grpc"]}}},
            "fluentforward": {"endpoint": at["fluentforward"]},
            "loki": {"protocols": {"http": {"endpoint": at["loki"]}}},
            "splunk_hec": {"endpoint": at["splunk_hec"]},
            "syslog": {
                "tcp": {"listen_address": at["syslog"]},
                "enable_octet_counting": True,
                "protocol": "rfc5424",
            },
        }
        exporters: dict[str, Any] = {
            _named("file", name): {"path": str(self._file(name))} for name in receivers
        }
        pipelines = {
            _named("logs", name): {"receivers": [name], "exporters": [_named("file", name)]}
            for name in receivers
        }
        receivers["filelog"] = {"include": [str(self.followed)], "start_at": "beginning"}
        exporters["otlphttp"] = {"endpoint": f"http://127.0.0.1:{self.port}"}
        exporters["otlp"] = {"endpoint": f"127.0.0.1:{self.grpc_port}", "tls": {"insecure": True}}
        pipelines["logs/followed"] = {"receivers": ["filelog"], "exporters": ["otlphttp", "otlp"]}
        return {
            "receivers": receivers,
            "exporters": exporters,
            "service": {"telemetry": {"metrics": {"level": "none"}}, "pipelines": pipelines},
        }


def _named(kind: str, receiver: str) -> str:
    """What a part of the configuration is called that belongs to a receiver."""
    return f"{kind}/{receiver.replace('/', '-')}"
