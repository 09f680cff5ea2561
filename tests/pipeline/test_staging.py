"""Stages in the host's hands: receipts, positions and repeats are right whatever a stage holds back."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.batch import Batch, Chunk, DeliveryKey, Origin, Span
from logflow.buffers.memory import MemoryBuffer
from logflow.clock import SystemClock
from logflow.component import Filter, Stage
from logflow.config.options import BufferOptions, FilterConfig
from logflow.event import EventTime, Record
from logflow.patterns import compile_pattern
from logflow.pipeline.router import Route, Router, SourceEmit, Target
from logflow.receipt import Receipt
from logflow.stages.multiline import MultilineStage
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Ledger
from logflow.testing import FakeClock, make_context


class Join(Stage):
    """Joins the events of each channel of a stream until one comes that says it is the last."""

    Config = FilterConfig

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.held: dict[tuple[str, int], list[tuple[EventTime, Record, Batch]]] = {}
        self.patience_s = 1.0

    def apply(self, batch: Batch) -> Sequence[Batch]:
        joined = []
        for time, record in batch.events():
            if record.get("fail"):
                raise KeyboardInterrupt
            key = (batch.stream, record.get("c", 0))
            group = self.held.setdefault(key, [])
            group.append((time, record, batch))
            if not record.get("more"):
                joined += self._join(key)
        return [batch.with_events(joined)] if joined else []

    def _join(self, key: tuple[str, int]) -> list[tuple[int, Record]]:
        group = self.held.pop(key)
        return [(group[0][0], {"n": [number for _, record, _ in group for number in _numbers(record)]})]

    def flush(self, now_s: float | None) -> Sequence[Batch]:
        if now_s is not None and now_s <= self.patience_s:
            return []
        return [self._flush(key) for key in list(self.held)]

    def _flush(self, key: tuple[str, int]) -> Batch:
        batch = self.held[key][-1][2]
        return batch.with_events(self._join(key))

    def flush_stream(self, stream: str) -> Sequence[Batch]:
        return [self._flush(key) for key in list(self.held) if key[0] == stream]

    def holds(self, stream: str) -> Collection[Origin]:
        return [batch.origin for key, group in self.held.items() if key[0] == stream for _, _, batch in group]


class Blind(Join):
    """The same, but it does not say what it holds."""

    def holds(self, stream: str) -> None:
        return None

    def flush_stream(self, stream: str) -> Sequence[Batch]:
        return Stage.flush_stream(self, stream)


class Retag(Stage):
    """Gives each event the tag that it names."""

    Config = FilterConfig

    def apply(self, batch: Batch) -> Sequence[Batch]:
        tags: dict[str, list[tuple[int, Record]]] = {}
        for time, record in batch.events():
            tags.setdefault(record.get("tag", batch.tag), []).append((time, record))
        return [
            Batch(tag, batch.with_events(events).entries, len(events), batch.origin, batch.attributes)
            for tag, events in tags.items()
        ]

    def flush(self, now_s: float | None) -> Sequence[Batch]:
        return []

    def holds(self, stream: str) -> Collection[Origin]:
        return []


def _numbers(record: Record) -> list[int]:
    if "message" in record:
        return [int(number) for number in record["message"].split()]
    return record["n"] if isinstance(record["n"], list) else [record["n"]]


def make(step: type[Filter | Stage], **options: Any) -> Any:
    context = make_context(Path("/nonexistent"), step.__name__.lower(), kind="filter")
    return step(step.Config(type="toy", **options), context)


def make_multiline() -> MultilineStage:
    """The stage that comes with logflow; a blank at the beginning of a line says that it goes on."""
    context = make_context(Path("/nonexistent"), "multiline", kind="filter", clock=FakeClock())
    return MultilineStage(MultilineStage.Config(start="^[0-9]", by=["c"]), context)


class Bench:
    """Routes of (pattern, steps, outputs) over memory buffers."""

    def __init__(
        self,
        routes: list[tuple[str, list[Any], list[str]]],
        checkpoints: Checkpoints | None = None,
        **options: Any,
    ) -> None:
        self.clock = FakeClock()
        self.ledger = Ledger()
        self.checkpoints = checkpoints or Checkpoints(None)
        names = {name for _, _, outputs in routes for name in outputs}
        buffer = BufferOptions(flush_interval=0, **options)
        self.buffers = {
            name: MemoryBuffer(name, buffer, self.checkpoints, SystemClock()) for name in sorted(names)
        }
        made = [
            Route(
                pattern, compile_pattern(pattern), steps,
                [Target(name, self.buffers[name], self.ledger.account(pattern, name)) for name in outputs],
                self.ledger.account("(none)", "(none)"),
                clock=self.clock, boundaries=self.checkpoints.boundaries,
            )
            for pattern, steps, outputs in routes
        ]  # fmt: skip
        self.router = Router(made, self.ledger)
        self.emit = SourceEmit(self.router)

    async def take(self, name: str = "out") -> Chunk | None:
        """Take a chunk if there is one."""
        task = asyncio.ensure_future(self.buffers[name].take())
        for _ in range(5):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        return task.result()

    async def deliver(self, name: str = "out") -> list[Any]:
        """Deliver everything that waits; returns the events' numbers."""
        numbers: list[Any] = []
        while (chunk := await self.take(name)) is not None:
            numbers += [record["n"] for _, record in chunk.events()]
            await self.buffers[name].commit(chunk)
        return numbers


