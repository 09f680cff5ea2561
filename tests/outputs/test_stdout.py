"""The output to standard output."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from logflow.batch import Batch, Chunk
from logflow.errors import DeliveryError, OutputEnded
from logflow.outputs.stdout import StdoutOutput
from logflow.testing import make_context

T0 = 1_700_000_000_000_000_000


def chunk(*records):
    batch = Batch.from_events("app", [(T0, record) for record in records])
    return Chunk(os.urandom(16), "app", (batch.entries,), batch.count)


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)


def make(tmp_path, fd, **options):
    output = StdoutOutput(StdoutOutput.Config(**options), make_context(tmp_path, kind="output"))
    output.fd = fd
    return output


async def test_events_are_lines(tmp_path, pipe):
    output = make(tmp_path, pipe[1], time_key=None)
    await output.write(chunk({"n": 1}, {"n": 2}))
    assert os.read(pipe[0], 1000) == b'{"@tag":"app","n":1}\n{"@tag":"app","n":2}\n'


async def test_a_regular_file_will_do(tmp_path):
    with (tmp_path / "out").open("wb") as file:
        await make(tmp_path, file.fileno(), format="raw").write(chunk({"message": "x" * 300_000}))
    assert (tmp_path / "out").read_bytes() == b"x" * 300_000 + b"\n"


async def test_a_reader_that_waits_holds_up_nobody_and_gets_everything_once(tmp_path, pipe):
    output = make(tmp_path, pipe[1], format="raw")
    first, second = chunk({"message": "a" * 200_000}), chunk({"message": "b"})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(output.write(first), 0.02)
    received = bytearray()

    async def read():
        while not received.endswith(b"b\n"):
            received.extend(await asyncio.to_thread(os.read, pipe[0], 65536))

    await asyncio.gather(read(), output.write(second))
    await output.write(first)
    assert received == b"a" * 200_000 + b"\nb\n"
    assert not output._interrupted


async def test_a_closed_pipe_is_a_clear_error(tmp_path, pipe):
    os.close(pipe[0])
    with pytest.raises(OutputEnded, match="standard output was closed by whoever read it"):
        await make(tmp_path, pipe[1]).write(chunk({"n": 1}))


async def test_a_full_disk_is_tried_again(tmp_path):
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(DeliveryError, match="No space left"):
            await make(tmp_path, fd).write(chunk({"n": 1}))
    finally:
        os.close(fd)
