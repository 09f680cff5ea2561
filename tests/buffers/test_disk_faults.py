"""The disk buffer on a simulated disk: every write, sync and rename fails or is the last before a crash.

The disk has a page cache: ``kill -9`` keeps it, a power cut keeps any part of what was not synced,
torn anywhere, and any of the changes of names. The sources are the worst that the contract allows: after
every crash they put again whatever they ever put that can be recognised. The promises, for ``sync: batch``:

* what was acknowledged is delivered;
* no event is handed out under two chunk ids; that needs the names of streams to be as durable as the batches
  that carry them, as a file whose stream is not in the checkpoints is read again under a new name;
* the ledger balances.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from logflow.batch import Batch, Chunk, DeliveryKey, Origin, Span
from logflow.buffers.base import TAG_BYTES
from logflow.buffers.disk import DiskBuffer, Storage
from logflow.config.options import BufferOptions
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.storage.simulator import CrashError, Inline, SimFs
from logflow.telemetry.ledger import Account
from logflow.testing import FakeClock

DIRECTORY = Path("/buffers/out")


CHECKPOINTS = Path("/checkpoints")
SOURCE = "tail"


class World:
    """A buffer on a simulated disk, its sources, an output, and the oracle."""

    segment_bytes = 1000

    def __init__(self, seed: int, *, faults: dict[int, int | None] | None = None, **options: Any) -> None:
        self.fs = SimFs(Random(seed))
        self.fs.faults.update(faults or {})
        self.options = BufferOptions(type="disk", **{"chunk_limit": 200, "flush_interval": 0, **options})
        self.clock = FakeClock()
        self.loop = asyncio.new_event_loop()
        self.batches: list[Batch] = []
        self.receipts: dict[int, list[Receipt]] = defaultdict(list)
        self.acknowledged: set[int] = set()
        self.ids: dict[int, set[bytes]] = defaultdict(set)
        self.delivered: Counter[int] = Counter()
        self.taken: list[Chunk] = []
        self.waiting_puts: list[asyncio.Task[None]] = []
        self.offset = 0
        self.streams, self.stream = 0, ""
        self.start()

    # -- the process ------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def start(self) -> None:
        """Start the process; an error at the start has it started again, as a supervisor would."""
        for _ in range(20):
            self.account = Account("**", "out")
            self.checkpoints = Checkpoints(CHECKPOINTS, fs=self.fs, executor=Inline())
            self.buffer = DiskBuffer(
                "out", DIRECTORY, self.options, self.checkpoints, clock=self.clock,
                log=logging.getLogger("logflow.test"),
                storage=Storage(self.fs, Inline(), self.segment_bytes),
            )  # fmt: skip
            try:
                self.checkpoints.open()
                self.run(self.buffer.open(lambda _: self.account))
            except CrashError:
                self.stop(power_cut=self.fs.crash_cuts_power)
            except Exception:
                self.fs.restart(power_cut=False)
            else:
                return
        raise AssertionError("the buffer cannot be opened")

    def stop(self, *, power_cut: bool) -> None:
        """Kill the process."""
        self.fs.crashed = True
        self.run(self._cancel_all())
        self.note_receipts()
        self.receipts.clear()
        self.taken.clear()
        self.waiting_puts.clear()
        self.fs.restart(power_cut=power_cut)

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def crash(self, *, power_cut: bool) -> None:
        """Kill the process and start it again; sources repeat what they saw no receipt for, or everything."""
        self.stop(power_cut=power_cut)
        self.start()
        self.name_streams()
        everything = self.fs.random.random() < 0.5
        for number, batch in enumerate(self.batches):
            if batch.origin is not None and (everything or number not in self.acknowledged):
                self.put(number)
        self.settle()

    def name_streams(self) -> None:
        """What a source does after a restart: files whose streams are not known get new names."""
        known = self.checkpoints.streams(SOURCE)
        renamed: dict[str, str] = {}
        for number, batch in enumerate(self.batches):
            if isinstance(batch.origin, Span) and batch.origin.stream not in known:
                if batch.origin.stream not in renamed:
                    renamed[batch.origin.stream] = self.new_stream()
                origin = Span(renamed[batch.origin.stream], batch.origin.start, batch.origin.end)
                self.batches[number] = Batch(batch.tag, batch.entries, batch.count, origin)
        self.stream = renamed.get(self.stream, self.stream)

    def new_stream(self) -> str:
        self.streams += 1
        stream = f"stream {self.streams}"
        self.checkpoints.save(SOURCE, stream, {"offset": 0})
        return stream

    def settle(self) -> None:
        """Let everything happen that can happen now; now and then the service flushes the checkpoints."""
        self.run(self._turn())
        if not self.fs.crashed and self.fs.random.random() < 0.2:
            with suppress(OSError, CrashError):
                self.checkpoints.flush()
        self.note_receipts()
        if self.fs.crashed:
            self.crash(power_cut=self.fs.crash_cuts_power)
            if self.fs.random.random() < 0.5:  # what the second process took for safe must be
                self.crash(power_cut=True)

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        while self.loop._ready:  # type: ignore[attr-defined]  # whatever happens now, happens at once
            await asyncio.sleep(0)

    def note_receipts(self) -> None:
        for number, receipts in self.receipts.items():
            if any(receipt.done for receipt in receipts):
                self.acknowledged.add(number)

    def segments(self) -> list[str]:
        return sorted(name for name in self.fs.names(DIRECTORY) if name.endswith(".segment"))

    # -- sources and output -----------------------------------------------------------------------

    def put_new(self, kind: str, tag: str, events: int) -> None:
        number = len(self.batches)
        origin: Origin = None
        if kind == "key":
            origin = DeliveryKey(b"key %d" % number)
        elif kind == "span":
            if not self.streams or not self.fs.random.randrange(3):
                self.offset, self.stream = 0, self.new_stream()
            origin = Span(self.stream, self.offset, self.offset + 10)
            self.offset += 10
            tag = "tail"
        entries = [(1, {"batch": number})] * events
        self.batches.append(Batch.from_events(tag, entries, origin))
        self.put(number)

    def put(self, number: int) -> None:
        batch, receipt = self.batches[number], Receipt(1)
        self.receipts[number].append(receipt)
        self.account.enter(batch.count)
        self.waiting_puts.append(self.loop.create_task(self._put(batch, receipt)))

    async def _put(self, batch: Batch, receipt: Receipt) -> None:
        await self.buffer.put(batch, self.account, receipt)

    def take(self) -> bool:
        return bool(self.run(self._take()))

    async def _take(self) -> bool:
        task = asyncio.ensure_future(self.buffer.take())
        await self._turn()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return False
        try:
            chunk = task.result()
        except CrashError:
            return False
        for _, record in chunk.events():
            self.ids[record["batch"]].add(chunk.id)
        self.taken.append(chunk)
        return True

    def commit(self, index: int) -> None:
        chunk = self.taken.pop(index)
        for number in {record["batch"] for _, record in chunk.events()}:
            self.delivered[number] += 1
        self.run(self.buffer.commit(chunk))
        self.settle()

    def put_back(self, index: int) -> None:
        chunk = self.taken.pop(index)
        chunk.attempts += 1
        self.buffer.put_back(chunk)

    # -- the oracle -------------------------------------------------------------------------------

    def check(self) -> None:
        assert self.account.balanced
        for number, ids in self.ids.items():
            assert len(ids) == 1, f"batch {number} was handed out under {len(ids)} ids"

    def finish(self) -> None:
        """Deliver everything; then nothing that was acknowledged may be missing."""
        self.fs.faults.clear()
        self.fs.capacity = 1 << 40
        self.run(self.clock.advance(2))
        self.settle()
        while self.taken or self.take():
            if self.taken:
                self.commit(0)
            self.settle()
        self.check()
        missing = [number for number in self.acknowledged if not self.delivered[number]]
        assert not missing
        assert all(task.done() for task in self.waiting_puts)
        assert self.account.waiting == 0
        unsettled = [
            number for number, receipts in self.receipts.items() if not all(r.done for r in receipts)
        ]
        assert not unsettled

    def close(self) -> None:
        self.run(self.buffer.close())
        self.run(self._cancel_all())
        self.loop.close()


def scenario(world: World) -> None:
    """A bit of everything: several tags and origins, several segments, chunks of one and of many."""
    for kind, tag, events in [
        ("key", "a", 2),
        ("span", "", 1),
        ("none", "b", 3),
        ("key", "a", 4),
        ("span", "", 9),
    ]:
        world.put_new(kind, tag, events)
    world.settle()
    world.take()
    world.take()
    for kind, tag, events in [("key", "a", 9), ("span", "", 9), ("none", "b", 9), ("key", "b", 9)]:
        world.put_new(kind, tag, events)
        world.settle()
    if world.taken:
        world.commit(0)
    if world.taken:
        world.put_back(0)
    while world.take():
        world.commit(0)
    for number in range(6):
        world.put_new("key" if number % 2 else "span", "a", 9)
    world.settle()
    world.take()


def stuck_scenario(world: World) -> None:
    """One tag that does not move while others do: compaction must carry its batches along."""
    world.put_new("key", "stuck", 1)
    world.settle()
    world.take()
    world.put_new("none", "stuck", 2)
    for number in range(14):
        world.put_new("key", "busy", 9 + number % 3)
        world.settle()
        while world.take():
            world.commit(len(world.taken) - 1)
    if world.taken:
        world.commit(0)


SCENARIOS = [scenario, stuck_scenario]


def count_operations(play: Callable[[World], None]) -> int:
    world = World(0)
    play(world)
    operations = world.fs.operations
    world.close()
    return operations


def test_without_faults_everything_is_delivered_once() -> None:
    """The scenario reaches what it is meant to reach: deletions, and keys that outlive their segment."""
    world = World(0)
    scenario(world)
    world.finish()
    assert set(world.delivered) == set(range(len(world.batches)))
    assert len(world.segments()) <= 2
    assert any(name.endswith(".keys") for name in world.fs.names(DIRECTORY))
    world.crash(power_cut=True)
    world.finish()
    assert max(world.delivered.values()) == 1
    world.close()


def test_a_stuck_batch_does_not_keep_the_files_of_others() -> None:
    """The scenario reaches compaction: the oldest segment is gone, the batch in it is not."""
    world = World(0)
    stuck_scenario(world)
    assert "0000000000000001" not in {name[:16] for name in world.segments()}
    assert len(world.segments()) < 8
    world.finish()
    assert world.delivered[1] == 1
    world.close()


def test_deliveries_empty_a_full_disk() -> None:
    """Batches have filled the disk to the last byte: cuts go to the reserve, deliveries give space back and
    what waited is stored, though nobody else frees anything."""
    world = World(0)
    world.fs.capacity = (1 << 20) + 6000
    for number in range(30):
        world.put_new("key", f"tag{number}", 9)
    world.settle()
    world.run(world.clock.advance(10))
    world.settle()
    assert world.buffer.problem is not None
    assert 5 < len(world.acknowledged) < 30
    for _ in range(30):
        while world.take():
            world.commit(0)
        world.run(world.clock.advance(0.5))
        world.settle()
    assert len(world.acknowledged) == 30
    assert world.buffer.problem is None
    world.finish()
    world.close()


def test_a_full_disk_leaves_no_half_record_and_heals_by_itself() -> None:
    """Back-pressure until there is room; then the same batches are stored, within a second."""
    world = World(0)
    world.put_new("none", "a", 1)
    world.settle()
    file = next(file for path, file in world.fs.names_seen.items() if path.suffix == ".segment")
    size = len(file.seen)
    world.fs.names_seen.pop(DIRECTORY / "reserve")
    world.fs.capacity = sum(len(file.seen) for file in world.fs.names_seen.values()) + 100
    world.put_new("none", "a", 9)
    world.settle()
    assert len(file.seen) == size
    assert world.buffer.problem is not None
    assert world.buffer.full
    world.fs.capacity = 1 << 40
    world.run(world.clock.advance(1))
    world.settle()
    assert world.buffer.problem is None
    assert world.acknowledged == {0, 1}
    world.finish()
    world.close()


def test_deliveries_empty_a_full_disk_although_all_lies_in_the_segment_that_is_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing would ever be sealed by its size: what is delivered gives its room back all the same."""
    monkeypatch.setattr(World, "segment_bytes", 1 << 20)
    world = World(0)
    world.fs.capacity = (1 << 20) + 6000
    for number in range(30):
        world.put_new("key", f"tag{number}", 9)
    world.settle()
    world.run(world.clock.advance(10))
    assert len(world.acknowledged) < 30
    for _ in range(100):
        while world.take():
            world.commit(0)
        world.run(world.clock.advance(1))
        world.settle()
    assert set(world.delivered) == set(range(30))
    assert not world.buffer.full
    world.finish()
    world.close()


