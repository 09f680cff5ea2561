"""Puts dead letters that are marked for replay back into their output's buffer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from logflow.batch import Batch
from logflow.buffers.base import Buffer
from logflow.clock import Clock
from logflow.errors import MalformedData
from logflow.pipeline.dead_letters import DeadLetterStore, Letter
from logflow.receipt import Receipt
from logflow.telemetry.ledger import Account

_LOOK_S = 2.0
_COUNT_S = 60.0

_log = logging.getLogger("logflow.dead_letters")

Taker: TypeAlias = Callable[[Batch], Awaitable[Receipt]]
"""Takes the events of a letter; the receipt tells when they are safe."""


class Replayer:
    """Looks for letters to replay every two seconds; each is removed once it is safe."""

    def __init__(
        self,
        store: DeadLetterStore,
        buffers: dict[str, tuple[Buffer, Account]],
        clock: Clock,
        routed: Mapping[str, Taker] | None = None,
    ) -> None:
        """Put letters of each output into its buffer, accounted for in its account.

        Those of filters and sources go to what ``routed`` names: through the routes again.
        """
        self._store = store
        self._buffers = buffers
        self._clock = clock
        self._routed = routed or {}
        self._under_way: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled; an output that has no room holds up its own letters only."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._count())
            for output in (*self._buffers, *self._routed):
                group.create_task(self._run(output))

    async def _count(self) -> None:
        """Keep the number of letters right, which commands change too."""
        while True:
            with suppress(OSError):
                await self._store.look()
            await self._clock.sleep(_COUNT_S)

    async def _run(self, output: str) -> None:
        while True:
            try:
                await self._look(output)
            except OSError as error:
                _log.warning("Dead letters cannot be read now: %s.", error)
            await self._clock.sleep(_LOOK_S)

    async def look(self) -> None:
        """Put every letter that is marked now into its buffer."""
        await asyncio.gather(*map(self._look, (*self._buffers, *self._routed)))

    async def _look(self, output: str) -> None:
        for letter in await asyncio.to_thread(self._store.to_replay, output):
            if letter.name not in self._under_way:
                await self._put(letter, self._routed.get(output) or partial(_store, *self._buffers[output]))

    async def _put(self, letter: Letter, take: Taker) -> None:
        self._under_way.add(letter.name)
        try:
            batch = await asyncio.to_thread(letter.batch)
        except MalformedData as error:
            _log.error("A dead letter is not replayed and stays where it is: %s.", error)
            return
        receipt = await take(batch)
        receipt.add_done_callback(letter.drop)
        _log.info("Dead letter %s of %s goes its way again.", letter.name, letter.output)


async def _store(buffer: Buffer, account: Account, batch: Batch) -> Receipt:
    receipt = Receipt(1)
    account.enter(batch.count)
    try:
        await buffer.put(batch, account, receipt)
    except BaseException:
        account.give_back(batch.count)
        raise
    return receipt
