"""What earlier versions wrote is read: ``formats_1`` is a data directory of November 2026."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

import pytest

from logflow.buffers.disk import DiskBuffer
from logflow.config.options import BufferOptions
from logflow.outputs.file.journal import FileJournal
from logflow.pipeline.dead_letters import DeadLetterStore
from logflow.storage.checkpoints import Checkpoints
from logflow.storage.fs import Fs
from logflow.telemetry.ledger import Account
from logflow.testing import FakeClock


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A copy, as reading mends."""
    return Path(shutil.copytree(Path(__file__).parent / "formats_1", tmp_path / "data"))


@pytest.fixture
def checkpoints(data_dir: Path) -> Checkpoints:
    checkpoints = Checkpoints(data_dir / "checkpoints")
    checkpoints.open()
    return checkpoints


def test_checkpoints(checkpoints: Checkpoints) -> None:
    state = {"offset": 10, "carry": b"\x00\xff", "path": "/var/log/a.log"}
    assert checkpoints.streams("pods") == {"stream-1": state}
    assert checkpoints.planned("central", "stream-1") == [(10, 30)]
    assert checkpoints.accepted("archive", "stream-1") == 20
    assert checkpoints.accepted("out", "stream-1") == 30
    assert checkpoints.noted("central", b"chunk") == "aggregator-0:24224"
    assert checkpoints.noted("central", b"gone") == ""
    checkpoints.close()


async def test_a_disk_buffer(data_dir: Path, checkpoints: Checkpoints) -> None:
    account = Account("**", "out")
    buffer = DiskBuffer(
        "out", data_dir / "buffers/out", BufferOptions(type="disk", flush_interval=0), checkpoints,
        clock=FakeClock(), log=logging.getLogger("logflow.test"),
    )  # fmt: skip
    await buffer.open(lambda _: account)
    found = {}
    for _ in range(3):
        async with asyncio.timeout(5):
            chunk = await buffer.take()
        found[chunk.tag] = ([record["n"] for _, record in chunk.events()], chunk.id.hex(), chunk.attempts)
        await buffer.commit(chunk)
    assert found.pop("a") == ([2], "7943a532ea66e112123ae627fa7a6918", 1)
    assert {tag: numbers for tag, (numbers, _, _) in found.items()} == {"b": [3], "c": [4]}
    assert all(buffer._keys.seen(b"key %d" % number) for number in range(3))
    assert account.balanced
    await buffer.close()


def test_the_journal_of_a_file_output(data_dir: Path) -> None:
    journal = FileJournal(data_dir / "outputs/archive/journal", Fs(), logging.getLogger("logflow.test"))
    assert journal.open() == 0
    assert journal.committed(b"\x01" * 16)
    (owned,) = journal.owned.values()
    assert (owned.path, owned.inode, owned.length, owned.tail) == ("/var/log/archive/a.jsonl", 77, 50, 999)
    journal.close()


def test_dead_letters(data_dir: Path) -> None:
    (letter,) = DeadLetterStore(data_dir / "dead-letters", FakeClock()).letters()
    assert (letter.output, letter.head.tag, letter.head.reason) == ("out", "t", "400 Bad Request")
    assert [record for _, record in letter.batch().events()] == [{"n": 7}]
