"""Source ``nats``: messages of a JetStream, by a durable consumer that its members share.

A message is acknowledged when its events are safe. One that waits is kept from being sent again meanwhile.
What was not acknowledged comes again: after ``kill -9``, or to another member.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, ClassVar, Literal

from pydantic import Field

from logflow.component import Context, Emit
from logflow.config.fields import NonEmpty
from logflow.net.nats import Nats, NatsConfig
from logflow.sources.messages import MessagesConfig, MessageSource

_FETCH = 500
_FETCH_S = 5.0
_ACK_WAIT_S = 30.0
"""After this time without an acknowledgement the server sends a message again."""


class NatsSource(MessageSource):
    """Reads from a stream, and acknowledges what is safe."""

    placeholder = "{subject}"

    class Config(MessagesConfig, NatsConfig):
        """Options of the source ``nats``."""

        example: ClassVar[Mapping[str, Any]] = {"servers": ["nats://127.0.0.1:9"], "stream": "logs"}

        type: Literal["nats"] = "nats"
        stream: NonEmpty = Field(description="Name of the stream.")
        consumer: NonEmpty = Field(
            "logflow", description="Durable consumer; those that name the same share the messages."
        )
        subject: NonEmpty = Field(">", description="Subjects to read, such as `logs.app.>`.")
        read_from: Literal["beginning", "end"] = Field(
            "beginning", description="Where a consumer begins that is new."
        )
        tag: NonEmpty = Field("nats.{subject}", description="Tag of the events; `{subject}` may stand in it.")

    config: NatsSource.Config

    def __init__(self, config: NatsSource.Config, context: Context) -> None:
        super().__init__(config, context)
        self._nats = Nats(self.config, f"source {context.name} (nats)")
        self._subscription: Any = None
        self._waiting: dict[int, list[Any]] = {}
        """Messages whose events are not safe, by a number."""
        self._safe: list[Any] = []
        self._number = 0

    def undelivered(self, error: Exception) -> Exception:
        """Return the error with what to do."""
        return self._nats.undelivered(error)

    async def drain(self) -> None:
        """Acknowledge what has become safe."""
        with suppress(Exception):
            await self._acknowledge()

    async def close(self) -> None:
        """Disconnect; what was not acknowledged comes again."""
        self._waiting.clear()
        self._safe.clear()
        await self._nats.close()

    async def connect(self) -> None:
        """Subscribe as the consumer."""
        api, config = self._nats.api, self.config
        jetstream = await self._nats.stream()
        policy = api.DeliverPolicy.ALL if config.read_from == "beginning" else api.DeliverPolicy.NEW
        self._subscription = await jetstream.pull_subscribe(
            config.subject, durable=config.consumer, stream=config.stream,
            config=api.ConsumerConfig(
                deliver_policy=policy, ack_policy=api.AckPolicy.EXPLICIT, ack_wait=_ACK_WAIT_S,
                max_ack_pending=20 * _FETCH,
            ),
        )  # fmt: skip

    async def read(self, emit: Emit) -> None:
        """Read, and acknowledge what has become safe."""
        keeping = asyncio.create_task(self._keep_on())
        try:
            while True:
                if keeping.done():
                    keeping.result()
                with suppress(self._nats.errors.TimeoutError):
                    await self._emit(await self._subscription.fetch(_FETCH, timeout=_FETCH_S), emit)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _emit(self, messages: Sequence[Any], emit: Emit) -> None:
        for tag, of_tag in groupby(messages, key=self._tag_of):
            run = list(of_tag)
            self._number += 1
            number = self._number
            self._waiting[number] = run
            batch = await asyncio.to_thread(self._reader.batch, tag, [message.data for message in run])
            if batch.count:
                (await emit(batch)).add_done_callback(lambda number=number: self._finish(number))  # type: ignore[misc]
            else:
                self._finish(number)

    def _finish(self, number: int) -> None:
        """Messages are safe; they are acknowledged soon."""
        self._safe += self._waiting.pop(number, ())

    def _tag_of(self, message: Any) -> str:
        return self.tag_for(message.subject, message.headers or {})

    async def _keep_on(self) -> None:
        """Acknowledge what is safe, and keep what waits from being sent again."""
        clock = self.context.clock
        kept_s = clock.monotonic()
        while True:
            await clock.sleep(0.05)
            await self._acknowledge()
            if clock.monotonic() - kept_s > _ACK_WAIT_S / 3:
                kept_s = clock.monotonic()
                for messages in list(self._waiting.values()):
                    for message in messages:
                        await message.in_progress()

    async def _acknowledge(self) -> None:
        safe, self._safe = self._safe, []
        for message in safe:
            await message.ack()
