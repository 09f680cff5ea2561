"""Recovery of damaged segments: the rest is delivered, the damage is counted and set aside, once."""

from __future__ import annotations

import asyncio
import errno
import logging
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from logflow.batch import Batch, Chunk, DeliveryKey
from logflow.buffers.disk import DiskBuffer, Storage
from logflow.buffers.disk.segments import HEADER_BYTES, pack_header, segment_of
from logflow.clock import SystemClock
from logflow.config.options import BufferOptions
from logflow.errors import ComponentError
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.storage.fs import Fs
from logflow.telemetry.ledger import Account
from logflow.telemetry.metrics import Metrics

EVENTS = 10
BATCHES = 12


@dataclass
class Outcome:
    """What a start found, and what it delivered."""

    account: Account
    numbers: list[int] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    corrupt_events: int = 0
    corrupt_bytes: int = 0


async def run(
    directory: Path, batches: list[Batch] | None = None, *, deliver: bool = True, fs: Fs | None = None,
    chunk_limit: int = 1 << 20,
) -> Outcome:  # fmt: skip
    """Open the buffer, put batches, deliver what waits, close."""
    metrics, outcome = Metrics(), Outcome(Account("**", "out"))
    options = BufferOptions(type="disk", chunk_limit=chunk_limit, flush_interval=0)
    buffer = DiskBuffer(
        "out", directory, options, Checkpoints(None), clock=SystemClock(),
        log=logging.getLogger("logflow.test"), storage=Storage(fs or Fs(), segment_bytes=900),
        counter=lambda name, text: metrics.counter("buffer", "out", name, text),
    )  # fmt: skip
    await buffer.open(lambda _: outcome.account)
    for batch in batches or []:
        receipt = Receipt(1)
        outcome.account.enter(batch.count)
        await buffer.put(batch, outcome.account, receipt)
        await receipt
    while deliver and (chunk := await take(buffer, outcome.account)) is not None:
        outcome.numbers += [record["n"] for _, record in chunk.events()]
        outcome.ids.append(chunk.id)
        await buffer.commit(chunk)
    await buffer.close()
    assert outcome.account.balanced
    outcome.corrupt_events = metrics.counter("buffer", "out", "buffer_corrupt_events", "").value
    outcome.corrupt_bytes = metrics.counter("buffer", "out", "buffer_corrupt_bytes", "").value
    return outcome


async def take(buffer: DiskBuffer, account: Account) -> Chunk | None:
    """The next chunk; ``None`` when nothing is left, because it was damaged perhaps."""
    taking = asyncio.ensure_future(buffer.take())
    async with asyncio.timeout(5):
        while account.waiting and not taking.done():
            await asyncio.sleep(0)
    if taking.done():
        return taking.result()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    return None


def make_batches() -> list[Batch]:
    return [
        Batch.from_events("t", [(1, {"n": number})] * EVENTS, DeliveryKey(b"%d" % number))
        for number in range(BATCHES)
    ]


@pytest.fixture
async def stored(tmp_path: Path) -> Path:
    """A buffer with waiting batches in several segments."""
    directory = tmp_path / "stored"
    await run(directory, make_batches(), deliver=False)
    assert len(list(directory.glob("*.segment"))) > 2
    return directory


def set_aside(directory: Path) -> list[Path]:
    return list((directory / "corrupt").glob("*"))


async def test_a_flipped_bit_anywhere_costs_one_batch_at_most(stored: Path, tmp_path: Path) -> None:
    """100 places: the rest is delivered, the damage is counted, set aside, and not found again."""
    random = Random(5)
    segments = sorted(path.name for path in stored.glob("*.segment"))
    for turn in range(100):
        directory = tmp_path / f"flip{turn}"
        shutil.copytree(stored, directory)
        path = directory / random.choice(segments)
        content = bytearray(path.read_bytes())
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        path.write_bytes(content)
        outcome = await run(directory, deliver=False)
        again = await run(directory)
        lost = outcome.corrupt_events + again.corrupt_events
        assert lost in {0, EVENTS}
        assert len(again.numbers) == BATCHES * EVENTS - lost
        assert again.numbers == sorted(again.numbers)
        assert (
            min(outcome.corrupt_bytes, again.corrupt_bytes) == 0 < outcome.corrupt_bytes + again.corrupt_bytes
        )
        assert set_aside(directory)
        assert outcome.account.dropped["corrupt"] + again.account.dropped["corrupt"] == lost


