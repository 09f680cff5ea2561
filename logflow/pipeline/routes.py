"""Which way a tag's events go: routes from top to bottom.

::

    batch ─► routes that match, from top to bottom ─► filters ─► outputs ─► filters of the output ─► buffer
                 │          │                            │
                 │          └ continue: a copy goes on   └ a stage changed the tag: routed anew
                 └ where: the rest goes on

The first route that takes an event ends its way, unless it says ``continue``. Of one span several batches may
reach the same output: by two routes, or under two tags. Each has a *lane*, which says how it came there, so
that buffers can tell how much of each they have accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Protocol

from logflow.batch import Batch, DeliveryKey, Span
from logflow.buffers.base import Buffer
from logflow.clock import Clock, SystemClock
from logflow.component import Filter, Stage
from logflow.pipeline.chain import Chain
from logflow.pipeline.staging import Boundaries
from logflow.telemetry.ledger import Account

_CACHED_TAGS = 10_000

UNROUTED = "(none)"


class RouteCondition(Protocol):
    """What a ``where:`` says: which events of a batch it is true for."""

    def split(self, batch: Batch) -> tuple[Batch, Batch]:
        """Return the events that fulfil it and the others, each in order and maybe empty. Never raises."""
        ...


@dataclass(eq=False)
class Target:
    """An output, as far as the router is concerned."""

    output: str
    buffer: Buffer
    account: Account
    chain: Chain | None = None
    """The output's own filters; the same for all routes that lead there."""

    @property
    def accounts(self) -> Sequence[Account]:
        """Where events on their way to the output are accounted for."""
        return (self.account,)


def _no_boundaries(_: str) -> Sequence[int]:
    return ()


@dataclass(eq=False)
class Route:
    """A tag pattern, the filters that its events pass, and where they go.

    Attributes:
        pattern: which tags it matches, as it was written.
        matches: whether it matches a tag.
        filters: filters and stages, in order.
        targets: its outputs.
        discards: where events are accounted for if there is no target.
        where: which events of the matching tags it takes; ``None`` is all of them.
        onward: whether a copy, as it was before the filters, goes on to the routes below.
        name: the pattern, made distinct where it comes twice.
    """

    pattern: str
    matches: Callable[[str], bool]
    filters: Sequence[Filter | Stage]
    targets: Sequence[Target]
    discards: Account
    where: RouteCondition | None = None
    onward: bool = False
    name: str = ""
    clock: Clock = field(default_factory=SystemClock)
    boundaries: Boundaries = _no_boundaries

    def __post_init__(self) -> None:
        self.name = self.name or self.pattern
        self.chain = Chain(self.filters, self.clock, self.boundaries, reroute=True) if self.filters else None
        self.chains = [chain for chain in (self.chain, *(t.chain for t in self.targets)) if chain is not None]
        self.staged = any(chain.staged for chain in self.chains)
        self.accounts = tuple(target.account for target in self.targets) or (self.discards,)

    @property
    def final(self) -> bool:
        """Whether no event that it matches goes on to the routes below."""
        return self.where is None and not self.onward


class Plans:
    """Tells, for each tag, which routes its events come to."""

    def __init__(self, routes: Sequence[Route], rest: Route) -> None:
        """Use ``routes``, from top to bottom; ``rest`` gets what none of them takes."""
        self._routes = routes
        self.rest = rest
        self._plans: dict[str, tuple[Route, ...]] = {}

    def plan(self, tag: str) -> tuple[Route, ...]:
        """The routes that a tag's events come to, in order."""
        found = self._plans.get(tag)
        if found is None:
            found = self._find(tag)
            if len(self._plans) >= _CACHED_TAGS:  # tags can come from outside: bounded
                self._plans.clear()
            self._plans[tag] = found
        return found

    def _find(self, tag: str) -> tuple[Route, ...]:
        routes: list[Route] = []
        for route in self._routes:
            if route.matches(tag):
                routes.append(route)
                if route.final:
                    return tuple(routes)
        claimed = any(route.where is None for route in routes)  # a copy of everything went somewhere
        return tuple(routes) if claimed else (*routes, self.rest)

    def ways(self, batch: Batch) -> list[tuple[Route, Batch]]:
        """Which routes take which part of a batch."""
        plan = self.plan(batch.tag)
        if len(plan) == 1 and plan[0].where is None:
            return [(plan[0], batch)]
        ways: list[tuple[Route, Batch]] = []
        rest = batch
        for index, route in enumerate(plan):
            if route is self.rest:
                rest = _unclaimed(rest, ways)
            taken, others = (
                (rest, rest.with_entries(b"", 0)) if route.where is None else route.where.split(rest)
            )
            # A batch without events still tells the buffer that the stream goes on.
            if taken.count or (isinstance(batch.origin, Span) and route is not self.rest):
                ways.append((route, _in_lane(taken, f"|{route.name}") if index else taken))
            if not route.onward:
                rest = others
        return ways


def _unclaimed(rest: Batch, ways: list[tuple[Route, Batch]]) -> Batch:
    """Without the events of which a copy went to a route."""
    for route, _ in ways:
        if route.onward and route.where is not None:
            _, rest = route.where.split(rest)
    return rest


def _in_lane(batch: Batch, lane: str) -> Batch:
    """Tell a part of a batch from the others, which may come to the same output."""
    match batch.origin:
        case Span() as span:
            return batch.with_origin(replace(span, lane=span.lane + lane))
        case DeliveryKey(key):
            # The same for a resend, so that its parts are recognised one by one.
            return batch.with_origin(DeliveryKey(blake2b(key + lane.encode(), digest_size=16).digest()))
    return batch
