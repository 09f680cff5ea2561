"""``logflow cat``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from logflow.cli.main import main
from logflow.sources.forward import ForwardSource
from logflow.sources.stdin import StdinSource
from logflow.testing import Collector, make_context, run_source
from logflow.testing.forwarding import cut, make_certificates, scripted_server

Cat = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def cat(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cat:
    """Run the command with some standard input; returns its status and what it wrote to stderr."""

    async def run(data: bytes, *arguments: str) -> tuple[int, str]:
        reader, writer = os.pipe()
        monkeypatch.setattr(StdinSource, "input_fd", reader)
        command = asyncio.create_task(asyncio.to_thread(main, ["cat", *arguments]))
        try:
            await asyncio.to_thread(os.write, writer, data)
        finally:
            os.close(writer)
        status = await command
        os.close(reader)
        return status, capfd.readouterr().err

    return run


@pytest.fixture
async def emit() -> Collector:
    return Collector()


@pytest.fixture
async def port(tmp_path: Path, emit: Collector) -> AsyncIterator[str]:
    source = ForwardSource(ForwardSource.Config(type="forward", listen="127.0.0.1:0"), make_context(tmp_path))
    async with run_source(source, emit):
        yield f"127.0.0.1:{source.port}"


async def test_objects_become_records_and_other_lines_messages(cat, port, emit):
    status, error = await cat(b'plain\n{"a": 1}\n[1]\nno newline', "--tag", "t.x", port)
    assert (status, error) == (0, "")
    assert {batch.tag for batch in emit.batches} == {"t.x"}
    assert emit.records() == [{"message": "plain"}, {"a": 1}, {"message": "[1]"}, {"message": "no newline"}]


async def test_raw_lines_stay_as_they_are(cat, port, emit):
    await cat(b'{"a": 1}\n', "--raw", "--tag", "t", port)
    assert emit.records() == [{"message": '{"a": 1}'}]


async def test_json_refuses_other_lines(cat, port, emit):
    status, error = await cat(b'{"a": 1}\nplain\n', "--json", "--tag", "t", port)
    assert status == 1
    assert error == "logflow: a line is not a JSON object; correct it, or leave out --json\n"


async def test_nothing_is_nothing(cat, port, emit):
    assert await cat(b"", "--tag", "t", port) == (0, "")
    assert emit.batches == []


async def test_it_waits_until_the_lines_are_safe(cat, tmp_path):
    emit = Collector(settle=False)
    source = ForwardSource(ForwardSource.Config(type="forward", listen="127.0.0.1:0"), make_context(tmp_path))
    async with run_source(source, emit):
        command = asyncio.create_task(cat(b"line\n", "--tag", "t", f"127.0.0.1:{source.port}"))
        await emit.wait_for(1)
        await asyncio.sleep(0.02)
        assert not command.done()
        emit.settle_all()
        assert await command == (0, "")


async def test_many_lines_are_sent_in_few_chunks(cat, port, emit):
    lines = b"".join(b"line %d\n" % number for number in range(50_000))
    status, _ = await cat(lines, "--tag", "t", "--compress", "zstd", port)
    assert status == 0
    assert [record["message"] for record in emit.records()] == [f"line {number}" for number in range(50_000)]
    assert len(emit.batches) < 20


async def test_a_lost_connection_is_one_line_on_stderr(cat):
    async with scripted_server(cut) as server:
        status, error = await cat(b"line\n", "--tag", "t", f"127.0.0.1:{server.port}")
    assert status == 1
    assert error.startswith(f"logflow: server 127.0.0.1:{server.port}: ")
    assert error.count("\n") == 1


async def test_nobody_there_is_one_line_on_stderr(cat):
    status, error = await cat(b"line\n", "--tag", "t", "127.0.0.1:1")
    assert (status, error) == (1, "logflow: server 127.0.0.1:1: cannot connect: Connection refused\n")


async def test_with_a_key_tls_and_a_unix_socket(cat, tmp_path):
    files = make_certificates(tmp_path)
    key = tmp_path / "key"
    key.write_text("secret\n")
    options = {
        "listen": "127.0.0.1:0",
        "unix": str(tmp_path / "s.sock"),
        "shared_key": "secret",
        "tls": {"cert_file": str(files.server), "key_file": str(files.server_key)},
    }
    emit = Collector()
    source = ForwardSource(
        ForwardSource.Config.model_validate({"type": "forward", **options}), make_context(tmp_path)
    )
    async with run_source(source, emit):
        common = ("--tag", "t", "--shared-key-file", str(key))
        address = f"127.0.0.1:{source.port}"
        assert await cat(b"a\n", *common, "--tls-ca-file", str(files.ca), address) == (0, "")
        assert await cat(b"b\n", *common, f"unix:{tmp_path}/s.sock") == (0, "")
        status, error = await cat(b"c\n", *common, "--tls", address)
        assert status == 1
        assert "certificate is not accepted" in error
    assert emit.count == 2


async def test_a_missing_key_file_is_named(cat):
    status, error = await cat(b"", "--tag", "t", "--shared-key-file", "/nowhere")
    assert (status, error) == (1, "logflow: cannot read the key in /nowhere: No such file or directory\n")


def test_a_bad_address_is_a_mistake_on_the_command_line(capsys):
    with pytest.raises(SystemExit) as left:
        main(["cat", "--tag", "t", "host:port"])
    assert left.value.code == 2
    assert "'host:port' is not an address" in capsys.readouterr().err
