"""The disk buffer, on the real file system."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from logflow.batch import Batch, Chunk, DeliveryKey, Origin, Span
from logflow.buffers.base import TAG_BYTES, GroupLimits
from logflow.buffers.disk import DiskBuffer, Storage, files
from logflow.clock import Clock, SystemClock
from logflow.config.options import BufferOptions
from logflow.errors import ComponentError
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.storage.fs import Fs
from logflow.telemetry.ledger import Account
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock


def make_batch(number: int = 0, origin: Origin = None, tag: str = "t", events: int = 1) -> Batch:
    return Batch.from_events(tag, [(1, {"n": number})] * events, origin)


SIZE = len(make_batch().entries)


class Bench:
    """A disk buffer with an account, as the router and the flusher would use it."""

    def __init__(self, directory: Path, *, clock: Clock | None = None, **options: Any) -> None:
        self.directory = directory
        self.options = BufferOptions(type="disk", **{"flush_interval": 0, **options})
        self.clock = clock or SystemClock()
        self.checkpoints = Checkpoints(None)
        self.metrics = Metrics()
        self.opened: list[DiskBuffer] = []

    async def open(self, segment_bytes: int | None = None) -> None:
        self.account = Account("**", "out")
        self.buffer = DiskBuffer(
            "out", self.directory, self.options, self.checkpoints, clock=self.clock,
            log=logging.getLogger("logflow.test"), storage=Storage(segment_bytes=segment_bytes),
            counter=lambda name, text: self.metrics.counter("buffer", "out", name, text),
        )  # fmt: skip
        self.opened.append(self.buffer)
        await self.buffer.open(lambda _: self.account)

    async def reopen(self) -> None:
        await self.buffer.close()
        await self.open()

    async def put(self, batch: Batch) -> Receipt:
        receipt = Receipt(1)
        self.account.enter(batch.count)
        await self.buffer.put(batch, self.account, receipt)
        return receipt

    async def store(self, batch: Batch) -> None:
        async with asyncio.timeout(5):
            await (await self.put(batch))

    async def take(self) -> Chunk:
        return await asyncio.wait_for(self.buffer.take(), 5)

    async def has_chunk(self) -> bool:
        with suppress(TimeoutError):
            self.buffer.put_back(await asyncio.wait_for(self.buffer.take(), 0.02))
            return True
        return False

    async def drain(self) -> list[int]:
        """Deliver what waits; returns the numbers of its events."""
        numbers = []
        while self.account.waiting:
            chunk = await self.take()
            numbers += [record["n"] for _, record in chunk.events()]
            await self.buffer.commit(chunk)
        return numbers

    def counted(self, name: str) -> int:
        return self.metrics.counter("buffer", "out", name, "").value

    def segments(self) -> list[Path]:
        return sorted(self.directory.glob("*.segment"))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path / "buffer")
    await bench.open()
    yield bench
    for buffer in bench.opened:
        await buffer.close()


async def test_a_receipt_resolves_before_delivery(bench: Bench) -> None:
    """What is on disk is safe."""
    await bench.store(make_batch())
    assert bench.account.waiting == 1


async def test_tags_that_come_at_one_time_are_one_write_and_one_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their cuts are written with them, and are safe by the same sync."""
    bench = Bench(tmp_path / "buffer", flush_interval="1s")
    await bench.open()
    syncs: list[int] = []
    sync = Fs.sync
    monkeypatch.setattr(Fs, "sync", lambda fs, fd: (syncs.append(fd), sync(fs, fd))[1])
    bench.buffer.pace_together(0.1)
    taking = asyncio.create_task(bench.buffer.take_group(GroupLimits(chunks=50)))
    for number in range(5):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await bench.put(make_batch(number, tag=f"tag-{number}"))
    assert {chunk.tag for chunk in await taking} == {f"tag-{number}" for number in range(5)}
    assert len(syncs) == 1
    await bench.buffer.close()


async def test_what_was_stored_survives_a_restart(bench: Bench) -> None:
    """The next process finds what waits, in order, and accounts for it."""
    for number in range(5):
        await bench.store(make_batch(number))
    await bench.reopen()
    assert bench.account.read == bench.account.waiting == 5
    assert await bench.drain() == [0, 1, 2, 3, 4]
    assert bench.account.delivered == 5
    assert bench.account.balanced


