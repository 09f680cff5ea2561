"""The contracts of components: what a source, parser, filter, stage and output may rely on and must do.

Every component has the same life::

    Config validated ──► constructed ──► open ──► used ──► close
        no I/O             no I/O                            safe twice, and without open

The host opens filters and stages, then sources, then outputs; it closes sources first, then filters and
stages, then outputs, as events flow. A failed ``open`` leaves nothing behind. Parsers are pure and live
inside the component that uses them: nobody opens them. Queueing, chunking, retries, timeouts, concurrency,
metrics of delivery and dead letters belong to the host, never to a component.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from logflow.batch import Batch, Chunk, Origin
from logflow.clock import Clock, SystemClock
from logflow.errors import Abandoned, LogflowError, Unsupported
from logflow.event import EventTime, Record
from logflow.memory import DEFAULT_LIMIT_BYTES, Memory
from logflow.packing import pack_entry
from logflow.receipt import Receipt

if TYPE_CHECKING:
    from logflow.engine.api import Engine
    from logflow.services import Services
    from logflow.storage.checkpoints import Checkpoints
    from logflow.storage.state import State


T = TypeVar("T")

_BOOLEAN_WORDS = {
    **dict.fromkeys(("yes", "y", "on", "t", "1", "1.0"), "true"),
    **dict.fromkeys(("no", "n", "off", "f", "0", "0.0"), "false"),
}


class ConfigModel(BaseModel):
    """The base of all groups of options: unknown keys are errors, and booleans are ``true`` and ``false``."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @field_validator("*", mode="before", check_fields=False)
    @classmethod
    def _refuse_other_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML 1.2 reads `yes` and `off` as text, and pydantic would take that text for a boolean.
        annotation = cls.model_fields[str(info.field_name)].annotation
        members = get_args(annotation) or (annotation,)
        if bool not in members or {str, int, float} & set(members) or isinstance(value, bool):
            return value
        word = str(value).lower() if isinstance(value, str | int | float) else "true"
        if word not in {"true", "false"} and word in _BOOLEAN_WORDS:
            raise PydanticCustomError("bool_word", "write {meant}", {"meant": _BOOLEAN_WORDS[word]})
        return value


class ComponentConfig(ConfigModel):
    """The base of every component's configuration.

    Attributes:
        example: a smallest configuration that can be used, without ``type``: for conformance tests.
        also_called: keys that people write because other programs have them, with what they are called here.
    """

    example: ClassVar[Mapping[str, Any]] = {}
    also_called: ClassVar[Mapping[str, str]] = {}

    type: str


class Counter(Protocol):
    """A number that only grows and is exported as a metric."""

    def __call__(self, amount: int = 1) -> None:
        """Add ``amount``."""
        ...


