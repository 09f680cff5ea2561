"""Source ``kafka``: messages of topics, shared among the members of a consumer group.

A partition's position is committed up to the first message whose events are not safe. When a partition goes
to another member, this one waits for what is on its way, commits, and lets go; so a rebalance loses
nothing, and doubles nothing unless outputs take longer than it waits. What was not committed comes again
after ``kill -9``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, ClassVar, Literal

from pydantic import Field

from logflow import extras
from logflow.component import Context, Emit
from logflow.config.fields import NonEmpty
from logflow.net.kafka import Kafka, KafkaConfig
from logflow.sources.messages import MessageProgress, MessagesConfig, MessageSource

_POLL_MS = 500
_MOST_MESSAGES = 10_000
_COMMIT_S = 1.0
_LET_GO_S = 20.0
"""How long a partition that goes to another member waits for what is on its way."""
_LEAVE_S = 5.0
_BLOCKED_MS = 24 * 3600 * 1000
"""A member may wait for its outputs as long as it lives, which its heartbeats tell."""


class KafkaSource(MessageSource):
    """Reads as a member of a group, and commits up to the first message that is not safe."""

    placeholder = "{topic}"

    class Config(MessagesConfig, KafkaConfig):
        """Options of the source ``kafka``."""

        example: ClassVar[Mapping[str, Any]] = {"servers": ["127.0.0.1:9"], "topics": ["logs"]}

        type: Literal["kafka"] = "kafka"
        topics: list[NonEmpty] = Field(min_length=1, description="Topics to read.")
        group: NonEmpty = Field("logflow", description="Consumer group; its members share the partitions.")
        read_from: Literal["beginning", "end"] = Field(
            "beginning", description="Where a group begins that has committed nothing."
        )
        tag: NonEmpty = Field("kafka.{topic}", description="Tag of the events; `{topic}` may stand in it.")

    config: KafkaSource.Config

    def __init__(self, config: KafkaSource.Config, context: Context) -> None:
        super().__init__(config, context)
        what = f"source {context.name} (kafka)"
        self._kafka = Kafka(self.config, what)
        self._listener = extras.load("aiokafka.abc", "kafka", what).ConsumerRebalanceListener
        self._consumer: Any = None
        self._progress: dict[Any, MessageProgress] = {}

    def undelivered(self, error: Exception) -> Exception:
        """Return the error with what to do."""
        return self._kafka.undelivered(error)

    async def drain(self) -> None:
        """Commit how far everything is safe."""
        await self._commit()

    async def close(self) -> None:
        """Leave the group."""
        consumer, self._consumer = self._consumer, None
        self._progress.clear()
        if consumer is not None:
            with suppress(Exception):
                async with asyncio.timeout(_LEAVE_S):
                    await consumer.stop()

    async def connect(self) -> None:
        """Join the group."""
        config = self.config
        self._consumer = self._kafka.library.AIOKafkaConsumer(
            **self._kafka.options(), group_id=config.group, enable_auto_commit=False,
            isolation_level="read_committed", max_poll_interval_ms=_BLOCKED_MS,
            auto_offset_reset="earliest" if config.read_from == "beginning" else "latest",
        )  # fmt: skip
        source = self

        class Listener(self._listener):  # type: ignore[name-defined,misc] # what it is depends on the extra
            async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
                await source._let_go(revoked)

            async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
                pass

        self._consumer.subscribe(config.topics, listener=Listener())
        await self._consumer.start()

    async def read(self, emit: Emit) -> None:
        """Read, and commit what has become safe."""
        committing = asyncio.create_task(self._commit_on())
        try:
            while True:
                if committing.done():
                    committing.result()
                found = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_MOST_MESSAGES)
                for place, messages in found.items():
                    await self._emit(place, messages, emit)
        finally:
            committing.cancel()
            await asyncio.gather(committing, return_exceptions=True)

    async def _emit(self, place: Any, messages: Sequence[Any], emit: Emit) -> None:
        """Hand on what came of a partition; it counts as progress once it is safe."""
        if place not in self._consumer.assignment():
            return  # another member reads it
        progress = self._progress.setdefault(place, MessageProgress())
        for tag, of_tag in groupby(messages, key=self._tag_of):
            run = list(of_tag)
            step = progress.begin(run[-1].offset + 1)
            values = [message.value for message in run if message.value]
            batch = await asyncio.to_thread(self._reader.batch, tag, values)
            if not batch.count:
                progress.finish(step)
                continue
            receipt = await emit(batch)
            receipt.add_done_callback(lambda step=step: progress.finish(step))  # type: ignore[misc]

    def _tag_of(self, message: Any) -> str:
        return self.tag_for(message.topic, dict(message.headers))

    async def _commit_on(self) -> None:
        while True:
            await self.context.clock.sleep(_COMMIT_S)
            await self._commit()

    async def _commit(self) -> None:
        """Tell the group how far everything is safe."""
        if self._consumer is None:
            return
        assigned = self._consumer.assignment()
        offsets = {
            place: progress.safe
            for place, progress in self._progress.items()
            if progress.safe is not None and place in assigned
        }
        if offsets:
            # In the middle of a rebalance it is refused: then the next one does it.
            with suppress(self._kafka.errors.CommitFailedError, self._kafka.errors.IllegalStateError):
                await self._consumer.commit(offsets)

    async def _let_go(self, places: Iterable[Any]) -> None:
        """Partitions go to other members: wait for what is on its way, then commit."""
        leaving = [self._progress[place] for place in places if place in self._progress]
        with suppress(TimeoutError):
            async with asyncio.timeout(_LET_GO_S):
                while any(progress.open for progress in leaving):  # noqa: ASYNC110 - a receipt tells by a call
                    await asyncio.sleep(0.02)
        with suppress(Exception):
            await self._commit()
        for place in places:
            self._progress.pop(place, None)
