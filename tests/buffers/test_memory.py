"""The memory buffer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.batch import Batch, Chunk, DeliveryKey, Origin, Span
from logflow.buffers.base import BATCH_BYTES, TAG_BYTES, GroupLimits
from logflow.buffers.memory import MemoryBuffer
from logflow.clock import SystemClock
from logflow.config.options import BufferOptions
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Account
from logflow.testing import FakeClock


def make_batch(number: int = 0, origin: Origin = None, tag: str = "t", events: int = 1) -> Batch:
    return Batch.from_events(tag, [(1, {"n": number})] * events, origin)


class Bench:
    """A buffer with an account, as the router would use it."""

    def __init__(self, checkpoints: Checkpoints | None = None, **options: Any) -> None:
        self.checkpoints = checkpoints or Checkpoints(None)
        self.buffer = MemoryBuffer("out", BufferOptions(**options), self.checkpoints, SystemClock())
        self.account = Account("**", "out")

    async def put(self, batch: Batch) -> Receipt:
        receipt = Receipt(1)
        self.account.enter(batch.count)
        await self.buffer.put(batch, self.account, receipt)
        return receipt

    async def take(self) -> Chunk:
        return await asyncio.wait_for(self.buffer.take(), 5)

    async def has_chunk(self) -> bool:
        try:
            self.buffer.put_back(await asyncio.wait_for(self.buffer.take(), 0.02))
        except TimeoutError:
            return False
        return True


async def test_a_receipt_resolves_when_the_chunk_is_committed() -> None:
    """Memory is not safe: only delivery is."""
    bench = Bench()
    receipt = await bench.put(make_batch())
    chunk = await bench.take()
    assert not receipt.done
    await bench.buffer.commit(chunk)
    assert receipt.done
    assert bench.account.delivered == 1
    assert bench.account.balanced


async def test_what_gathers_becomes_one_chunk() -> None:
    """Batches of one tag that wait are delivered together, in order."""
    bench = Bench()
    for number in range(3):
        await bench.put(make_batch(number))
    chunk = await bench.take()
    assert [record["n"] for _, record in chunk.events()] == [0, 1, 2]
    assert chunk.count == 3


async def test_a_chunk_keeps_to_its_limit() -> None:
    """chunk_limit bounds what is put together."""
    size = len(make_batch().entries)
    bench = Bench(chunk_limit=2 * size)
    for number in range(3):
        await bench.put(make_batch(number))
    assert (await bench.take()).count == 2


async def test_one_chunk_of_a_tag_is_in_flight_at_a_time() -> None:
    """Order within a tag: the next chunk waits for the one before; other tags do not."""
    bench = Bench()
    await bench.put(make_batch(1))
    first = await bench.take()
    await bench.put(make_batch(2))
    await bench.put(make_batch(3, tag="other"))
    assert (await bench.take()).tag == "other"
    assert not await bench.has_chunk()
    await bench.buffer.commit(first)
    assert (await bench.take()).tag == "t"


async def test_a_chunk_put_back_is_taken_again_unchanged() -> None:
    """After put_back the very same chunk comes before later events."""
    bench = Bench()
    await bench.put(make_batch(1))
    chunk = await bench.take()
    await bench.put(make_batch(2))
    bench.buffer.put_back(chunk)
    assert await bench.take() is chunk


async def test_put_waits_for_room() -> None:
    """With `block`, a put waits until a chunk is committed."""
    size = len(make_batch().entries)
    bench = Bench(limit=size)
    await bench.put(make_batch(1))
    assert bench.buffer.full
    waiter = asyncio.ensure_future(bench.put(make_batch(2)))
    room = asyncio.ensure_future(bench.buffer.wait_for_room())
    await asyncio.sleep(0)
    assert not waiter.done()
    await bench.buffer.commit(await bench.take())
    await asyncio.wait_for(waiter, 5)
    assert not room.done()
    await bench.buffer.commit(await bench.take())
    await asyncio.wait_for(room, 5)


async def test_a_batch_larger_than_the_limit_passes_alone() -> None:
    """An empty buffer takes a batch of any size: it could never be delivered otherwise."""
    bench = Bench(limit=1)
    await bench.put(make_batch())
    assert (await bench.take()).count == 1


async def test_a_buffer_is_full_while_a_put_waits() -> None:
    """Sources that wait before they read, and the status, must not believe that there is room."""
    bench = Bench(limit=3000, chunk_limit=3000)
    await bench.put(make_batch(1))
    assert not bench.buffer.full
    waiter = asyncio.ensure_future(bench.put(make_batch(2, events=300)))
    room = asyncio.ensure_future(bench.buffer.wait_for_room())
    await asyncio.sleep(0)
    assert bench.buffer.full
    await bench.buffer.commit(await bench.take())
    await asyncio.wait_for(waiter, 5)
    await bench.buffer.commit(await bench.take())
    await asyncio.wait_for(room, 5)
    assert not bench.buffer.full


async def test_a_cancelled_put_does_not_leave_the_buffer_full() -> None:
    bench = Bench(limit=3000, chunk_limit=3000)
    await bench.put(make_batch(1))
    waiter = asyncio.ensure_future(bench.put(make_batch(2, events=300)))
    room = asyncio.ensure_future(bench.buffer.wait_for_room())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait_for(room, 5)
    assert not bench.buffer.full


async def test_what_small_batches_and_tags_cost_counts_too() -> None:
    """Events of 15 bytes under a tag each take far more memory than their bytes."""
    bench = Bench(limit=100_000, chunk_limit=100_000, when_full="drop_newest")
    for number in range(1000):
        await bench.put(make_batch(number, tag=f"t{number}"))
    assert bench.buffer.waiting.events == 100_000 // (BATCH_BYTES + TAG_BYTES + len(make_batch().entries))
    assert bench.buffer.waiting.size <= 100_000
    for _ in range(bench.buffer.waiting.events):
        await bench.buffer.commit(await bench.take())
    assert bench.buffer.waiting.size == 0


async def test_drop_oldest_looks_at_few_of_many_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is dropped is what came first, whatever its tag, and finding it is no walk over all of them."""
    cost = BATCH_BYTES + TAG_BYTES + 40
    bench = Bench(limit=2000 * cost, chunk_limit=2000, when_full="drop_oldest")
    for number in range(2000):
        await bench.put(make_batch(number, tag=f"t{number}"))
    looked = 0
    front = bench.buffer._fronts._number_of

    def count(tag: str) -> int | None:
        nonlocal looked
        looked += 1
        return front(tag)

    monkeypatch.setattr(bench.buffer._fronts, "_number_of", count)
    before = bench.account.dropped["buffer_full"]
    for number in range(2000, 3000):
        await bench.put(make_batch(number, tag=f"t{number % 1500}"))
    dropped = bench.account.dropped["buffer_full"] - before
    assert dropped > 200
    assert looked < 20 * dropped
    left = []
    while bench.account.waiting:
        chunk = await bench.take()
        left += [record["n"] for _, record in chunk.events()]
        await bench.buffer.commit(chunk)
    assert min(left) == 3000 - len(left), "the oldest are gone, and no other"


