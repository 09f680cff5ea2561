"""The flusher: delivery, retries, giving up."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logflow.batch import Batch, Chunk, PartialDelivery, Span
from logflow.buffers.memory import MemoryBuffer
from logflow.component import Output
from logflow.config.options import GroupOutputConfig, OutputConfig
from logflow.errors import (
    ChunkTooLarge,
    ComponentError,
    DeliveryError,
    LimitExceeded,
    OutputEnded,
    PermanentError,
    RetryAfter,
    Undecided,
)
from logflow.pipeline.flusher import Flusher
from logflow.pipeline.progress import describe
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Account
from logflow.testing import FakeClock, make_context


class ScriptedOutput(Output):
    """Raises what the script says, one item an attempt; then delivers."""

    Config = OutputConfig

    def __init__(self, script: list[Exception | None]) -> None:
        self.script = script
        self.open_script: list[Exception] = []
        self.delivered: list[Chunk] = []
        self.attempts: list[tuple[float, bytes]] = []
        self.clock: FakeClock | None = None
        self.active = self.most_active = 0
        self.failing: set[str] = set()
        self.hanging: set[str] = set()
        self.tried: Counter[str] = Counter()

    async def open(self) -> None:
        if self.open_script:
            raise self.open_script.pop(0)

    async def write(self, chunk: Chunk) -> None:
        assert self.clock is not None
        self.attempts.append((self.clock.monotonic(), chunk.id))
        self.active += 1
        self.most_active = max(self.active, self.most_active)
        self.tried[chunk.tag] += 1
        if chunk.tag in self.hanging and self.tried[chunk.tag] > 1:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        self.active -= 1
        if chunk.tag in self.failing | self.hanging:
            raise DeliveryError("this destination is bad")
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error
        self.delivered.append(chunk)


class KeptLetters:
    def __init__(self) -> None:
        self.letters: list[tuple[Chunk, str, str]] = []

    async def put(self, chunk: Chunk, output: str, reason: str) -> None:
        self.letters.append((chunk, output, reason))


class Bench:
    def __init__(
        self,
        script: list[Exception | None],
        checkpoints: Checkpoints | None = None,
        output: ScriptedOutput | None = None,
        config: type[OutputConfig] = OutputConfig,
        **options: Any,
    ) -> None:
        checkpoints = checkpoints or Checkpoints(None)
        self.clock = FakeClock()
        self.output = output or ScriptedOutput(script)
        self.output.clock = self.clock
        retry = {"jitter": 0.0, **options.pop("retry", {})}
        settings = config.model_validate({"type": "scripted", "retry": retry, **options})
        self.buffer = MemoryBuffer("out", settings.buffer, checkpoints, self.clock)
        self.letters = KeptLetters()
        self.account = Account("**", "out")
        self.output.context = make_context(
            Path("/nonexistent"), "out", kind="output", clock=self.clock, checkpoints=checkpoints
        )
        self.flusher = Flusher(
            "out", self.output, self.buffer, settings,
            dead_letters=self.letters, clock=self.clock, log=logging.getLogger("logflow.test"),
        )  # fmt: skip

    async def put(self, number: int = 0, tag: str = "t") -> Receipt:
        receipt = Receipt(1)
        self.account.enter(1)
        await self.buffer.put(Batch.from_events(tag, [(1, {"n": number})]), self.account, receipt)
        return receipt

    async def advance(self, seconds: float) -> None:
        """Move time on in many small steps: much is done within each."""
        for _ in range(100):
            await self.clock.advance(seconds / 100)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.flusher.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_delivers_and_commits() -> None:
    """A delivered chunk settles its receipt and the ledger."""
    bench = Bench([])
    receipt = await bench.put()
    async with bench.running():
        await bench.clock.advance(0)
    assert receipt.done
    assert bench.account.delivered == 1
    assert bench.flusher.status.chunks == 1


async def test_retries_with_growing_waits_and_the_same_id() -> None:
    """Failures are tried again after 1 s, 2 s, 4 s, with the same chunk id."""
    bench = Bench([DeliveryError("no"), OSError("reset"), ValueError("a bug")])
    await bench.put()
    async with bench.running():
        await bench.clock.advance(7)
    assert [time for time, _ in bench.output.attempts] == [0, 1, 3, 7]
    assert len({chunk_id for _, chunk_id in bench.output.attempts}) == 1
    assert bench.account.delivered == 1
    assert bench.flusher.status.problem is None


async def test_obeys_retry_after() -> None:
    """A destination that says when is not asked before."""
    bench = Bench([RetryAfter("busy", 30)])
    await bench.put()
    async with bench.running():
        await bench.clock.advance(29)
        assert len(bench.output.attempts) == 1
        await bench.clock.advance(1)
    assert bench.account.delivered == 1


async def test_a_chunk_whose_delivery_is_undecided_is_asked_about_soon_each_time() -> None:
    """Without back-off, so that a late answer counts at once."""
    bench = Bench([Undecided("no ack yet", 0.25)] * 40)
    await bench.put()
    async with bench.running():
        await bench.clock.advance(9.99)
        assert len(bench.output.attempts) == 40
        await bench.clock.advance(0.01)
    assert bench.account.delivered == 1


async def test_a_rejected_chunk_becomes_a_dead_letter() -> None:
    """A permanent error is not tried again; the chunk is kept with its reason and counted."""
    bench = Bench([PermanentError("status 400")])
    receipt = await bench.put()
    async with bench.running():
        await bench.clock.advance(0)
    assert [(output, reason) for _, output, reason in bench.letters.letters] == [("out", "status 400")]
    assert bench.account.dropped == {"dead_letter:rejected": 1}
    assert receipt.done


async def test_gives_up_after_the_time_that_is_set() -> None:
    """give_up_after sends a chunk to the dead letters."""
    bench = Bench([DeliveryError("no")] * 99, retry={"give_up_after": "5s", "max": "1s"})
    await bench.put()
    async with bench.running():
        await bench.clock.advance(10)
    assert bench.account.dropped == {"dead_letter:gave_up": 1}
    assert len(bench.output.attempts) <= 6


async def test_without_dead_letters_a_rejected_chunk_is_dropped_and_counted() -> None:
    """dead_letter: false drops for the named reason."""
    bench = Bench([PermanentError("status 400")], dead_letter=False)
    await bench.put()
    async with bench.running():
        await bench.clock.advance(0)
    assert bench.account.dropped == {"rejected": 1}
    assert bench.letters.letters == []


async def test_a_partly_delivered_chunk_retries_the_rest_only() -> None:
    """Only what failed is written again; all of it is accounted for."""
    rest = Chunk(b"r" * 16, "t", (b"",), 0)
    bench = Bench([PartialDelivery("half", rest)])
    await bench.put()
    async with bench.running():
        await bench.clock.advance(1)
    assert bench.output.delivered == [rest]
    assert bench.account.delivered == 1


async def test_a_stop_puts_the_chunk_back() -> None:
    """Cancelled in the middle of retries, nothing is lost: the chunk waits in the buffer."""
    bench = Bench([DeliveryError("no")] * 9)
    receipt = await bench.put()
    async with bench.running():
        await bench.clock.advance(0)
    assert not receipt.done
    assert bench.buffer.waiting.events == 1
    await bench.clock.advance(1)
    assert (await bench.buffer.take()).count == 1


@pytest.mark.parametrize("how", ["failing", "hanging"])
@pytest.mark.parametrize("concurrency", [2, 4])
async def test_a_good_tag_among_a_hundred_bad_ones_is_served_at_once(how: str, concurrency: int) -> None:
    """Back-off belongs to the destination, and what was tried before may hold half of the workers only."""
    bench = Bench([], concurrency=concurrency)
    bad = {f"bad{number}" for number in range(100)}
    getattr(bench.output, how).update(bad)
    async with bench.running():
        for tag in bad:
            await bench.put(tag=tag)
        await bench.advance(5)
        assert bench.output.tried.total() > 100
        receipt = await bench.put(tag="good")
        await bench.clock.advance(0.5)
        assert receipt.done
        assert bench.output.active <= concurrency // 2


async def test_chunks_of_an_earlier_process_count_as_tried_before() -> None:
    """Where they may be is where it may hang: fresh ones find a worker all the same."""
    bench = Bench([], concurrency=2)
    for number in range(9):
        tag, stream = f"old{number}", f"s{number}"
        bench.output.hanging.add(tag)
        bench.output.tried[tag] = 1
        bench.buffer._checkpoints.cut("out", stream, 0, 10)
        bench.account.enter(1)
        batch = Batch.from_events(tag, [(1, {})], Span(stream, 0, 10))
        await bench.buffer.put(batch, bench.account, Receipt(1))
    async with bench.running():
        await bench.clock.advance(0)
        receipt = await bench.put(tag="good")
        await bench.clock.advance(0.5)
        assert receipt.done
        assert bench.output.active == 1


async def test_what_failed_is_tried_at_once_when_the_destination_works_again() -> None:
    """A tag does not wait out its back-off once another one's retry has gone through."""
    bench = Bench([], retry={"initial": "1s", "factor": 100, "max": "60s"})
    bench.output.failing = {"a", "b", "c"}
    async with bench.running():
        for tag in "abc":
            await bench.put(tag=tag)
        await bench.clock.advance(1.5)  # each was tried twice and would wait for a minute
        bench.output.failing.clear()
        await bench.clock.advance(1)
        assert bench.account.delivered == 0
        await bench.clock.advance(59)
        assert bench.account.delivered == 3
        last = [time for time, _ in bench.output.attempts[-3:]]
        assert last[-1] - last[0] < 1