async def test_what_was_committed_does_not_come_back(bench: Bench) -> None:
    """The commit is on disk within moments, and closing waits for it."""
    for number in range(3):
        await bench.store(make_batch(number))
    chunk = await bench.take()
    await bench.store(make_batch(3))
    await bench.buffer.commit(chunk)
    await bench.reopen()
    assert await bench.drain() == [3]


async def test_a_note_about_a_chunk_lasts_until_the_chunk_cannot_come_again(bench: Bench) -> None:
    """It is forgotten when the disk says that the chunk is done."""
    await bench.store(make_batch())
    chunk = await bench.take()
    bench.checkpoints.note("out", chunk.id, "where it is")
    await bench.buffer.commit(chunk)
    assert bench.checkpoints.noted("out", chunk.id)
    await bench.reopen()
    assert not bench.checkpoints.noted("out", chunk.id)
    assert not await bench.has_chunk()


async def test_a_chunk_in_flight_comes_back_the_same(bench: Bench) -> None:
    """A restart gives the same chunk: same id, same events, whatever was put behind it."""
    for number in range(3):
        await bench.store(make_batch(number))
    before = await bench.take()
    await bench.store(make_batch(3))
    await bench.reopen()
    after = await bench.take()
    assert (after.id, after.tag, after.entries, after.count) == (
        before.id, before.tag, before.entries, before.count,
    )  # fmt: skip


async def test_attempts_go_on_after_a_restart(bench: Bench) -> None:
    """A chunk that was put back is known to have been tried."""
    await bench.store(make_batch())
    chunk = await bench.take()
    chunk.attempts += 3
    bench.buffer.put_back(chunk)
    await bench.reopen()
    assert (await bench.take()).attempts == 3


async def test_what_gathers_becomes_one_chunk(bench: Bench) -> None:
    """Batches of one tag that wait are delivered together, in order."""
    for number in range(3):
        await bench.store(make_batch(number))
    chunk = await bench.take()
    assert [record["n"] for _, record in chunk.events()] == [0, 1, 2]


async def test_a_chunk_keeps_to_its_limit(tmp_path: Path) -> None:
    """chunk_limit bounds what is put together, before and after a restart."""
    bench = Bench(tmp_path, chunk_limit=2 * SIZE)
    await bench.open()
    for number in range(6):
        await bench.store(make_batch(number))
    chunk = await bench.take()
    assert chunk.count == 2
    await bench.buffer.commit(chunk)
    await bench.reopen()
    assert (await bench.take()).count == 2
    await bench.buffer.close()


async def test_a_backlog_is_cut_by_the_limit_after_a_restart(tmp_path: Path) -> None:
    """A batch that comes on top of a large backlog does not make one chunk of all of it."""
    bench = Bench(tmp_path, chunk_limit=100 * SIZE)
    await bench.open()
    for number in range(9):
        await bench.store(make_batch(number))
    bench.options = bench.options.model_copy(update={"chunk_limit": 2 * SIZE})
    await bench.reopen()
    await bench.store(make_batch(9))
    assert (await bench.take()).count == 2
    assert await bench.has_chunk() is False
    await bench.buffer.close()


async def test_one_chunk_of_a_tag_is_in_flight_at_a_time(bench: Bench) -> None:
    """Order within a tag: the next chunk waits for the one before; other tags do not."""
    await bench.store(make_batch(1))
    first = await bench.take()
    await bench.store(make_batch(2))
    await bench.store(make_batch(3, tag="other"))
    assert (await bench.take()).tag == "other"
    assert not await bench.has_chunk()
    await bench.buffer.commit(first)
    assert (await bench.take()).tag == "t"


async def test_a_chunk_put_back_is_taken_again_unchanged(bench: Bench) -> None:
    """After put_back the very same chunk comes before later events."""
    await bench.store(make_batch(1))
    chunk = await bench.take()
    await bench.store(make_batch(2))
    bench.buffer.put_back(chunk)
    assert await bench.take() is chunk


