"""Output ``syslog``: bytes as the RFCs have them, and a real server that reads them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logflow.batch import Batch, Chunk
from logflow.errors import DeliveryError
from logflow.outputs.syslog import SyslogOutput
from logflow.outputs.syslog.messages import SyslogOptions
from logflow.testing import make_context
from tools.servers.rsyslog import RsyslogServer

T0 = 1_700_000_000_123_456_789


def chunk(tag: str, *records: dict[str, Any]) -> Chunk:
    batch = Batch.from_events(tag, [(T0, record) for record in records])
    return Chunk(os.urandom(16), tag, (batch.entries,), len(records))


def make(directory: Path, **options: Any) -> SyslogOutput:
    config = SyslogOptions(**{"address": "127.0.0.1:9", **options})
    return SyslogOutput(config, make_context(directory, kind="output"))


def messages(output: SyslogOutput, *records: dict[str, Any]) -> list[str]:
    return [message.decode() for message in output._messages.of(chunk("app web", *records))]


def test_a_message_is_as_rfc_5424_has_it(tmp_path: Path) -> None:
    output = make(
        tmp_path, structured_data={"meta@32473": ["kubernetes.pod", 'kubernetes["a b"]'], "none@1": ["x"]}
    )
    record = {
        "level": "Error", "host": "web 1", "pid": 12, "message": "über\nall",
        "kubernetes": {"pod": 'a"b]c\\d', "a b": 1},
    }  # fmt: skip
    (message,) = messages(output, record)
    assert message == (
        "<131>1 2023-11-14T22:13:20.123456Z web_1 app_web 12 - "
        '[meta@32473 kubernetes.pod="a\\"b\\]c\\\\d" kubernetes[_a_b__="1"] über\nall'
    )


def test_what_is_missing_is_a_dash_and_the_record_the_message(tmp_path: Path) -> None:
    (message,) = messages(make(tmp_path, hostname="'h'"), {"n": 1, "level": 99})
    assert message == '<134>1 2023-11-14T22:13:20.123456Z h app_web - - - {"n":1,"level":99}'


def test_a_long_message_is_cut_at_a_character(tmp_path: Path) -> None:
    (message,) = messages(make(tmp_path, max_message=480), {"message": "ü" * 1000})
    assert 478 <= len(message.encode()) <= 480
    assert message.endswith("ü")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
async def test_a_real_server_reads_them(rsyslog: RsyslogServer, tmp_path: Path, protocol: str) -> None:
    port = rsyslog.port if protocol == "tcp" else rsyslog.udp_port
    name = f"t{os.urandom(4).hex()}"
    output = make(
        tmp_path, address=f"127.0.0.1:{port}", protocol=protocol, app_name=f"'{name}'", facility="daemon",
        structured_data={"meta@32473": ["pod"]}, msg_id="id",
    )  # fmt: skip
    await output.open()
    records = [
        {"level": "warn", "pod": 'x"]\\', "id": "ID7", "message": f"line {n}\nnext ü"} for n in range(50)
    ]
    await output.write_group([chunk("app", *records[:30]), chunk("app", *records[30:])])
    async with asyncio.timeout(10):
        while len(found := [m for m in rsyslog.messages() if m["app-name"] == name]) < 50:
            await asyncio.sleep(0.05)
    assert [message["msg"] for message in found] == [record["message"] for record in records]
    first = found[0]
    assert (first["pri"], first["msgid"]) == ("28", "ID7")
    assert first["structured-data"] == '[meta@32473 pod="x\\"\\]\\\\"]'
    assert first["timereported"].startswith("2023-11-14T22:13:20.123456")
    await output.close()


async def test_a_connection_that_the_server_has_closed_is_made_anew(tmp_path: Path) -> None:
    """What it would have taken with it is sent over another one."""
    got = bytearray()
    connections = 0

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections > 1:
            while data := await reader.read(1000):
                got.extend(data)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    output = make(tmp_path, address=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await output.open()
    await asyncio.sleep(0.1)
    await output.write(chunk("app", {"message": "here"}))
    async with asyncio.timeout(5):
        while not got.endswith(b"here"):
            await asyncio.sleep(0.01)
    length, _, message = bytes(got).partition(b" ")
    assert int(length) == len(message)
    await output.close()
    await asyncio.sleep(0.05)
    server.close()


async def test_a_server_that_is_away_is_held_and_said(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match=r"the syslog server at 127\.0\.0\.1:9 cannot be reached"):
        await make(tmp_path).open()


async def test_a_server_without_tls_is_held_and_said(rsyslog: RsyslogServer, tmp_path: Path) -> None:
    output = make(tmp_path, address=f"127.0.0.1:{rsyslog.port}", tls={}, connect_timeout=1)
    with pytest.raises(DeliveryError, match="cannot be reached"):
        await output.open()
    await output.close()


@pytest.mark.parametrize(
    "options",
    [{"facility": "no"}, {"tls": {}, "protocol": "udp"}, {"structured_data": {"a b": ["c"]}},
     {"message": "1 +"}, {"structured_data": {"x" * 33: ["c"]}}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SyslogOptions(address="h:514", **options)
