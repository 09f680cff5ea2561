"""The flusher: delivery, retries, giving up."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from logflow.batch import Batch, Chunk, PartialDelivery
from logflow.buffers.memory import MemoryBuffer
from logflow.component import Output
from logflow.config.options import OutputConfig
from logflow.errors import DeliveryError, PermanentError, RetryAfter
from logflow.pipeline.flusher import Flusher, describe
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Account
from logflow.testing import FakeClock


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

    async def open(self) -> None:
        if self.open_script:
            raise self.open_script.pop(0)

    async def write(self, chunk: Chunk) -> None:
        assert self.clock is not None
        self.attempts.append((self.clock.monotonic(), chunk.id))
        self.active += 1
        self.most_active = max(self.active, self.most_active)
        await asyncio.sleep(0)
        self.active -= 1
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
    def __init__(self, script: list[Exception | None], **options: Any) -> None:
        self.clock = FakeClock()
        self.output = ScriptedOutput(script)
        self.output.clock = self.clock
        retry = {"jitter": 0.0, **options.pop("retry", {})}
        config = OutputConfig.model_validate({"type": "scripted", "retry": retry, **options})
        self.buffer = MemoryBuffer("out", config.buffer, Checkpoints(None), self.clock)
        self.letters = KeptLetters()
        self.account = Account("**", "out")
        self.flusher = Flusher(
            "out", self.output, self.buffer, config,
            dead_letters=self.letters, clock=self.clock, log=logging.getLogger("logflow.test"),
        )  # fmt: skip

    async def put(self, number: int = 0, tag: str = "t") -> Receipt:
        receipt = Receipt(1)
        self.account.enter(1)
        await self.buffer.put(Batch.from_events(tag, [(1, {"n": number})]), self.account, receipt)
        return receipt

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
    assert (await bench.buffer.take()).count == 1


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