async def test_drop_newest_counts_what_it_drops() -> None:
    """A full buffer refuses the new batch; its receipt is settled and it is accounted for."""
    size = len(make_batch().entries)
    bench = Bench(limit=size, when_full="drop_newest")
    await bench.put(make_batch(1))
    receipt = await bench.put(make_batch(2))
    assert receipt.done
    assert bench.account.dropped == {"buffer_full": 1}
    assert [record["n"] for _, record in (await bench.take()).events()] == [1]


async def test_drop_oldest_counts_what_it_drops() -> None:
    """A full buffer drops what has waited longest."""
    size = len(make_batch().entries)
    bench = Bench(limit=size, when_full="drop_oldest")
    receipt = await bench.put(make_batch(1))
    await bench.put(make_batch(2))
    assert receipt.done
    assert bench.account.dropped == {"buffer_full": 1}
    assert [record["n"] for _, record in (await bench.take()).events()] == [2]


async def test_discard_accounts_for_the_reason() -> None:
    """A chunk that was put to the dead letters settles its receipts."""
    bench = Bench()
    receipt = await bench.put(make_batch())
    await bench.buffer.discard(await bench.take(), "rejected")
    assert receipt.done
    assert bench.account.dropped == {"rejected": 1}
    assert bench.account.balanced


async def test_a_resend_is_recognised() -> None:
    """The same delivery again: while it waits, its receipt waits too; later it is settled at once."""
    bench = Bench()
    await bench.put(make_batch(1, DeliveryKey(b"k")))
    early = await bench.put(make_batch(1, DeliveryKey(b"k")))
    assert not early.done
    await bench.buffer.commit(await bench.take())
    assert early.done
    late = await bench.put(make_batch(1, DeliveryKey(b"k")))
    assert late.done
    assert bench.account.dropped == {"duplicate": 2}
    assert bench.account.delivered == 1
    assert not await bench.has_chunk()


