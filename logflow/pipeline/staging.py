"""Runs a stage: keeps its promises about receipts, positions and repeats, so that it need not know of them.

A stage holds events back, so what comes out of it is made of several batches, and of parts of them. For each
stream, the host collects what goes in and what comes out in a *unit*, which is closed wherever the stage
holds nothing of the stream. For a log file::

    in        [ a )[ b )[ c )[ d )          spans of the file
    held         x    x    .    x  .        what the stage holds after each; "." is nothing
    out          1    2 3  4       5 6
    units     [  1 2 3 4     )[  5 6 )      one batch each, with the span of everything that went in

All batches of a unit are safe together. So the position of the file only moves to places at which the
stage held nothing, and chunks are only cut there. After a restart the stage begins empty at the position,
the host empties it at every place where a chunk was cut before, and each event comes into the same chunk
again, whatever else the stage joins differently. A unit that stays open for too long, or grows too large, is
closed by emptying the stage: that ends a join early, which no other choice would spare a file without end.

Of peers (Forward, HTTP) the batches go on at once, and acknowledgements wait until nothing is held of what
they are for. A batch that passes a stage as a whole keeps its peer's key. What is made of several gets a
key made of theirs, which recognises it if the peers send the same again in the same order.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

from logflow.batch import Batch, DeliveryKey, Origin, Span
from logflow.clock import Clock
from logflow.component import Stage
from logflow.pipeline.flow import Flow, Passage, Way
from logflow.pipeline.guard import WHAT, FilterComplaints, describe, reason
from logflow.receipt import Receipt

_OPEN_S = 5.0
"""A unit that is open for longer is closed by emptying the stage."""
_OPEN_BYTES = 4 << 20

Boundaries: TypeAlias = Callable[[str], Collection[int]]
"""Offsets of a stream at which chunks were cut before: ``Checkpoints.boundaries``."""

Call: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Calls a function, in a thread if it may take long."""


@dataclass(eq=False)
class _Unit:
    """What went into a stage of one stream since it last held nothing of it, and what came out."""

    way: Way
    first: Batch
    since_s: float
    inputs: deque[tuple[Origin, Sequence[Receipt]]] = field(default_factory=deque)
    end: int = -1
    read: int = 0
    made: int = 0
    size: int = 0
    outputs: list[Batch] = field(default_factory=list)
    """Of a file: what came out and waits for the unit to be closed."""
    safe: Receipt = field(default_factory=lambda: Receipt(1))
    """Of a peer: done when everything that came out so far is safe."""
    keys: list[bytes] = field(default_factory=list)
    """Of a peer: those of the deliveries that went in."""

    def add(self, flow: Flow) -> None:
        batch = flow.batch
        self.inputs.append((batch.origin, flow.receipts))
        self.read += batch.count
        self.size += len(batch.entries)
        if isinstance(batch.origin, Span):
            self.end = batch.origin.end
        elif isinstance(batch.origin, DeliveryKey):
            self.keys.append(batch.origin.key)


