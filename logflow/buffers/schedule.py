"""Which queue of a buffer has its next chunk when.

There are two lists, each in the order in which queues are due, so that what fails never stands in the way of
what does not::

    fresh      queues whose next chunk was never tried: due when the pacer says, at once when it is full
    retries    queues whose chunk was put back: due after its delay

A queue is busy from the moment it is handed out until it is freed, and in one list at most.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable
from itertools import count
from typing import Generic, Protocol, TypeVar

from logflow.buffers.pacing import GatheringPacer, GroupPacer, Pacer
from logflow.buffers.turns import until_quiet
from logflow.clock import Clock


class Scheduled(Protocol):
    """A queue as the schedule sees it.

    Attributes:
        busy: it was handed out and not freed yet.
        due_s: when it may have its next chunk, if that is scheduled.
        retry_s: not before this time, as a chunk was put back; ``None`` if none was.
        firm: the destination named that time, so :meth:`Schedule.hurry` leaves it.
    """

    busy: bool
    due_s: float | None
    retry_s: float | None
    firm: bool

    @property
    def empty(self) -> bool:
        """Whether there is nothing to hand out."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a whole chunk waits, so that there is nothing to be gained by waiting."""
        ...

    @property
    def uncut_bytes(self) -> int:
        """Bytes that the next chunk may be made of."""
        ...

    @property
    def pace(self) -> Hashable:
        """What is paced."""
        ...


Q = TypeVar("Q", bound=Scheduled)

_QUIET_TURNS = 4
_MOST_TURNS = 64
"""After so many turns of the event loop without another queue, or in all, a group is taken."""


class Schedule(Generic[Q]):
    """Queues with something to deliver, in the order in which they are due."""

    def __init__(self, flush_interval_s: float, clock: Clock) -> None:
        """A chunk that is not full is made when the pacer says, after ``flush_interval_s`` at the latest."""
        self._flush_interval_s = flush_interval_s
        self._pacer: Pacer | GroupPacer | GatheringPacer = Pacer(flush_interval_s)
        self._pressed: Callable[[], bool] = _never
        self._clock = clock
        self._fresh: list[tuple[float, int, Q]] = []
        self._retries: list[tuple[float, int, Q]] = []
        self._order = count()
        self._changed = asyncio.Event()

    def pace_together(self, interval_s: float) -> None:
        """Have all queues become due at the same time, so that they are taken in one go."""
        self._pacer = GroupPacer(min(interval_s, self._flush_interval_s))

    def gather(self, interval_s: float, pressed: Callable[[], bool]) -> None:
        """Let queues gather for ``interval_s``, also after a quiet time; not while ``pressed``."""
        self._pacer = GatheringPacer(interval_s)
        self._pressed = pressed

    def release(self) -> None:
        """Nothing is waited for any more: every queue whose chunk was never tried is due."""
        self._pressed = _always
        self._wake()

    def __len__(self) -> int:
        """How many entries there are; those that are out of date count too."""
        return len(self._fresh) + len(self._retries)

    def add(self, queue: Q) -> None:
        """Note when the queue may have its next chunk."""
        if queue.busy or queue.empty:
            return
        if self._pressed():
            self._wake()
        now_s = self._clock.monotonic()
        if queue.retry_s is not None:
            due_s = max(now_s, queue.retry_s)
        else:
            due_s = now_s if queue.ready else self._pacer.due(queue.pace, now_s, queue.uncut_bytes)
        self.add_at(queue, due_s)

    def add_at(self, queue: Q, due_s: float) -> None:
        """Note that the queue may have its next chunk at ``due_s``, a time on the monotonic clock."""
        if queue.due_s is not None and queue.due_s <= due_s:
            return
        queue.due_s = due_s
        due = self._fresh if queue.retry_s is None else self._retries
        entry = (due_s, next(self._order), queue)
        heapq.heappush(due, entry)
        if due[0] is entry:  # otherwise whoever waits wakes in time anyway
            self._wake()

    def hurry(self) -> None:
        """What was put back is due now: the destination works again."""
        now_s = self._clock.monotonic()
        if not any(queue.due_s == due_s > now_s for due_s, _, queue in self._retries if not queue.firm):
            return
        hurried = []
        for due_s, order, queue in self._retries:
            if queue.due_s == due_s and not queue.firm:
                queue.due_s = now_s
                hurried.append((now_s, order, queue))
            else:
                hurried.append((due_s, order, queue))
        heapq.heapify(hurried)
        self._retries = hurried
        self._wake()

    async def next(self, *, fresh: bool = True, retries: bool = True) -> Q:
        """Wait for a queue that is due, and mark it busy.

        Args:
            fresh: take those whose next chunk was never tried.
            retries: take those whose chunk was put back.
        """
        while True:
            if fresh and isinstance(self._pacer, GroupPacer):
                await until_quiet(
                    lambda: len(self._fresh), self._begins_group, quiet=_QUIET_TURNS, most=_MOST_TURNS
                )
            if (queue := self.next_due(fresh=fresh, retries=retries)) is not None:
                return queue
            await self._wait(self._lists(fresh=fresh, retries=retries))

    def _begins_group(self) -> bool:
        """Whether a queue is due that has no whole chunk yet.

        Were it taken alone, what comes with it, from other files or over the same connection, would wait for
        the next group.
        """
        if not self._fresh or self._fresh[0][0] > self._clock.monotonic():
            return False
        queue = self._fresh[0][2]
        return not (queue.ready or queue.busy or queue.empty)

    def next_due(self, *, fresh: bool = True, retries: bool = True) -> Q | None:
        """The next queue that is due now, marked busy; ``None`` if there is none."""
        now_s = self._clock.monotonic()
        if fresh and self._pressed():
            self._make_due(now_s)
        waiting = [due for due in self._lists(fresh=fresh, retries=retries) if due and due[0][0] <= now_s]
        while waiting:
            first = min(waiting, key=lambda due: due[0][:2])
            due_s, _, queue = heapq.heappop(first)
            if queue.due_s == due_s and not (queue.busy or queue.empty):
                queue.due_s = None
                queue.busy = True
                self._pacer.took(queue.pace, now_s)
                return queue
            waiting = [due for due in waiting if due and due[0][0] <= now_s]
        return None

    def _make_due(self, now_s: float) -> None:
        """Have the first of the queues that gather due now; the next look makes the next one so."""
        while self._fresh and self._fresh[0][0] > now_s:
            due_s, order, queue = heapq.heappop(self._fresh)
            if queue.due_s == due_s and not (queue.busy or queue.empty):
                queue.due_s = now_s
                heapq.heappush(self._fresh, (now_s, order, queue))

    def _lists(self, *, fresh: bool, retries: bool) -> list[list[tuple[float, int, Q]]]:
        return [*([self._fresh] if fresh else []), *([self._retries] if retries else [])]

    async def _wait(self, lists: list[list[tuple[float, int, Q]]]) -> None:
        """Wait until something changes, or until the earliest queue is due."""
        first_s = min((due[0][0] for due in lists if due), default=None)
        if first_s is None:
            await self._changed.wait()
            return
        timer = self._clock.call_later(first_s - self._clock.monotonic(), self._wake)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()


def _never() -> bool:
    return False


def _always() -> bool:
    return True