async def test_two_resends_that_wait_for_room_are_taken_once() -> None:
    """A resend that arrives while the first still waits for room does not slip in beside it."""
    size = len(make_batch().entries)
    bench = Bench(limit=size)
    await bench.put(make_batch(0))
    waiters = [asyncio.ensure_future(bench.put(make_batch(1, DeliveryKey(b"k")))) for _ in range(2)]
    await asyncio.sleep(0)
    await bench.buffer.commit(await bench.take())
    await asyncio.wait_for(asyncio.gather(*waiters), 5)
    await bench.buffer.commit(await bench.take())
    assert bench.account.delivered == 2
    assert bench.account.dropped == {"duplicate": 1}


async def test_chunks_do_not_mix_streams() -> None:
    """Two files of one tag make two chunks, as a chunk is a span of one file."""
    bench = Bench()
    await bench.put(make_batch(1, Span("a", 0, 10)))
    await bench.put(make_batch(2, Span("b", 0, 10)))
    await bench.put(make_batch(3, Span("a", 10, 20)))
    first = await bench.take()
    assert [record["n"] for _, record in first.events()] == [1, 3]
    await bench.buffer.commit(first)
    second = await bench.take()
    assert [record["n"] for _, record in second.events()] == [2]
    assert first.id != second.id


async def test_a_successor_waits_for_its_predecessor() -> None:
    """Lines of a rotated file that is not delivered yet are not overtaken by those of the next file."""
    bench = Bench()
    await bench.put(make_batch(1, Span("old", 0, 10)))
    first = await bench.take()
    await bench.put(make_batch(2, Span("new", 0, 10)))
    assert not await bench.has_chunk()
    bench.buffer.put_back(first)
    assert await bench.take() is first


async def test_a_chunk_is_cut_in_the_journal_before_it_is_handed_out(tmp_path: Path) -> None:
    """The cut of a chunk in flight is found by the next process."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.open()
    bench = Bench(checkpoints)
    await bench.put(make_batch(1, Span("a", 0, 10)))
    await bench.put(make_batch(2, Span("a", 10, 25)))
    await bench.take()
    survivor = Checkpoints(tmp_path / "checkpoints")
    survivor.open()
    assert survivor.planned("out", "a") == [(0, 25)]
    survivor.close()
    checkpoints.close()


@pytest.mark.parametrize("end", ["commit", "discard"])
async def test_a_note_about_a_chunk_lasts_until_the_chunk_cannot_come_again(tmp_path: Path, end: str) -> None:
    """Whenever the process is killed: where the note is gone, the chunk is known to be delivered."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.open()
    bench = Bench(checkpoints)
    await bench.put(make_batch(1, Span("a", 0, 10)))
    chunk = await bench.take()
    checkpoints.note("out", chunk.id, "where it is")
    await (bench.buffer.commit(chunk) if end == "commit" else bench.buffer.discard(chunk, "gave_up"))
    checkpoints.close()
    journal = (tmp_path / "checkpoints").read_bytes()
    for size in range(len(journal) + 1):
        (tmp_path / "torn").write_bytes(journal[:size])
        torn = Checkpoints(tmp_path / "torn")
        torn.open()
        if torn.planned("out", "a") and not torn.noted("out", chunk.id):
            sent = b"where it is" in journal[:size]
            assert torn.accepted("out", "a") == 10 or not sent
        torn.close()
    assert not checkpoints.noted("out", chunk.id)


async def test_empty_batches_move_progress_on() -> None:
    """A span whose events were all filtered out settles without a chunk."""
    bench = Bench()
    receipt = await bench.put(Batch("t", b"", 0, Span("a", 0, 10)))
    assert not await bench.has_chunk()
    assert receipt.done
    assert bench.checkpoints.accepted("out", "a") == 10


async def test_a_rebuilt_chunk_waits_for_all_of_its_span() -> None:
    """After a restart a chunk is not sent before everything that belongs to it was read again."""
    checkpoints = Checkpoints(None)
    checkpoints.cut("out", "a", 0, 20)
    bench = Bench(checkpoints)
    await bench.put(make_batch(1, Span("a", 0, 10)))
    assert not await bench.has_chunk()
    await bench.put(make_batch(2, Span("a", 10, 20)))
    await bench.put(make_batch(3, Span("a", 20, 30)))
    assert (await bench.take()).count == 2


