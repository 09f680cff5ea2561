"""Source ``syslog``: what real senders send is read, and what our own output sends."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logflow.batch import Batch, Chunk
from logflow.outputs.syslog import SyslogOutput
from logflow.outputs.syslog.messages import SyslogOptions
from logflow.sources.syslog import SyslogSource
from logflow.testing import Collector, make_context, run_source
from logflow.testing.processes import Process, free_ports
from tools.servers import CACHE, Absent, find

RFC5424, RFC3164 = "RSYSLOG_SyslogProtocol23Format", "RSYSLOG_TraditionalForwardFormat"


def _rsyslog(directory: Path, target: int, template: str, **options: str) -> tuple[Process, int]:
    """An rsyslog that takes datagrams and forwards them to ``target``."""
    try:
        program = find("rsyslogd", Path("rsyslog/root/usr/sbin"))
    except Absent as reason:
        pytest.skip(str(reason))
    root = CACHE / "rsyslog/root/usr/lib/x86_64-linux-gnu"
    modules = ["-M", str(root / "rsyslog")] if CACHE in program.parents else []
    (port,) = free_ports(1)
    config = directory / "forward.conf"
    more = " ".join(f'{name}="{value}"' for name, value in options.items())
    config.write_text(
        'module(load="imudp")\nglobal(maxMessageSize="64k")\n'
        f'input(type="imudp" port="{port}" address="127.0.0.1")\n'
        f'action(type="omfwd" target="127.0.0.1" port="{target}" template="{template}" {more})\n'
    )
    argv = [str(program), "-n", "-f", str(config), "-i", str(directory / "pid"), *modules]
    libraries = os.pathsep.join([str(root), os.environ.get("LD_LIBRARY_PATH", "")])
    return Process("rsyslog", argv, log=directory / "log", env={"LD_LIBRARY_PATH": libraries}), port


@pytest.fixture
def stopping() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.kill()


@pytest.mark.parametrize("template", [RFC5424, RFC3164])
@pytest.mark.parametrize(
    "options",
    [
        {"protocol": "udp"},
        {"protocol": "tcp", "TCP_Framing": "traditional"},
        {"protocol": "tcp", "TCP_Framing": "octet-counted"},
    ],
    ids=["udp", "lines", "octets"],
)
async def test_rsyslog(
    tmp_path: Path, stopping: list[Process], template: str, options: dict[str, str]
) -> None:
    source, emit = (
        SyslogSource(SyslogSource.Config(listen="127.0.0.1:0"), make_context(tmp_path)),
        Collector(),
    )
    async with run_source(source, emit):
        process, port = _rsyslog(tmp_path, source.port, template, **options)
        process.start()
        stopping.append(process)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(200):  # those that come before it listens are lost
                message = f'<165>1 2026-03-01T10:00:00.123456Z web-1 app 12 ID1 [a@1 b="c"] number {number} ü'
                sender.sendto(message.encode(), ("127.0.0.1", port))
                await asyncio.sleep(0.02)
                if emit.count >= 3:
                    break
        await emit.wait_for(3)
    record = next(record for record in emit.records() if record.get("ident") == "app")
    assert record["message"].startswith("number ")
    assert record["message"].endswith(" ü")
    wanted = {"facility": "local4", "severity": "notice", "host": "web-1", "ident": "app", "pid": "12"}
    assert wanted.items() <= record.items()
    if template == RFC5424:
        assert (record["msgid"], record["structured_data"]) == ("ID1", {"a@1": {"b": "c"}})


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
async def test_what_our_own_output_sends(tmp_path: Path, protocol: str) -> None:
    source, emit = (
        SyslogSource(SyslogSource.Config(listen="127.0.0.1:0"), make_context(tmp_path)),
        Collector(),
    )
    async with run_source(source, emit):
        config: dict[str, Any] = {
            "address": f"127.0.0.1:{source.port}", "protocol": protocol,
            "structured_data": {"meta@1": ["n"]},
        }  # fmt: skip
        output = SyslogOutput(SyslogOptions(**config), make_context(tmp_path, kind="output"))
        try:
            await output.open()
            records = [{"message": "a\nb", "n": 1, "level": "error"}, {"message": 'x "y" ]', "n": 2}]
            batch = Batch.from_events("app", [(1_700_000_000_123_456_000, record) for record in records])
            await output.write(Chunk(os.urandom(16), "app", (batch.entries,), 2))
            await emit.wait_for(2)
        finally:
            await output.close()
    times, found = zip(*emit.events(), strict=True)
    assert set(times) == {1_700_000_000_123_456_000}
    assert [record["structured_data"] for record in found] == [{"meta@1": {"n": "1"}}, {"meta@1": {"n": "2"}}]
    assert [record["message"] for record in found] == ["a\nb", 'x "y" ]']
    assert [record["severity"] for record in found] == ["err", "info"]


@pytest.mark.skipif(shutil.which("syslog-ng") is None, reason="syslog-ng is not installed")
@pytest.mark.parametrize("driver", ["syslog", "network"])
async def test_syslog_ng(tmp_path: Path, stopping: list[Process], driver: str) -> None:
    source, emit = (
        SyslogSource(SyslogSource.Config(listen="127.0.0.1:0"), make_context(tmp_path)),
        Collector(),
    )
    pipe = tmp_path / "in"
    pipe.write_text("")
    async with run_source(source, emit):
        config = tmp_path / "ng.conf"
        config.write_text(
            f'@version: 3.38\nsource s {{ file("{pipe}" flags(no-parse)); }};\n'
            f'destination d {{ {driver}("127.0.0.1" port({source.port}) transport("tcp")); }};\n'
            "log { source(s); destination(d); };\n"
        )
        argv = ["syslog-ng", "-F", "-f", str(config), "-R", str(tmp_path / "persist"), "--control",
                str(tmp_path / "control"), "--pidfile", str(tmp_path / "pid")]  # fmt: skip
        process = Process("syslog-ng", argv, log=tmp_path / "log")
        process.start()
        stopping.append(process)
        pipe.write_text("hello\nworld\n")
        await emit.wait_for(2)
    assert [record["message"] for record in emit.records()] == ["hello", "world"]