async def test_rejected_events_become_dead_letters_and_their_neighbours_are_delivered() -> None:
    """Each rejected part is kept with its own reason; the rest is tried again."""
    bench = Bench([])
    events: list[tuple[int, dict[str, Any]]] = [(1, {"n": number}) for number in range(6)]
    whole = Batch.from_events("t", events)
    entries = [Batch.from_events("t", [event]).entries for event in events]
    bench.account.enter(6)
    await bench.buffer.put(whole, bench.account, Receipt(1))

    def part(*numbers: int) -> Chunk:
        return Chunk(b"", "t", tuple(entries[number] for number in numbers), len(numbers))

    async def write(chunk: Chunk) -> None:
        if chunk.count == 6:
            bad = [(replace(part(number), id=chunk.id), f"no {number}") for number in (1, 4)]
            raise PartialDelivery("three of six", replace(part(5), id=chunk.id), bad)
        bench.output.delivered.append(chunk)

    bench.output.write = write  # type: ignore[method-assign]
    async with bench.running():
        await bench.clock.advance(1)
    letters = bench.letters.letters
    assert [(letter.entries, why) for letter, _, why in letters] == [
        (entries[1], "no 1"),
        (entries[4], "no 4"),
    ]
    assert len({letter.id for letter, _, _ in letters}) == 2, "one does not replace the other"
    assert [chunk.entries for chunk in bench.output.delivered] == [entries[5]]
    assert bench.account.dropped == {"dead_letter:rejected": 2}
    assert bench.account.delivered == 4
    assert bench.account.balanced


