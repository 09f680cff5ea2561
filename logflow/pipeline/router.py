"""Routes: which filters and outputs a tag's events go through. The first match wins."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from logflow.batch import Batch, Span
from logflow.buffers.base import Buffer
from logflow.component import Filter
from logflow.receipt import Receipt
from logflow.telemetry.ledger import Account, Ledger

_CACHED_TAGS = 10_000
_INLINE_FILTER_BYTES = 64 * 1024
"""Batches above this are filtered in a thread, so that the event loop is not held up."""

UNROUTED = "(none)"


@dataclass(frozen=True)
class Target:
    """An output of a route, as far as the router is concerned."""

    output: str
    buffer: Buffer
    account: Account


@dataclass
class Route:
    """A tag pattern, the filters that its events pass, and where they go."""

    pattern: str
    matches: Callable[[str], bool]
    filters: Sequence[Filter]
    targets: Sequence[Target]
    discards: Account
    """Where events are accounted for when there is no target."""
    _lane: ThreadPoolExecutor | None = field(default=None, repr=False)

    async def filter(self, batch: Batch) -> tuple[Batch, Counter[str]]:
        """Pass a batch through the filters; also says how many events each kind of them dropped."""
        if not self.filters:
            return batch, Counter()
        if len(batch.entries) < _INLINE_FILTER_BYTES:
            return self._filter(batch)
        if self._lane is None:  # one thread per route, as filters are called by one at a time
            self._lane = ThreadPoolExecutor(1, thread_name_prefix="filters")
        return await asyncio.get_running_loop().run_in_executor(self._lane, self._filter, batch)

    def _filter(self, batch: Batch) -> tuple[Batch, Counter[str]]:
        dropped: Counter[str] = Counter()
        for step in self.filters:
            kept = step.apply(batch)
            if kept is None:
                kept = batch.with_entries(b"", 0)
            if kept.count < batch.count:
                dropped[f"filter:{step.config.type}"] += batch.count - kept.count
            batch = kept
            if not batch.count:
                break
        return batch, dropped

    def close(self) -> None:
        """End the filters' thread."""
        if self._lane is not None:
            self._lane.shutdown(wait=False)


class Router:
    """Finds the route of a tag and puts batches into the buffers of its outputs."""

    def __init__(self, routes: Sequence[Route], ledger: Ledger) -> None:
        self._unrouted = Route(
            UNROUTED, lambda _: True, (), (), ledger.account(UNROUTED, UNROUTED)
        )  # fmt: skip
        self.routes = tuple(routes)
        self._cache: dict[str, Route] = {}

    def route(self, tag: str) -> Route:
        """Find the first route that matches; a last one takes what no other wants."""
        found = self._cache.get(tag)
        if found is None:
            found = next((route for route in self.routes if route.matches(tag)), self._unrouted)
            if len(self._cache) >= _CACHED_TAGS:  # tags can come from outside: bounded
                self._cache.clear()
            self._cache[tag] = found
        return found

    def account(self, tag: str, output: str) -> Account | None:
        """The account of a tag's events at an output; ``None`` when its route does not lead there."""
        return next((t.account for t in self.route(tag).targets if t.output == output), None)

    async def dispatch(self, batch: Batch, blocked_on: Counter[str]) -> Receipt:
        """Filter a batch and put it into every buffer of its route.

        Args:
            batch: what a source emitted.
            blocked_on: counts, by output, who waits for room right now.
        """
        route = self.route(batch.tag)
        if not route.targets:
            reason = "unrouted" if route is self._unrouted else "discarded"
            route.discards.enter(batch.count)
            route.discards.drop(batch.count, reason)
            return Receipt(0)
        for target in route.targets:
            target.account.enter(batch.count)
        unplaced = {target.output: target for target in route.targets}
        held = batch.count
        try:
            batch, dropped = await route.filter(batch)
            for target in route.targets:
                for reason, events in dropped.items():
                    target.account.drop(events, reason)
            held = batch.count
            receipt = Receipt(len(route.targets))
            if not batch.count and not isinstance(batch.origin, Span):
                return Receipt(0)
            # Whoever has room gets the batch before we wait for the others.
            for target in sorted(route.targets, key=lambda target: target.buffer.full):
                async with _waiting_for(target, blocked_on):
                    await target.buffer.put(batch, target.account, receipt)
                del unplaced[target.output]
        except BaseException:
            for target in unplaced.values():
                target.account.give_back(held)
            raise
        return receipt

    async def wait_for_room(self, tag: str, blocked_on: Counter[str]) -> None:
        """Wait until every buffer that the tag goes to has room."""
        targets = self.route(tag).targets
        while (full := next((target for target in targets if target.buffer.full), None)) is not None:
            async with _waiting_for(full, blocked_on):
                await full.buffer.wait_for_room()

    def full(self, tag: str) -> bool:
        """Whether a buffer that the tag goes to has no room."""
        return any(target.buffer.full for target in self.route(tag).targets)

    def close(self) -> None:
        """End what routes keep running."""
        for route in self.routes:
            route.close()


@asynccontextmanager
async def _waiting_for(target: Target, blocked_on: Counter[str]) -> AsyncIterator[None]:
    if not target.buffer.full:
        yield
        return
    blocked_on[target.output] += 1
    try:
        yield
    finally:
        blocked_on[target.output] -= 1


class SourceEmit:
    """The ``Emit`` of one source; remembers what it waits for."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.blocked_on: Counter[str] = Counter()

    async def __call__(self, batch: Batch) -> Receipt:
        """Admit a batch."""
        return await self._router.dispatch(batch, self.blocked_on)

    async def ready(self, tag: str) -> None:
        """Wait until there is room for the tag."""
        if self._router.full(tag):
            await self._router.wait_for_room(tag, self.blocked_on)

    def full(self, tag: str) -> bool:
        """Whether there is no room for the tag."""
        return self._router.full(tag)
