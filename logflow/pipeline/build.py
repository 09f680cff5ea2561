"""Builds a pipeline from its settings: objects only, no I/O and no tasks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from logflow import registry
from logflow.buffers.base import Buffer
from logflow.buffers.memory import MemoryBuffer
from logflow.clock import Clock, SystemClock
from logflow.component import ComponentConfig, Filter, Source, Stage
from logflow.config.models import RouteOptions, Settings
from logflow.config.options import OutputConfig
from logflow.engine import load_engine
from logflow.engine.api import Engine
from logflow.errors import ComponentError
from logflow.memory import Memory
from logflow.patterns import compile_pattern
from logflow.pipeline.chain import Chain
from logflow.pipeline.conditions import Where
from logflow.pipeline.contexts import Contexts
from logflow.pipeline.dead_letters import DeadLetterStore
from logflow.pipeline.failures import keep_failed, keep_refused
from logflow.pipeline.flusher import Flusher
from logflow.pipeline.router import UNROUTED, Route, Router, SourceEmit, Target
from logflow.services import Services
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Ledger
from logflow.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from logflow.buffers.stranded import Stranded


@dataclass
class Pipeline:
    """Everything that runs, by name; a reload changes parts of it."""

    settings: Settings
    contexts: Contexts
    engine: Engine
    checkpoints: Checkpoints
    ledger: Ledger
    metrics: Metrics
    sources: dict[str, Source]
    emits: dict[str, SourceEmit]
    router: Router
    flushers: dict[str, Flusher]
    dead_letters: DeadLetterStore
    services: Services
    clock: Clock
    stranded: list[Stranded] = field(default_factory=list)
    """Buffers of outputs that are no more; known a moment after the start."""

    @property
    def keeps_state(self) -> bool:
        """Whether anything is written below ``data_dir``."""
        return keeps_state(self.settings)

    @property
    def filters(self) -> list[Filter | Stage]:
        """Every filter, in the order of the routes."""
        return self.router.filters


def keeps_state(settings: Settings) -> bool:
    """Whether a pipeline of these settings needs its data directory from the start."""
    components: list[tuple[registry.Kind, ComponentConfig]] = [
        *(("source", config) for config in settings.sources.values()),
        *(("output", config) for config in settings.outputs.values()),
        *(("filter", step) for route in settings.routes for step in settings.steps(route.filters)),
        *(("filter", step) for out in settings.outputs.values() for step in settings.steps(_filters(out))),
    ]
    return any(
        registry.load(kind, config.type).keeps_state
        or (isinstance(config, OutputConfig) and config.buffer.type == "disk")
        for kind, config in components
    )


class _Builder:
    """Makes components, and what stands around them."""

    def __init__(
        self,
        settings: Settings,
        contexts: Contexts,
        ledger: Ledger,
        dead_letters: DeadLetterStore,
        buffers: Callable[[str], Buffer] | None = None,
    ) -> None:
        self.settings = settings
        self.contexts = contexts
        self.ledger = ledger
        self.dead_letters = dead_letters
        self._buffers = buffers
        self._names: Counter[str] = Counter()
        self._defined: dict[str, object] = {}

    def buffer(self, name: str, config: OutputConfig) -> Buffer:
        """Make an output's buffer."""
        if self._buffers is not None:
            return self._buffers(name)
        if config.buffer.type == "memory":
            self.contexts.memory.share(config.buffer.limit_bytes)
            return MemoryBuffer(name, config.buffer, self.contexts.checkpoints, self.contexts.clock)
        from logflow.buffers.disk import DiskBuffer  # noqa: PLC0415 - only where it is configured

        return DiskBuffer(
            name,
            buffer_dir(self.settings.data_dir, name),
            config.buffer,
            self.contexts.checkpoints,
            clock=self.contexts.clock,
            log=logging.getLogger(f"logflow.buffers.{name}"),
            counter=partial(self.contexts.metrics.counter, "output", name),
        )

    def flusher(self, name: str, config: ComponentConfig, buffer: Buffer | None = None) -> Flusher:
        """Make an output, its buffer unless it has one, and what moves chunks between them."""
        assert isinstance(config, OutputConfig)
        return Flusher(
            name,
            self.contexts.make("output", name, config),
            buffer or self.buffer(name, config),
            config,
            dead_letters=self.dead_letters,
            clock=self.contexts.clock,
            log=logging.getLogger(f"logflow.outputs.{name}"),
        )

    def filter(self, config: ComponentConfig) -> Filter | Stage:
        """Make a filter or a stage, with a name of its own."""
        name: str = getattr(config, "name", None) or config.type
        self._names[name] += 1
        if (number := self._names[name]) > 1:
            name = f"{name}-{number}"
        made: Filter | Stage = self.contexts.make("filter", name, config)
        if isinstance(made, Stage) and getattr(config, "where", None) is not None:
            # Events that go past a stage would overtake those that it holds.
            raise ComponentError(f"filter {name}: {config.type} holds events back and cannot have a where")
        if isinstance(made, Filter):
            for defined, meaning in made.defines.items():
                if self._defined.setdefault(defined, meaning) != meaning:
                    raise ComponentError(f"filter {name}: another filter defines {defined} otherwise")
        return made

    def steps(self, filters: list[ComponentConfig]) -> list[Filter | Stage]:
        """Make the filters of a route or an output, those of named chains among them."""
        return [self.filter(config) for config in self.settings.steps(filters)]

    def router(self, flushers: Mapping[str, Flusher]) -> Router:
        """Make the routes, with their filters and those of the outputs."""
        chains = {
            name: self.output_chain(config)
            for name, config in self.settings.outputs.items()
            if _filters(config)
        }
        names: Counter[str] = Counter()

        ledger = self.ledger

        def target(route: str, output: str) -> Target:
            account = ledger.account(route, output)
            return Target(output, flushers[output].buffer, account, chains.get(output))

        def route(settings: RouteOptions) -> Route:
            names[settings.match] += 1
            number = names[settings.match]
            name = settings.match if number == 1 else f"{settings.match}#{number}"
            return Route(
                settings.match,
                compile_pattern(settings.match),
                self.steps(settings.filters),
                [target(name, output) for output in settings.outputs],
                ledger.account(name, UNROUTED)
                if not settings.outputs
                else ledger.account(UNROUTED, UNROUTED),
                where=Where(settings.where, self.contexts.engine, self.contexts.clock)
                if settings.where is not None
                else None,
                onward=settings.onward,
                name=name,
                clock=self.contexts.clock,
                boundaries=self.contexts.checkpoints.boundaries,
            )

        unrouted = self.settings.unrouted
        return Router(
            [route(settings) for settings in self.settings.routes],
            ledger,
            unrouted=target(UNROUTED, unrouted) if unrouted not in {"warn", "error"} else unrouted,
            letters=partial(keep_failed, self.dead_letters, self.contexts.clock)
            if self._buffers is None
            else None,
        )

    def output_chain(self, config: ComponentConfig) -> Chain:
        """Make the filters of one output, the same for all routes that lead there."""
        contexts = self.contexts
        steps = self.steps(_filters(config))
        return Chain(steps, contexts.clock, contexts.checkpoints.boundaries, reroute=False)