async def test_without_room_for_dead_letters_the_chunk_waits() -> None:
    """Nothing is lost without anybody having decided so, and delivered parts are not delivered again."""
    bench = Bench([PermanentError("no")])
    full = True

    async def put(chunk: Chunk, output: str, reason: str) -> None:
        if full:
            raise DeliveryError("no room")
        bench.letters.letters.append((chunk, output, reason))

    bench.letters.put = put  # type: ignore[method-assign]
    await bench.put()
    async with bench.running():
        bench.output.script = [PermanentError("no")] * 9
        await bench.clock.advance(0)
        assert bench.account.waiting == 1
        full = False
        await bench.clock.advance(1)
    assert len(bench.letters.letters) == 1
    assert bench.account.dropped == {"dead_letter:rejected": 1}


class Picky:
    """A destination with a limit of size, and events that it cannot render."""

    def __init__(self, limit: int = 1 << 30, poison: int | None = None) -> None:
        self.limit = limit
        self.poison = poison
        self.got: list[int] = []
        self.ids: list[bytes] = []
        self.refused = 0

    async def write(self, chunk: Chunk) -> None:
        numbers = [record["n"] for _, record in chunk.events()]
        if chunk.size > self.limit:
            self.refused += 1
            raise ChunkTooLarge("413")
        if self.poison in numbers:
            raise LimitExceeded("nests deeper than 128 levels")
        self.got += numbers
        self.ids.append(chunk.id)


async def put_many(bench: Bench, count: int, tag: str = "t", large: int = -1, first: int = 0) -> int:
    numbers = range(first, first + count)
    events = [(1, {"n": number, "text": "x" * (3000 if number == large else 10)}) for number in numbers]
    batch = Batch.from_events(tag, events)
    bench.account.enter(count)
    await bench.buffer.put(batch, bench.account, Receipt(1))
    return len(batch.entries)


