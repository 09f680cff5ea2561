"""Buffers that no output uses any more: they are found, and can be handed to another output."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from logflow.batch import Batch
from logflow.buffers.disk import DiskBuffer
from logflow.buffers.stranded import Stranded, find_stranded, move
from logflow.clock import SystemClock
from logflow.config.options import BufferOptions
from logflow.errors import ComponentError
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Account


def make(directory: Path, checkpoints: Checkpoints) -> DiskBuffer:
    options = BufferOptions(type="disk", flush_interval=0)
    return DiskBuffer(
        directory.name, directory, options, checkpoints, clock=SystemClock(), log=logging.getLogger("t")
    )


async def store(directory: Path, checkpoints: Checkpoints, numbers: range) -> bytes:
    """Leave events behind; returns the id of the chunk that was under way."""
    buffer, account = make(directory, checkpoints), Account("**", "o")
    await buffer.open(lambda _: account)
    for number in numbers:
        receipt = Receipt(1)
        account.enter(1)
        await buffer.put(Batch.from_events("t", [(1, {"n": number})]), account, receipt)
        await receipt
    chunk = await buffer.take()
    buffer.put_back(chunk)
    await buffer.close()
    return chunk.id


async def deliver(directory: Path, checkpoints: Checkpoints) -> tuple[list[int], list[bytes]]:
    buffer, account = make(directory, checkpoints), Account("**", "o")
    await buffer.open(lambda _: account)
    numbers, ids = [], []
    async with asyncio.timeout(5):
        while account.waiting:
            chunk = await buffer.take()
            numbers += [record["n"] for _, record in chunk.events()]
            ids.append(chunk.id)
            await buffer.commit(chunk)
    await buffer.close()
    return numbers, ids


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.open()
    return checkpoints


async def test_a_buffer_without_an_output_is_found_with_what_waits_in_it(
    tmp_path: Path, checkpoints: Checkpoints
) -> None:
    await store(tmp_path / "buffers/old", checkpoints, range(3))
    await store(tmp_path / "buffers/used", checkpoints, range(3))
    (tmp_path / "buffers/empty").mkdir()
    (found,) = find_stranded(tmp_path / "buffers", {"used"})
    assert (found.output, found.events) == ("old", 3)
    assert "logflow buffer move old OUTPUT" in found.describe(SystemClock().time_ns())
    assert isinstance(found, Stranded)


async def test_moved_into_an_empty_buffer_chunks_keep_their_ids(
    tmp_path: Path, checkpoints: Checkpoints
) -> None:
    source, target = tmp_path / "old", tmp_path / "new"
    chunk_id = await store(source, checkpoints, range(3))
    assert await move(source, target, checkpoints, lambda: make(target, checkpoints)) == 3
    assert not list(find_stranded(tmp_path, {"new"}))
    numbers, ids = await deliver(target, checkpoints)
    assert numbers == [0, 1, 2]
    assert ids[0] == chunk_id


async def test_moved_behind_what_waits_in_the_other(
    tmp_path: Path, checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = tmp_path / "old", tmp_path / "new"
    await store(source, checkpoints, range(3, 6))
    await store(target, checkpoints, range(3))
    assert await move(source, target, checkpoints, lambda: make(target, checkpoints)) == 3
    assert not list(source.glob("*.segment"))
    assert (await deliver(target, checkpoints))[0] == [0, 1, 2, 3, 4, 5]
    assert (await deliver(source, checkpoints))[0] == []
    assert not [message for message in caplog.messages if "missing" in message]


async def test_a_buffer_in_use_is_not_moved(tmp_path: Path, checkpoints: Checkpoints) -> None:
    await store(tmp_path / "old", checkpoints, range(3))
    buffer = make(tmp_path / "new", checkpoints)
    await buffer.open(lambda _: Account("**", "o"))
    with pytest.raises(ComponentError, match="in use; stop the service first"):
        await move(tmp_path / "old", tmp_path / "new", checkpoints, lambda: buffer)
    await buffer.close()