async def test_a_group_is_cut_by_one_write(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due of many tags is taken in one go, and costs one sync."""
    bench.buffer.pace_together(0.1)
    appended: list[int] = []
    append = bench.buffer._files.segments.append

    def count(records: list[Any], *, sync: bool) -> Any:
        appended.append(len(records))
        return append(records, sync=sync)

    for number in range(20):
        await bench.store(make_batch(number, tag=f"t{number}"))
    monkeypatch.setattr(bench.buffer._files.segments, "append", count)
    chunks = await bench.buffer.take_group(GroupLimits(chunks=15))
    chunks += await bench.buffer.take_group(GroupLimits(chunks=15))
    assert [len(chunks), max(appended)] == [20, 20]
    assert len(appended) == 1
    await bench.buffer.commit_group([(chunk, {}) for chunk in chunks])
    assert bench.account.delivered == 20


async def test_a_long_outage_costs_no_memory_but_that_of_what_waits(tmp_path: Path) -> None:
    """What is noted about a queue does not grow with every put."""
    bench = Bench(tmp_path, chunk_limit=SIZE, flush_interval=1)
    await bench.open()
    for number in range(50):
        await bench.store(make_batch(number))
    assert len(bench.buffer._schedule) <= 2
    await bench.buffer.close()


async def test_a_cancelled_take_loses_nothing(bench: Bench) -> None:
    """A flusher may be cancelled at any await of take."""
    for steps in range(8):
        await bench.store(make_batch(steps))
        taking = asyncio.ensure_future(bench.buffer.take())
        for _ in range(steps):
            await asyncio.sleep(0)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        if not taking.cancelled():
            bench.buffer.put_back(taking.result())
    assert await bench.drain() == list(range(8))


async def test_put_waits_for_room(tmp_path: Path) -> None:
    """With `block`, a put waits until a chunk is committed; whoever waits for room is woken."""
    bench = Bench(tmp_path, limit=SIZE)
    await bench.open()
    await bench.store(make_batch(1))
    assert bench.buffer.full
    waiting = asyncio.ensure_future(bench.put(make_batch(2)))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await bench.buffer.commit(await bench.take())
    await asyncio.wait_for(waiting, 5)
    room = asyncio.ensure_future(bench.buffer.wait_for_room())
    await bench.buffer.commit(await bench.take())
    await asyncio.wait_for(room, 5)
    await bench.buffer.close()


async def test_a_cancelled_put_takes_nothing(tmp_path: Path) -> None:
    """A put that is cancelled while it waits has not stored its batch."""
    bench = Bench(tmp_path, limit=SIZE)
    await bench.open()
    await bench.store(make_batch(1))
    waiting = asyncio.ensure_future(bench.buffer.put(make_batch(2), bench.account, Receipt(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await bench.drain() == [1]
    assert not await bench.has_chunk()
    await bench.buffer.close()


async def test_a_batch_larger_than_the_limit_passes_alone(tmp_path: Path) -> None:
    """An empty buffer takes a batch of any size: it could never be delivered otherwise."""
    bench = Bench(tmp_path, limit=1)
    await bench.open()
    await bench.store(make_batch())
    assert (await bench.take()).count == 1
    await bench.buffer.close()


async def test_drop_newest_counts_what_it_drops(tmp_path: Path) -> None:
    """A full buffer refuses the new batch; its receipt is settled and it is accounted for."""
    bench = Bench(tmp_path, limit=SIZE, when_full="drop_newest")
    await bench.open()
    await bench.store(make_batch(1))
    assert (await bench.put(make_batch(2))).done
    assert bench.account.dropped == {"buffer_full": 1}
    assert await bench.drain() == [1]
    await bench.buffer.close()


async def test_drop_oldest_spares_what_is_in_flight(tmp_path: Path) -> None:
    """A full buffer drops what has waited longest, of any tag, and for good."""
    bench = Bench(tmp_path, limit=3 * SIZE + 2 * TAG_BYTES, when_full="drop_oldest")
    await bench.open()
    await bench.store(make_batch(1))
    flying = await bench.take()
    await bench.store(make_batch(2))
    await bench.store(make_batch(3, tag="other"))
    await bench.store(make_batch(4))
    assert bench.account.dropped == {"buffer_full": 1}
    await bench.buffer.commit(flying)
    await bench.reopen()
    assert sorted(await bench.drain()) == [3, 4]
    await bench.buffer.close()


async def test_a_discarded_chunk_is_accounted_for_and_gone(bench: Bench) -> None:
    """A dead letter, say."""
    await bench.store(make_batch(events=2))
    await bench.buffer.discard(await bench.take(), "dead_letter:rejected")
    assert bench.account.dropped == {"dead_letter:rejected": 2}
    await bench.reopen()
    assert bench.account.waiting == 0


async def test_what_cannot_be_described_is_dropped(bench: Bench) -> None:
    """A tag beyond all reason: dropped and counted, not an error."""
    assert (await bench.put(make_batch(tag="t" * 70_000))).done
    assert bench.account.dropped == {"too_large": 1}


# -- repeats ---------------------------------------------------------------------------------------


async def test_a_repeated_span_is_dropped(bench: Bench) -> None:
    """A source that reads again puts the same spans; the checkpoints know how far it was stored."""
    span = Span("file", 0, 100)
    await bench.store(make_batch(1, span))
    assert bench.checkpoints.accepted("out", "file") == 100
    await bench.store(make_batch(1, span))
    assert bench.account.dropped == {"duplicate": 1}
    await bench.store(make_batch(2, Span("file", 100, 150)))
    assert await bench.drain() == [1, 2]


async def test_a_restart_tells_sources_how_far_they_are(bench: Bench) -> None:
    """Checkpoints that were lost are made good from the segments: sources see the boundary."""
    await bench.store(make_batch(1, Span("file", 0, 100)))
    bench.checkpoints = Checkpoints(None)
    await bench.reopen()
    assert bench.checkpoints.boundaries("file") == [100]
    await bench.store(make_batch(1, Span("file", 0, 100)))
    assert await bench.drain() == [1]


async def test_an_empty_batch_moves_the_stream_on(bench: Bench) -> None:
    """All of it was filtered; it is not stored, but follows what was put before it."""
    first = await bench.put(make_batch(1, Span("file", 0, 100)))
    empty = await bench.put(Batch("t", b"", 0, Span("file", 100, 200)))
    assert not empty.done
    assert bench.checkpoints.accepted("out", "file") == 0
    await empty
    assert first.done
    assert bench.checkpoints.accepted("out", "file") == 200


async def test_an_overlap_is_kept_whole(bench: Bench) -> None:
    """It cannot happen, and if it does, a double event is better than a lost one."""
    await bench.store(make_batch(1, Span("file", 0, 100)))
    await bench.store(make_batch(2, Span("file", 50, 150)))
    assert await bench.drain() == [1, 2]
    assert bench.counted("buffer_overlap") == 1


async def test_the_flush_of_a_join_at_the_end_is_no_repeat(bench: Bench) -> None:
    """A span without length, where the stream ends: events that stood in a carry."""
    await bench.store(make_batch(1, Span("file", 0, 100)))
    await bench.store(make_batch(2, Span("file", 100, 100)))
    assert await bench.drain() == [1, 2]


async def test_a_resend_is_acknowledged_and_dropped(bench: Bench) -> None:
    """A peer that saw no ack sends its chunk again, also to the next process."""
    key = DeliveryKey(b"chunk")
    await bench.store(make_batch(1, key))
    await bench.store(make_batch(1, key))
    await bench.reopen()
    await bench.store(make_batch(1, key))
    assert bench.account.dropped == {"duplicate": 1}
    assert await bench.drain() == [1]


async def test_a_resend_settles_only_when_the_first_is_safe(bench: Bench) -> None:
    """The ack of a resend promises as much as the first one's."""
    first = await bench.put(make_batch(1, DeliveryKey(b"chunk")))
    second = await bench.put(make_batch(1, DeliveryKey(b"chunk")))
    assert not first.done
    assert not second.done
    await second
    assert first.done


async def test_keys_are_forgotten_after_their_window(tmp_path: Path) -> None:
    """An honest repeat after that is delivered."""
    clock = FakeClock()
    bench = Bench(tmp_path, clock=clock, dedup_window=60)
    await bench.open()
    await bench.store(make_batch(1, DeliveryKey(b"chunk")))
    await clock.advance(61)
    await bench.reopen()
    await bench.store(make_batch(1, DeliveryKey(b"chunk")))
    assert await bench.drain() == [1, 1]
    await bench.buffer.close()


async def test_keys_outlive_their_segment(bench: Bench) -> None:
    """The window is kept when the batches are long gone."""
    await bench.reopen()
    await bench.buffer.close()
    await bench.open(segment_bytes=500)
    for number in range(20):
        await bench.store(make_batch(number, DeliveryKey(b"chunk %d" % number)))
        await bench.drain()
    await bench.reopen()
    assert not bench.segments() or bench.segments()[0].name > f"{10:016x}"
    for number in range(20):
        await bench.store(make_batch(number, DeliveryKey(b"chunk %d" % number)))
    assert bench.account.dropped == {"duplicate": 20}


# -- files -----------------------------------------------------------------------------------------


async def test_files_are_for_this_user_alone(bench: Bench) -> None:
    """Directory 0700, files 0600."""
    await bench.store(make_batch())
    assert bench.directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in bench.directory.iterdir()} == {0o600}