def batch(*events: Any, origin: Origin = None, tag: str = "app") -> Batch:
    """Numbers are whole events; negative ones go on with the next of their channel; dicts are as they are."""
    records = [
        e if isinstance(e, dict) else {"n": abs(e), "more": True} if e < 0 else {"n": e} for e in events
    ]
    return Batch.from_events(tag, [(1, record) for record in records], origin)


async def test_events_are_joined_over_batches_and_the_receipts_wait_for_it() -> None:
    """A file's position stays where nothing was held until all of it is safe."""
    bench = Bench([("**", [make(Join)], ["out"])])
    first = await bench.emit(batch(1, -2, origin=Span("a", 0, 10)))
    assert await bench.deliver() == []
    assert bench.ledger.account("**", "out").waiting == 2
    second = await bench.emit(batch(3, origin=Span("a", 10, 20)))
    assert not first.done
    assert await bench.deliver() == [[1], [2, 3]]
    assert first.done
    assert second.done
    assert bench.checkpoints.accepted("out", "a") == 20
    account = bench.ledger.account("**", "out")
    assert (account.read, account.delivered, account.dropped) == (3, 2, {"filter:toy": 1})
    assert account.balanced


async def test_what_is_held_goes_out_in_time_and_at_a_stop() -> None:
    """The host asks the stage; nothing waits for an event that does not come."""
    bench = Bench([("**", [make(Join)], ["out"])])
    first = await bench.emit(batch(-1, origin=Span("a", 0, 10)))
    bench.router.flush(0.5)
    assert await bench.deliver() == []
    bench.router.flush(2.0)
    assert await bench.deliver() == [[1]]
    second = await bench.emit(batch(-2, origin=Span("a", 10, 20)))
    await bench.router.flush_all()
    assert await bench.deliver() == [[2]]
    assert first.done
    assert second.done
    assert bench.ledger.balanced


@pytest.mark.parametrize("stage", [Join, Blind])
async def test_a_stage_that_always_holds_something_does_not_stop_its_file(stage: type[Stage]) -> None:
    """Every few seconds it is emptied, so that the position can move on."""
    bench = Bench([("**", [toy := make(stage)], ["out"])])
    toy.patience_s = 1000
    receipts = [
        await bench.emit(batch(number, -number, origin=Span("a", 10 * number, 10 * number + 10)))
        for number in range(1, 5)
    ]
    assert await bench.deliver() == []
    await bench.clock.advance(6)
    bench.router.flush(bench.clock.monotonic())
    assert [number for numbers in await bench.deliver() for number in numbers] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert all(receipt.done for receipt in receipts)
    assert bench.ledger.balanced


async def test_of_a_peer_what_is_whole_goes_on_at_once_and_acks_wait_for_what_is_held() -> None:
    """An ack is sent when nothing is held of its chunk any more, though later ones still are."""
    bench = Bench([("**", [make(Join)], ["out"])])
    keys = [DeliveryKey(bytes([number])) for number in range(4)]
    whole = await bench.emit(batch(1, origin=keys[0]))
    assert await bench.deliver() == [[1]]
    assert whole.done
    first = await bench.emit(batch(2, -3, origin=keys[1]))
    assert await bench.deliver() == [[2]]
    assert not first.done
    second = await bench.emit(batch(4, -5, origin=keys[2]))
    assert await bench.deliver() == [[3, 4]]
    assert first.done
    assert not second.done
    third = await bench.emit(batch(6, origin=keys[3]))
    assert await bench.deliver() == [[5, 6]]
    assert second.done
    assert third.done
    assert bench.ledger.balanced


async def test_a_repeat_of_what_passed_as_a_whole_is_recognised() -> None:
    """The peer's key goes with its batch; joined ones are recognised if they come again in their order."""
    bench = Bench([("**", [make(Join)], ["out"])])
    key, other = DeliveryKey(b"1"), DeliveryKey(b"2")
    for _ in range(2):
        await bench.emit(batch(1, 2, origin=key))
    assert await bench.deliver() == [[1], [2]]
    for _ in range(2):
        await bench.emit(batch(-3, origin=key))
        await bench.emit(batch(4, origin=other))
    assert await bench.deliver() == [[3, 4]]
    assert bench.ledger.account("**", "out").dropped["duplicate"] == 3
    assert bench.ledger.balanced


