"""Output ``kafka``: messages in topics, each event once for whoever reads committed ones.

One transaction carries chunks of many tags to many topics and, with them, their ids to a topic of its own::

    begin ─▶ messages of the chunks ─▶ their ids to the ledger ─▶ commit
      ▲                                                            │ no answer, a time-out, kill -9
      └──── read the ledger ◀── the same transactional id, anew ◀──┘

A producer that begins under a transactional id ends what the one before has left open: Kafka then commits or
aborts it, and takes nothing of it that arrives late. The ledger tells which of both it was.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from logflow import extras
from logflow.batch import Chunk
from logflow.component import Context, Output
from logflow.config.fields import ExpressionField, NonEmpty, Size, parse_size
from logflow.config.options import GroupOutputConfig, Options, OutputConfig
from logflow.errors import ChunkTooLarge, ComponentError, DeliveryError
from logflow.net.kafka import Kafka, KafkaConfig
from logflow.outputs.kafka.ledger import TransactionLedger
from logflow.outputs.kafka.messages import EventTooLarge, MessageMaker, RecordBatches
from logflow.templates import PathTemplate

_TRANSACTIONAL_ID = re.compile(r"logflow-.+-[0-9a-f]{16}")
_CLOSE_S = 3.0
_METADATA_S = 10.0
"""How long brokers may take to tell of a topic."""


class TopicOptions(Options):
    """How topics are made."""

    partitions: int = Field(3, ge=1, description="Partitions of a new topic.")
    replication: int = Field(1, ge=1, description="Brokers that have each of them.")


class KafkaOutput(Output):
    """Produces in transactions that also record the ids of the chunks."""

    keeps_state = True
    groups = True

    class Config(GroupOutputConfig, KafkaConfig, OutputConfig):
        """Options of the output ``kafka``."""

        example: ClassVar[Mapping[str, Any]] = {"servers": ["127.0.0.1:9092"], "topic": "logs"}

        type: Literal["kafka"] = "kafka"
        topic: NonEmpty = Field(
            description="Where events go: `{tag}`, `{tag[0]}`, `{hostname}` and `{field}` may stand in it. "
            "What a topic cannot be called becomes `_`.",
            examples=["logs.{tag[0]}"],
        )
        key: ExpressionField | None = Field(
            None,
            description="Key of a message: those with the same go to the same partition, in order. Unless "
            "set, there is none, and those of a tag go to the same partition.",
            examples=["kubernetes.pod_name"],
        )
        time_key: NonEmpty | None = Field(
            "@timestamp", description="Field for the time, where the record has no such field; `null`: none."
        )
        tag_key: NonEmpty | None = Field(
            None,
            description="Field for the tag, where the record has none; the header `tag` has it too.",
        )
        compress: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
            "zstd", description="How batches of messages are compressed."
        )
        max_batch: Size = Field(
            parse_size("900KiB"), gt=0,
            description="Most bytes of a batch and of a message; the broker has `message.max.bytes`.",
        )  # fmt: skip
        transactional_id: NonEmpty | None = Field(
            None, description="Names this producer for good; made once and kept unless set."
        )
        chunk_topic: NonEmpty = Field(
            "logflow-chunks", description="Where the ids of stored chunks go, to recognise a repeat."
        )
        create_topics: TopicOptions | None = Field(
            None, description="How topics are made that are missing; they are not unless set."
        )

        @field_validator("topic")
        @classmethod
        def _check_topic(cls, text: str) -> str:
            if "/" in text:
                raise ValueError("a topic has no slashes")
            PathTemplate(f"/{text}")
            return text

    config: KafkaOutput.Config

    def __init__(self, config: KafkaOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        self._kafka = Kafka(config, f"output {context.name} (kafka)")
        self._maker = MessageMaker(config.topic, config.key, config.time_key, config.tag_key, context)
        self._turn = asyncio.Lock()
        self._producer: Any = None
        self._ledger: TransactionLedger | None = None
        self._made: set[str] = set()

    async def open(self) -> None:
        """Connect, end what an earlier producer left open, and learn what it committed."""
        async with self._turn:
            await self._begin_anew()

    async def close(self) -> None:
        """Disconnect."""
        await self._drop_producer()

    async def write(self, chunk: Chunk) -> None:
        """Store a chunk in a transaction of its own."""
        (answer,) = await self.write_group([chunk])
        if answer is not None:
            raise answer

    async def write_group(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        """Store chunks in one transaction, or each in its own if the brokers refuse one of them."""
        try:
            return await self._write_together(chunks)
        except ChunkTooLarge as refusal:
            if len(chunks) == 1:
                return [refusal]
        return [await self._write_alone(chunk) for chunk in chunks]

    async def _write_alone(self, chunk: Chunk) -> Exception | None:
        try:
            (answer,) = await self._write_together([chunk])
        except Exception as error:
            return error
        return answer

    async def _write_together(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        failed: dict[bytes, Exception] = {}
        async with self._turn:
            try:
                if self._producer is None:
                    await self._begin_anew()
                assert self._ledger is not None
                new = [chunk for chunk in chunks if not self._ledger.has(chunk.id)]
                batches, failed = await self._make(new)
                if kept := [chunk for chunk in new if chunk.id not in failed]:
                    await self._store(batches, kept)
            except BaseException as error:
                # Whatever became of the transaction: the next producer finds out.
                await self._drop_producer()
                if not isinstance(error, Exception):
                    raise
                if isinstance(error, self._kafka.errors.MessageSizeTooLargeError):
                    raise ChunkTooLarge("a broker takes no batches of this size; lower max_batch") from error
                if isinstance(error, self._kafka.errors.InvalidTimestampError):
                    raise ChunkTooLarge(
                        "the topic takes no messages that old; raise its message.timestamp.before.max.ms"
                    ) from error
                raise self._kafka.undelivered(error) from error
        return [failed.get(chunk.id) for chunk in chunks]

    async def _make(self, chunks: Sequence[Chunk]) -> tuple[RecordBatches, dict[bytes, Exception]]:
        """Make batches of messages of those chunks of which that can be done."""
        by_topic = await asyncio.to_thread(self._maker.topics, chunks)
        counts = {topic: await self._partitions(topic) for topic in by_topic}
        batches = RecordBatches(self._producer.create_batch, counts)
        failed: dict[bytes, Exception] = {}
        for chunk in chunks:
            try:
                await asyncio.to_thread(self._maker.check, chunk, self.config.max_batch)
            except EventTooLarge:
                failed[chunk.id] = ChunkTooLarge(
                    f"a message would be larger than max_batch ({self.config.max_batch} bytes)"
                )
        kept = [chunk for chunk in chunks if chunk.id not in failed]
        await asyncio.to_thread(self._maker.fill, kept, batches)
        return batches, failed

    async def _store(self, batches: RecordBatches, chunks: Sequence[Chunk]) -> None:
        """One transaction: the messages, and the ids of their chunks."""
        assert self._ledger is not None
        producer, ledger = self._producer, self._ledger
        ids = [chunk.id for chunk in chunks]
        await producer.begin_transaction()
        answers = [
            await producer.send_batch(batch, topic, partition=partition)
            for topic, partition, batch in batches.all()
        ]
        key, value = ledger.record(ids)
        partition = ledger.partition(await self._partitions(ledger.topic))
        answers.append(await producer.send(ledger.topic, value, key, partition=partition))
        await asyncio.gather(*answers)
        await producer.commit_transaction()
        ledger.add(ids)

    async def _partitions(self, topic: str) -> int:
        """How many partitions a topic has; it is made where it is missing and that is wanted."""
        if self.config.create_topics is not None and topic not in self._made:
            await self._create(topic, self.config.create_topics)
            self._made.add(topic)
        try:
            async with asyncio.timeout(_METADATA_S):
                return len(await self._producer.partitions_for(topic))
        except (TimeoutError, self._kafka.errors.UnknownTopicOrPartitionError):
            raise DeliveryError(
                f"{self._kafka.where} has no topic {topic}; make it, or set create_topics"
            ) from None

    async def _create(self, topic: str, options: TopicOptions) -> None:
        admin_module = extras.load("aiokafka.admin", "kafka", "output kafka")
        admin = admin_module.AIOKafkaAdminClient(**self._kafka.options())
        await admin.start()
        try:
            compact = {"cleanup.policy": "compact"} if topic == self.config.chunk_topic else {}
            new = admin_module.NewTopic(topic, options.partitions, options.replication, topic_configs=compact)
            with suppress(self._kafka.errors.TopicAlreadyExistsError):
                await admin.create_topics([new])
        finally:
            await admin.close()

    async def _begin_anew(self) -> None:
        """A producer under our transactional id, and what was committed under it before."""
        await self._drop_producer()
        transactional_id = await asyncio.to_thread(self._transactional_id)
        if self._ledger is None:
            self._ledger = TransactionLedger(self.config.chunk_topic, transactional_id, self._kafka)
        try:
            self._producer = self._kafka.library.AIOKafkaProducer(
                **self._kafka.options(), transactional_id=transactional_id, acks="all",
                compression_type=None if self.config.compress == "none" else self.config.compress,
                max_batch_size=self.config.max_batch, max_request_size=self.config.max_batch + (64 << 10),
                request_timeout_ms=int(1000 * min(self.config.write_timeout, 30.0)),
                transaction_timeout_ms=int(1000 * min(self.config.write_timeout + 10.0, 900.0)),
            )  # fmt: skip
            async with asyncio.timeout(self.config.write_timeout):
                await self._producer.start()
                await self._partitions(self._ledger.topic)
                await self._ledger.read()
        except BaseException as error:
            await self._drop_producer()
            if not isinstance(error, Exception) or isinstance(error, ComponentError):
                raise
            raise self._kafka.undelivered(error) from error

    async def _drop_producer(self) -> None:
        """End a producer, whatever it is in the middle of."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_S):
                    await producer.stop()

    def _transactional_id(self) -> str:
        """The configured one, else that of an earlier process, else a new one, which outlives a power cut."""
        if self.config.transactional_id is not None:
            return self.config.transactional_id
        path = Path(self.context.data_dir) / "transactional-id"
        with suppress(FileNotFoundError):
            known = path.read_text(errors="replace").strip()
            if _TRANSACTIONAL_ID.fullmatch(known):
                return known
            self.context.log.warning("%s is damaged; a new transactional id is made.", path)
        made = f"logflow-{self.context.name}-{os.urandom(8).hex()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        with new.open("w") as file:
            file.write(made)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        return made
