"""The contracts of components: what a source, parser, filter and output may rely on and must do.

Life of every component: its ``Config`` is validated (no I/O), it is constructed with that config
and a ``Context`` (no I/O, no tasks), then the host opens and runs it. Queueing, chunking, retries,
timeouts, concurrency, metrics of delivery and dead letters belong to the host, never to a component.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict

from logflow.batch import Batch, Chunk
from logflow.clock import Clock, SystemClock
from logflow.errors import Unsupported
from logflow.event import EventTime, Record
from logflow.receipt import Receipt

if TYPE_CHECKING:
    from logflow.engine.api import Engine
    from logflow.storage.checkpoints import Checkpoints


class ComponentConfig(BaseModel):
    """The base of every component's configuration: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    type: str


class Counter(Protocol):
    """A number that only grows and is exported as a metric."""

    def __call__(self, amount: int = 1) -> None:
        """Add ``amount``."""
        ...


@dataclass(frozen=True)
class Context:
    """What the host hands to a component.

    Attributes:
        name: the component's name in the configuration, such as ``containers``.
        engine: the hot-path implementation in use.
        data_dir: where the component may keep state; created by whoever writes to it first.
        counter: ``counter("lines_truncated", "Lines cut at max_line.")`` makes (or finds) the counter
            ``logflow_lines_truncated_total`` labelled with the component's kind and name.
        checkpoints: how far streams were read and where chunks were cut; survives ``kill -9``.
        parser: builds the parser that a validated ``parse:`` config describes.
        log: log messages are sentences, never one per event.
        clock: tells the time.
    """

    name: str
    engine: Engine
    data_dir: Path
    counter: Callable[[str, str], Counter]
    checkpoints: Checkpoints
    parser: Callable[[ComponentConfig], Parser]
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("logflow"))
    clock: Clock = field(default_factory=SystemClock)


class Component(ABC):
    """The base of all components: a config model and a context, nothing else."""

    Config: ClassVar[type[ComponentConfig]]
    keeps_state: ClassVar[bool] = False
    """Whether the component writes below ``data_dir`` or to the checkpoints."""

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context


class Emit(Protocol):
    """How a source hands batches on."""

    def __call__(self, batch: Batch) -> Awaitable[Receipt]:
        """Admit a batch: waits under back-pressure, then returns its receipt."""
        ...

    async def ready(self, tag: str) -> None:
        """Wait until the outputs that ``tag`` goes to have room.

        A source that can choose when to read (a file) waits here *before* it reads, so that nothing
        is held in memory for an output that does not move.
        """
        ...

    def full(self, tag: str) -> bool:
        """Whether :meth:`ready` would wait: for sources that refuse rather than wait (HTTP 429)."""
        ...


class Source(Component):
    """Where events enter.

    ``exit_status`` stays ``None`` except for a source that runs the application itself: once its
    ``run`` has returned, the service stops and ends with this status.
    """

    exit_status: int | None = None

    async def open(self) -> None:
        """Acquire what the source needs (bind a port, say).

        Raises:
            ComponentError: it cannot start; the text says what to do.
        """

    @abstractmethod
    async def run(self, emit: Emit) -> None:
        """Read and emit until cancelled; returning means the input has ended for good.

        ``receipt = await emit(batch)`` admits a batch and waits under back-pressure. Only when the
        receipt has resolved may progress be reported. Bad input is counted and skipped, never raised.
        On cancellation: stop reading, release everything, re-raise.
        """

    def on_signal(self, number: int) -> bool:  # noqa: ARG002 - for those that override it
        """Take a signal that the service was sent, at once, before anything else comes of it.

        Returns:
            Whether it was meant for the source too. Then SIGHUP does not load the configuration again;
            signals that end the service do so all the same.
        """
        return False

    async def drain(self) -> None:
        """After ``run`` was cancelled and buffers were flushed: report the last progress, then close.

        Receipts may have resolved since; acks and positions that they allow are sent and saved here.
        Safe to call without :meth:`open`.
        """


Parse: TypeAlias = tuple[EventTime | None, Record]
"""What a parser makes of a line: the time it found (or ``None``) and the fields."""


class Parser(Component):
    """Turns one line into a record. Pure: no state, no I/O, safe to call from threads."""

    @abstractmethod
    def parse(self, line: bytes) -> Parse | None:
        """Parse one line without its newline; ``None`` when it does not match. Never raises."""

    def parse_many(self, lines: list[bytes]) -> list[Parse | None]:
        """Parse many lines; override it where doing them together is faster."""
        return [self.parse(line) for line in lines]

    def native(self) -> dict[str, Any]:
        """Describe the parser to the native engine: ``type`` and plain values.

        Raises:
            Unsupported: only Python can run it, and why. The default, for third-party parsers.
        """
        raise Unsupported(f"parser {self.config.type!r} is written in Python")


class Filter(Component):
    """A change or a decision, over whole batches. Pure: no I/O; called from one thread at a time."""

    @abstractmethod
    def apply(self, batch: Batch) -> Batch | None:
        """Return the batch to go on with, or ``None`` when no event of it is wanted.

        The host counts the difference in events as dropped for the reason ``filter:<type>``. Must
        not raise for what a record holds.
        """


class RecordFilter(Filter):
    """The usual base for plugins: decide over one record at a time.

    An exception of :meth:`filter` keeps the event as it was, is counted as ``filter_errors`` and
    logged once per batch.
    """

    @abstractmethod
    def filter(self, time: EventTime, record: Record) -> Record | None:
        """Return the record to keep, changed or not, or ``None`` to drop the event."""

    def apply(self, batch: Batch) -> Batch | None:
        """Decode the batch, ask :meth:`filter` about every record and pack what is kept."""
        kept: list[tuple[int, Record]] = []
        failures: list[Exception] = []
        originals: list[tuple[EventTime, Record]] = []
        for index, (time, record) in enumerate(batch.events()):
            try:
                result = self.filter(time, record)
            except Exception as error:
                failures.append(error)
                # The record may have been changed half-way, also deep inside: take it anew.
                originals = originals or list(batch.events())
                result = originals[index][1]
            if result is not None:
                kept.append((time, result))
        if failures:
            self.context.counter("filter_errors", "Events kept as they were because a filter raised.")(
                len(failures)
            )
            self.context.log.warning(
                "Filter %s raised for %d of %d events, which are kept as they were; the first error: %s: %s.",
                self.context.name, len(failures), batch.count, type(failures[0]).__name__, failures[0],
            )  # fmt: skip
        return Batch.from_events(batch.tag, kept, batch.origin) if kept else None


class Output(Component):
    """Where chunks are delivered."""

    async def open(self) -> None:
        """Connect. The host calls it before the first write, and again with back-off when it raises."""

    @abstractmethod
    async def write(self, chunk: Chunk) -> None:
        """Deliver one chunk.

        Returning means delivered: it will never be presented again. Raising ``PermanentError`` sends it
        to the dead letters, ``ComponentError`` ends the service (this output can never go on); any other
        exception has it presented again later, with the same id.
        May be cancelled at any await (timeout, shutdown); then it is presented again.
        """

    async def close(self) -> None:
        """Release everything. Safe to call twice, and without :meth:`open`."""