async def test_a_chunk_that_is_too_large_is_halved_and_the_size_remembered() -> None:
    """An event that is too large by itself becomes a dead letter; the next chunk is cut beforehand."""
    bench, picky = Bench([]), Picky(limit=500)
    bench.output.write = picky.write  # type: ignore[method-assign]
    await put_many(bench, 100, large=50)
    async with bench.running():
        await bench.advance(0)
        assert picky.got == [number for number in range(100) if number != 50]
        assert len(set(picky.ids)) == len(picky.ids)
        assert [letter.count for letter, _, _ in bench.letters.letters] == [1]
        assert bench.account.dropped == {"dead_letter:rejected": 1}
        refused = picky.refused
        await put_many(bench, 100, first=200)
        await bench.advance(1)
    assert picky.refused == refused
    assert picky.got[99:] == list(range(200, 300))
    assert bench.account.balanced


async def test_a_chunk_that_was_refused_for_its_size_comes_in_the_same_pieces_after_a_restart(
    tmp_path: Path,
) -> None:
    """The whole would be new to a destination that has some of its pieces."""
    seen: dict[bytes, list[int]] = {}

    async def live(deliver: int) -> None:
        checkpoints = Checkpoints(tmp_path / "checkpoints")
        checkpoints.open()
        bench, left = Bench([], checkpoints=checkpoints), deliver

        async def write(chunk: Chunk) -> None:
            nonlocal left
            if chunk.size > 500 and not chunk.resumed:
                raise ChunkTooLarge("too large", 500)
            if not left:
                await asyncio.Event().wait()
            left -= 1
            numbers = [record["n"] for _, record in chunk.events()]
            assert seen.setdefault(chunk.id, numbers) == numbers

        bench.output.write = write  # type: ignore[method-assign]
        events: list[tuple[int, dict[str, Any]]] = [(1, {"n": number}) for number in range(100)]
        batch = Batch.from_events("t", events, Span("a", 0, 1000))
        bench.account.enter(100)
        await bench.buffer.put(batch, bench.account, Receipt(1))
        async with bench.running():
            await bench.advance(1)
        checkpoints.flush()  # then kill -9

    await live(deliver=2)
    await live(deliver=99)
    assert sorted(number for numbers in seen.values() for number in numbers) == list(range(100))


async def test_an_event_that_cannot_be_rendered_does_not_hold_up_its_neighbours() -> None:
    """It is found, and becomes a dead letter with the reason."""
    bench, picky = Bench([]), Picky(poison=37)
    bench.output.write = picky.write  # type: ignore[method-assign]
    await put_many(bench, 100)
    async with bench.running():
        await bench.advance(0)
    assert picky.got == [number for number in range(100) if number != 37]
    ((letter, _, why),) = bench.letters.letters
    assert next(letter.events())[1]["n"] == 37
    assert why == "nests deeper than 128 levels"


async def test_no_chunk_is_above_chunk_limit() -> None:
    """A batch that is larger is delivered in pieces, in order, under ids of their own."""
    bench, picky = Bench([], buffer={"chunk_limit": 400}), Picky()
    sizes: list[int] = []

    async def write(chunk: Chunk) -> None:
        sizes.append(chunk.size)
        await picky.write(chunk)

    bench.output.write = write  # type: ignore[method-assign]
    assert await put_many(bench, 100) > 2000
    async with bench.running():
        await bench.advance(0)
    assert max(sizes) <= 400
    assert picky.got == list(range(100))
    assert bench.account.delivered == 100