async def test_a_block_of_zeros_costs_what_it_covers(stored: Path) -> None:
    """Several records may be gone without a trace; those before and behind are delivered."""
    path = sorted(stored.glob("*.segment"))[1]
    content = path.read_bytes()
    path.write_bytes(content[:300] + bytes(900) + content[1200:])
    outcome = await run(stored)
    assert BATCHES * EVENTS - 4 * EVENTS <= len(outcome.numbers) < BATCHES * EVENTS
    assert [path.stat().st_size >= 900 for path in set_aside(stored)] == [True]


async def test_what_is_torn_at_the_end_is_cut_off_silently(stored: Path) -> None:
    """A write that was not finished was not acknowledged: no damage, nothing set aside."""
    newest = max(stored.glob("*.segment"))
    with newest.open("r+b") as file:
        file.truncate(newest.stat().st_size - 5)
    outcome = await run(stored)
    assert len(outcome.numbers) == (BATCHES - 1) * EVENTS
    assert outcome.corrupt_bytes == 0
    assert not set_aside(stored)


async def test_a_batch_that_was_cut_off_is_no_repeat(stored: Path) -> None:
    """Its key was not accepted: the peer's resend is stored."""
    newest = max(stored.glob("*.segment"))
    content = newest.read_bytes()
    last = content.rindex(bytes.fromhex(newest.name[17:33]))
    body = content.index(b"\x92\xd7\x00", last)
    newest.write_bytes(content[:body] + bytes(20) + content[body + 20 :])
    outcome = await run(stored, make_batches())
    assert sorted(outcome.numbers) == sorted([*range(BATCHES)] * EVENTS)


async def test_a_segment_that_was_cut_short_is_damage(stored: Path) -> None:
    """Not the newest: its records were acknowledged, so what is missing is counted."""
    oldest = min(stored.glob("*.segment"))
    with oldest.open("r+b") as file:
        file.truncate(oldest.stat().st_size - 5)
    outcome = await run(stored)
    assert outcome.corrupt_events == EVENTS
    assert len(outcome.numbers) == (BATCHES - 1) * EVENTS
    assert set_aside(stored)


async def test_garbage_in_the_directory_is_left_alone(stored: Path) -> None:
    """Only files with our names are ours."""
    (stored / "notes.txt").write_text("mine")
    (stored / "zz.segment").write_text("mine too")
    outcome = await run(stored)
    assert len(outcome.numbers) == BATCHES * EVENTS
    assert (stored / "zz.segment").read_text() == "mine too"


async def test_a_segment_of_nonsense_is_set_aside(stored: Path) -> None:
    """The header is rebuilt from the name; nothing else in it is a record."""
    victim = min(stored.glob("*.segment"))
    content = Random(1).randbytes(victim.stat().st_size)
    victim.write_bytes(content)
    outcome = await run(stored)
    assert len(outcome.numbers) < BATCHES * EVENTS
    kept = b"".join(
        path.read_bytes()
        for path in sorted(set_aside(stored), key=lambda path: int(path.suffixes[-2].partition("-")[2] or 0))
    )
    assert kept == content