async def test_a_stage_that_fails_keeps_its_events() -> None:
    """KeyboardInterrupt among them: they pass as they were, and are counted."""
    bench = Bench([("**", [make(Join)], ["out"])])
    receipt = await bench.emit(batch({"n": 1, "fail": True}, origin=Span("a", 0, 10)))
    assert await bench.deliver() == [1]
    assert receipt.done
    assert bench.ledger.balanced


async def test_a_stage_that_fails_to_give_back_what_it_held_does_not_stop_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it held is dropped for a named reason."""
    bench = Bench([("**", [stage := make(Join)], ["out"])])
    receipt = await bench.emit(batch(1, -2, origin=Span("a", 0, 10)))

    def fail(_: Any) -> Any:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(stage, "flush", fail)
        await bench.router.flush_all()
    assert await bench.deliver() == [[1]]
    assert receipt.done
    assert bench.ledger.account("**", "out").dropped == {"filter_error:join": 1}
    assert bench.ledger.balanced


async def test_a_source_that_is_cancelled_takes_nothing_from_what_others_wait_for() -> None:
    """What a stage gave out is put into the buffer all the same, in order, when there is room."""
    bench = Bench([("**", [make(Join)], ["out"])], limit=1)
    await bench.emit(batch(0, origin=Span("a", 0, 10)))
    first = await bench.emit(batch(-1, origin=Span("a", 10, 20)))
    blocked = asyncio.ensure_future(bench.emit(batch(2, origin=Span("a", 20, 30))))
    await asyncio.sleep(0)
    blocked.cancel()
    await asyncio.gather(blocked, return_exceptions=True)
    later = asyncio.ensure_future(bench.emit(batch(3, origin=Span("a", 30, 40))))
    assert await bench.deliver() == [[0], [1, 2], [3]]
    assert first.done
    assert (await later).done
    assert bench.ledger.balanced


async def test_events_with_a_new_tag_are_routed_anew() -> None:
    """They leave the books of their first route, and their position waits for all of them."""
    bench = Bench([("app", [make(Retag)], ["out"]), ("db", [], ["other"])])
    receipt = await bench.emit(batch(1, {"n": 2, "tag": "db"}, 3, origin=Span("a", 0, 10)))
    assert await bench.deliver() == [1, 3]
    assert not receipt.done
    assert await bench.deliver("other") == [2]
    assert receipt.done
    assert bench.ledger.account("app", "out").read == 2
    assert bench.ledger.account("db", "other").read == 1
    assert bench.ledger.balanced


async def test_two_tags_of_one_span_at_one_output_are_told_apart() -> None:
    """That the output has taken the one does not mean that it has taken the other."""
    bench = Bench([("app", [make(Retag)], ["out"]), ("db", [], ["out"])])
    await bench.emit(batch(1, {"n": 2, "tag": "db"}, origin=Span("a", 0, 10)))
    chunk = await bench.take()
    assert chunk is not None
    await bench.buffers["out"].commit(chunk)

    # Another life, with the same journal: what was delivered is a repeat, the rest is not.
    again = Bench([("app", [make(Retag)], ["out"]), ("db", [], ["out"])], bench.checkpoints)
    await again.emit(batch(1, {"n": 2, "tag": "db"}, origin=Span("a", 0, 10)))
    first = [record["n"] for _, record in chunk.events()]
    assert first + await again.deliver() in ([1, 2], [2, 1])
    assert again.ledger.balanced


async def test_tags_that_go_in_circles_come_to_an_end() -> None:
    """At most eight times; then they go on where they are."""

    class Swap(Retag):
        def apply(self, batch: Batch) -> Sequence[Batch]:
            other = {"app": "db", "db": "app"}[batch.tag]
            return [Batch(other, batch.entries, batch.count, batch.origin)]

    bench = Bench([("app", [make(Swap)], ["out"]), ("db", [make(Swap)], ["out"])])
    receipt = await bench.emit(batch(1, origin=Span("a", 0, 10)))
    assert await bench.deliver() == [1]
    assert receipt.done
    assert bench.ledger.balanced


async def test_lines_that_a_peer_sends_are_joined_and_acknowledged_when_the_event_is_safe() -> None:
    """A delivery that ends in the middle of a trace waits for the rest of it; a repeat doubles nothing."""
    bench = Bench([("**", [make_multiline()], ["out"])])
    keys = [DeliveryKey(bytes([number])) for number in range(3)]

    def lines(*texts: str) -> list[Record]:
        return [{"message": text, "n": text} for text in texts]

    texts: list[str] = []
    for _ in range(2):
        first = await bench.emit(batch(*lines("1", "2"), origin=keys[0]))
        second = await bench.emit(batch(*lines(" 3"), origin=keys[1]))
        assert not first.done
        third = await bench.emit(batch(*lines("4"), origin=keys[2]))
        bench.router.flush(2.0)
        while (chunk := await bench.take()) is not None:
            texts += [record["message"] for _, record in chunk.events()]
            await bench.buffers["out"].commit(chunk)
        assert first.done
        assert second.done
        assert third.done
    assert texts == ["1", "2\n 3", "4"]
    assert bench.ledger.balanced


LINES = 16
LINE = 10


class Lives:
    """A file of lines of two channels, read by one life after another, and what arrived of it.

    The stage stands before one output; another one shares the file without it, so that it is cut elsewhere.
    """

    def __init__(self, path: Path, data: st.DataObject) -> None:
        self.path = path
        self.draw = data.draw
        self.delivered: dict[str, dict[bytes, list[int]]] = {"out": {}, "other": {}}
        self.stage = self.draw(st.sampled_from([lambda: make(Join), lambda: make(Blind), make_multiline]))
        self.lines = [self.line(number) for number in range(LINES)]

    def line(self, number: int) -> Record:
        """A line that says whether it goes on, to a stage and to ``multiline``."""
        more = self.draw(st.booleans())
        record: Record = {"n": number, "c": self.draw(st.integers(0, 1)), "more": more}
        return record | ({"message": f"{' ' * more}{number}"} if self.stage is make_multiline else {})

    async def live(self, *, last: bool) -> None:
        """Read on from the position, deliver some chunks, and die, unless it is the last life."""
        checkpoints = Checkpoints(self.path)
        checkpoints.open()
        bench = Bench(
            [("app", [self.stage()], ["out"]), ("copy", [], ["other"])],
            checkpoints, chunk_limit=self.draw(st.integers(1, 200)),
        )  # fmt: skip
        offset = checkpoints.streams("src").get("a", {"offset": 0})["offset"]
        boundaries = checkpoints.boundaries("a")
        self.pending: list[tuple[int, list[Receipt]]] = []
        while offset < LINES * LINE:
            end = min(offset + LINE * self.draw(st.integers(1, 4)), LINES * LINE)
            end = min([end, *(edge for edge in boundaries if edge > offset)])
            await self.read(bench, offset, end)
            offset = end
            if self.draw(st.booleans()) and await self.deliver(bench, last=last):
                return
        await bench.router.flush_all()
        while any(account.waiting for account in bench.ledger.accounts()):
            if await self.deliver(bench, last=last):
                return
        assert bench.ledger.balanced
        assert all(receipt.done for _, receipts in self.pending for receipt in receipts)

    async def read(self, bench: Bench, start: int, end: int) -> None:
        """Emit some lines, twice; now and then the stage is asked for what it has held for long enough."""
        events = [(1, record) for record in self.lines[start // LINE : end // LINE]]
        receipts = [
            await bench.emit(Batch.from_events(tag, events, Span("a", start, end))) for tag in ("app", "copy")
        ]
        self.pending.append((end, receipts))
        if self.draw(st.integers(0, 3)) == 0:
            bench.router.flush(2.0)
            await asyncio.sleep(0)

    async def deliver(self, bench: Bench, *, last: bool) -> bool:
        """Deliver a chunk; whether the process was killed before it could note that."""
        name = self.draw(st.sampled_from(["out", "other"]))
        if (chunk := await bench.take(name)) is None:
            return not last and self.draw(st.integers(0, 9)) == 0
        numbers = sorted(number for _, record in chunk.events() for number in _numbers(record))
        assert self.delivered[name].setdefault(chunk.id, numbers) == numbers
        if not last and self.draw(st.booleans()):
            return True
        await bench.buffers[name].commit(chunk)
        while self.pending and all(receipt.done for receipt in self.pending[0][1]):
            bench.checkpoints.save("src", "a", {"offset": self.pending.pop(0)[0]})
        if self.draw(st.booleans()):
            bench.checkpoints.flush()
        return False  # kill -9: what was not flushed is lost, as nothing closes the journal


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_killed_at_any_moment_each_event_of_a_file_arrives_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """An id always stands for the same lines, whatever the stage joins differently in another life.

    So a destination that knows ids ends up with every line once, at both outputs.
    """
    lives = Lives(tmp_path_factory.mktemp("journal") / "checkpoints", data)
    for _ in range(data.draw(st.integers(0, 4))):
        asyncio.run(lives.live(last=False))
    asyncio.run(lives.live(last=True))
    for chunks in lives.delivered.values():
        assert sorted(number for numbers in chunks.values() for number in numbers) == list(range(LINES))
