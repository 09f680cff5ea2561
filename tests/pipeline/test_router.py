"""The router: first match wins, filters count what they drop, full buffers hold back only their own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from logflow.batch import Batch, Span
from logflow.buffers.memory import MemoryBuffer
from logflow.clock import SystemClock
from logflow.component import Filter
from logflow.config.options import BufferOptions, FilterConfig
from logflow.patterns import compile_pattern
from logflow.pipeline.router import Route, Router, SourceEmit, Target
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Ledger
from logflow.testing import make_context


class KeepEven(Filter):
    """Keeps events whose n is even."""

    Config = FilterConfig

    def apply(self, batch: Batch) -> Batch | None:
        kept = [(time, record) for time, record in batch.events() if record["n"] % 2 == 0]
        return Batch.from_events(batch.tag, kept, batch.origin) if kept else None


def make(step: type[Filter], **options: Any) -> Filter:
    """Make a filter as the host would."""
    context = make_context(Path("/nonexistent"), options.get("name", "even"), kind="filter")
    return step(step.Config(type="even", **options), context)


class Bench:
    def __init__(self, routes: list[tuple[str, list[Filter], list[str]]], **options: Any) -> None:
        self.ledger = Ledger()
        outputs = {name for _, _, names in routes for name in names}
        self.buffers = {
            name: MemoryBuffer(name, BufferOptions(**options), Checkpoints(None), SystemClock())
            for name in outputs
        }
        self.router = Router(
            [
                Route(
                    pattern,
                    compile_pattern(pattern),
                    filters,
                    [Target(name, self.buffers[name], self.ledger.account(pattern, name)) for name in names],
                    self.ledger.account(pattern, "(none)"),
                )
                for pattern, filters, names in routes
            ],
            self.ledger,
        )
        self.emit = SourceEmit(self.router)

    async def deliver(self, name: str) -> list[int]:
        chunk = await asyncio.wait_for(self.buffers[name].take(), 5)
        await self.buffers[name].commit(chunk)
        return [record["n"] for _, record in chunk.events()]


def numbers(*values: int, tag: str = "app", span: Span | None = None) -> Batch:
    return Batch.from_events(tag, [(1, {"n": value}) for value in values], span)


async def test_the_first_match_wins() -> None:
    """A tag goes to the first route that matches it, and to no other."""
    bench = Bench([("app", [], ["a"]), ("**", [], ["b"])])
    await bench.emit(numbers(1))
    await bench.emit(numbers(2, tag="db"))
    assert await bench.deliver("a") == [1]
    assert await bench.deliver("b") == [2]


async def test_every_output_of_a_route_gets_every_event() -> None:
    """The receipt resolves after all of them."""
    bench = Bench([("**", [], ["a", "b"])])
    receipt = await bench.emit(numbers(1))
    await bench.deliver("a")
    assert not receipt.done
    await bench.deliver("b")
    assert receipt.done


async def test_unrouted_events_are_counted() -> None:
    """No route: the receipt resolves, and the drop has a name."""
    bench = Bench([("app", [], ["a"])])
    assert (await bench.emit(numbers(1, 2, tag="other"))).done
    assert bench.ledger.account("(none)", "(none)").dropped == {"unrouted": 2}


async def test_a_route_without_outputs_drops_on_purpose() -> None:
    """`outputs: []` is counted as discarded, under the route's name."""
    bench = Bench([("app", [], [])])
    assert (await bench.emit(numbers(1))).done
    assert bench.ledger.account("app", "(none)").dropped == {"discarded": 1}


async def test_filters_drop_for_a_reason_in_every_account() -> None:
    """What a filter drops is accounted for at each output."""
    bench = Bench([("**", [make(KeepEven)], ["a", "b"])])
    await bench.emit(numbers(1, 2, 3, 4))
    assert await bench.deliver("a") == [2, 4]
    for output in ("a", "b"):
        account = bench.ledger.account("**", output)
        assert account.dropped == {"filter:even": 2}
        assert account.balanced


@pytest.mark.parametrize("span", [None, Span("s", 0, 10)])
async def test_a_batch_that_is_filtered_away_settles(span: Span | None) -> None:
    """Nothing left: the receipt resolves, so that the position can move on."""
    bench = Bench([("**", [make(KeepEven)], ["a"])])
    receipt = await bench.emit(numbers(1, span=span))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bench.buffers["a"].take(), 0.02)
    assert receipt.done
    assert bench.ledger.balanced


async def test_large_batches_are_filtered_in_order() -> None:
    """Filtering in a thread gives the same result."""
    bench = Bench([("**", [make(KeepEven)], ["a"])])
    await bench.emit(numbers(*range(30_000)))
    assert await bench.deliver("a") == list(range(0, 30_000, 2))
    await bench.router.close()


async def test_a_full_output_does_not_keep_a_batch_from_another() -> None:
    """The output with room gets the batch at once; who waits for whom can be seen."""
    bench = Bench([("**", [], ["a", "b"])], limit=1)
    await bench.emit(numbers(1))
    await bench.deliver("b")
    blocked = asyncio.ensure_future(bench.emit(numbers(2)))
    assert await bench.deliver("b") == [2]
    assert not blocked.done()
    assert +bench.emit.blocked_on == {"a": 1}
    assert bench.emit.full("app")
    assert await bench.deliver("a") == [1]
    await asyncio.wait_for(blocked, 5)
    assert +bench.emit.blocked_on == {}


async def test_a_full_output_does_not_hold_back_other_routes() -> None:
    """Another tag's route goes on while one is blocked."""
    bench = Bench([("slow", [], ["a"]), ("**", [], ["b"])], limit=1)
    await bench.emit(numbers(1, tag="slow"))
    blocked = asyncio.ensure_future(bench.emit(numbers(2, tag="slow")))
    await asyncio.wait_for(bench.emit(numbers(3, tag="fast")), 5)
    await asyncio.wait_for(bench.emit.ready("fast2"), 5) if not bench.emit.full("fast2") else None
    assert await bench.deliver("b") == [3]
    assert not blocked.done()
    blocked.cancel()


async def test_a_cancelled_emit_leaves_the_ledger_balanced() -> None:
    """Events that were not taken over are given back: their source still holds them."""
    bench = Bench([("**", [make(KeepEven)], ["a", "b"])], limit=1)
    await bench.emit(numbers(2))
    await bench.deliver("b")
    blocked = asyncio.ensure_future(bench.emit(numbers(3, 4)))
    await asyncio.sleep(0.01)
    blocked.cancel()
    await asyncio.gather(blocked, return_exceptions=True)
    assert bench.ledger.balanced
    assert bench.ledger.account("**", "a").waiting == bench.buffers["a"].waiting.events
    assert bench.ledger.account("**", "b").waiting == bench.buffers["b"].waiting.events


async def test_ready_waits_for_room() -> None:
    """A source can wait before it reads."""
    bench = Bench([("**", [], ["a"])], limit=1)
    await bench.emit(numbers(1))
    ready = asyncio.ensure_future(bench.emit.ready("app"))
    await asyncio.sleep(0)
    assert not ready.done()
    await bench.deliver("a")
    await asyncio.wait_for(ready, 5)


async def test_the_cache_of_tags_is_bounded() -> None:
    """Tags come from outside: a flood of them is not remembered for ever."""
    bench = Bench([("**", [], ["a"])])
    for number in range(25_000):
        bench.router.route(f"tag.{number}")
    assert len(bench.router._plans._plans) <= 10_000