def test_nobody_overtakes_a_batch_that_waits() -> None:
    """Batches of a stream that wait for room are stored in their order; else the first were a repeat."""
    world = World(0, limit=100 + TAG_BYTES, chunk_limit=1000)
    for events in (4, 4, 1):  # there would be room for the third, but not for the second
        world.put_new("span", "", events)
    world.settle()
    assert world.acknowledged == {0}
    world.finish()
    assert world.account.dropped == {}
    assert set(world.delivered) == {0, 1, 2}
    world.close()


def test_a_batch_committed_while_compaction_moves_it_is_not_copied() -> None:
    """Its DONE record could be deleted before the copy is, and the batch would come back."""
    world = World(0)
    world.put_new("none", "a", 1)
    world.settle()
    world.take()
    buffer = world.buffer
    (queue,) = buffer._stock.queues.values()
    rows = list(queue.rows)

    async def compact_and_commit() -> None:
        batches = [(queue, row, record) for row, record in zip(rows, await buffer._read(rows), strict=True)]
        moving = asyncio.ensure_future(buffer._compaction._move(batches))
        await buffer.commit(world.taken.pop())
        await moving

    world.run(compact_and_commit())
    (file,) = (file for path, file in world.fs.names_seen.items() if path.suffix == ".segment")
    batch = world.batches[0].entries
    assert file.seen.count(batch) == 1
    world.close()


