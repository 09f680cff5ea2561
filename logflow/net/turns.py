"""Whose turn it is: what many connections do in one turn of the event loop is bounded.

::

    new       a connection that had little to do, or nothing ──┐ seven of eight
    busy      one that has used up a turn, now or lately ──────┴─► a few per turn of the event loop

A connection that floods us waits behind those that send now and then, and all others have the event loop in
between: health checks, signals, what other sources and outputs do.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

_AT_ONCE = 8
"""Connections that have their turn in one turn of the event loop."""
_COUNTED_S = 0.05
"""If so many come within this time, others wait."""
_BUSY_ONE_IN = 8
_NEW_TURN_S = 0.0003
_BUSY_TURN_S = 0.001
"""How long a turn is; the request that is being handled at its end is seen through. A first turn is short, as
one request is what most have, and many may come at once."""

_LATELY_S = 1.0
_FEW_REQUESTS = 3
"""Who has sent no more is not busy."""


class Turns:
    """The connections of one source that wait for their turn."""

    def __init__(self) -> None:
        self._new: deque[asyncio.Future[None]] = deque()
        self._busy: deque[asyncio.Future[None]] = deque()
        self._given = 0
        self._since_s = 0.0
        self._giving = False

    async def take(self, *, busy: bool) -> None:
        """Wait for a turn. Where there are few, only who is ``busy`` waits, having just used up another."""
        now_s = time.perf_counter()
        if now_s - self._since_s > _COUNTED_S:
            self._since_s, self._given = now_s, 0
        if self._given < _AT_ONCE and not self._giving and not busy:
            self._given += 1
            return
        turn = asyncio.get_running_loop().create_future()
        (self._busy if busy else self._new).append(turn)
        if not self._giving:
            self._giving = True
            asyncio.get_running_loop().call_soon(self._give)
        await turn

    def _give(self) -> None:
        """The event loop has come round."""
        self._given = 0
        while self._given < _AT_ONCE and (self._new or self._busy):
            busy = self._busy and (not self._new or self._given % _BUSY_ONE_IN == _BUSY_ONE_IN - 1)
            turn = (self._busy if busy else self._new).popleft()
            if not turn.done():  # otherwise its task was cancelled
                turn.set_result(None)
                self._given += 1
        self._giving = self._given > 0
        if self._giving:
            asyncio.get_running_loop().call_soon(self._give)


class Turn:
    """The turn of one connection."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._ends_s = self._busy_until_s = 0.0
        self._requests = 0

    async def begin(self) -> None:
        """Wait for it, before the first request."""
        self._requests = 0
        busy = time.perf_counter() < self._busy_until_s
        await self._turns.take(busy=busy)
        self._ends_s = time.perf_counter() + (_BUSY_TURN_S if busy else _NEW_TURN_S)

    async def go_on(self) -> None:
        """Between two requests: wait for another turn if this one is over."""
        self._requests += 1
        now_s = time.perf_counter()
        if now_s <= self._ends_s:
            return
        # That the time is over may be the fault of others.
        if busy := self._requests > _FEW_REQUESTS:
            self._busy_until_s = now_s + _LATELY_S
        await self._turns.take(busy=busy)
        self._ends_s = time.perf_counter() + _BUSY_TURN_S