def _filters(output: ComponentConfig) -> list[ComponentConfig]:
    return output.filters if isinstance(output, OutputConfig) else []


def disk_buffered(settings: Settings) -> set[str]:
    """Names of the outputs that have a disk buffer."""
    return {
        name
        for name, output in settings.outputs.items()
        if isinstance(output, OutputConfig) and output.buffer.type == "disk"
    }


def buffer_dir(data_dir: Path, output: str) -> Path:
    """Where the disk buffer of an output lies."""
    return data_dir / "buffers" / output


def build(
    settings: Settings, clock: Clock | None = None, buffers: Callable[[str], Buffer] | None = None
) -> Pipeline:
    """Build a pipeline.

    Args:
        settings: what it does.
        clock: tells the time; the system's clock unless given.
        buffers: makes the buffer of an output in place of the configured one: for rehearsals, which keep
            no dead letters either.

    Raises:
        ComponentError: a component cannot be made as configured; the text says what to do.
    """
    path = settings.data_dir / "checkpoints" if keeps_state(settings) else None
    contexts = Contexts(
        load_engine(settings.engine), settings.data_dir, Checkpoints(path),
        clock=clock or SystemClock(), memory=Memory(settings.memory_limit),
    )  # fmt: skip
    ledger = Ledger()
    dead_letters = DeadLetterStore(settings.data_dir / "dead-letters", contexts.clock)
    builder = _Builder(settings, contexts, ledger, dead_letters, buffers)
    flushers = {name: builder.flusher(name, config) for name, config in settings.outputs.items()}
    router = builder.router(flushers)
    sources = {name: contexts.make("source", name, config) for name, config in settings.sources.items()}
    return Pipeline(
        settings=settings,
        contexts=contexts,
        engine=contexts.engine,
        checkpoints=contexts.checkpoints,
        ledger=ledger,
        metrics=contexts.metrics,
        sources=sources,
        emits={name: _emit(router, name, source, dead_letters) for name, source in sources.items()},
        router=router,
        flushers=flushers,
        dead_letters=dead_letters,
        services=contexts.services,
        clock=contexts.clock,
    )


@dataclass(frozen=True)
class Draft:
    """What changes in a pipeline when its configuration does.

    Attributes:
        settings: the new configuration.
        sources: those that are new or changed.
        kept_sources: names of those that are the same.
        emits: for every source of the new configuration.
        flushers: for outputs that are new or changed; the latter have the buffer that they had.
        router: the new routes, over the buffers of all outputs.
    """

    settings: Settings
    sources: dict[str, Source]
    kept_sources: list[str]
    emits: dict[str, SourceEmit]
    flushers: dict[str, Flusher]
    router: Router


def draft(pipeline: Pipeline, settings: Settings) -> Draft:
    """Build what is new or changed; nothing of what runs is touched.

    Raises:
        ComponentError: a component cannot be made as configured.
    """
    contexts, old = pipeline.contexts, pipeline.settings
    builder = _Builder(settings, contexts, pipeline.ledger, pipeline.dead_letters)
    flushers: dict[str, Flusher] = {}
    for name, config in settings.outputs.items():
        there = pipeline.flushers.get(name)
        if there is None or not _same_output(old.outputs[name], config):
            flushers[name] = builder.flusher(name, config, None if there is None else there.buffer)
    router = builder.router({**pipeline.flushers, **flushers})
    kept = [name for name, config in settings.sources.items() if old.sources.get(name) == config]
    sources = {
        name: contexts.make("source", name, config)
        for name, config in settings.sources.items()
        if name not in kept
    }
    emits = {name: pipeline.emits[name] for name in kept}
    letters = pipeline.dead_letters
    emits.update({name: _emit(router, name, source, letters) for name, source in sources.items()})
    return Draft(settings, sources, kept, emits, flushers, router)


def _emit(router: Router, name: str, source: Source, letters: DeadLetterStore) -> SourceEmit:
    refuse = partial(keep_refused, letters, name)
    return SourceEmit(router, name, acknowledges=source.acknowledges, refuse=refuse)


def _same_output(old: ComponentConfig, new: ComponentConfig) -> bool:
    """Whether nothing but the filters differs, which belong to the routes."""
    return old.model_copy(update={"filters": []}) == new.model_copy(update={"filters": []})