async def test_a_second_process_is_kept_away(bench: Bench) -> None:
    """One line that names the directory."""
    with pytest.raises(ComponentError, match=f"{bench.directory} is in use"):
        await Bench(bench.directory).open()


async def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "file").touch()
    with pytest.raises(ComponentError, match="cannot be used"):
        await Bench(tmp_path / "file" / "buffer").open()


async def test_segments_are_deleted_as_chunks_are_committed(tmp_path: Path) -> None:
    """Space is given back, also while the buffer is busy."""
    bench = Bench(tmp_path)
    await bench.open(segment_bytes=1000)
    for number in range(30):
        await bench.store(make_batch(number, events=10))
    many = len(bench.segments())
    assert many > 5
    await bench.drain()
    await bench.buffer.close()
    assert len(bench.segments()) < many / 2
    await bench.open()
    await bench.buffer.close()
    assert len(bench.segments()) <= 1


async def test_close_is_safe_twice_and_without_open(tmp_path: Path) -> None:
    """As the contract says."""
    bench = Bench(tmp_path)
    await bench.open()
    await bench.buffer.close()
    await bench.buffer.close()
    unopened = DiskBuffer(
        "out", tmp_path, bench.options, bench.checkpoints, clock=bench.clock, log=logging.getLogger()
    )
    await unopened.close()


