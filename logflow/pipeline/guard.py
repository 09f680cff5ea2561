"""Guards every filter: one that fails costs what ``on_error`` says, and neither its source nor the service.

A filter fails when it takes longer than its ``timeout``, raises (also ``KeyboardInterrupt`` or
``SystemExit``, which a user's function may), returns something that is no batch, more events than it was
given, or another tag. Its events are then kept as they were, dropped for the reason ``filter_error:NAME``,
or put to the dead letters and counted as ``dead_letter:filter_error``. In each case they are counted, and
named in one log line a minute.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from logflow.batch import Batch
from logflow.clock import Clock
from logflow.component import Component, Counter, EventsFailed, Filter
from logflow.errors import counted
from logflow.pipeline.conditions import Where
from logflow.pipeline.flow import Flow, Passage, Way
from logflow.pipeline.limited import LimitedCalls

_LOG_AGAIN_S = 60.0

_log = logging.getLogger("logflow.filters")


class FilterComplaints:
    """Counts the events for which one filter failed, and says so once a minute."""

    def __init__(self, step: Component, clock: Clock) -> None:
        """Complain about ``step``, by its name and type."""
        self._name = step.context.name
        self._type = step.config.type
        self._counter: Counter | None = None
        self._context = step.context
        self._clock = clock
        self._logged_s: float | None = None
        self._unlogged = 0

    def __call__(self, error: BaseException | str, events: int, what: str) -> None:
        """The filter failed for so many events; ``what`` says what becomes of them."""
        if self._counter is None:  # made when it is needed, so that metrics show what happened
            self._counter = self._context.counter("filter_errors", "Events for which a filter failed.")
        self._counter(events)
        self._unlogged += events
        now_s = self._clock.monotonic()
        if self._logged_s is None or now_s - self._logged_s >= _LOG_AGAIN_S:
            self._logged_s = now_s
            _log.error(
                "Filter %s (type %s) failed for %s (%s): %s.",
                self._name,
                self._type,
                counted(self._unlogged, "event"),
                what,
                describe(error),
            )
            self._unlogged = 0
        if isinstance(error, BaseException):
            _log.debug("Filter %s raised.", self._name, exc_info=error)


WHAT = {"keep": "kept unchanged", "drop": "dropped", "dead_letter": "put to the dead letters"}


class GuardedFilter:
    """A filter of a route or an output, in the host's hands."""

    def __init__(self, step: Filter, clock: Clock) -> None:
        """Guard ``step``; its configuration says what becomes of events for which it fails."""
        self.step = step
        self.name = step.context.name
        self._on_error: str = getattr(step.config, "on_error", "keep")
        self._complain = FilterComplaints(step, clock)
        self._reason = reason(step)
        self.tells = step.tells
        self.seen = 0
        """Events that came so far."""
        self._last_way: Way | None = None
        where = getattr(step.config, "where", None)
        self._where = Where(where, step.context.engine, clock) if where is not None else None
        timeout_s: float | None = getattr(step.config, "timeout", None)
        self._limited = LimitedCalls(timeout_s, f"filter {self.name}") if timeout_s is not None else None

    @property
    def may_hang(self) -> bool:
        """Whether to ask it in a thread only: it waits for code that may not come back, up to its timeout."""
        return self._limited is not None

    def close(self) -> None:
        """Let go of its thread, if it has one."""
        if self._limited is not None:
            self._limited.close()

    def apply(self, flow: Flow, passage: Passage) -> list[Flow]:
        """Pass a batch through the filter. Never raises."""
        batch = flow.batch
        if not batch.count:
            return [flow]
        self._last_way = flow.way
        self.seen += batch.count
        kept, failed = self._ask(batch, flow.way, passage)
        gone = batch.count - kept.count - failed
        if gone:
            passage.drops.append((flow.way, self._reason, gone))
        return [flow if kept is batch else replace(flow, batch=kept)]

    def summaries(self, now_s: float | None, passage: Passage) -> list[Flow]:
        """Take events from the filter that tell what it did. Never raises."""
        way = self._last_way
        if way is None:
            return []
        try:
            made = [batch.with_origin(None) for batch in self.step.summaries(now_s) if batch.count]
        except BaseException as error:
            self._complain(error, 0, "nothing is told of what it did")
            return []
        passage.made += [(way, batch.count) for batch in made]
        return [Flow(batch, (), way, staged=True) for batch in made]

    def ask(self, batch: Batch) -> Batch | None:
        """Pass the events for which ``where`` is true through the filter; raises what it raises."""
        return self.step.apply(batch) if self._where is None else self._where.apply(self.step, batch)

    def _ask(self, batch: Batch, way: Way, passage: Passage) -> tuple[Batch, int]:
        """Returns what goes on, and how many events do not because the filter failed."""
        try:
            kept = self._limited(lambda: self.ask(batch)) if self._limited else self.ask(batch)
            if kept is batch:
                return batch, 0
            if kept is None:
                return batch.with_entries(b"", 0), 0
            _check(batch, kept)
        except EventsFailed as error:
            return self._fail(error, way, passage)
        except BaseException as error:  # a user's function may raise anything, SystemExit among it
            return self._fail(EventsFailed(error, batch, None, batch), way, passage)
        if kept.origin != batch.origin or kept.attributes is not batch.attributes:
            # Not the filter's to decide: without its origin a batch cannot be read again or recognised.
            kept = replace(kept, origin=batch.origin, attributes=batch.attributes)
        return kept, 0

    def _fail(self, failure: EventsFailed, way: Way, passage: Passage) -> tuple[Batch, int]:
        failed = failure.failed
        self._complain(failure.__cause__ or failure, failed.count, WHAT[self._on_error])
        if self._on_error == "keep":
            return failure.unchanged, 0
        passage.fail(way, self.name, self._on_error, describe(failure), failed)
        return failure.without or failed.with_entries(b"", 0), failed.count


def reason(step: Component) -> str:
    """The reason under which the ledger counts what a filter drops."""
    return f"filter:{getattr(step.config, 'name', None) or step.config.type}"


def _check(batch: Batch, kept: Batch) -> None:
    if not isinstance(kept, Batch):
        raise TypeError(f"it returned {type(kept).__name__}, not a batch or None")
    if kept.count > batch.count:
        raise ValueError(f"it made {kept.count} events of {batch.count}, which only a stage may")
    if kept.tag != batch.tag:
        raise ValueError(f"it changed the tag {batch.tag!r} to {kept.tag!r}, which only a stage may")


def describe(error: BaseException | str) -> str:
    """One line about an error, with its type."""
    if isinstance(error, EventsFailed | str):
        return " ".join(str(error).split())
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
