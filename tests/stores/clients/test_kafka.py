"""Output ``kafka`` against a real broker."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logflow.batch import Batch, Chunk
from logflow.errors import ChunkTooLarge, DeliveryError
from logflow.event import MAX_TIME_NS
from logflow.outputs.kafka import KafkaOutput
from logflow.outputs.kafka.messages import _murmur2, _topic
from logflow.testing import make_context
from tools.servers.kafka import PASSWORD, USER, KafkaServer

T0 = 1_700_000_000_123_456_789


def chunk(tag: str, *records: dict[str, Any]) -> Chunk:
    batch = Batch.from_events(tag, [(T0, record) for record in records])
    return Chunk(os.urandom(16), tag, (batch.entries,), len(records))


class Bench:
    def __init__(self, server: KafkaServer, directory: Path, **options: Any) -> None:
        self.server = server
        self.directory = directory
        self.name = f"t{os.urandom(4).hex()}"
        self.options = {
            "servers": [server.address], "topic": f"{self.name}.{{tag[0]}}",
            "create_topics": {"partitions": 3},
            "chunk_topic": f"{self.name}-chunks", "write_timeout": 20, **options,
        }  # fmt: skip
        self.output = self.start()

    def start(self) -> KafkaOutput:
        return KafkaOutput(KafkaOutput.Config(**self.options), make_context(self.directory, kind="output"))

    async def restart(self) -> None:
        await self.output.close()
        self.output = self.start()
        await self.output.open()

    async def messages(self, *topics: str) -> list[Any]:
        """What a reader of committed messages gets."""
        from aiokafka import AIOKafkaConsumer, TopicPartition

        consumer, last = (
            AIOKafkaConsumer(
                bootstrap_servers=self.server.address, isolation_level=level, enable_auto_commit=False,
                auto_offset_reset="earliest",
            ) for level in ("read_committed", "read_uncommitted")
        )  # fmt: skip
        await consumer.start()
        await last.start()
        try:
            found: list[Any] = []
            places = []
            for topic in topics:
                await consumer._client._wait_on_metadata(f"{self.name}.{topic}")
                places += [
                    TopicPartition(f"{self.name}.{topic}", number)
                    for number in consumer.partitions_for_topic(f"{self.name}.{topic}")
                ]
            consumer.assign(places)
            ends = await last.end_offsets(places)
            for place in places:
                consumer.seek(place, 0)
            while [place for place in places if await consumer.position(place) < ends[place]]:
                for of_place in (await consumer.getmany(timeout_ms=200)).values():
                    found += of_place
            return found
        finally:
            await consumer.stop()
            await last.stop()

    async def configure(self, topic: str, values: dict[str, str]) -> None:
        from aiokafka.admin import AIOKafkaAdminClient
        from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

        admin = AIOKafkaAdminClient(bootstrap_servers=self.server.address)
        await admin.start()
        place = ConfigResource(ConfigResourceType.TOPIC, f"{self.name}.{topic}", values)
        await admin.alter_configs([place])
        await admin.close()

    async def numbers(self, topic: str = "app") -> list[int]:
        return sorted(json.loads(message.value)["n"] for message in await self.messages(topic))


@pytest.fixture
async def bench(kafka: KafkaServer, tmp_path: Path):
    bench = Bench(kafka, tmp_path)
    await bench.output.open()
    yield bench
    await bench.output.close()


async def test_events_are_messages_of_their_topics(kafka: KafkaServer, tmp_path: Path) -> None:
    bench = Bench(kafka, tmp_path, key="pod")
    await bench.output.open()
    chunks = [chunk("app.web", {"n": 1, "pod": "a"}, {"n": 2}), chunk("sys.ä", {"n": 3})]
    assert await bench.output.write_group(chunks) == [None, None]
    messages = await bench.messages("app", "sys")
    assert {(m.topic.partition(".")[2], m.key, json.loads(m.value)["n"]) for m in messages} == {
        ("app", b"a", 1), ("app", None, 2), ("sys", None, 3),
    }  # fmt: skip
    assert {m.timestamp for m in messages} == {T0 // 10**6}
    assert {dict(m.headers)["tag"] for m in messages} == {b"app.web", "sys.ä".encode()}
    assert json.loads(messages[0].value)["@timestamp"] == "2023-11-14T22:13:20.123456789Z"
    await bench.output.close()


async def test_times_out_of_range_are_held_within_it(bench: Bench) -> None:
    batch = Batch.from_events("app", [(time, {"n": 1}) for time in (-62_135_596_800 * 10**9, 0, 2**75)])
    await bench.output.write(Chunk(os.urandom(16), "app", (batch.entries,), batch.count))
    messages = await bench.messages("app")
    assert [message.timestamp for message in messages[:2]] == [0, 0]
    assert T0 // 10**6 < messages[2].timestamp < MAX_TIME_NS // 10**6, "a broker takes none that is to come"
    assert json.loads(messages[2].value)["@timestamp"] == "2106-02-07T06:28:15.999999999Z"


async def test_times_that_a_topic_refuses_cost_no_other_chunk(kafka: KafkaServer, tmp_path: Path) -> None:
    bench = Bench(kafka, tmp_path)
    await bench.output.open()
    await bench.output.write(chunk("app", {"n": 0}))
    await bench.configure("app", {"message.timestamp.before.max.ms": "86400000"})
    old = Batch.from_events("app", [(T0 - 10**18, {"n": 1})])
    recent = Batch.from_events("app", [(time.time_ns(), {"n": 2})])
    group = [Chunk(os.urandom(16), "app", (batch.entries,), batch.count) for batch in (old, recent)]
    answers = await bench.output.write_group(group)
    assert isinstance(answers[0], ChunkTooLarge)
    assert "message.timestamp.before.max.ms" in str(answers[0])
    assert answers[1] is None
    assert [json.loads(message.value)["n"] for message in await bench.messages("app")] == [0, 2]
    await bench.output.close()


async def test_a_tag_keeps_its_order(bench: Bench) -> None:
    for number in range(5):
        await bench.output.write(chunk("app.web", *({"n": 100 * number + i} for i in range(50))))
    messages = await bench.messages("app")
    assert len({m.partition for m in messages}) == 1
    numbers = [json.loads(m.value)["n"] for m in messages]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("way", ["before", "after"])
async def test_chunks_that_come_again_are_there_once(bench: Bench, way: str, restart: bool) -> None:
    """Whether the commit was lost or its answer; in other company, also after a restart."""
    first, second, third = (chunk("app", {"n": number}) for number in (1, 2, 3))
    producer = bench.output._producer
    commit = producer.commit_transaction

    async def lost() -> None:
        if way == "after":
            await commit()
        raise ConnectionError("lost")

    producer.commit_transaction = lost
    with pytest.raises(DeliveryError, match="lost"):
        await bench.output.write_group([first, second])
    if restart:
        await bench.restart()
    assert await bench.output.write_group([second, third]) == [None, None]
    assert await bench.output.write_group([first]) == [None]
    assert await bench.numbers() == [1, 2, 3]


async def test_an_attempt_that_was_cancelled_is_not_there_twice(bench: Bench) -> None:
    chunks = [chunk("app", *({"n": 100 * number + i} for i in range(100))) for number in range(10)]
    for delay_s in (0, 0.001, 0.004, 0.01, 0.02):
        task = asyncio.create_task(bench.output.write_group(chunks))
        await asyncio.sleep(delay_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await bench.output.write_group(chunks) == [None] * 10
    assert await bench.numbers() == list(range(1000))


async def test_an_event_that_is_too_large_is_told_apart(kafka: KafkaServer, tmp_path: Path) -> None:
    bench = Bench(kafka, tmp_path, max_batch="16KiB")
    await bench.output.open()
    good, bad = chunk("app", {"n": 1}), chunk("app", {"n": 2, "m": "x" * 20_000})
    answers = await bench.output.write_group([good, bad])
    assert answers[0] is None
    assert isinstance(answers[1], ChunkTooLarge)
    assert await bench.numbers() == [1]
    await bench.output.close()


async def test_a_missing_topic_is_held_and_said(kafka: KafkaServer, tmp_path: Path, monkeypatch) -> None:
    bench = Bench(kafka, tmp_path)
    await bench.output.open()
    bench.output.config = bench.output.config.model_copy(update={"create_topics": None})
    monkeypatch.setattr("logflow.outputs.kafka._METADATA_S", 1.0)
    with pytest.raises(DeliveryError, match=r"has no topic .*; make it, or set create_topics"):
        await bench.output.write(chunk("app", {"n": 1}))
    await bench.output.close()


async def test_brokers_that_are_away_are_held_and_said(tmp_path: Path) -> None:
    pytest.importorskip("aiokafka")
    config = KafkaOutput.Config(servers=["127.0.0.1:9"], topic="logs")
    output = KafkaOutput(config, make_context(tmp_path, kind="output"))
    with pytest.raises(DeliveryError, match=r"Kafka at 127\.0\.0\.1:9 cannot be reached"):
        await output.open()
    await output.close()


async def test_the_transactional_id_outlives_the_process(tmp_path: Path) -> None:
    pytest.importorskip("aiokafka")
    config = KafkaOutput.Config(servers=["127.0.0.1:9"], topic="logs")
    ids = {KafkaOutput(config, make_context(tmp_path, kind="output"))._transactional_id() for _ in range(2)}
    assert len(ids) == 1


def test_partitions_are_those_of_kafkas_own_producers() -> None:
    """Values of org.apache.kafka.common.utils.Utils.murmur2, as its own tests have them."""
    expected = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    assert {key: _murmur2(key) for key in expected} == {k: v & 0x7FFFFFFF for k, v in expected.items()}


def test_names_of_topics_are_legal() -> None:
    assert _topic("/logs.a b/ü") == "logs.a_b__"
    assert _topic("/..") == "__"
    assert len(_topic("/" + "x" * 300)) == 249
    assert _topic("/" + "x" * 300) != _topic("/" + "x" * 299 + "y")


@pytest.mark.parametrize("options", [{"servers": []}, {"topic": "a/b"}, {"topic": "{"}, {"key": "1 +"}])
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KafkaOutput.Config(**{"servers": ["k:9092"], "topic": "logs", **options})


async def test_encrypted_connections_of_known_users_are_taken(kafka: KafkaServer, tmp_path: Path) -> None:
    secure = {
        "servers": [f"127.0.0.1:{kafka.secure_port}"], "tls": {"ca_file": str(kafka.ca_file)},
        "sasl": {"mechanism": "PLAIN", "username": USER, "password": PASSWORD},
    }  # fmt: skip
    bench = Bench(kafka, tmp_path, **secure)
    await bench.output.open()
    assert await bench.output.write_group([chunk("app", {"n": 1}, {"n": 2})]) == [None]
    await bench.output.close()
    assert len(await bench.messages("app")) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sasl": {"mechanism": "PLAIN", "username": USER, "password": "wrong"}}, "password"),
        ({"tls": {}}, "certificate"),
    ],
)
async def test_who_is_not_known_is_told_so(
    kafka: KafkaServer, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    secure = {
        "servers": [f"127.0.0.1:{kafka.secure_port}"], "tls": {"ca_file": str(kafka.ca_file)},
        "sasl": {"mechanism": "PLAIN", "username": USER, "password": PASSWORD},
    }  # fmt: skip
    bench = Bench(kafka, tmp_path, **{**secure, **change})
    with pytest.raises(DeliveryError) as raised:
        await bench.output.open()
    await bench.output.close()
    assert told in str(raised.value).lower()
    assert "wrong" not in str(raised.value)