async def test_a_full_journal_disk_hands_out_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the cut cannot be written, the events stay and are taken later."""
    bench = Bench()
    await bench.put(make_batch(1, Span("a", 0, 10)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bench.checkpoints, "flush", full)
        with pytest.raises(OSError, match="No space"):
            await bench.take()
    assert (await bench.take()).count == 1


async def test_while_the_journal_disk_is_full_a_group_is_made_of_what_was_cut_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A chunk that was put back needs no room; what would have to be cut waits, and no event is lost."""
    bench = Bench(flush_interval="0s")
    await bench.put(make_batch(1, Span("a", 0, 10), tag="a"))
    before = await bench.take()
    bench.buffer.put_back(before)
    await bench.put(make_batch(2, Span("b", 0, 10), tag="b"))

    def full() -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bench.checkpoints, "flush", full)
        assert await bench.buffer.take_group(GroupLimits(chunks=10)) == [before]
    assert [chunk.tag for chunk in await bench.buffer.take_group(GroupLimits(chunks=10))] == ["b"]


def from_file(number: int, path: str, origin: Origin = None) -> Batch:
    batch = make_batch(number, origin or Span(f"s{number}", 0, 10))
    return replace(batch, attributes={"path": path})


async def test_a_group_has_a_chunk_of_each_file_of_a_tag() -> None:
    """Thousands of new files with one tag go out together; the next chunks come after all of these."""
    bench = Bench(flush_interval="0s")
    for number in range(5):
        await bench.put(from_file(number, f"/{number}.log"))
    group = await bench.buffer.take_group(GroupLimits(chunks=50))
    assert [record["n"] for chunk in group for _, record in chunk.events()] == [0, 1, 2, 3, 4]
    await bench.put(from_file(9, "/9.log"))
    await bench.buffer.commit_group([(chunk, {}) for chunk in group[1:]])
    assert not await bench.has_chunk()
    await bench.buffer.commit(group[0])
    assert (await bench.take()).count == 1


async def test_tags_that_come_at_one_time_are_in_one_group() -> None:
    """They are put in several turns of the event loop; no group begins with the first of them alone."""
    bench = Bench(flush_interval="1s")
    bench.buffer.pace_together(0.1)
    taking = asyncio.create_task(bench.buffer.take_group(GroupLimits(chunks=50)))
    for number in range(5):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await bench.put(make_batch(number, tag=f"tag-{number}"))
    assert {chunk.tag for chunk in await taking} == {f"tag-{number}" for number in range(5)}


async def test_a_file_and_its_successor_are_not_in_one_group() -> None:
    """What was at the same place comes one after the other."""
    bench = Bench(flush_interval="0s")
    await bench.put(from_file(1, "/a.log"))
    await bench.put(from_file(2, "/a.log"))
    await bench.put(from_file(3, "/b.log"))
    group = await bench.buffer.take_group(GroupLimits(chunks=50))
    assert [record["n"] for chunk in group for _, record in chunk.events()] == [1, 3]
    await bench.buffer.commit_group([(chunk, {}) for chunk in group])
    assert [record["n"] for _, record in (await bench.take()).events()] == [2]


async def test_chunks_of_a_group_that_come_back_are_taken_again_in_order_after_the_last() -> None:
    bench = Bench(flush_interval="0s")
    for number in range(4):
        await bench.put(from_file(number, f"/{number}.log"))
    group = await bench.buffer.take_group(GroupLimits(chunks=50))
    bench.buffer.put_back(group[2])
    bench.buffer.put_back(group[0])
    await bench.put(from_file(4, "/4.log"))
    assert not await bench.has_chunk()
    await bench.buffer.commit(group[1])
    bench.buffer.put_back(group[3])
    again = await bench.buffer.take_group(GroupLimits(chunks=2))
    assert again == [group[0], group[2]]
    await bench.buffer.commit_group([(chunk, {}) for chunk in again])
    assert await bench.take() is group[3]
    await bench.buffer.commit(group[3])
    assert [record["n"] for _, record in (await bench.take()).events()] == [4]
    assert bench.account.delivered == 4


async def test_a_file_whose_chunk_is_not_whole_again_holds_up_no_other() -> None:
    """After a restart a planned chunk waits for the rest of it, and chunks of other files go out."""
    bench = Bench(flush_interval="0s")
    bench.checkpoints.cut("out", "a", 0, 20)
    await bench.put(from_file(1, "/a.log", Span("a", 0, 10)))
    await bench.put(from_file(2, "/b.log"))
    group = await bench.buffer.take_group(GroupLimits(chunks=50))
    assert [record["n"] for chunk in group for _, record in chunk.events()] == [2]
    await bench.buffer.commit(group[0])
    assert not await bench.has_chunk()
    await bench.put(from_file(3, "/a.log", Span("a", 10, 20)))
    assert (await bench.take()).count == 2


