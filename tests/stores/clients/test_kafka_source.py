"""Source ``kafka`` against a real broker."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from logflow.sources.kafka import KafkaSource
from logflow.sources.messages import MessageProgress
from logflow.testing import Collector, make_context, run_source
from tools.servers.kafka import KafkaServer


class Bench:
    def __init__(self, server: KafkaServer) -> None:
        self.server = server
        self.topic = f"in{os.urandom(4).hex()}"
        self.count = 0

    async def make_topic(self) -> None:
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic

        admin = AIOKafkaAdminClient(bootstrap_servers=self.server.address)
        await admin.start()
        await admin.create_topics([NewTopic(self.topic, 4, 1)])
        await admin.close()

    async def send(self, *values: bytes, headers: Any = None) -> None:
        from aiokafka import AIOKafkaProducer

        producer = AIOKafkaProducer(bootstrap_servers=self.server.address)
        await producer.start()
        try:
            for value in values:
                await producer.send(self.topic, value, partition=self.count % 4, headers=headers)
                self.count += 1
            await producer.flush()
        finally:
            await producer.stop()

    async def send_numbers(self, *numbers: int) -> None:
        await self.send(*(json.dumps({"n": number}).encode() for number in numbers))

    def source(self, directory: Path, **options: Any) -> KafkaSource:
        options = {"servers": [self.server.address], "topics": [self.topic], "group": self.topic, **options}
        return KafkaSource(KafkaSource.Config(**options), make_context(directory))


@pytest.fixture
async def bench(kafka: KafkaServer) -> Bench:
    bench = Bench(kafka)
    await bench.make_topic()
    return bench


async def test_messages_are_events(bench: Bench, tmp_path: Path) -> None:
    """Objects of several lines, several in a message, and what is none."""
    await bench.send(
        b'{"@timestamp":"2023-11-14T22:13:20.5Z",\n"n":1}', b'{"n":2}\n{"n":3}\n', b"not\njson",
        headers=[("tag", b"app.web")],
    )  # fmt: skip
    collector = Collector()
    async with run_source(bench.source(tmp_path, tag_header="tag"), collector):
        await collector.wait_for(4)
    assert {batch.tag for batch in collector.batches} == {"app.web"}
    assert sorted(collector.records(), key=str) == [
        {"message": "not json"}, {"n": 1}, {"n": 2}, {"n": 3},
    ]  # fmt: skip
    times = {record.get("n"): int(time) for time, record in collector.events()}
    assert times[1] == 1_700_000_000_500_000_000


async def test_only_what_is_safe_is_committed(bench: Bench, tmp_path: Path) -> None:
    """Who comes after reads again what had no receipt."""
    await bench.send_numbers(*range(20))
    first = Collector(settle=False)
    async with run_source(bench.source(tmp_path), first):
        await first.wait_for(20)
        for batch, receipt in zip(first.batches, first.receipts, strict=True):
            if any(record["n"] % 4 == 0 for _, record in batch.events()):
                receipt.settle()
    second = Collector()
    async with run_source(bench.source(tmp_path), second):
        await second.wait_for(15)
    assert sorted(record["n"] for record in second.records()) == [n for n in range(20) if n % 4]


async def test_a_rebalance_loses_and_doubles_nothing(bench: Bench, tmp_path: Path) -> None:
    await bench.send_numbers(*range(200))
    first, second = Collector(settle=False), Collector()

    async def settle_late() -> None:
        while True:
            await asyncio.sleep(0.2)
            first.settle_all()

    settling = asyncio.create_task(settle_late())
    async with run_source(bench.source(tmp_path / "a"), first):
        await first.wait_for(1)
        async with run_source(bench.source(tmp_path / "b"), second):
            async with asyncio.timeout(40):
                while second.count < 100:
                    await bench.send_numbers(*range(bench.count, bench.count + 50))
                    await asyncio.sleep(0.2)
        await bench.send_numbers(*range(bench.count, bench.count + 100))
        async with asyncio.timeout(30):
            while first.count + second.count < bench.count:
                await asyncio.sleep(0.05)
    settling.cancel()
    numbers = [record["n"] for record in (*first.records(), *second.records())]
    assert sorted(numbers) == list(range(bench.count))


async def test_brokers_that_are_away_are_said_once(tmp_path: Path, caplog) -> None:
    pytest.importorskip("aiokafka")
    source = KafkaSource(KafkaSource.Config(servers=["127.0.0.1:9"], topics=["logs"]), make_context(tmp_path))
    async with run_source(source, Collector()):
        async with asyncio.timeout(10):
            while not caplog.messages:
                await asyncio.sleep(0.02)
    (message,) = caplog.messages
    assert message.startswith("Cannot read now: Kafka at 127.0.0.1:9 cannot be reached")


def test_progress_goes_as_far_as_everything_is_safe() -> None:
    progress = MessageProgress()
    first, second, third = progress.begin(10), progress.begin(20), progress.begin(30)
    progress.finish(second)
    assert progress.safe is None
    progress.finish(first)
    assert progress.safe == 20
    progress.finish(third)
    assert (progress.safe, progress.open) == (30, False)


@pytest.mark.parametrize("header", [None, b"", b"a b", b"a..b", b"\xff\n", b"x" * 2000])
def test_a_header_that_is_no_tag_is_not_believed(header: bytes | None, tmp_path: Path) -> None:
    pytest.importorskip("aiokafka")
    options: dict[str, Any] = {"servers": ["127.0.0.1:9"], "topics": ["logs"], "tag_header": "tag"}
    source = KafkaSource(KafkaSource.Config(**options), make_context(tmp_path))
    assert source.tag_for("logs", {} if header is None else {"tag": header}) == "kafka.logs"
    assert source.tag_for("logs", {"tag": b"app.web"}) == "app.web"
