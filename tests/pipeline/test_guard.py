"""Filters that fail: their events are kept, dropped or put to the dead letters, and nothing else happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logflow.batch import Batch, Span
from logflow.buffers.memory import MemoryBuffer
from logflow.clock import SystemClock
from logflow.component import Filter, RecordFilter
from logflow.config.options import BufferOptions, FilterConfig
from logflow.event import EventTime, Record
from logflow.pipeline.flow import Failed
from logflow.pipeline.router import Route, Router, SourceEmit, Target
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Account, Ledger
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock, make_context

SPAN = Span("app.log", 0, 100)


class Scripted(Filter):
    """Does what it is told with each batch."""

    Config = FilterConfig
    act: Callable[[Batch], Any]

    def apply(self, batch: Batch) -> Batch | None:
        return self.act(batch)  # type: ignore[no-any-return]


class Fussy(RecordFilter):
    """Fails for odd numbers, after it has changed the record; drops 4."""

    Config = FilterConfig

    def filter(self, time: EventTime, record: Record) -> Record | None:
        record["seen"] = True
        if record["n"] % 2:
            raise KeyError("level")
        return None if record["n"] == 4 else record


class Bench:
    def __init__(
        self,
        step: type[Filter],
        act: Callable[[Batch], Any] | None = None,
        following: type[Filter] | None = None,
        **options: Any,
    ) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        context = make_context(
            Path("/nonexistent"), "redact-mail", kind="filter", metrics=self.metrics, clock=self.clock
        )
        self.step = step(step.Config(type="redact", **options), context)
        if act is not None:
            self.step.act = act  # type: ignore[attr-defined]
        steps = [self.step]
        if following is not None:
            steps.append(following(FilterConfig(type="redact", **options), context))
        ledger = Ledger()
        self.buffer = MemoryBuffer("out", BufferOptions(), Checkpoints(None), SystemClock())
        self.account: Account = ledger.account("**", "out")
        self.letters: list[Failed] = []
        route = Route(
            "**", lambda _: True, steps, [Target("out", self.buffer, self.account)],
            ledger.account("(none)", "(none)"), clock=self.clock,
        )  # fmt: skip
        self.router = Router([route], ledger, letters=self._keep)
        self.emit = SourceEmit(self.router)

    async def _keep(self, failed: Failed) -> None:
        self.letters.append(failed)

    async def send(self, *values: int) -> list[Record]:
        await self.emit(Batch.from_events("app", [(1, {"n": value}) for value in values], SPAN))
        try:
            async with asyncio.timeout(0.05):
                chunk = await self.buffer.take()
        except TimeoutError:
            return []
        await self.buffer.commit(chunk)
        return [record for _, record in chunk.events()]

    @property
    def errors(self) -> int:
        return sum(cell.value for cell in self.metrics.counters() if cell.name == "filter_errors")


def _raise(error: BaseException) -> Callable[[Batch], Any]:
    def act(_: Batch) -> Any:
        raise error

    return act


def _more(batch: Batch) -> Batch:
    return batch.with_entries(batch.entries * 2, batch.count * 2)


BAD: Sequence[Callable[[Batch], Any]] = [
    _raise(KeyError("level")),
    _raise(KeyboardInterrupt()),
    _raise(SystemExit(3)),
    _raise(asyncio.CancelledError()),
    _raise(RecursionError("too deep")),
    _more,
    lambda batch: [batch],
    lambda batch: replace(batch, tag="other", count=batch.count, entries=bytes(batch.entries)),
]


@pytest.mark.parametrize("act", BAD)
async def test_a_filter_that_fails_keeps_its_events_as_they_were(act: Callable[[Batch], Any]) -> None:
    """Whatever it raises or returns: the source never hears of it, and each event is counted."""
    bench = Bench(Scripted, act)
    assert await bench.send(1, 2) == [{"n": 1}, {"n": 2}]
    assert bench.errors == 2
    assert bench.account.delivered == 2
    assert bench.account.balanced


@pytest.mark.parametrize("act", BAD)
async def test_they_are_dropped_for_a_reason_if_wanted(act: Callable[[Batch], Any]) -> None:
    """on_error: drop."""
    bench = Bench(Scripted, act, on_error="drop")
    assert await bench.send(1, 2) == []
    assert bench.account.dropped == {"filter_error:redact-mail": 2}
    assert bench.account.balanced


@pytest.mark.parametrize("act", BAD)
async def test_or_become_a_dead_letter(act: Callable[[Batch], Any]) -> None:
    """on_error: dead_letter; they are kept as they were, with the error."""
    bench = Bench(Scripted, act, on_error="dead_letter")
    assert await bench.send(1, 2) == []
    assert bench.account.dropped == {"dead_letter:filter_error": 2}
    assert bench.account.balanced
    (failed,) = bench.letters
    assert failed.filter == "redact-mail"
    assert [record for _, record in failed.batch.events()] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    ("on_error", "kept", "dropped"),
    [
        ("keep", [{"n": 1}, {"n": 2, "seen": True}, {"n": 3}, {"n": 6, "seen": True}], {"filter:redact": 1}),
        (
            "drop",
            [{"n": 2, "seen": True}, {"n": 6, "seen": True}],
            {"filter:redact": 1, "filter_error:redact-mail": 2},
        ),
        (
            "dead_letter",
            [{"n": 2, "seen": True}, {"n": 6, "seen": True}],
            {"filter:redact": 1, "dead_letter:filter_error": 2},
        ),
    ],
)
async def test_of_a_record_filter_only_the_events_fail_for_which_it_raised(
    on_error: str, kept: list[Record], dropped: dict[str, int]
) -> None:
    """The others are filtered as ever, each in its place."""
    bench = Bench(Fussy, on_error=on_error)
    assert await bench.send(1, 2, 3, 4, 6) == kept
    assert bench.errors == 2
    if on_error == "keep":
        assert bench.account.dropped == {"filter:redact": 1}
    assert bench.account.dropped == dropped
    assert bench.account.balanced


async def test_one_line_a_minute_names_filter_type_and_error(caplog: pytest.LogCaptureFixture) -> None:
    """A filter that fails for every batch does not flood the log."""
    bench = Bench(Scripted, _raise(KeyError("level")))
    for _ in range(3):
        await bench.send(1)
    assert caplog.messages == [
        "Filter redact-mail (type redact) failed for 1 event (kept unchanged): KeyError: 'level'."
    ]
    await bench.clock.advance(61)
    await bench.send(1)
    assert len(caplog.messages) == 2
    assert "failed for 3 events" in caplog.messages[1]


async def test_a_batch_keeps_its_place_whatever_a_filter_does_to_it() -> None:
    """Without its origin, its source could neither read it again nor be told that it is safe."""
    bench = Bench(Scripted, lambda batch: Batch.from_events(batch.tag, batch.events()))
    await bench.emit(Batch.from_events("app", [(1, {"n": 1})], SPAN))
    assert bench.buffer._checkpoints.accepted("out", "app.log") == 0
    chunk = await bench.buffer.take()
    await bench.buffer.commit(chunk)
    assert bench.buffer._checkpoints.accepted("out", "app.log") == 100


class Telling(Filter):
    """Drops everything, and tells of it in events that the next filters see."""

    Config = FilterConfig
    tells = True
    fails = False

    def apply(self, batch: Batch) -> Batch | None:
        self.last = batch
        return None

    def summaries(self, now_s: float | None) -> Sequence[Batch]:
        if self.fails:
            raise SystemExit(3)
        return [self.last.with_events([(1, {"n": 100}), (1, {"n": 4})])]


async def test_what_a_filter_tells_goes_on_behind_it_and_is_in_the_ledger() -> None:
    bench = Bench(Telling, following=Fussy)
    await bench.router.flush_all()
    assert await bench.send(1, 2) == [], "it has nothing to tell of before a batch came"
    await bench.router.flush_all()
    assert await bench.send() == [{"n": 100, "seen": True}]
    assert (bench.account.read, bench.account.delivered) == (4, 1)
    assert bench.account.dropped == {"filter:redact": 3}
    assert bench.account.balanced


async def test_a_filter_that_fails_to_tell_harms_nobody() -> None:
    bench = Bench(Telling)
    await bench.send(1)
    bench.step.fails = True  # type: ignore[attr-defined]
    await bench.router.flush_all()
    assert await bench.send(2) == []
    assert bench.account.balanced


class Patient(FilterConfig):
    """A filter that has a timeout."""

    timeout: float = 0.02


async def test_a_filter_that_does_not_come_back_fails_and_the_event_loop_goes_on() -> None:
    """It is asked in a thread."""
    turns = 0

    def act(batch: Batch) -> Batch:
        while True:
            pass

    class Hanging(Scripted):
        Config = Patient

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    bench = Bench(Hanging, act, on_error="dead_letter")
    counting = asyncio.create_task(count())
    assert await bench.send(1, 2) == []
    assert turns > 1
    counting.cancel()
    assert bench.account.dropped == {"dead_letter:filter_error": 2}
    assert "longer than 0.02 s" in bench.letters[0].why
    await bench.router.close()
