"""The flusher: takes chunks from a buffer and has an output deliver them.

Two tasks take chunks, one those that were never tried, the other those that were put back. Each group that
they take is given to a worker, of which there are ``concurrency``; retries may hold half of them, so that
what fails does not stand in the way of what does not::

    take ──► write ──► delivered ─────────────────────────► commit
              ▲   │
              │   ├─ rejected, or cannot be rendered ─► dead letter ─► commit, accounted for under its reason
              │   ├─ too large ─► halves ─┐
              └───┼───────────────────────┘
                  ├─ OutputEnded ─► put back, and the service ends
                  ├─ anything else ──► put back: its tag is due again after the back-off
                  │                    (after give_up_after: dead letter ─► commit)
                  └─ cancelled ──────► put back           shutdown: the chunk stays where it was

A chunk is written whole unless it is larger than ``chunk_limit`` or than the destination takes; then it is
written piece by piece, in order, and committed after the last (see ``pieces.py``).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from logflow.batch import Chunk, PartialDelivery
from logflow.buffers.base import Buffer, GroupLimits
from logflow.clock import Clock
from logflow.component import Output
from logflow.config.options import OutputConfig
from logflow.errors import (
    ChunkTooLarge,
    DeliveryError,
    LimitExceeded,
    OutputEnded,
    PermanentError,
    RetryAfter,
    Undecided,
)
from logflow.pipeline.pieces import cut, letter_id
from logflow.pipeline.progress import DeliveryStatus, describe
from logflow.pipeline.retry import Backoff
from logflow.pipeline.workers import Workers

_DISK_RETRY_S = 0.5
_INLINE_BYTES = 1 << 20
"""Larger chunks are cut in a thread, so that the event loop is not held up."""
_LEARNED_S = 600.0
"""For how long the size that a destination takes is remembered."""
_MOST_CHUNKS = 1000
"""Most chunks in a group: what is done with it must not hold up the event loop."""
_CUT = "cut "
"""Begins the note about a chunk that is written in pieces; their size follows."""


class DeadLetters(Protocol):
    """Where chunks go that an output will never take."""

    async def put(self, chunk: Chunk, output: str, reason: str) -> None:
        """Keep the chunk; durable when it returns."""
        ...


@dataclass(eq=False)
class _Delivery:
    """A chunk on its way.

    Attributes:
        chunk: as the buffer handed it out.
        pieces: what is left of it, in order.
        since_s: monotonic time of the first attempt in this process.
        dropped: events that were dropped or became dead letters, by reason.
        noted: ids of pieces, for which the output may have made notes.
        error: why it is tried again later; ``None`` while it need not be.
    """

    chunk: Chunk
    pieces: deque[Chunk]
    since_s: float
    dropped: Counter[str] = field(default_factory=Counter)
    noted: list[bytes] = field(default_factory=list)
    error: Exception | None = None


class Flusher:
    """Delivers one output's chunks."""

    def __init__(
        self,
        name: str,
        output: Output,
        buffer: Buffer,
        options: OutputConfig,
        *,
        dead_letters: DeadLetters,
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        self.name = name
        self.output = output
        self.buffer = buffer
        self.status = DeliveryStatus(name, clock, log)
        self._options = options
        self._dead_letters = dead_letters
        self._clock = clock
        self._backoff = Backoff(options.retry)
        self._workers = Workers(options.concurrency, output.bearable)
        self._limits = GroupLimits()
        if output.groups:
            batch = options.grouping()
            self._limits = GroupLimits(_MOST_CHUNKS, batch.max_bytes, batch.max_events)
            pace = buffer.gather if output.gathers else buffer.pace_together
            pace(batch.max_wait)
        self._failing: dict[bytes, _Delivery] = {}
        """Chunks that were put back after a failure, with what is left of them."""
        self._learned: tuple[int, float] | None = None
        """The size that the destination takes, and until when we believe it."""
        self._hurried_s = -options.retry.max
        self._not_begun: list[list[Chunk]] = []
        """Groups that were handed out, and whose task has not come to its first step."""

    def take_over(self, old: Flusher) -> None:
        """Go on where the flusher of the same buffer stopped: with what is left of chunks that failed."""
        self._failing = old._failing
        self._learned = old._learned

    async def run(self) -> None:
        """Open the output, trying until it works, then deliver until cancelled."""
        await self._open()
        try:
            async with asyncio.TaskGroup() as group:
                # Retries first: they are held to their share, so that they cannot starve the others.
                group.create_task(self._hand_out(group, retries=True))
                group.create_task(self._hand_out(group, retries=False))
        finally:
            # A task that is cancelled before its first step does nothing at all.
            for chunks in self._not_begun:
                self._put_back(chunks)

    async def _open(self) -> None:
        backoff = Backoff(self._options.retry)
        while True:
            try:
                await self.output.open()
            except OutputEnded:
                raise
            except Exception as error:
                self.status.failed(error, "cannot be opened")
                await self._clock.sleep(backoff.next_delay_s())
            else:
                self.status.opened = True
                self.status.succeeded()
                return

    # -- taking -----------------------------------------------------------------------------------

    async def _hand_out(self, group: asyncio.TaskGroup, *, retries: bool) -> None:
        """Take chunks of one kind and give them to workers, one group after the other."""
        while True:
            await self._workers.wait(retries=retries)
            chunks = await self._take(retries=retries)
            if not chunks:
                continue
            try:
                await self._workers.take(retries=retries)
            except BaseException:
                self._put_back(chunks)
                raise
            self._not_begun.append(chunks)
            group.create_task(self._deal_with(chunks, retries=retries))
            del chunks  # an idle task must not hold the memory of what was delivered

    async def _take(self, *, retries: bool) -> list[Chunk]:
        try:
            chunks = await self.buffer.take_group(self._limits, fresh=not retries, retries=retries)
        except OSError as error:  # a full disk is back-pressure: whatever waits goes on waiting
            self.status.failed(error, "cannot get its next chunk")
            await self._clock.sleep(_DISK_RETRY_S)
            return []
        if retries:
            return chunks
        # What an earlier process tried is no fresh chunk: its destination may be the one that hangs.
        fresh = [chunk for chunk in chunks if not (chunk.attempts or chunk.resumed)]
        self._put_back([chunk for chunk in chunks if chunk.attempts or chunk.resumed])
        return fresh

    def _put_back(self, chunks: Sequence[Chunk], delay_s: float = 0.0) -> None:
        for chunk in chunks:
            self.buffer.put_back(chunk, delay_s)

    # -- delivering -------------------------------------------------------------------------------

    async def _deal_with(self, chunks: list[Chunk], *, retries: bool) -> None:
        """See a group through: every chunk is committed or put back, and the worker is free again."""
        self._not_begun.remove(chunks)
        under_way: list[_Delivery] = []
        try:
            try:
                under_way = [await self._delivery(chunk) for chunk in chunks]
            except OSError as error:
                self.status.failed(error, "cannot note how a chunk is cut")
                self._put_back(chunks, _DISK_RETRY_S)
            except BaseException:
                self._put_back(chunks)
                raise
            while under_way:
                under_way = await self._round(under_way)
        finally:
            self._workers.give_back(retries=retries)

    async def _delivery(self, chunk: Chunk) -> _Delivery:
        """Begin or go on with the delivery of a chunk."""
        if (known := self._failing.get(chunk.id)) is not None:
            known.error = None
            return known
        pieces = [chunk] if chunk.size <= self._limit and not chunk.resumed else await self._pieces(chunk)
        return _Delivery(
            chunk, deque(pieces), self._clock.monotonic(),
            noted=[piece.id for piece in pieces if piece.id != chunk.id],
        )  # fmt: skip

    async def _round(self, under_way: list[_Delivery]) -> list[_Delivery]:
        """Write the first piece of as many as fit; returns those of which one can be written at once."""
        fitting = self._fitting(under_way)
        try:
            answers = await self._write([delivery.pieces[0] for delivery in under_way[:fitting]])
        except BaseException:
            self._put_back([delivery.chunk for delivery in under_way])
            raise
        # What was delivered is committed even while the service stops.
        concluding = asyncio.ensure_future(self._conclude(under_way[:fitting], answers))
        try:
            return [*await asyncio.shield(concluding), *under_way[fitting:]]
        except asyncio.CancelledError:
            self._put_back([delivery.chunk for delivery in (*await concluding, *under_way[fitting:])])
            raise

    def _fitting(self, under_way: list[_Delivery]) -> int:
        """How many of them may be written in one go; the first always may."""
        size = events = 0
        for number, delivery in enumerate(under_way):
            size += delivery.pieces[0].size
            events += delivery.pieces[0].count
            if number and (size > self._limits.size or events > self._limits.events):
                return number
        return len(under_way)

    async def _write(self, pieces: list[Chunk]) -> Sequence[Exception | None]:
        try:
            async with asyncio.timeout(self._options.write_timeout):
                if self.output.groups:
                    answers = await self.output.write_group(pieces)
                else:
                    await self.output.write(pieces[0])
                    return [None]
        except OutputEnded:
            raise
        except Exception as error:
            return [error] * len(pieces)
        if (broken := next((e for e in answers if isinstance(e, OutputEnded)), None)) is not None:
            raise broken
        return answers

    async def _conclude(
        self, under_way: list[_Delivery], answers: Sequence[Exception | None]
    ) -> list[_Delivery]:
        """Commit what is done and put back what failed; returns what can go on at once."""
        for delivery, answer in zip(under_way, answers, strict=True):
            await self._answered(delivery, answer)
            if delivery.error is not None and self._gives_up(delivery):
                why = describe(delivery.error)
                rejected = [(piece, why) for piece in delivery.pieces]
                delivery.pieces.clear()
                delivery.error = None
                await self._reject(delivery, rejected, "gave_up")
        await self._commit([delivery for delivery in under_way if not delivery.pieces])
        for delivery in under_way:
            if delivery.error is not None:
                self._try_later(delivery, delivery.error)
        return [delivery for delivery in under_way if delivery.pieces and delivery.error is None]

    async def _answered(self, delivery: _Delivery, answer: Exception | None) -> None:
        """Take the answer to a delivery's first piece: decide what is left, write dead letters."""
        if answer is None:
            delivery.pieces.popleft()
            return
        piece = delivery.pieces.popleft()
        tag = delivery.chunk.tag
        match answer:
            case ChunkTooLarge() | LimitExceeded() | RecursionError() | UnicodeError() | OverflowError():
                # The last four are raised for what an event holds: it is found by halving.
                await self._refused_as_it_is(delivery, piece, answer)
            case PermanentError():
                self.status.failed(answer, f"rejected a chunk of {tag}")
                await self._reject(delivery, [(piece, str(answer))], "rejected")
            case PartialDelivery(rest=rest, rejected=rejected):
                self.status.failed(answer, f"took a part of a chunk of {tag}")
                parts = [(replace(part, id=letter_id(piece, part)), why) for part, why in rejected]
                if rest is not None:
                    delivery.pieces.appendleft(rest)
                    delivery.error = answer
                await self._reject(delivery, parts, "rejected")
            case _:
                self.status.failed(
                    answer, f"did not take a chunk of {tag} (attempt {delivery.chunk.attempts + 1})"
                )
                delivery.pieces.appendleft(piece)
                delivery.error = answer

    async def _refused_as_it_is(self, delivery: _Delivery, piece: Chunk, answer: Exception) -> None:
        """Go on with smaller pieces; one of a single event becomes a dead letter."""
        if piece.count <= 1:
            self.status.failed(answer, f"cannot take an event of {piece.tag}")
            await self._reject(delivery, [(piece, describe(answer))], "rejected")
            return
        limit = piece.size // 2
        if isinstance(answer, ChunkTooLarge):
            limit = min(limit, answer.limit_hint or limit)
            self._learned = (limit, self._clock.monotonic() + _LEARNED_S)
            try:  # what is delivered in pieces must not come whole after a restart
                self.output.context.checkpoints.note(self.name, delivery.chunk.id, f"{_CUT}{limit}")
            except OSError as error:
                self.status.failed(error, "cannot note how a chunk is cut")
                delivery.pieces.appendleft(piece)
                delivery.error = error
                return
        smaller = await self._cut(piece, limit)
        delivery.noted += [part.id for part in smaller]
        delivery.pieces.extendleft(reversed(smaller))

    async def _reject(self, delivery: _Delivery, rejected: list[tuple[Chunk, str]], reason: str) -> None:
        """Make dead letters; what there is no room for is left, and tried again with the rest."""
        for index, (piece, why) in enumerate(rejected):
            if not self._options.dead_letter:
                delivery.dropped[reason] += piece.count
                continue
            try:
                await self._dead_letters.put(piece, self.name, why)
            except DeliveryError as error:
                self.status.failed(error, "cannot give up a chunk")
                delivery.pieces.extendleft(part for part, _ in reversed(rejected[index:]))
                delivery.error = error
                return
            self.status.wrote_letter()
            delivery.dropped[f"dead_letter:{reason}"] += piece.count

    async def _commit(self, done: list[_Delivery]) -> None:
        if not done:
            return
        await self.buffer.commit_group([(delivery.chunk, delivery.dropped) for delivery in done])
        for delivery in done:
            self._failing.pop(delivery.chunk.id, None)
            for piece_id in delivery.noted:
                self.output.context.checkpoints.note(self.name, piece_id, "")
        delivered = [delivery for delivery in done if not delivery.dropped]
        self.status.dealt_with(len(delivered))
        if delivered and not self._failing:
            self.status.succeeded()
        if any(delivery.chunk.attempts for delivery in delivered):
            self._hurry()

    # -- trying again -----------------------------------------------------------------------------

    def _gives_up(self, delivery: _Delivery) -> bool:
        give_up_after = self._options.retry.give_up_after
        waited_s = self._clock.monotonic() - delivery.since_s
        next_s = waited_s + self._backoff.delay_s(delivery.chunk.attempts + 1)
        return give_up_after is not None and next_s > give_up_after

    def _try_later(self, delivery: _Delivery, error: Exception) -> None:
        """Put a chunk back; its tag is due again after the back-off, and the worker goes on."""
        chunk = delivery.chunk
        chunk.attempts += 1
        for piece in delivery.pieces:
            piece.attempts = chunk.attempts
        self.status.retries += 1
        self._failing[chunk.id] = delivery
        delay_s = self._backoff.delay_s(chunk.attempts)
        if isinstance(error, RetryAfter):
            delay_s = max(delay_s, min(error.delay_s, self._options.retry.max))
        elif isinstance(error, Undecided):  # asking costs nothing
            delay_s = error.delay_s
        self.buffer.put_back(chunk, delay_s, firm=isinstance(error, RetryAfter))

    def _hurry(self) -> None:
        """What failed went through, so the others that failed may as well: do not let them wait it out."""
        now_s = self._clock.monotonic()
        if now_s - self._hurried_s >= self._options.retry.initial:
            self._hurried_s = now_s
            self.buffer.hurry()

    # -- cutting ----------------------------------------------------------------------------------

    async def _pieces(self, chunk: Chunk) -> list[Chunk]:
        """Cut a chunk that is too large, now as before a restart.

        Raises:
            OSError: how it is cut cannot be written down now.
        """
        checkpoints = self.output.context.checkpoints
        if chunk.attempts or chunk.resumed:  # it went out before, whole or as it was noted
            noted = checkpoints.noted(self.name, chunk.id)
            limit = int(noted.removeprefix(_CUT)) if noted.startswith(_CUT) else chunk.size
        else:
            limit = self._limit
        if chunk.size <= limit:
            return [chunk]
        checkpoints.note(self.name, chunk.id, f"{_CUT}{limit}")
        return await self._cut(chunk, limit)

    @property
    def _limit(self) -> int:
        """The size above which chunks are cut now."""
        limit = min(self._options.buffer.chunk_limit, self._limits.size)
        if self._learned is None:
            return limit
        size, until_s = self._learned
        if self._clock.monotonic() >= until_s:
            self._learned = None
        return min(limit, size)

    async def _cut(self, chunk: Chunk, limit: int) -> list[Chunk]:
        engine = self.output.context.engine
        if chunk.size <= _INLINE_BYTES:
            return cut(chunk, limit, engine)
        return await asyncio.to_thread(cut, chunk, limit, engine)
