"""Makes components and what the host hands to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from logflow import registry
from logflow.clock import Clock, SystemClock
from logflow.component import ComponentConfig, Context, Parser
from logflow.engine.api import Engine
from logflow.errors import ComponentError
from logflow.memory import DEFAULT_LIMIT_BYTES, Memory
from logflow.services import Services
from logflow.storage.checkpoints import Checkpoints
from logflow.storage.state import State
from logflow.telemetry.metrics import Metrics

T = TypeVar("T")


@dataclass(frozen=True)
class Contexts:
    """What all components of a pipeline have in common, and how each gets its own part of it.

    Attributes:
        engine: the hot-path implementation.
        data_dir: below it each component has a directory, which it makes when it needs it.
        checkpoints: positions, cuts and states.
        metrics: every counter.
        clock: tells the time.
        services: tasks that several components share.
        memory: what events on their way may take, divided among those who hold them.
    """

    engine: Engine
    data_dir: Path
    checkpoints: Checkpoints
    metrics: Metrics = field(default_factory=Metrics)
    clock: Clock = field(default_factory=SystemClock)
    memory: Memory = field(default_factory=lambda: Memory(DEFAULT_LIMIT_BYTES))
    services: Services = field(init=False)
    kept: WeakValueDictionary[Hashable, Any] = field(default_factory=WeakValueDictionary)
    """What components keep over a reload: there as long as one of them holds it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "services", Services(self.clock))

    def make(self, kind: registry.Kind, name: str, config: ComponentConfig) -> Any:
        """Make one component: an instance of the kind's base class.

        Raises:
            ComponentError: it cannot be made as configured.
        """
        try:
            return registry.load(kind, config.type)(config, self.context(kind, name))
        except ValueError as error:  # the engine cannot do what is asked for
            raise ComponentError(f"{kind} {name}: {error}") from None

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """Find what is kept under ``key``, or make it."""
        there: T | None = self.kept.get(key)
        if there is None:
            there = self.kept[key] = make()
        return there

    def context(self, kind: registry.Kind, name: str, log: logging.Logger | None = None) -> Context:
        """Make the context of one component."""

        def parser(config: ComponentConfig) -> Parser:
            built: Parser = self.make("parser", name, config)
            return built

        return Context(
            name=name,
            engine=self.engine,
            data_dir=self.data_dir / f"{kind}s" / name,
            counter=partial(self.metrics.counter, kind, name),
            checkpoints=self.checkpoints,
            state=State(self.checkpoints, kind, name),
            services=self.services,
            keep=self.keep,
            memory=self.memory,
            parser=parser,
            log=log or logging.getLogger(f"logflow.{kind}s.{name}"),
            clock=self.clock,
        )
