"""Puts dead letters that are marked for replay back into their output's buffer."""

from __future__ import annotations

import asyncio
import logging

from logflow.buffers.base import Buffer
from logflow.clock import Clock
from logflow.errors import MalformedData
from logflow.pipeline.dead_letters import DeadLetterStore, Letter
from logflow.receipt import Receipt
from logflow.telemetry.ledger import Account

_LOOK_S = 2.0

_log = logging.getLogger("logflow.dead_letters")


class Replayer:
    """Looks for letters to replay every two seconds; each is removed once it is safe."""

    def __init__(
        self, store: DeadLetterStore, buffers: dict[str, tuple[Buffer, Account]], clock: Clock
    ) -> None:
        """Put letters of each output into its buffer, accounted for in its account."""
        self._store = store
        self._buffers = buffers
        self._clock = clock
        self._under_way: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled; an output that has no room holds up its own letters only."""
        async with asyncio.TaskGroup() as group:
            for output in self._buffers:
                group.create_task(self._run(output))

    async def _run(self, output: str) -> None:
        while True:
            try:
                await self._look(output)
            except OSError as error:
                _log.warning("Dead letters cannot be read now: %s.", error)
            await self._clock.sleep(_LOOK_S)

    async def look(self) -> None:
        """Put every letter that is marked now into its buffer."""
        await asyncio.gather(*map(self._look, self._buffers))

    async def _look(self, output: str) -> None:
        for letter in await asyncio.to_thread(self._store.to_replay, output):
            if letter.name not in self._under_way:
                await self._put(letter, *self._buffers[output])

    async def _put(self, letter: Letter, buffer: Buffer, account: Account) -> None:
        self._under_way.add(letter.name)
        try:
            batch = await asyncio.to_thread(letter.batch)
        except MalformedData as error:
            _log.error("A dead letter is not replayed and stays where it is: %s.", error)
            return
        receipt = Receipt(1)
        account.enter(batch.count)
        try:
            await buffer.put(batch, account, receipt)
        except BaseException:
            account.give_back(batch.count)
            raise
        receipt.add_done_callback(letter.drop)
        _log.info("Dead letter %s goes to output %s again.", letter.name, letter.output)