@pytest.mark.parametrize("sync", ["batch", "interval", "never"])
async def test_every_sync_policy_survives_a_restart(tmp_path: Path, sync: str) -> None:
    """They differ in what a power cut takes, not in what the end of the process takes."""
    bench = Bench(tmp_path, sync=sync)
    await bench.open()
    await bench.store(make_batch(1))
    await bench.reopen()
    assert await bench.drain() == [1]
    await bench.buffer.close()


async def test_waiting_says_how_much_and_how_old(tmp_path: Path) -> None:
    """For metrics and the limit; ages go on over restarts."""
    clock = FakeClock()
    bench = Bench(tmp_path, clock=clock)
    await bench.open()
    await bench.store(make_batch(events=3))
    await clock.advance(10)
    await bench.reopen()
    waiting = bench.buffer.waiting
    assert (waiting.events, waiting.size, waiting.limit) == (3, 3 * SIZE, 1 << 30)
    assert waiting.oldest_s == pytest.approx(10)
    await bench.drain()
    assert bench.buffer.waiting.oldest_s == 0.0
    await bench.buffer.close()


async def test_a_directory_that_was_deleted_is_noticed_and_nothing_is_accepted_any_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files without a name would be gone with the process, acknowledged or not."""
    monkeypatch.setattr(files, "_LOOK_S", 0.0)
    await bench.store(make_batch(0))
    assert bench.buffer.problem is None
    shutil.rmtree(bench.directory)
    assert "deleted while in use" in (bench.buffer.problem or "")
    assert bench.buffer.full
    receipt = Receipt(1)
    bench.account.enter(1)
    putting = asyncio.ensure_future(bench.buffer.put(make_batch(1), bench.account, receipt))
    await asyncio.sleep(0.05)
    assert not putting.done()
    assert not receipt.done
    putting.cancel()
    await asyncio.gather(putting, return_exceptions=True)


async def test_batches_whose_file_was_deleted_are_lost_and_the_others_are_delivered(bench: Bench) -> None:
    await bench.buffer.close()
    await bench.open(segment_bytes=200)
    for number in range(4):
        await bench.store(make_batch(number, events=5))
    await bench.buffer.close()
    await bench.open(segment_bytes=200)
    bench.segments()[1].unlink()
    lost = set(range(4)) - set(await bench.drain())
    assert len(lost) == 1
    assert bench.account.dropped == {"corrupt": 5}
    assert bench.counted("buffer_corrupt_events") == 5
    assert bench.account.balanced


async def test_what_comes_in_the_next_turns_of_the_event_loop_is_one_write(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of one connection are handled turn by turn; each of its own would cost a sync."""
    appended: list[int] = []
    append = bench.buffer._files.segments.append

    def count(records: list[Any], *, sync: bool) -> Any:
        appended.append(len(records))
        return append(records, sync=sync)

    monkeypatch.setattr(bench.buffer._files.segments, "append", count)
    receipts = []
    for number in range(30):
        receipt = Receipt(1)
        bench.account.enter(1)
        await bench.buffer.put(make_batch(number), bench.account, receipt)
        receipts.append(receipt)
        await asyncio.sleep(0)
    for receipt in receipts:
        await asyncio.wait_for(receipt, 5)
    assert max(appended) >= 30
