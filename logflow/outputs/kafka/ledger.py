"""The ledger: a topic that says which chunks were stored, written in the transactions that store them.

::

    key     transactional id, "/", a number from 0 to 63     so compaction keeps the last 64 transactions
    value   the chunks' ids, 16 bytes each

It is read up to its end whenever a producer begins: the producer before it may have committed more than it
learned. Only records under our own transactional id are ours. What was read before is not read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any
from zlib import crc32

from logflow.errors import DeliveryError
from logflow.net.kafka import Kafka
from logflow.storage.remembered import Remembered

_ID_BYTES = 16
_KEPT = 64
_WINDOW = 65_536
"""Chunks that are remembered. Only those come again whose delivery the buffer has not recorded yet."""
_POLL_MS = 500
_PATIENCE_S = 30.0


class TransactionLedger:
    """Reads the topic that records which chunks were stored, and adds to it."""

    def __init__(self, topic: str, transactional_id: str, kafka: Kafka) -> None:
        self.topic = topic
        self._id = transactional_id
        self._kafka = kafka
        self._known = Remembered[bytes](_WINDOW)
        self._next_offset = 0
        self._number = 0

    def has(self, chunk_id: bytes) -> bool:
        """Whether the chunk was stored."""
        return chunk_id in self._known

    def add(self, chunk_ids: Iterable[bytes]) -> None:
        """The transaction of these chunks was committed."""
        self._known.add(chunk_ids)

    def partition(self, partitions: int) -> int:
        """The partition that has our records."""
        return crc32(self._id.encode()) % partitions

    def record(self, chunk_ids: Iterable[bytes]) -> tuple[bytes, bytes]:
        """Key and value of the next record."""
        self._number = (self._number + 1) % _KEPT
        return f"{self._id}/{self._number}".encode(), b"".join(chunk_ids)

    async def read(self) -> None:
        """Read what is new, up to the end that the topic has now.

        An open transaction of somebody else may hide committed records behind it for a while.

        Raises:
            DeliveryError: it cannot be read now.
        """
        place, end = await self._end()
        consumer = self._consumer("read_committed")
        await consumer.start()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._read_to(consumer, place, end)
        except TimeoutError:
            raise DeliveryError(
                f"the topic {self.topic} cannot be read to its end now: a transaction is open there"
            ) from None
        finally:
            await consumer.stop()

    def _consumer(self, isolation_level: str) -> Any:
        return self._kafka.library.AIOKafkaConsumer(
            **self._kafka.options(), enable_auto_commit=False, isolation_level=isolation_level,
            auto_offset_reset="earliest",
        )  # fmt: skip

    async def _end(self) -> tuple[Any, int]:
        """Our partition, and its end behind all that was ever written, committed or not."""
        consumer = self._consumer("read_uncommitted")
        await consumer.start()
        try:
            await consumer._client._wait_on_metadata(self.topic)  # noqa: SLF001 - there is no other way
            partitions = consumer.partitions_for_topic(self.topic) or {0}
            place = self._kafka.library.TopicPartition(self.topic, self.partition(len(partitions)))
            return place, (await consumer.end_offsets([place]))[place]
        finally:
            await consumer.stop()

    async def _read_to(self, consumer: Any, place: Any, end: int) -> None:
        consumer.assign([place])
        start = max(self._next_offset, (await consumer.beginning_offsets([place]))[place])
        consumer.seek(place, start)
        while await consumer.position(place) < end:
            found = await consumer.getmany(place, timeout_ms=_POLL_MS)
            for message in found.get(place, ()):
                if message.key and message.key.rpartition(b"/")[0] == self._id.encode():
                    value = message.value or b""
                    self.add(value[i : i + _ID_BYTES] for i in range(0, len(value), _ID_BYTES))
        self._next_offset = await consumer.position(place)
