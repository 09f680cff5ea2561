"""An rsyslog that writes what it takes to a file, one JSON object for each message."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from logflow.testing.processes import Process, free_ports
from tools.servers import CACHE, Server, find

_FIELDS = (
    "pri",
    "timereported:::date-rfc3339",
    "hostname",
    "app-name",
    "procid",
    "msgid",
    "structured-data",
    "msg",
)


class RsyslogServer(Server):
    """A server on loopback, over TCP and UDP."""

    def __init__(self, directory: Path) -> None:
        program = find("rsyslogd", Path("rsyslog/root/usr/sbin"))
        self.port, self.udp_port = free_ports(2)
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / "messages"
        root = CACHE / "rsyslog/root/usr/lib/x86_64-linux-gnu"
        modules = ["-M", str(root / "rsyslog")] if root in program.parents or CACHE in program.parents else []
        parts = "\\t".join(f"%{name}:::json%" if ":" not in name else f"%{name}%" for name in _FIELDS)
        config = directory / "rsyslog.conf"
        config.write_text(
            'module(load="imtcp")\nmodule(load="imudp")\n'
            'global(maxMessageSize="128k" parser.escapeControlCharactersOnReceive="off")\n'
            f'template(name="all" type="string" string="{parts}\\n")\n'
            f'ruleset(name="all") {{ action(type="omfile" file="{self._file}" template="all" '
            'asyncWriting="off" flushOnTXEnd="on") }\n'
            f'input(type="imtcp" port="{self.port}" address="127.0.0.1" ruleset="all")\n'
            f'input(type="imudp" port="{self.udp_port}" address="127.0.0.1" ruleset="all")\n'
        )
        argv = [str(program), "-n", "-f", str(config), "-i", str(directory / "pid"), *modules]
        libraries = os.pathsep.join([str(root), os.environ.get("LD_LIBRARY_PATH", "")])
        self.process = Process(
            "rsyslog", argv, log=directory / "rsyslog.log", env={"LD_LIBRARY_PATH": libraries}
        )

    def ready(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def messages(self) -> list[dict[str, Any]]:
        """What it has written, by the names of its properties."""
        if not self._file.exists():
            return []
        return [
            dict(zip((name.partition(":")[0] for name in _FIELDS), map(_text, line.split("\t")), strict=True))
            for line in self._file.read_text().splitlines()
        ]


def _text(escaped: str) -> str:
    return str(json.loads(f'"{escaped}"'))
