"""The source ``syslog``, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl

import pytest

from logflow.errors import ComponentError
from logflow.sources.syslog import SyslogSource
from logflow.telemetry.metrics import Metrics
from logflow.testing import Collector, make_context, run_source
from logflow.testing.forwarding import make_certificates


class Syslog:
    def __init__(self, directory):
        self.directory, self.metrics, self.emit = directory, Metrics(), Collector()

    def make(self, **options):
        if "unix" not in options:
            options.setdefault("listen", "127.0.0.1:0")
        context = make_context(self.directory, metrics=self.metrics)
        return SyslogSource(SyslogSource.Config(**options), context)

    def counted(self, name):
        return {cell.name: cell.value for cell in self.metrics.counters()}[name]

    def messages(self):
        return [record["message"] for record in self.emit.records()]


@pytest.fixture
async def syslog(tmp_path):
    yield Syslog(tmp_path)
    for writer in WRITERS:
        writer.transport.abort()
    WRITERS.clear()
    await asyncio.sleep(0)


WRITERS = []
"""Connections that are open."""


async def send(port, data, **options):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    WRITERS.append(writer)
    writer.write(data)
    await writer.drain()
    return reader, writer


async def test_datagrams_and_both_framings_on_one_port(syslog):
    source = syslog.make()
    async with run_source(source, syslog.emit):
        port = source.port
        await send(port, b"<13>1 - - a - - - one\n17 <13>1 - - a - - -<13>1 - - a - - - last")
        _, writer = await send(port, b"5 <13>x")
        writer.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(("127.0.0.1", port))
            udp.send(b"<13>datagram\n")
            udp.send(b"")
            await syslog.emit.wait_for(4)
            peer = "{}:{}".format(*udp.getsockname())
    assert sorted(syslog.messages()) == ["", "datagram", "last", "one", "x"]  # the last one at the stop
    assert peer in {batch.attributes["peer"] for batch in syslog.emit.batches}


async def test_a_unix_socket_for_datagrams(syslog, tmp_path):
    path = tmp_path / "log"
    source = syslog.make(unix=path)
    async with run_source(source, syslog.emit):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(path))
            sender.send(b"<13>Oct  1 02:04:05 me: hello")
        await syslog.emit.wait_for(1)
    assert syslog.messages() == ["hello"]
    assert not path.exists()


async def test_tls_and_then_no_datagrams(syslog, tmp_path):
    certificates = make_certificates(tmp_path)
    source = syslog.make(tls={"cert_file": certificates.server, "key_file": certificates.server_key})
    async with run_source(source, syslog.emit):
        tls = ssl.create_default_context(cafile=certificates.ca)
        await send(source.port, b"11 <13>secret\n", ssl=tls)
        await syslog.emit.wait_for(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(("127.0.0.1", source.port))
            udp.send(b"<13>in the clear")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.to_thread(udp.recv, 1)
    assert syslog.messages() == ["secret\n"[:-1]]


async def test_a_wrong_length_costs_its_connection_alone(syslog, caplog):
    source = syslog.make()
    async with run_source(source, syslog.emit):
        _, good = await send(source.port, b"6 <13>g1")
        reader, _ = await send(source.port, b"5 <13>a2 <13>b")
        assert await reader.read() == b""
        good.write(b"6 <13>g2")
        await syslog.emit.wait_for(5)
    assert {"g1", "g2", "a"} <= set(syslog.messages())
    assert syslog.counted("frames_malformed") == 1
    assert "a length of a message was wrong" in caplog.text


async def test_a_sender_of_a_byte_now_and_then_is_left_with_what_it_sent(syslog):
    source = syslog.make(read_timeout=0.2)
    async with run_source(source, syslog.emit):
        reader, writer = await send(source.port, b"<13>slo")
        for byte in b"w and slower":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)
            if reader.at_eof():
                break
        await syslog.emit.wait_for(1)
    assert syslog.messages()[0].startswith("slow")
    assert syslog.counted("connections_timed_out") == 1


async def test_a_message_of_a_megabyte_is_cut_and_counted(syslog):
    source = syslog.make(max_message=1024)
    async with run_source(source, syslog.emit):
        await send(source.port, b"<13>" + b"x" * 1_000_000 + b"\n<13>next\n")
        await syslog.emit.wait_for(2)
    assert [len(message) for message in syslog.messages()] == [1020, 4]
    assert syslog.counted("messages_truncated") == 1


async def test_connections_are_bounded(syslog):
    source = syslog.make(max_connections=1)
    async with run_source(source, syslog.emit):
        await send(source.port, b"<13>a\n")
        await syslog.emit.wait_for(1)
        reader, _ = await send(source.port, b"<13>b\n")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    assert syslog.counted("connections_refused") == 1


async def test_back_pressure_holds_streams_up_and_counts_datagrams_that_have_no_room(syslog, monkeypatch):
    monkeypatch.setattr("logflow.net.datagrams._MOST_WAITING", 10_000)
    source = syslog.make()
    async with run_source(source, syslog.emit):
        syslog.emit.blocked = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for _ in range(40):
                udp.sendto(b"<13>" + b"x" * 900, ("127.0.0.1", source.port))
                await asyncio.sleep(0.001)
        await syslog.emit.unblock()
        await syslog.emit.wait_for(1)
        while syslog.emit.count + syslog.emit.drops["datagram_overflow"] < 40:
            await asyncio.sleep(0.01)
    assert syslog.emit.drops["datagram_overflow"] > 0


async def test_an_address_that_is_taken_is_named(syslog):
    source = syslog.make()
    async with run_source(source, syslog.emit):
        with pytest.raises(ComponentError, match=f"cannot listen on 127.0.0.1:{source.port}"):
            await syslog.make(listen=f"127.0.0.1:{source.port}").open()


@pytest.mark.skipif(shutil.which("logger") is None, reason="logger is not installed")
@pytest.mark.parametrize(
    "options",
    [["--udp", "--rfc5424"], ["--udp", "--rfc3164"], ["--tcp"], ["--tcp", "--octet-count", "--rfc5424"]],
)
async def test_logger(syslog, options):
    source = syslog.make()
    async with run_source(source, syslog.emit):
        command = ["logger", "--server", "127.0.0.1", "--port", str(source.port), *options,
                   "--tag", "mytag", "--priority", "local3.warning", "hello world"]  # fmt: skip
        process = await asyncio.create_subprocess_exec(*command)
        assert await process.wait() == 0
        await syslog.emit.wait_for(1)
    (record,) = syslog.emit.records()
    assert record["message"] == "hello world"
    assert (record["facility"], record["severity"], record["ident"]) == ("local3", "warning", "mytag")
    assert record["host"]


@pytest.mark.skipif(shutil.which("logger") is None, reason="logger is not installed")
async def test_logger_on_a_unix_socket(syslog, tmp_path):
    source = syslog.make(unix=tmp_path / "log")
    async with run_source(source, syslog.emit):
        process = await asyncio.create_subprocess_exec(
            "logger", "--socket", str(tmp_path / "log"), "--tag", "mytag", "--id=7", "hello"
        )
        assert await process.wait() == 0
        await syslog.emit.wait_for(1)
    (record,) = syslog.emit.records()
    assert (record["ident"], record["pid"], record["message"]) == ("mytag", "7", "hello")


async def test_messages_are_handed_on_a_few_at_a_time(syslog):
    """However small they are, others go on in between."""
    source = syslog.make()
    async with run_source(source, syslog.emit):
        await send(source.port, b"m\n" * 5000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for _ in range(150):
                udp.sendto(b"m", ("127.0.0.1", source.port))
        await syslog.emit.wait_for(5150)
    assert max(batch.count for batch in syslog.emit.batches) <= 100


async def test_messages_that_are_not_whole_share_a_bound(syslog, monkeypatch):
    """Whoever finds no room is read on when another one is through."""
    monkeypatch.setattr("logflow.net.line_server._UNFINISHED_BYTES", 0)
    source = syslog.make(max_message="1MiB")
    async with run_source(source, syslog.emit):
        writers = [(await send(source.port, b"a" * 700_000))[1] for _ in range(4)]
        share = source._server._share
        async with asyncio.timeout(5):
            while share.waiting < 1:
                await asyncio.sleep(0.01)
        assert share.held <= share.limit_bytes == 2 << 20
        for writer in writers:
            writer.write(b"b\n")
        await syslog.emit.wait_for(4)
        assert [len(message) for message in syslog.messages()] == [700_001] * 4