async def test_a_restart_cuts_a_large_chunk_as_before(tmp_path: Path) -> None:
    """Also with another limit: a piece keeps its id and its events, so that a repeat is recognised."""
    seen: dict[bytes, list[int]] = {}

    async def live(limit: int, deliver: int) -> None:
        checkpoints = Checkpoints(tmp_path / "checkpoints")
        checkpoints.open()
        bench, left = Bench([], checkpoints=checkpoints, buffer={"chunk_limit": limit}), deliver

        async def write(chunk: Chunk) -> None:
            nonlocal left
            if not left:
                await asyncio.Event().wait()
            left -= 1
            numbers = [record["n"] for _, record in chunk.events()]
            assert seen.setdefault(chunk.id, numbers) == numbers

        bench.output.write = write  # type: ignore[method-assign]
        events: list[tuple[int, dict[str, Any]]] = [(1, {"n": number}) for number in range(100)]
        batch = Batch.from_events("t", events, Span("a", 0, 1000))
        bench.account.enter(100)
        await bench.buffer.put(batch, bench.account, Receipt(1))
        async with bench.running():
            await bench.advance(1)
        assert not any(checkpoints._notes["out"].values()) or bench.account.waiting
        checkpoints.flush()  # then kill -9

    await live(400, deliver=3)
    await live(1000, deliver=2)
    await live(256, deliver=99)
    assert sorted(number for numbers in seen.values() for number in numbers) == list(range(100))