class StageHost:
    """A stage of a route or an output, in the host's hands."""

    def __init__(self, stage: Stage, clock: Clock, boundaries: Boundaries, *, reroute: bool) -> None:
        """Run ``stage``; with ``reroute``, batches whose tag it changes leave the way that they were on."""
        self.step = stage
        self.name = stage.context.name
        self._clock = clock
        self._boundaries = boundaries
        self._reroute = reroute
        self._complain = FilterComplaints(stage, clock)
        self._on_error: str = getattr(stage.config, "on_error", "keep")
        self._reason = reason(stage)
        self._lost = False
        self._units: dict[str, _Unit] = {}
        self._last_way: Way | None = None

    @property
    def waiting(self) -> int:
        """How many events went in and did not come out yet."""
        return sum(max(0, unit.read - unit.made) for unit in self._units.values())

    # -- in ---------------------------------------------------------------------------------------

    async def apply(self, flow: Flow, passage: Passage, call: Call) -> list[Flow]:
        """Pass a batch through the stage; returns what comes out now. Never raises.

        ``call`` calls the stage, which may take a thread; the books are kept on the event loop's thread.
        """
        batch, out = flow.batch, list[Flow]()
        stream = batch.stream
        self._last_way = flow.way
        unit = self._units.get(stream)
        if unit is not None and not self._continues(unit, flow):
            out += self._empty(stream, passage)
            unit = None
        if unit is None:
            unit = self._units[stream] = _Unit(flow.way, batch, self._clock.monotonic())
        whole = not unit.inputs
        unit.add(flow)
        made, error = await call(partial(self._ask, batch)) if batch.count else ([], None)
        if error is not None:
            made = self._fail(error, batch, unit, passage)
        held = self._holds(stream)
        if whole and held == () and not isinstance(batch.origin, Span) and len(made) == 1:
            made = [made[0].with_origin(batch.origin)]  # it passed as a whole: its key goes with it
            out += self._collect(made, unit, passage, keep_origin=True)
        else:
            out += self._collect(made, unit, passage)
        if self._must_close(unit, batch):
            out += self._empty(stream, passage)
        else:
            out += self._settle(stream, unit, held, passage)
        return out

    @staticmethod
    def _continues(unit: _Unit, flow: Flow) -> bool:
        origin = flow.batch.origin
        return unit.way is flow.way and (not isinstance(origin, Span) or unit.end == origin.start)

    def _must_close(self, unit: _Unit, batch: Batch) -> bool:
        if unit.size > _OPEN_BYTES:
            return True
        origin = batch.origin
        return isinstance(origin, Span) and origin.end in self._boundaries(origin.stream)

    def _ask(self, batch: Batch) -> tuple[list[Batch], BaseException | None]:
        try:
            return list(self.step.apply(batch)), None
        except BaseException as error:  # a user's code may raise anything, SystemExit among it
            return [], error

    def _fail(self, error: BaseException, batch: Batch, unit: _Unit, passage: Passage) -> list[Batch]:
        self._complain(error, batch.count, WHAT[self._on_error])
        if self._on_error == "keep":
            return [batch]
        unit.read -= batch.count
        passage.fail(unit.way, self.name, self._on_error, describe(error), batch)
        return []

    def _holds(self, stream: str) -> Collection[Origin] | None:
        try:
            held = self.step.holds(stream)
        except BaseException as error:
            self._complain(error, 0, "held until the next flush")
            return None
        return () if held is not None and not held else held

    # -- out --------------------------------------------------------------------------------------

    def flush(self, now_s: float | None, passage: Passage) -> list[Flow]:
        """Take from the stage what was held for long enough; ``None``: everything. Never raises."""
        out = self._collect(self._flushed(lambda: self.step.flush(now_s)), None, passage)
        if now_s is None:
            return out + self._close(list(self._units), passage)
        for stream, unit in list(self._units.items()):
            if stream not in self._units:
                continue  # emptied together with another one
            if now_s - unit.since_s >= _OPEN_S:
                out += self._empty(stream, passage)
            else:
                out += self._settle(stream, unit, self._holds(stream), passage)
        return out

    def _empty(self, stream: str, passage: Passage) -> list[Flow]:
        """Take everything of a stream from the stage, and close its unit."""
        alone = type(self.step).flush_stream is not Stage.flush_stream
        out = self._collect(self._flushed(lambda: self.step.flush_stream(stream)), None, passage)
        return out + self._close([stream] if alone else list(self._units), passage)

    def _flushed(self, flush: Callable[[], Sequence[Batch]]) -> list[Batch]:
        try:
            return list(flush())
        except BaseException as error:
            self._complain(error, self.waiting, "dropped if the stage does not give them back")
            self._lost = True
            return []

    def _collect(
        self, made: Iterable[Batch], current: _Unit | None, passage: Passage, *, keep_origin: bool = False
    ) -> list[Flow]:
        """Find out where each batch belongs; those of files wait for their unit, the others go on."""
        out: list[Flow] = []
        for batch in made:
            if not batch.count:
                continue
            unit = self._units.get(batch.stream) or self._unit_of(batch.origin) or current
            if unit is None:
                out += self._unasked(batch, passage)
                continue
            unit.made += batch.count
            if isinstance(unit.first.origin, Span):
                unit.outputs.append(batch)
                continue
            own = batch if keep_origin else batch.with_origin(_joint_key(unit))
            unit.safe.expect()
            self._go_on(Flow(own, (unit.safe,), unit.way, staged=True), unit, out, passage)
        return out

    def _unit_of(self, origin: Origin) -> _Unit | None:
        if origin is None:
            return None
        return next((u for u in self._units.values() if any(key == origin for key, _ in u.inputs)), None)

    def _unasked(self, batch: Batch, passage: Passage) -> list[Flow]:
        """What a stage makes of nothing that came in, such as a summary."""
        if self._last_way is None:
            return []
        passage.made.append((self._last_way, batch.count))
        return [Flow(batch.with_origin(None), (), self._last_way, staged=True)]

    def _settle(
        self, stream: str, unit: _Unit, held: Collection[Origin] | None, passage: Passage
    ) -> list[Flow]:
        """Close the unit if nothing is held; of a peer, let go of the inputs that are finished."""
        if held is None:
            return []
        if not held:
            return self._close([stream], passage)
        if not isinstance(unit.first.origin, Span):
            self._finish(unit, held)
        return []

    def _finish(self, unit: _Unit, held: Collection[Origin]) -> None:
        """Inputs before the first one that is held wait for nothing but what came out already."""
        finished: list[Receipt] = []
        while unit.inputs and unit.inputs[0][0] not in held:
            finished += unit.inputs.popleft()[1]
        if finished:
            safe, unit.safe = unit.safe, Receipt(2)
            _settle_after(safe, [*finished, unit.safe])

    def _close(self, streams: list[str], passage: Passage) -> list[Flow]:
        """The stage holds nothing of these streams."""
        out: list[Flow] = []
        why, self._lost = (f"filter_error:{self.name}" if self._lost else self._reason), False
        for stream in streams:
            unit = self._units.pop(stream)
            if unit.read > unit.made:
                passage.drops.append((unit.way, why, unit.read - unit.made))
            elif unit.made > unit.read:
                passage.made.append((unit.way, unit.made - unit.read))
            receipts = [receipt for _, waiting in unit.inputs for receipt in waiting]
            if isinstance(unit.first.origin, Span):
                self._release(unit, unit.first.origin, receipts, out, passage)
            else:
                _settle_after(unit.safe, receipts)
        return out

    def _release(
        self, unit: _Unit, first: Span, receipts: list[Receipt], out: list[Flow], passage: Passage
    ) -> None:
        """Let the outputs of a file's unit go: one batch for each tag, all with the span of the whole."""
        tags: dict[str, list[Batch]] = {unit.first.tag: []}
        for batch in unit.outputs:
            tags.setdefault(batch.tag, []).append(batch)
        for receipt in receipts:
            receipt.expect(len(tags) - 1)
        for tag, batches in tags.items():
            lane = first.lane if tag == unit.first.tag else f"{first.lane}>{tag}"
            batch = replace(
                batches[0] if batches else unit.first,
                tag=tag,
                entries=b"".join(batch.entries for batch in batches),
                count=sum(batch.count for batch in batches),
                origin=replace(first, end=unit.end, lane=lane),
            )
            self._go_on(Flow(batch, receipts, unit.way, staged=True), unit, out, passage)

    def _go_on(self, flow: Flow, unit: _Unit, out: list[Flow], passage: Passage) -> None:
        changed = flow.batch.tag != unit.first.tag
        (passage.retagged if changed and self._reroute else out).append(flow)


def _settle_after(safe: Receipt, receipts: list[Receipt]) -> None:
    """Settle a part of each receipt once ``safe``, of which this is the last part, is done."""

    def settle() -> None:
        for receipt in receipts:
            receipt.settle()

    safe.add_done_callback(settle)
    safe.settle()


def _joint_key(unit: _Unit) -> Origin:
    """A key for what is made of several deliveries: the same if they come again in the same order."""
    if not unit.keys:
        return None
    name = hashlib.blake2b(digest_size=16)
    for key in unit.keys:
        name.update(len(key).to_bytes(4, "little") + key)
    name.update(f"{unit.made}".encode())
    return DeliveryKey(name.digest())