@pytest.mark.parametrize("number", [2**30, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("header", ["damaged", "forged"])
async def test_a_number_that_cannot_be_is_damage_like_any_other(
    stored: Path, number: int, header: str
) -> None:
    """Of the name, where the header tells no better, or even in the header: all events are delivered."""
    path = sorted(stored.glob("*.segment"))[1]
    segment = segment_of(path)
    assert segment is not None
    segment.number = number
    data = bytearray(pack_header(segment, 0) if header == "forged" else bytes(HEADER_BYTES))
    path.write_bytes(data + path.read_bytes()[HEADER_BYTES:])
    path.rename(path.with_name(f"{number:016x}{path.name[16:]}"))
    outcome = await run(stored)
    assert sorted(outcome.numbers) == sorted(list(range(BATCHES)) * EVENTS)
    assert set_aside(stored)
    again = await run(stored, make_batches())
    assert again.numbers == [], "what came is known, and more can be stored"


async def test_a_file_of_a_later_version_is_refused(stored: Path) -> None:
    """It is not damage, and must not be touched."""
    from logflow.buffers.disk.records import checksum

    victim = min(stored.glob("*.segment"))
    content = victim.read_bytes()
    header = b"LFSEG999" + content[8:32]
    content = header + checksum(header).to_bytes(8, "little") + content[40:]
    victim.write_bytes(content)
    with pytest.raises(ComponentError, match="LFSEG999"):
        await run(stored)
    assert victim.read_bytes() == content


async def test_a_damaged_cut_is_restored(tmp_path: Path) -> None:
    """The chunk keeps its id, as the record says everything twice."""
    await run(tmp_path, make_batches()[:2], deliver=False, chunk_limit=1)
    (path,) = tmp_path.glob("*.segment")
    content = bytearray(path.read_bytes())
    shutil.copytree(tmp_path, tmp_path / "copy")
    ids = (await run(tmp_path / "copy")).ids
    marker = bytes.fromhex(path.name[17:33])
    cut = content.index(marker + b"\x02")
    content[cut + 30] ^= 1
    path.write_bytes(content)
    assert (await run(tmp_path)).ids == ids


class BadSectorFs(Fs):
    """A disk that cannot read some bytes of any segment any more."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def read(self, fd: int, length: int, offset: int) -> bytes:
        if offset < self.last and offset + length > self.first:
            raise OSError(errno.EIO, "input/output error")
        return super().read(fd, length, offset)


async def test_a_bad_sector_costs_what_lies_in_it(tmp_path: Path) -> None:
    """What cannot be read is damage like any other; the start does not fail."""
    large = [Batch.from_events("t", [(1, {"n": n, "x": "y" * 3000})] * EVENTS) for n in range(3)]
    await run(tmp_path, large, deliver=False)
    outcome = await run(tmp_path, fs=BadSectorFs(8192, 12288))
    assert outcome.corrupt_events == 3 * EVENTS  # one in each segment, as each is in a segment of its own
    assert set_aside(tmp_path)


class FullFs(Fs):
    """A disk on which nothing new can be created while it is full."""

    full = True

    def open_new(self, path: Path) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "no space left on device")
        return super().open_new(path)


async def test_damage_that_cannot_be_copied_is_kept_with_its_segment(
    stored: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk is full: the whole segment is moved aside when its turn to be deleted comes."""
    victim = min(stored.glob("*.segment"))
    content = bytearray(victim.read_bytes())
    content[50] ^= 1
    victim.write_bytes(content)
    fs = FullFs()

    running = asyncio.ensure_future(run(stored, fs=fs))
    while not any("cannot be copied" in record.getMessage() for record in caplog.records):
        await asyncio.sleep(0.001)
    fs.full = False
    await running
    assert victim.name in {path.name for path in set_aside(stored)}


@pytest.mark.parametrize("seed", range(20))
async def test_any_nonsense_is_survived(stored: Path, seed: int) -> None:
    """Random bytes over random parts of every file: the start succeeds, and the accounts balance."""
    random = Random(seed)
    for path in stored.glob("*.segment"):
        content = bytearray(path.read_bytes())
        for _ in range(random.randint(0, 4)):
            start = random.randrange(len(content))
            length = random.choice((1, 20, 200, 2000))
            content[start : start + length] = random.randbytes(length)
        path.write_bytes(content)
    outcome = await run(stored)
    assert len(outcome.numbers) + outcome.account.dropped["corrupt"] <= BATCHES * EVENTS
    assert (await run(stored)).corrupt_bytes == 0


class SlowFs(Fs):
    """A disk that is slow to read from, until it is told otherwise."""

    def __init__(self) -> None:
        self.reading = threading.Event()
        self.go_on = threading.Event()

    def read(self, fd: int, length: int, offset: int) -> bytes:
        if offset:
            self.reading.set()
            self.go_on.wait(10)
        return super().read(fd, length, offset)


async def test_a_recovery_that_is_cancelled_ends_and_leaves_the_buffer_free(stored: Path) -> None:
    """A stop does not wait for hundreds of thousands of tags."""
    fs = SlowFs()
    buffer = DiskBuffer(
        "out", stored, BufferOptions(type="disk"), Checkpoints(None), clock=SystemClock(),
        log=logging.getLogger("logflow.test"), storage=Storage(fs),
    )  # fmt: skip
    opening = asyncio.ensure_future(buffer.open(lambda _: Account("**", "out")))
    await asyncio.to_thread(fs.reading.wait, 10)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    fs.go_on.set()
    await buffer.close()
    outcome = await run(stored)
    assert len(outcome.numbers) == BATCHES * EVENTS