async def test_the_cuts_of_a_group_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tags are taken in one go."""
    bench = Bench(flush_interval="0s")
    for number in range(20):
        await bench.put(make_batch(number, Span(f"s{number}", 0, 10), tag=f"t{number}"))
    flushes: list[None] = []
    monkeypatch.setattr(bench.checkpoints, "flush", lambda: flushes.append(None))
    assert len(await bench.buffer.take_group(GroupLimits(chunks=50))) == 20
    assert len(flushes) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_restart_at_any_moment_gives_the_same_chunks(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Whatever was delivered before a crash has the same id and content when it is delivered again.

    The file has 30 lines of 10 bytes. Each life reads on from the position, in batches of its own
    size that keep to the journalled boundaries, delivers some chunks, and dies. An id always stands
    for the same lines, and a destination that knows ids ends up with every line once.
    """
    path = tmp_path_factory.mktemp("journal") / "checkpoints"
    delivered: dict[bytes, list[int]] = {}
    lines = 30

    async def live(*, last: bool) -> None:
        checkpoints = Checkpoints(path)
        checkpoints.open()
        bench = Bench(checkpoints, chunk_limit=data.draw(st.integers(1, 200)))
        position = checkpoints.streams("src").get("a", {"offset": 0})["offset"]
        boundaries = checkpoints.boundaries("a")
        offset, pending = position, []
        while offset < lines * 10:
            end = min(offset + 10 * data.draw(st.integers(1, 5)), lines * 10)
            end = min([end, *(edge for edge in boundaries if edge > offset)])
            events = [(1, {"n": number}) for number in range(offset // 10, end // 10)]
            pending.append((end, await bench.put(Batch.from_events("t", events, Span("a", offset, end)))))
            offset = end
        steps = 1000 if last else data.draw(st.integers(0, 5))
        for _ in range(steps):
            if not bench.account.waiting:
                break
            chunk = await bench.take()
            numbers = [record["n"] for _, record in chunk.events()]
            assert delivered.setdefault(chunk.id, numbers) == numbers
            if not last and data.draw(st.booleans()):
                break  # killed after the delivery, before the commit
            await bench.buffer.commit(chunk)
            while pending and pending[0][1].done:
                checkpoints.save("src", "a", {"offset": pending.pop(0)[0]})
            if data.draw(st.booleans()):
                checkpoints.flush()
        # kill -9: whatever was not flushed is lost, as nothing closes the journal

    for _ in range(data.draw(st.integers(0, 4))):
        asyncio.run(live(last=False))
    asyncio.run(live(last=True))
    assert sorted(number for numbers in delivered.values() for number in numbers) == list(range(lines))


class Gathering(Bench):
    """A buffer whose events gather for a minute, under a clock that is turned by hand."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.clock = FakeClock()
        self.buffer = MemoryBuffer("out", BufferOptions(**options), self.checkpoints, self.clock)
        self.buffer.gather(60)

    async def group(self) -> list[Chunk] | None:
        try:
            limits = GroupLimits(chunks=100)
            return await asyncio.wait_for(self.buffer.take_group(limits, retries=False), 0.02)
        except TimeoutError:
            return None


async def test_events_gather_also_after_a_quiet_time() -> None:
    """The wait begins with the first event after the last group, whatever its tag."""
    bench = Gathering()
    for _ in range(2):
        await bench.put(make_batch(tag="a"))
        await bench.clock.advance(40)
        await bench.put(make_batch(tag="b"))
        assert await bench.group() is None
        await bench.clock.advance(21)
        group = await bench.group()
        assert group is not None
        assert {chunk.tag for chunk in group} == {"a", "b"}
        await bench.buffer.commit_group([(chunk, {}) for chunk in group])
        await bench.clock.advance(1000)


async def test_nothing_gathers_in_a_buffer_that_is_half_full() -> None:
    bench = Gathering(limit=2 * (TAG_BYTES + BATCH_BYTES) + 1000, chunk_limit=100)
    await bench.put(make_batch(tag="a"))
    assert await bench.group() is None
    await bench.put(make_batch(tag="b"))
    assert len(await bench.group() or []) == 2


async def test_a_full_chunk_does_not_wait_for_others() -> None:
    bench = Gathering(chunk_limit=len(make_batch().entries))
    await bench.put(make_batch())
    assert len(await bench.group() or []) == 1


async def test_nothing_gathers_at_the_end() -> None:
    """Whoever waits for a group already gets it at once, and nothing waits from then on."""
    bench = Gathering()
    await bench.put(make_batch(tag="a"))
    taking = asyncio.ensure_future(bench.buffer.take_group(GroupLimits(), retries=False))
    await asyncio.sleep(0)
    bench.buffer.release()
    assert len(await asyncio.wait_for(taking, 5)) == 1
    await bench.put(make_batch(tag="b"))
    assert len(await bench.group() or []) == 1
