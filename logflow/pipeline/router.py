"""Takes batches from sources through filters into the buffers of their outputs.

Every event that enters is at each moment in exactly one place: in the hands of the call that brought it,
held by a stage, or in a buffer. A call that is cancelled gives back what it still has in hand, as the source
will read it again. What came out of a stage belongs to earlier calls too, so that work on it goes on when the
call that happened to bring it out is cancelled; batches of one stream follow each other into the buffers in
the order in which they came out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from logflow.batch import Batch, Span
from logflow.pipeline.chain import Chain
from logflow.pipeline.flow import Failed, Flow, Passage, Way
from logflow.pipeline.routes import UNROUTED, Plans, Route, Target
from logflow.receipt import Receipt
from logflow.telemetry.blocked import BlockedOn
from logflow.telemetry.ledger import Account, Ledger

__all__ = ["LOST", "UNROUTED", "Route", "Router", "SourceEmit", "Target"]

LOST = "stopped"
"""Why events are dropped that nobody can give us again once the process has ended."""

_WARNED_TAGS = 100
_MOST_REROUTES = 8
_POLL_S = 0.02

_log = logging.getLogger("logflow.routes")

Letters = Callable[[Failed], Awaitable[None]]
"""Keeps events for which a filter failed as a dead letter; waits while there is no room."""


@dataclass
class _Work:
    """What one call has in hand."""

    placements: list[tuple[Target, Flow]] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    in_hand: Counter[Account] = field(default_factory=Counter)

    def enter(self, way: Way, events: int) -> None:
        for account in way.accounts:
            account.enter(events)
        self.hold(way, events)

    def hold(self, way: Way, events: int) -> None:
        """Have more events in hand, or fewer, which are accounted for already."""
        for account in way.accounts:
            self.in_hand[account] += events

    def drop(self, way: Way, events: int, reason: str) -> None:
        for account in way.accounts:
            account.drop(events, reason)
        self.hold(way, -events)

    def book(self, passage: Passage, flows: Sequence[Flow], *, staged: bool) -> None:
        """Enter into the books what became of a batch in a chain."""
        if staged:  # what went in was let go; what came out is in hand, whoever brought it
            for way, _, events in passage.drops:
                self.hold(way, events)
            for way, events in passage.made:
                self.hold(way, -events)
            for flow in (*flows, *passage.retagged):
                self.hold(flow.way, flow.batch.count)
            for failed in passage.failed:
                self.hold(failed.way, failed.batch.count)
        for way, events in passage.made:
            self.enter(way, events)
        for way, reason, events in passage.drops:
            self.drop(way, events, reason)
        self.failed += passage.failed

    def give_back(self, *, again: bool) -> None:
        """The call ends before its time; ``again`` says whether its source can give the events again."""
        for account, events in self.in_hand.items():
            _give_up(account, events, again=again)


class Router:
    """Finds the routes of a tag and puts batches into the buffers of their outputs."""

    def __init__(
        self,
        routes: Sequence[Route],
        ledger: Ledger,
        *,
        unrouted: str | Target = "warn",
        letters: Letters | None = None,
    ) -> None:
        """Route by ``routes``; events that none of them takes are dropped with a warning.

        With ``unrouted="error"`` they are held back, with a target they go there.
        """
        targets = (unrouted,) if isinstance(unrouted, Target) else ()
        rest = Route(UNROUTED, lambda _: True, (), targets, ledger.account(UNROUTED, UNROUTED))
        self.routes = tuple(routes)
        self._plans = Plans(self.routes, rest)
        self._rest = rest
        chains = {id(chain): chain for route in (*routes, rest) for chain in route.chains}
        self.steps = [step for chain in chains.values() for step in chain.steps]
        """Every filter and stage, in the host's hands."""
        self.filters = [step.step for step in self.steps]
        self._refuses = unrouted == "error"
        self._letters = letters
        self._warned: set[str] = set()
        self._under_way: set[asyncio.Task[Receipt]] = set()
        self._last: dict[str, asyncio.Future[None]] = {}
        self._flushing: set[Chain] = set()
        self._flush_waits: Counter[str] = Counter()
        self._passing = 0
        self._successor: Router | None = None
        self._handed_over = asyncio.Event()

    def route(self, tag: str) -> Route:
        """Find the first route that matches; a last one takes what no other wants."""
        return self._plans.plan(tag)[0]

    def account(self, tag: str, output: str) -> Account | None:
        """The account of a tag's events at an output; ``None`` if no route leads there."""
        return next((t.account for t in self._targets(tag) if t.output == output), None)

    def _targets(self, tag: str) -> list[Target]:
        return [target for route in self._plans.plan(tag) for target in route.targets]

    # -- in ---------------------------------------------------------------------------------------

    async def dispatch(self, batch: Batch, blocked_on: Counter[str]) -> Receipt:
        """Filter a batch and put it into every buffer that its routes lead to.

        Args:
            batch: what a source emitted.
            blocked_on: counts, by output, who waits for room right now.
        """
        if self._successor is not None:
            return await self._hand_on(batch, blocked_on)
        ways = self._plans.ways(batch)
        if len(ways) == 1 and not (route := ways[0][0]).chains and route.targets:
            return await self._put(batch, route, blocked_on)
        if ways and ways[-1][0] is self._rest and not self._rest.targets:
            await self._warn_of_unrouted(batch.tag, blocked_on)
        work = self._route(ways, blocked_on)
        if any(route.staged for route, _ in ways):
            return await asyncio.shield(self._start(work))
        self._passing += 1
        try:
            return await work
        finally:
            self._passing -= 1

    async def _put(self, batch: Batch, route: Route, blocked_on: Counter[str]) -> Receipt:
        """The usual way, without filters: straight into the buffers."""
        if not batch.count and not isinstance(batch.origin, Span):
            return Receipt(0)
        targets = route.targets
        receipt = Receipt(len(targets))
        for target in targets:
            target.account.enter(batch.count)
        left = deque(targets if len(targets) == 1 else sorted(targets, key=_is_full))
        try:
            while left:
                target = left[0]
                # A put may wait though the buffer is not full, namely for room for this very batch.
                blocked_on[target.output] += 1
                try:
                    await target.buffer.put(batch, target.account, receipt)
                finally:
                    blocked_on[target.output] -= 1
                left.popleft()
        except BaseException:
            for target in left:
                _give_up(target.account, batch.count, again=can_come_again(batch))
            raise
        return receipt

    def _start(self, work: Coroutine[None, None, Receipt]) -> asyncio.Task[Receipt]:
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _warn_of_unrouted(self, tag: str, blocked_on: Counter[str]) -> None:
        if tag not in self._warned and len(self._warned) <= _WARNED_TAGS:
            self._warned.add(tag)
            if len(self._warned) > _WARNED_TAGS:
                _log.warning(
                    "Events of more than %d tags match no route; further tags are not named.", _WARNED_TAGS
                )
            else:
                what = "are held back" if self._refuses else "are dropped"
                _log.warning("No route takes events of the tag %s: they %s.", tag, what)
        if self._refuses:  # nothing of it is acknowledged until the configuration changes
            async with _counted(blocked_on, UNROUTED):
                await asyncio.Event().wait()

    async def _route(self, ways: list[tuple[Route, Batch]], blocked_on: Counter[str]) -> Receipt:
        receipt = Receipt(1 + len(ways))
        work = _Work()
        try:
            for route, batch in ways:
                work.enter(route, batch.count)
                await self._pass(Flow(batch, (receipt,), route), route, work, 0)
            await self._place(work, blocked_on)
        except BaseException:
            work.give_back(again=all(can_come_again(batch) for _, batch in ways))
            raise
        receipt.settle()
        return receipt

    async def _pass(self, flow: Flow, route: Route, work: _Work, reroutes: int) -> None:
        """Pass a batch through a route, of which it is in hand."""
        if not route.targets:
            work.drop(route, flow.batch.count, "unrouted" if route is self._rest else "discarded")
            _settle(flow)
        elif route.chain is None:
            await self._pass_on([flow], route, work)
        else:
            passage = Passage()
            if route.chain.staged:
                work.hold(route, -flow.batch.count)
            flows = await route.chain.run(flow, passage)
            await self._leave_chain(flows, route, passage, work, reroutes)

    async def _leave_chain(
        self, flows: list[Flow], route: Route, passage: Passage, work: _Work, reroutes: int
    ) -> None:
        """What came out of a route's filters goes to its outputs, or is routed anew."""
        assert route.chain is not None
        work.book(passage, flows, staged=route.chain.staged)
        if reroutes < _MOST_REROUTES:
            for flow in passage.retagged:
                await self._reroute(flow, work, reroutes + 1)
        elif passage.retagged:
            _log.warning(
                "Events were given a new tag %d times, %s at last; they go on where they are.",
                _MOST_REROUTES, passage.retagged[0].batch.tag,
            )  # fmt: skip
            flows = [*flows, *passage.retagged]
        await self._pass_on(flows, route, work)

    async def _reroute(self, flow: Flow, work: _Work, reroutes: int) -> None:
        """A stage changed the tag: the events leave their route and come to those of the new tag."""
        for account in flow.way.accounts:
            account.give_back(flow.batch.count)
        work.hold(flow.way, -flow.batch.count)
        ways = self._plans.ways(flow.batch)
        for receipt in flow.receipts:
            receipt.expect(len(ways))
        for route, batch in ways:
            work.enter(route, batch.count)
            await self._pass(Flow(batch, flow.receipts, route, flow.staged), route, work, reroutes)
        _settle(flow)

    async def _pass_on(self, flows: Sequence[Flow], route: Route, work: _Work) -> None:
        """What a route lets through goes to each of its outputs, through the filters of that output."""
        for flow in flows:
            for receipt in flow.receipts:
                receipt.expect(len(route.targets) - 1)
            for target in route.targets:
                own = replace(flow, way=target)
                if target.chain is None:
                    work.placements.append((target, own))
                    continue
                passage = Passage()
                if target.chain.staged:
                    work.hold(target, -own.batch.count)
                out = await target.chain.run(own, passage)
                self._leave_output(out, target.chain, passage, work)

    @staticmethod
    def _leave_output(flows: list[Flow], chain: Chain, passage: Passage, work: _Work) -> None:
        work.book(passage, flows, staged=chain.staged)
        for flow in flows:
            assert isinstance(flow.way, Target)
            work.placements.append((flow.way, flow))

    # -- into the buffers -------------------------------------------------------------------------

    async def _place(self, work: _Work, blocked_on: Counter[str]) -> None:
        streams = {flow.batch.stream for _, flow in work.placements if flow.staged}
        async with self._in_order(streams):
            for failed in work.failed:
                if self._letters is not None:
                    await self._letters(failed)
                work.drop(failed.way, failed.batch.count, "dead_letter:filter_error")
            # Whoever has room gets the batch before we wait for the others.
            for target, flow in sorted(work.placements, key=lambda placement: _is_full(placement[0])):
                batch = flow.batch
                if not batch.count and not isinstance(batch.origin, Span):
                    _settle(flow)
                    continue
                async with _counted(blocked_on, target.output):
                    await target.buffer.put(batch, target.account, _joint(flow.receipts))
                work.hold(target, -batch.count)

    @asynccontextmanager
    async def _in_order(self, streams: set[str]) -> AsyncIterator[None]:
        """Wait until what came out of stages before, of the same streams, is in its buffers."""
        if not streams:
            yield
            return
        before = [self._last[stream] for stream in streams if stream in self._last]
        done = asyncio.get_running_loop().create_future()
        self._last.update(dict.fromkeys(streams, done))
        try:
            if before:
                await asyncio.wait(before)
            yield
        finally:
            done.set_result(None)
            for stream in streams:
                if self._last.get(stream) is done:
                    del self._last[stream]

    # -- stages, in time --------------------------------------------------------------------------

    @property
    def _speaking(self) -> list[tuple[Route, Chain]]:
        """Every chain that may give out more than it gets once, those of routes before those of outputs."""
        chains: dict[Chain, Route] = {}
        for route in self.routes:
            if route.chain is not None and route.chain.speaks:
                chains.setdefault(route.chain, route)
        for route in (*self.routes, self._rest):
            for target in route.targets:
                if target.chain is not None and target.chain.speaks:
                    chains.setdefault(target.chain, route)
        return [(route, chain) for chain, route in chains.items()]

    @property
    def speaks(self) -> bool:
        """Whether there are stages, which may hold events, or filters that tell what they did."""
        return bool(self._speaking)

    def flush(self, now_s: float) -> None:
        """Have stages give out what they held for long enough, and filters what they have to tell.

        Does not wait for buffers that are full.
        """
        for route, chain in self._speaking:
            if chain not in self._flushing:
                self._flushing.add(chain)
                task = self._start(self._flush(route, chain, now_s))
                task.add_done_callback(lambda _, chain=chain: self._flushing.discard(chain))  # type: ignore[misc]

    async def flush_all(self) -> None:
        """Have stages give out everything, and wait until all that is under way is in its buffers."""
        for route, chain in self._speaking:
            self._start(self._flush(route, chain, None))
            while self._under_way:
                await asyncio.wait(self._under_way)

    async def _flush(self, route: Route, chain: Chain, now_s: float | None) -> Receipt:
        passage, work = Passage(), _Work()
        try:
            flows = await chain.flush(now_s, passage)
            if chain is route.chain:
                await self._leave_chain(flows, route, passage, work, 0)
            else:
                self._leave_output(flows, chain, passage, work)
            await self._place(work, self._flush_waits)
        except BaseException:
            work.give_back(again=True)
            raise
        return Receipt(0)

    async def retire(self, successor: Router) -> None:
        """Hand over to another router: what comes to this one from now on goes there.

        What goes through stages waits until they have given out what they hold, so that the events of a
        stream keep their order. Returns when nothing passes through this router any more.
        """
        successor._last = self._last
        self._successor = successor
        await self.flush_all()
        self._handed_over.set()
        while self._passing:  # noqa: ASYNC110 - rare, and each batch is to pass without waking anybody
            await asyncio.sleep(_POLL_S)
        await self.close()

    async def _hand_on(self, batch: Batch, blocked_on: Counter[str]) -> Receipt:
        assert self._successor is not None
        if any(route.staged for route in self._plans.plan(batch.tag)):
            await self._handed_over.wait()
        return await self._successor.dispatch(batch, blocked_on)

    # -- room -------------------------------------------------------------------------------------

    async def wait_for_room(self, tag: str, blocked_on: Counter[str]) -> None:
        """Wait until every buffer that the tag goes to has room."""
        if self._refuses and self.route(tag) is self._rest:
            await self._warn_of_unrouted(tag, blocked_on)
        targets = self._targets(tag)
        while (full := next((target for target in targets if target.buffer.full), None)) is not None:
            async with _waiting_for(full, blocked_on):
                await full.buffer.wait_for_room()

    def full(self, tag: str) -> bool:
        """Whether a buffer that the tag goes to has no room."""
        plan = self._plans.plan(tag)
        if self._refuses and plan[0] is self._rest:
            return True
        return any(target.buffer.full for route in plan for target in route.targets)

    def drop(self, tag: str, events: int, reason: str) -> None:
        """Account for events that no batch could be made of, where they would have gone."""
        for account in self.route(tag).accounts:
            account.enter(events)
            account.drop(events, reason)

    async def close(self) -> None:
        """End what is under way and what routes keep running."""
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)
        for route in (*self.routes, self._rest):
            for chain in route.chains:
                chain.close()