def test_a_tag_that_was_asked_for_while_the_disk_was_full_is_delivered_once_it_is_not() -> None:
    """Nothing of it was stored then, so that there was nothing to cut; the cut must not be forgotten."""
    world = World(0, chunk_limit=50, limit=3000)
    world.fs.capacity = sum(len(file.seen) for file in world.fs.names_seen.values())
    world.put_new("key", "a", 1)
    world.settle()
    assert not world.take()
    world.finish()
    assert world.delivered[0] == 1
    world.close()


@pytest.mark.slow
@pytest.mark.parametrize("play", SCENARIOS)
@pytest.mark.parametrize("power_cut", [False, True])
def test_a_crash_at_every_operation(play: Callable[[World], None], power_cut: bool) -> None:
    """Whatever was the last to reach the disk, nothing acknowledged is lost and nothing doubled; nor when
    the power goes later."""
    for operation in range(1, count_operations(play) + 1):
        world = World(operation)
        world.fs.faults[operation] = None
        world.fs.crash_cuts_power = power_cut
        play(world)
        world.crash(power_cut=True)
        world.finish()
        world.close()


@pytest.mark.slow
@pytest.mark.parametrize("play", SCENARIOS)
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_error_at_every_operation(play: Callable[[World], None], number: int) -> None:
    """Each write, sync, truncation, rename and removal fails once; then the power goes."""
    for operation in range(1, count_operations(play) + 1):
        world = World(operation)
        world.fs.faults[operation] = number
        play(world)
        world.run(world.clock.advance(2))
        world.settle()
        world.crash(power_cut=True)
        world.finish()
        world.close()


