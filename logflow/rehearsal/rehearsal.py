"""One pass of some events through the pipeline that a configuration describes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from logflow.batch import Batch
from logflow.buffers.memory import MemoryBuffer
from logflow.clock import Clock
from logflow.component import Filter, Stage
from logflow.config.models import Settings
from logflow.config.options import BufferOptions
from logflow.pipeline.build import Pipeline, build
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Account
from logflow.testing.clock import FakeClock

_decode = msgspec.json.Decoder().decode_lines


class NamedStep(NamedTuple):
    """A route, or a filter of a route or an output, as messages name it."""

    path: str
    text: str


@dataclass
class Outcome:
    """What became of the events.

    Attributes:
        outputs: what each output would get, as JSON Lines would show it: time, tag and fields.
        dropped: events that go nowhere, by reason; one that several outputs would have got counts once.
        complaints: what the pipeline logged as a warning or an error.
        failed: events for which a filter failed.
        reached: routes and filters that events came to.
    """

    outputs: dict[str, list[dict[str, Any]]]
    dropped: Counter[str]
    complaints: list[str]
    failed: int
    reached: set[NamedStep] = field(default_factory=set)


class Rehearsal:
    """A pipeline that was built but not started."""

    def __init__(self, settings: Settings, time_ns: int) -> None:
        """Build it, with a clock that stands at ``time_ns``.

        Raises:
            ComponentError: a component cannot be made as configured.
        """
        self._clock = FakeClock(time_ns)
        self._given = {name: _Remembering(name, self._clock) for name in settings.outputs}
        self.pipeline: Pipeline = build(settings, self._clock, self._given.__getitem__)
        self._reached: set[NamedStep] = set()
        self._refused: Counter[str] = Counter()
        for place, component in self._filters():
            setattr(component, "apply", self._noting(place, component.apply))  # noqa: B010 - one instance's

    def _filters(self) -> Iterator[tuple[NamedStep, Filter | Stage]]:
        """Every filter of a route or an output, with its place."""
        chains: dict[str, tuple[str, Sequence[Filter | Stage]]] = {}
        for index, route in enumerate(self.pipeline.router.routes):
            chains[f"routes[{index}]"] = (route.pattern, route.filters)
            for target in route.targets:
                if target.chain is not None:
                    steps = [step.step for step in target.chain.steps]
                    chains[f"outputs.{target.output}"] = (target.output, steps)
        for path, (name, components) in chains.items():
            for step, component in enumerate(components):
                yield NamedStep(f"{path}.filters[{step}]", f"{name}: {component.context.name}"), component

    def _noting(self, place: NamedStep, apply: Callable[[Batch], Any]) -> Callable[[Batch], Any]:
        def noted(batch: Batch) -> Any:
            if batch.count:
                self._reached.add(place)
            return apply(batch)

        return noted

    async def read(self, source: str, data: bytes, path: str | None) -> None:
        """Have a source read some bytes.

        Raises:
            Unsupported: it is not a source that reads such bytes.
            MalformedData: it would refuse them.
        """
        for batch in await self.pipeline.sources[source].preview(data, path):
            await self.emit(batch, source)

    async def emit(self, batch: Batch, source: str = "") -> None:
        """Pass a batch into the routes."""
        emit = self.pipeline.emits[source] if source else next(iter(self.pipeline.emits.values()))
        if emit.full(batch.tag):  # only because no route takes it, and `unrouted: error` holds it back
            self._refused["unrouted"] += batch.count
        else:
            await emit(batch)

    async def finish(self) -> Outcome:
        """Let stages give out what they hold, and say what became of everything."""
        router = self.pipeline.router
        await router.flush_all()
        await router.close()
        for index, route in enumerate(router.routes):
            if any(account.read for account in route.accounts):
                self._reached.add(NamedStep(f"routes[{index}]", route.pattern))
        return Outcome(
            {name: self._records(buffer.batches) for name, buffer in self._given.items()},
            self._refused + _dropped(self.pipeline.ledger.accounts()),
            [],
            sum(cell.value for cell in self.pipeline.metrics.counters() if cell.name == "filter_errors"),
            self._reached,
        )

    def _records(self, batches: Sequence[Batch]) -> list[dict[str, Any]]:
        to_ndjson = self.pipeline.engine.to_ndjson
        return [record for batch in batches for record in _decode(to_ndjson(batch.entries, batch.tag))]

    def places(self) -> list[NamedStep]:
        """Every route, and every filter of a route or an output."""
        filters = [place for place, _ in self._filters()]
        places: list[NamedStep] = []
        for index, route in enumerate(self.pipeline.router.routes):
            path = f"routes[{index}]"
            places += [
                NamedStep(path, route.pattern),
                *(each for each in filters if each.path.startswith(path)),
            ]
        return [*places, *(each for each in filters if each.path.startswith("outputs."))]


def _dropped(accounts: Sequence[Account]) -> Counter[str]:
    """Add up drops; the outputs of a route each count an event that a filter of the route dropped."""
    by_route: dict[str, Counter[str]] = {}
    for account in accounts:
        by_route[account.route] = by_route.get(account.route, Counter()) | account.dropped
    return sum(by_route.values(), Counter())


class LoggedProblems(logging.Handler):
    """Remembers what the pipeline logs while it is in a ``with`` block, and keeps it from stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._logger = logging.getLogger("logflow")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.lines.append(record.getMessage())

    def __enter__(self) -> list[str]:
        self._propagated, self._logger.propagate = self._logger.propagate, False
        self._logger.addHandler(self)
        return self.lines

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagated


class _Remembering(MemoryBuffer):
    """In the place of an output's buffer: what comes counts as delivered."""

    def __init__(self, name: str, clock: Clock) -> None:
        super().__init__(name, BufferOptions(), Checkpoints(None), clock)
        self.batches: list[Batch] = []

    async def put(self, batch: Batch, account: Account, receipt: Receipt) -> None:
        """Remember a batch."""
        if batch.count:
            self.batches.append(batch)
        account.deliver(batch.count)
        receipt.settle()