def can_come_again(batch: Batch) -> bool:
    """Whether the source reads the events again, or is sent them again, as it has not acknowledged them."""
    return batch.origin is not None or bool(batch.attributes.get("acknowledged"))


def _give_up(account: Account, events: int, *, again: bool) -> None:
    if again:
        account.give_back(events)
    else:
        account.drop(events, LOST)


def _is_full(target: Target) -> bool:
    return target.buffer.full


def _settle(flow: Flow) -> None:
    for receipt in flow.receipts:
        receipt.settle()


def _joint(receipts: Sequence[Receipt]) -> Receipt:
    """A receipt that settles a part of each of several."""
    if len(receipts) == 1:
        return receipts[0]
    joint = Receipt(1)
    for receipt in receipts:
        joint.add_done_callback(receipt.settle)
    return joint


@asynccontextmanager
async def _waiting_for(target: Target, blocked_on: Counter[str]) -> AsyncIterator[None]:
    if not target.buffer.full:
        yield
        return
    async with _counted(blocked_on, target.output):
        yield


@asynccontextmanager
async def _counted(blocked_on: Counter[str], what: str) -> AsyncIterator[None]:
    blocked_on[what] += 1
    try:
        yield
    finally:
        blocked_on[what] -= 1


class SourceEmit:
    """The ``Emit`` of one source; remembers what it waits for."""

    def __init__(
        self,
        router: Router,
        name: str = "",
        *,
        acknowledges: bool = False,
        refuse: Callable[[Batch, str], Awaitable[None]] | None = None,
    ) -> None:
        """Hand on what the source ``name`` emits; ``acknowledges`` as :attr:`Source.acknowledges`.

        ``refuse`` keeps events that can never be used.
        """
        self._router = router
        self._refuse = refuse
        self._attributes: dict[str, Any] = {"source": name} if name else {}
        if acknowledges:
            self._attributes["acknowledged"] = True
        self._always = acknowledges
        self.blocked_on = BlockedOn()
        self.open_batches = 0
        """Batches that are not safe yet."""
        self.open_spans = 0
        """Those among them that could be read again."""

    def follow(self, router: Router) -> None:
        """From now on hand on to another router."""
        self._router = router

    async def __call__(self, batch: Batch) -> Receipt:
        """Admit a batch."""
        if self._always or (self._router.filters and self._attributes):  # nobody else looks at attributes
            batch = replace(batch, attributes={**self._attributes, **batch.attributes})
        span = isinstance(batch.origin, Span)
        self.open_batches += 1
        self.open_spans += span
        try:
            receipt = await self._router.dispatch(batch, self.blocked_on)
        except BaseException:
            self._closed(span=span)
            raise
        receipt.add_done_callback(self._span_closed if span else self._closed)
        return receipt

    def _span_closed(self) -> None:
        self._closed(span=True)

    def _closed(self, *, span: bool = False) -> None:
        self.open_batches -= 1
        self.open_spans -= span

    async def ready(self, tag: str) -> None:
        """Wait until there is room for the tag."""
        if self._router.full(tag):
            await self._router.wait_for_room(tag, self.blocked_on)

    def full(self, tag: str) -> bool:
        """Whether there is no room for the tag."""
        return self._router.full(tag)

    def dropped(self, tag: str, events: int, reason: str) -> None:
        """Account for events that can never be used."""
        self._router.drop(tag, events, reason)

    async def refused(self, batch: Batch, why: str) -> None:
        """Keep events that can never be used."""
        if self._refuse is not None:
            await self._refuse(batch, why)