class DiskBufferMachine(RuleBasedStateMachine):
    """Any order of puts, deliveries, faults, full disks and crashes."""

    @initialize(seed=st.integers(0, 1 << 16), chunk_limit=st.sampled_from([50, 200, 1000]))
    def begin(self, seed: int, chunk_limit: int) -> None:
        self.world = World(seed, chunk_limit=chunk_limit, limit=3000)

    @rule(kind=st.sampled_from(["key", "span", "none"]), tag=st.sampled_from("ab"), events=st.integers(1, 30))
    def put(self, kind: str, tag: str, events: int) -> None:
        self.world.put_new(kind, tag, events)

    @precondition(lambda self: any(batch.origin is not None for batch in self.world.batches))
    @rule(data=st.data())
    def put_again(self, data: st.DataObject) -> None:
        known = [n for n, batch in enumerate(self.world.batches) if batch.origin is not None]
        self.world.put(data.draw(st.sampled_from(known)))

    @rule()
    def settle(self) -> None:
        self.world.settle()

    @rule(seconds=st.sampled_from([0.5, 2.0]))
    def wait(self, seconds: float) -> None:
        self.world.run(self.world.clock.advance(seconds))
        self.world.settle()

    @rule()
    def take(self) -> None:
        self.world.take()

    @precondition(lambda self: self.world.taken)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        self.world.commit(data.draw(st.integers(0, len(self.world.taken) - 1)))

    @precondition(lambda self: self.world.taken)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        self.world.put_back(data.draw(st.integers(0, len(self.world.taken) - 1)))

    @rule(
        after=st.integers(1, 12), fault=st.sampled_from([errno.EIO, errno.ENOSPC, None]),
        power_cut=st.booleans(),
    )  # fmt: skip
    def plan_fault(self, after: int, fault: int | None, power_cut: bool) -> None:
        self.world.fs.faults[self.world.fs.operations + after] = fault
        self.world.fs.crash_cuts_power = power_cut

    @rule(room=st.integers(0, 2000))
    def fill_disk(self, room: int) -> None:
        self.world.fs.capacity = sum(len(file.seen) for file in self.world.fs.names_seen.values()) + room

    @rule()
    def free_disk(self) -> None:
        self.world.fs.capacity = 1 << 40

    @rule(power_cut=st.booleans())
    def crash(self, power_cut: bool) -> None:
        self.world.crash(power_cut=power_cut)

    @invariant()
    def promises_hold(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.finish()
            self.world.close()


TestDiskBufferMachine = pytest.mark.slow(DiskBufferMachine.TestCase)
TestDiskBufferMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