class GroupOutput(ScriptedOutput):
    """Takes several chunks in one go; answers by tag."""

    groups = True

    def __init__(self) -> None:
        super().__init__([])
        self.calls: list[list[Chunk]] = []
        self.times: list[float] = []
        self.answers: dict[str, Exception] = {}

    async def write_group(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        assert self.clock is not None
        self.calls.append(list(chunks))
        self.times.append(self.clock.monotonic())
        return [self.answers.get(chunk.tag) for chunk in chunks]


def group_bench(**options: Any) -> tuple[Bench, GroupOutput]:
    output = GroupOutput()
    return Bench([], output=output, **options), output


async def test_a_group_is_written_in_one_go_and_each_chunk_has_its_own_result() -> None:
    """Delivered, tried later, rejected: what becomes of one chunk is no concern of the others."""
    bench, output = group_bench()
    output.answers = {"later": DeliveryError("no"), "never": PermanentError("status 400")}
    receipts = [await bench.put(tag=tag) for tag in ("good", "later", "never", "fine")]
    async with bench.running():
        await bench.clock.advance(0)
        assert [[chunk.tag for chunk in call] for call in output.calls] == [
            ["good", "later", "never", "fine"]
        ]
        assert [receipt.done for receipt in receipts] == [True, False, True, True]
        first = output.calls[0][1].id
        output.answers.clear()
        await bench.clock.advance(1)
    assert [[chunk.id for chunk in call] for call in output.calls[1:]] == [[first]]
    assert bench.account.delivered == 3
    assert bench.account.dropped == {"dead_letter:rejected": 1}


async def test_a_group_keeps_to_its_limits() -> None:
    """Neither bytes nor events are exceeded by putting chunks together, and no chunk is larger."""

    class Config(GroupOutputConfig, OutputConfig):
        pass

    bench, output = group_bench(config=Config, batch={"max_bytes": 500, "max_events": 12})
    for tag in "abcdef":
        await put_many(bench, 5, tag=tag)
    await put_many(bench, 100, tag="large")
    async with bench.running():
        await bench.advance(1)
    assert max(len(call) for call in output.calls) == 2
    for call in output.calls:
        assert sum(chunk.size for chunk in call) <= 500
        assert sum(chunk.count for chunk in call) <= 12 or len(call) == 1
    assert bench.account.delivered == 130


async def test_at_low_rates_what_all_tags_have_is_delivered_in_few_groups() -> None:
    """A busy output gets ten groups a second, however many tags there are; a quiet one does not wait."""
    bench, output = group_bench()
    async with bench.running():
        await bench.put(tag="t0")
        await bench.clock.advance(0)
        assert len(output.calls) == 1
        for number in range(1000):  # 500 events a second
            await bench.put(number, tag=f"t{number % 50}")
            await bench.clock.advance(0.002)
        await bench.clock.advance(1)
        assert len(output.calls) <= 22
        assert bench.account.delivered == 1001
        receipt = await bench.put(tag="quiet")
        await bench.clock.advance(0)
        assert receipt.done


async def test_an_error_of_the_whole_group_applies_to_each_chunk() -> None:
    bench, output = group_bench()
    failed = False

    async def write_group(chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        nonlocal failed
        if not failed:
            failed = True
            raise OSError("reset")
        return [None] * len(chunks)

    output.write_group = write_group  # type: ignore[method-assign]
    for tag in "abc":
        await bench.put(tag=tag)
    async with bench.running():
        await bench.clock.advance(0)
        assert bench.account.delivered == 0
        await bench.clock.advance(1)
    assert bench.account.delivered == 3
    assert bench.flusher.status.retries == 3


async def test_opens_with_back_off() -> None:
    """An output that cannot be opened is tried again; what waits is delivered afterwards."""
    bench = Bench([])
    bench.output.open_script = [OSError("refused"), OSError("refused")]
    await bench.put()
    async with bench.running():
        await bench.clock.advance(0)
        assert not bench.flusher.status.opened
        assert bench.flusher.status.problem == "OSError: refused"
        await bench.clock.advance(3)
    assert bench.account.delivered == 1


@pytest.mark.parametrize("when", ["open", "write"])
async def test_what_an_output_can_never_get_over_ends_the_service(when: str) -> None:
    """A closed standard output: whether it shows in open or in write."""
    error = OutputEnded("standard output was closed by whoever read it")
    bench = Bench([error] if when == "write" else [])
    bench.output.open_script = [error] if when == "open" else []
    await bench.put()
    task = asyncio.create_task(bench.flusher.run())
    await bench.clock.advance(0)
    assert task.done()
    raised = task.exception()
    while isinstance(raised, BaseExceptionGroup):
        raised = raised.exceptions[0]
    assert raised is error
    assert bench.buffer.waiting.events == 1


@pytest.mark.parametrize("when", ["open", "write"])
async def test_what_an_output_may_get_over_is_tried_again(when: str) -> None:
    """A missing certificate comes when somebody puts it there: other outputs go on meanwhile."""
    error = ComponentError("cannot use the authorities in ca.pem")
    bench = Bench([error] if when == "write" else [])
    bench.output.open_script = [error] if when == "open" else []
    await bench.put()
    async with bench.running():
        await bench.clock.advance(0)
        assert bench.flusher.status.problem == "cannot use the authorities in ca.pem"
        await bench.clock.advance(5)
    assert bench.account.delivered == 1


async def test_works_on_several_tags_at_once() -> None:
    """Concurrency is bounded by the option."""
    bench = Bench([], concurrency=2)
    for number in range(5):
        await bench.put(number, tag=f"t{number}")
    async with bench.running():
        await bench.clock.advance(0)
    assert bench.account.delivered == 5
    assert bench.output.most_active == 2


async def test_an_idle_worker_holds_no_chunk() -> None:
    """Each of many workers would otherwise keep the memory of the last one it delivered."""
    bench = Bench([], concurrency=4)
    for number in range(4):
        await bench.put(number, tag=f"t{number}")
    async with bench.running():
        await bench.clock.advance(0)
        ids = {chunk.id for chunk in bench.output.delivered}
        assert len(ids) == 4
        bench.output.delivered.clear()
        assert not [thing for thing in gc.get_objects() if isinstance(thing, Chunk) and thing.id in ids]


async def test_an_outage_is_one_log_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Many failures in a row do not flood the log."""
    bench = Bench([DeliveryError("no")] * 50, retry={"max": "1s"})
    await bench.put()
    with caplog.at_level(logging.INFO, logger="logflow.test"):
        async with bench.running():
            await bench.clock.advance(59)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    assert "did not take a chunk" in caplog.text
    assert "works again" in caplog.text


def test_an_error_group_is_described_by_its_first_error() -> None:
    group = ExceptionGroup("unhandled errors", [ExceptionGroup("inner", [ValueError("bad\nhead")])])
    assert describe(group) == "ValueError: bad head"


async def test_no_more_deliveries_are_under_way_than_the_destination_bears() -> None:
    """An output may ask for fewer than the configuration allows; what waits becomes larger chunks."""

    class Hesitant(ScriptedOutput):
        most = 1
        under_way = seen = 0

        def bearable(self) -> int:
            return self.most

        async def write(self, chunk: Chunk) -> None:
            self.under_way += 1
            self.seen = max(self.seen, self.under_way)
            try:
                assert self.clock is not None
                await self.clock.sleep(1.0)
            finally:
                self.under_way -= 1

    output = Hesitant([])
    bench = Bench([], output=output, concurrency=8)
    async with bench.running():
        for number in range(10):
            await bench.put(number, tag=f"t{number}")
        await bench.advance(4)
        assert output.seen == 1
        output.most = 3
        await bench.advance(10)
        assert output.seen == 3
    assert bench.account.delivered == 10
