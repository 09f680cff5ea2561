"""Whatever becomes of a file below ``data_dir``: a start says it, counts it, and loses no more than that."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from logflow.batch import Batch, Chunk, DeliveryKey, Span
from logflow.buffers.disk import DiskBuffer, Storage
from logflow.clock import SystemClock
from logflow.config.options import BufferOptions
from logflow.outputs.file.journal import FileJournal
from logflow.pipeline.dead_letters import DeadLetterStore
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.storage.fs import Fs
from logflow.telemetry.ledger import Account
from logflow.telemetry.metrics import Metrics

EVENTS = 5
BATCHES = 12
LOG = logging.getLogger("logflow.test")


@dataclass
class Found:
    """What a start found."""

    account: Account = field(default_factory=lambda: Account("**", "out"))
    streams: set[str] = field(default_factory=set)
    delivered: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    damaged: int = 0
    known_key: bool = False
    committed: bool = False
    letters: int = 0
    damaged_letters: int = 0


async def open_buffer(
    data_dir: Path, checkpoints: Checkpoints, account: Account, metrics: Metrics
) -> DiskBuffer:
    options = BufferOptions(type="disk", flush_interval=0, chunk_limit=1 << 20)
    buffer = DiskBuffer(
        "out", data_dir / "buffers/out", options, checkpoints, clock=SystemClock(), log=LOG,
        storage=Storage(segment_bytes=600),
        counter=lambda name, text: metrics.counter("buffer", "out", name, text),
    )  # fmt: skip
    await buffer.open(lambda _: account)
    return buffer


async def put(buffer: DiskBuffer, account: Account, batch: Batch) -> None:
    receipt = Receipt(1)
    account.enter(batch.count)
    await buffer.put(batch, account, receipt)
    await receipt


async def fill(data_dir: Path) -> None:
    """What a process leaves that was stopped with events waiting."""
    account = Account("**", "out")
    checkpoints = Checkpoints(data_dir / "checkpoints")
    checkpoints.open()
    buffer = await open_buffer(data_dir, checkpoints, account, Metrics())
    await put(buffer, account, Batch.from_events("t", [(1, {"n": -1})], DeliveryKey(b"done")))
    await put(buffer, account, Batch.from_events("t", [(1, {"n": -1, "x": "y" * 700})]))
    for number in range(BATCHES):
        if number == 1:  # so that a segment is deleted, and its key is kept elsewhere
            for _ in range(2):
                if account.waiting > EVENTS:
                    await buffer.commit(await buffer.take())
        checkpoints.save("tail", "s", {"offset": 0})
        origin = Span("s", number, number + 1) if number % 2 else DeliveryKey(b"%d" % number)
        await put(buffer, account, Batch.from_events(f"t{number % 3}", [(1, {"n": number})] * EVENTS, origin))
    await buffer.close()
    checkpoints.close()
    journal = FileJournal(data_dir / "outputs/files/journal", Fs(), LOG)
    journal.open()
    journal.commit([b"\1" * 16], [])
    journal.commit([b"\2" * 16], [])
    journal.close()
    letters = DeadLetterStore(data_dir / "dead-letters", SystemClock())
    batch = Batch.from_events("t", [(1, {"n": 1})])
    await letters.put(Chunk(b"\3" * 16, "t", (batch.entries,), 1), "out", "no")


async def start(data_dir: Path) -> Found:
    """Start again, and deliver what waits."""
    found, metrics = Found(), Metrics()
    checkpoints = Checkpoints(data_dir / "checkpoints")
    checkpoints.open()
    found.streams = set(checkpoints.streams("tail"))
    buffer = await open_buffer(data_dir, checkpoints, found.account, metrics)
    try:
        while found.account.waiting:
            taking = asyncio.ensure_future(buffer.take())
            while found.account.waiting and not taking.done():
                await asyncio.sleep(0.001)
            if not taking.done():
                taking.cancel()
                break
            found.delivered.update(record["n"] for _, record in taking.result().events())
            await buffer.commit(taking.result())
        found.known_key = buffer._keys.seen(b"done")
    finally:
        await buffer.close()
        checkpoints.close()
    journal = FileJournal(data_dir / "outputs/files/journal", Fs(), LOG)
    found.damaged = journal.open() + checkpoints.damaged_bytes
    found.committed = all(journal.committed(bytes([n]) * 16) for n in (1, 2))
    journal.close()
    letters = DeadLetterStore(data_dir / "dead-letters", SystemClock())
    found.letters, found.damaged_letters = len(list(letters.letters())), len(letters.damaged())
    found.damaged += metrics.counter("buffer", "out", "buffer_corrupt_bytes", "").value
    found.lost = metrics.counter("buffer", "out", "buffer_corrupt_events", "").value
    assert found.account.balanced
    return found


FILES = ["checkpoints", "oldest segment", "newest segment", "keys", "lock", "reserve", "journal", "letter"]
DAMAGE = [
    "cut",
    "emptied",
    "zeroed",
    "half zeroed",
    "random",
    "swapped",
    "removed",
    "unreadable",
    "read-only",
]


def pick(data_dir: Path, what: str) -> Path:
    buffer = data_dir / "buffers/out"
    match what:
        case "checkpoints":
            return data_dir / "checkpoints"
        case "oldest segment":
            return min(buffer.glob("*.segment"))
        case "newest segment":
            return max(buffer.glob("*.segment"))
        case "keys":
            return next(buffer.glob("*.keys"))
        case "journal":
            return data_dir / "outputs/files/journal"
        case "letter":
            return next((data_dir / "dead-letters").rglob("*.letter"))
        case _:
            path = buffer / what
            if not path.exists():
                path.write_bytes(bytes(100))
            return path


def harm(data_dir: Path, path: Path, damage: str) -> None:
    content = path.read_bytes()
    half = len(content) // 2
    if damage == "swapped":
        swap(data_dir, path)
    elif damage == "removed":
        path.unlink()
    elif damage in {"unreadable", "read-only"}:
        path.chmod(0 if damage == "unreadable" else 0o400)
    else:
        damaged = {
            "cut": content[:half],
            "emptied": b"",
            "zeroed": bytes(len(content)),
            "half zeroed": content[:half] + bytes(len(content) - half),
            "random": random.Random(1).randbytes(len(content)),
        }
        path.write_bytes(damaged[damage])


def swap(data_dir: Path, path: Path) -> None:
    """Swap a file with another of its directory, or with the checkpoints."""
    other = data_dir / ("checkpoints" if path.name != "checkpoints" else "outputs/files/journal")
    if path.suffix == ".segment":
        other = sorted(path.parent.glob("*.segment"))[1]
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("file", FILES)
async def test_a_start_survives_says_and_counts_it_and_loses_what_is_lost_and_no_more(
    tmp_path: Path, file: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(tmp_path)
    path = pick(tmp_path, file)
    harm(tmp_path, path, damage)
    caplog.set_level(logging.WARNING)
    async with asyncio.timeout(20):
        found = await start(tmp_path)

    everything = Counter(dict.fromkeys(range(BATCHES), EVENTS))
    assert not found.delivered - everything, "nothing comes twice"
    missing = (everything - found.delivered).total()
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    harmless = damage in {"unreadable", "read-only"} or (file in {"lock", "reserve"} and damage != "swapped")
    swapped_segments = damage == "swapped" and "segment" in file
    if harmless or swapped_segments:
        assert (missing, found.known_key, found.committed, found.letters) == (0, True, True, 1)
        assert found.streams == {"s"}
    if "segment" in file and not (harmless or swapped_segments):
        assert 0 < missing < BATCHES * EVENTS
        assert said
        assert found.damaged
        assert found.lost == missing
    elif file != "checkpoints" or damage != "removed":
        assert missing == 0
    if file == "checkpoints" and not harmless and damage not in {"removed", "emptied", "cut"}:
        assert said
        assert found.damaged
    if file == "letter" and not harmless and damage != "removed":
        assert (found.letters, found.damaged_letters) in {(0, 1), (1, 0)}
    async with asyncio.timeout(20):
        again = await start(tmp_path)
    assert not again.delivered
    assert again.damaged == 0, "it is found once"