class Keep(Protocol):
    """How a component finds what one of the same configuration had, over a reload."""

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """Find what is kept under ``key``, or make it. It is kept for as long as somebody holds it.

        For a moment of a reload, the old and the new component use it, maybe in two threads.
        """
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
        state: what the component itself wants to find again after a restart: a small dict of plain
            values, saved with the positions. Only for components that say ``keeps_state``.
        keep: ``keep(key, make)`` finds or makes what lives on over a reload, such as numbers.
        services: tasks that several components share, such as a watch; the host runs and ends them.
        memory: what events on their way may take; a source asks for its share before it holds much.
        parser: builds the parser that a validated ``parse:`` config describes.
        log: log messages are sentences, never one per event.
        clock: tells the time.
    """

    name: str
    engine: Engine
    data_dir: Path
    counter: Callable[[str, str], Counter]
    checkpoints: Checkpoints
    state: State
    parser: Callable[[ComponentConfig], Parser]
    services: Services
    keep: Keep
    memory: Memory = field(default_factory=lambda: Memory(DEFAULT_LIMIT_BYTES))
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("logflow"))
    clock: Clock = field(default_factory=SystemClock)


class Component(ABC):
    """The base of all components: a config model and a context, nothing else."""

    Config: ClassVar[type[ComponentConfig]]
    keeps_state: ClassVar[bool] = False
    """Whether the component writes below ``data_dir``, to the checkpoints or to its state."""

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context

    async def open(self) -> None:  # noqa: B027 - most have nothing to open
        """Acquire what the component needs: a port, a connection, a table. Leaves nothing behind if it fails.

        Raises:
            ComponentError: it cannot start; the text says what to do.
        """

    async def close(self) -> None:  # noqa: B027
        """Release everything. Safe to call twice, without :meth:`open` and after one that failed."""

    def cautions(self) -> Sequence[str]:
        """Return what is probably not meant, as things are on this machine now, a line each; for `check`."""
        return ()


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

    def dropped(self, tag: str, events: int, reason: str) -> None:
        """Account for events that were received and can never be used, for a named reason."""
        ...

    async def refused(self, batch: Batch, why: str) -> None:
        """Keep such events as a dead letter, beside :meth:`dropped`, as far as there is room for them."""
        ...


class Source(Component):
    """Where events enter.

    ``exit_status`` stays ``None`` except for a source that runs the application itself: once its
    ``run`` has returned, the service stops and ends with this status.
    """

    exit_status: int | None = None
    acknowledges: ClassVar[bool] = False
    """Whether whoever sends waits for an answer to every batch, and sends again without one."""

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

    async def preview(self, data: bytes, path: str | None = None) -> Sequence[Batch]:  # noqa: ARG002
        """Return what the source would emit if it read some bytes: for tests. Opens nothing.

        Args:
            data: the content of a file, of a pipe, or of the body of a request.
            path: the file, if there is one.

        Raises:
            Unsupported: it cannot tell.
        """
        raise Unsupported(f"a source of type {self.config.type} reads no such bytes; give tag and records")

    def tag_of(self, path: str) -> str | None:  # noqa: ARG002 - for sources of files
        """Return the tag of a file's events; None if the source does not read the file."""
        return None

    async def drain(self) -> None:
        """Report the last progress: called after ``run`` was cancelled and buffers were flushed.

        Receipts may have resolved since; acks and positions that they allow are sent and saved here.
        :meth:`close` follows. Safe to call without :meth:`open`.
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
    """A change or a decision, over whole batches; :meth:`apply` does no I/O.

    One thread at a time calls :meth:`apply`: that of the event loop, or another one for large batches.
    """

    one_to_one: ClassVar[bool] = False
    """Whether it gives as many events as it gets, in their order: then ``where`` costs one call a batch."""
    only_drops: ClassVar[bool] = False
    """Whether it leaves what it keeps as it is: then ``where`` costs a few calls a batch."""
    tells: bool = False
    """Whether :meth:`summaries` may return something; a filter may say so when it is made."""
    defines: Mapping[str, object] = MappingProxyType({})
    """Names that others see, such as those of metrics, with what each means: the same in all filters."""

    @abstractmethod
    def apply(self, batch: Batch) -> Batch | None:
        """Return the batch to go on with, or ``None`` when no event of it is wanted.

        The host counts the difference in events as dropped for the reason ``filter:<type>``. A filter
        never makes more events than it was given: that is a :class:`Stage`. It should not raise for what
        a record holds; if it does, the option ``on_error`` says what becomes of the whole batch.
        """

    def present(self) -> Mapping[str, int]:
        """Return in how many events so far each field was there that it was told of; none by default."""
        return {}

    def summaries(self, now_s: float | None) -> Sequence[Batch]:  # noqa: ARG002
        """Return events that tell what the filter did, such as how many events it left out; none by default.

        The host calls it several times a second with the monotonic time, and at a stop with None: then
        everything that is still to be told is returned. A batch without an origin is made of nothing that
        came in; its events go on after this filter, like those that it lets pass.
        """
        return ()


class EventsFailed(LogflowError):
    """A filter raised for some events of a batch: what the host makes of them is up to ``on_error``.

    Attributes:
        failed: these events, as they were.
        without: what the filter kept of the others; ``None`` if nothing.
        unchanged: the same, with the failed events in their places as they were.
    """

    def __init__(self, error: BaseException, failed: Batch, without: Batch | None, unchanged: Batch) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.__cause__ = error
        self.failed = failed
        self.without = without
        self.unchanged = unchanged


class RecordFilter(Filter):
    """The usual base for plugins: decide over one record at a time.

    An exception of :meth:`filter` concerns its event alone: ``on_error`` says whether it is kept as it
    was, dropped or becomes a dead letter.
    """

    @abstractmethod
    def filter(self, time: EventTime, record: Record) -> Record | None:
        """Return the record to keep, changed or not, or ``None`` to drop the event."""

    def apply(self, batch: Batch) -> Batch | None:
        """Decode the batch, ask :meth:`filter` about every record and pack what is kept.

        Raises:
            EventsFailed: :meth:`filter` raised for some of them.
        """
        kept: dict[int, bytes] = {}
        failed: dict[int, BaseException] = {}
        for index, (time, record) in enumerate(batch.events()):
            try:
                result = self.filter(time, record)
                if result is not None:
                    # Packed at once, as a record that is too deep concerns its event alone too.
                    kept[index] = _pack(time, result)
            except Abandoned:
                raise
            except BaseException as error:
                failed[index] = error
        without = _joined(batch, kept) if kept else None
        if failed:
            raise self._failure(batch, failed, kept, without)
        return without

    @staticmethod
    def _failure(
        batch: Batch, failed: dict[int, BaseException], kept: dict[int, bytes], without: Batch | None
    ) -> EventsFailed:
        # The records may have been changed half-way, also deep inside: take them anew.
        originals = {
            index: pack_entry(*event) for index, event in enumerate(batch.events()) if index in failed
        }
        return EventsFailed(
            next(iter(failed.values())),
            _joined(batch, originals),
            without,
            _joined(batch, dict(sorted({**kept, **originals}.items()))),
        )


def _pack(time: EventTime, record: object) -> bytes:
    if not isinstance(record, dict):
        raise TypeError(f"it returned {type(record).__name__}, not a dict or None")
    return pack_entry(time, record)


def _joined(batch: Batch, packed: dict[int, bytes]) -> Batch:
    return batch.with_entries(b"".join(packed.values()), len(packed))


class Stage(Component):
    """A filter that may hold events back or make more of them; it stands among the ``filters:`` of a route.

    Batches come in order, those of many streams mixed: what is held is kept apart by ``batch.stream``.
    What is returned has the origin of a batch that it was made from (``batch.with_entries`` keeps it), or
    none if it was made of nothing that came in, such as a summary. Receipts are the host's concern: a
    source's progress waits until everything that a stage held of it has come out and is safe.
    """

    @abstractmethod
    def apply(self, batch: Batch) -> Sequence[Batch]:
        """Take a batch; return what may go on now, also of what was held before. Does no I/O."""

    @abstractmethod
    def flush(self, now_s: float | None) -> Sequence[Batch]:
        """Return what was held for long enough at the monotonic time ``now_s``; ``None``: everything.

        The host calls it several times a second and at a stop. After ``flush(None)`` nothing is held.
        """

    def flush_stream(self, stream: str) -> Sequence[Batch]:  # noqa: ARG002
        """Return everything that is held of one stream; unless overridden, of all streams.

        The host calls it where the same events must leave together again after a restart.
        """
        return self.flush(None)

    def holds(self, stream: str) -> Collection[Origin] | None:  # noqa: ARG002
        """Return the origins of the batches of ``stream`` of which something is held now.

        ``None``, the default, means that it is not known: then progress waits for the next flush of
        everything, which the host does every few seconds.
        """
        return None


class Output(Component):
    """Where chunks are delivered.

    The host calls :meth:`open` before the first write, and again with back-off when it raises; only
    ``OutputEnded`` ends the service, whether it comes from ``open`` or from ``write``.
    """

    groups: ClassVar[bool] = False
    """Whether :meth:`write_group` is worth calling with several chunks."""
    gathers: bool = False
    """Whether a call costs so much that events wait for others after a quiet time too: it makes an object."""

    def status(self) -> Mapping[str, Any]:
        """Describe what it is connected to, as plain values for ``/api/status``; nothing by default.

        An output that chooses among several servers names them under ``servers``, each with its ``state``
        (``up``, ``suspect`` or ``down``), ``phi``, ``chunks``, and ``down_for_s``: health and metrics tell
        of them.
        """
        return {}

    def bearable(self) -> int | None:
        """How many deliveries at once the destination bears now, at most the option ``concurrency``.

        ``None``, the default, leaves it at that option.
        """
        return None

    @abstractmethod
    async def write(self, chunk: Chunk) -> None:
        """Deliver one chunk.

        Returning means delivered: it will never be presented again. Raising ``PermanentError`` sends it
        to the dead letters, ``PartialDelivery`` tells its parts apart, ``OutputEnded`` ends the service
        (this output can never go on); any other exception, ``ComponentError`` among them, has it presented
        again later, with the same id. May be cancelled at any await (timeout, shutdown); then it is
        presented again.
        """

    async def write_group(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        """Deliver several chunks, of several tags, in one call; for outputs that say :attr:`groups`.

        Returns:
            One result for each chunk, in their order: ``None`` if it was delivered, otherwise the
            exception that :meth:`write` would have raised for it.

        Raises:
            Exception: it applies to all of them.
        """
        results: list[Exception | None] = []
        for chunk in chunks:
            try:
                await self.write(chunk)
            except Exception as error:
                results.append(error)
            else:
                results.append(None)
        return results
