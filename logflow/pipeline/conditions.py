"""What a ``where:`` says, as the host asks for it: which events of a batch it is true for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from logflow.batch import Batch
from logflow.clock import Clock
from logflow.component import EventsFailed, Filter
from logflow.engine.api import Engine
from logflow.expressions import Expression


class Where:
    """A condition on batches."""

    def __init__(self, expression: Expression, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._condition = engine.condition(expression)

    def split(self, batch: Batch) -> tuple[Batch, Batch]:
        """Return the events that fulfil it and the others, each in order and maybe empty."""
        kept, count, rest = self._condition.split(batch.entries, *self._around(batch))
        return _part(batch, kept, count), _part(batch, rest, batch.count - count)

    def _around(self, batch: Batch) -> tuple[str, str | None, int]:
        return batch.tag, batch.attributes.get("source"), self._clock.time_ns()

    def apply(self, step: Filter, batch: Batch) -> Batch | None:
        """Pass the events that fulfil it through a filter; the others stay where they are.

        Raises:
            EventsFailed: the filter raised; only events that fulfil the condition are concerned.
        """
        marks = self._condition.mark(batch.entries, *self._around(batch))
        wanted = marks.count(1)
        if wanted == batch.count:
            return step.apply(batch)
        if not wanted:
            return batch
        if step.one_to_one:
            return self._apply_once(step, batch, marks)
        if step.only_drops:
            return self._apply_dropping(step, batch, marks)
        return _in_runs(step, batch, self._runs(batch, marks))

    def _apply_once(self, step: Filter, batch: Batch, marks: bytes) -> Batch:
        """For a filter that gives as many events as it gets: one call for all of them."""
        wanted = marks.count(1)
        kept, rest = self._engine.divide(batch.entries, marks)
        part = batch.with_entries(kept, wanted)
        try:
            passed = step.apply(part)
            if passed is None or passed.count != wanted:
                raise ValueError("it dropped events, although it says that it never does")
        except BaseException as error:  # as for a filter without a condition
            raise EventsFailed(error, part, batch.with_entries(rest, batch.count - wanted), batch) from error
        return passed.with_entries(self._engine.interleave(passed.entries, rest, marks), batch.count)

    def _apply_dropping(self, step: Filter, batch: Batch, marks: bytes) -> Batch:
        """For a filter that only drops events: one call for all of them, and what it kept shows which."""
        entries, rest = self._engine.divide(batch.entries, marks)
        part = batch.with_entries(entries, marks.count(1))
        others = batch.with_entries(rest, batch.count - part.count)
        try:
            kept = step.apply(part)
            if kept is None:
                return others
            if kept.count == part.count:
                return batch
            merged = self._remaining(part.entries, kept.entries, marks)
        except BaseException as error:  # as for a filter without a condition
            raise EventsFailed(error, part, others, batch) from error
        return batch.with_entries(self._engine.interleave(kept.entries, rest, merged), len(merged))

    def _remaining(self, part: bytes, kept: bytes, marks: bytes) -> bytes:
        """The marks of those events that are still there: no event is the beginning of another one."""
        starts = [*self._engine.offsets(part), len(part)]
        place, event, merged = 0, 0, bytearray()
        for mark in marks:
            if not mark:
                merged.append(0)
                continue
            piece = part[starts[event] : starts[event + 1]]
            event += 1
            if kept.startswith(piece, place):
                place += len(piece)
                merged.append(1)
        if place != len(kept):
            raise ValueError("it changed events, although it says that it only drops some")
        return bytes(merged)

    def _runs(self, batch: Batch, marks: bytes) -> Iterator[tuple[bool, Batch]]:
        starts = [*self._engine.offsets(batch.entries), len(batch.entries)]
        first = 0
        for mark, run in groupby(marks):
            last = first + len(list(run))
            yield bool(mark), _part(batch, batch.entries[starts[first] : starts[last]], last - first)
            first = last


def _in_runs(step: Filter, batch: Batch, runs: Iterable[tuple[bool, Batch]]) -> Batch:
    """Pass run by run through a filter, as nobody else knows which events it drops."""
    good: list[Batch] = []
    whole: list[Batch] = []
    failed: list[Batch] = []
    first: BaseException | None = None
    for wanted, run in runs:
        kept: Batch | None = run
        unchanged = run
        if wanted:
            try:
                kept = step.apply(run)
                unchanged = run.with_entries(b"", 0) if kept is None else kept
            except EventsFailed as error:
                first = first or error.__cause__ or error
                failed.append(error.failed)
                kept, unchanged = error.without, error.unchanged
            except BaseException as error:  # as for a filter without a condition
                first = first or error
                failed.append(run)
                kept, unchanged = None, run
        good += [kept] if kept is not None else []
        whole.append(unchanged)
    if first is not None:
        raise EventsFailed(first, _joined(batch, failed), _joined(batch, good), _joined(batch, whole))
    return _joined(batch, good)


def _joined(batch: Batch, parts: list[Batch]) -> Batch:
    return batch.with_entries(b"".join(part.entries for part in parts), sum(part.count for part in parts))


def _part(batch: Batch, entries: bytes, count: int) -> Batch:
    return batch if count == batch.count else batch.with_entries(entries, count)
