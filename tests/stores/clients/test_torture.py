"""Whole processes with a store at the end, of which everything is killed and cut: nothing is lost or doubled.

A tail source reads a file that grows, a disk buffer keeps it, and the output sends to a real server through a
proxy. At random, logflow and the server are killed with SIGKILL, connections are cut, and answers are kept
from logflow after the server has done what they answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from logflow.testing.processes import Process
from tools.servers import Absent, Server
from tools.servers.kafka import KafkaServer
from tools.servers.nats import NatsServer
from tools.servers.postgres import PASSWORD, PostgresServer
from tools.servers.s3 import S3Server
from tools.torture.proxy import CruelProxy

pytestmark = [
    pytest.mark.soak,
    pytest.mark.filterwarnings("ignore"),  # of readers whose connections are cut
    pytest.mark.skipif(not os.environ.get("LOGFLOW_TEST_STORES"), reason="takes long: make test-stores"),
]

RUN_S = float(os.environ.get("LOGFLOW_TORTURE_S", "12"))
LINES_PER_S = 2000
TAGS = 3

Read = Callable[[], Awaitable[list[int]]]


def s3(server: S3Server, port: int) -> tuple[dict[str, Any], Read]:
    from obstore.store import S3Store

    server.make_bucket("torture")
    how = {key: value for key, value in server.options.items() if key != "bucket"}

    async def read() -> list[int]:
        import obstore

        store = S3Store("torture", client_options={"allow_http": True}, **how)
        found = [meta["path"] for page in obstore.list(store) for meta in page]
        return [
            json.loads(line)["n"]
            for path in found
            for line in zstandard.ZstdDecompressor()
            .decompressobj()
            .decompress(bytes(obstore.get(store, path).bytes()))
            .splitlines()
        ]

    options = {**server.options, "endpoint": f"http://127.0.0.1:{port}", "key": "logs"}
    return {"type": "s3", **options, "batch": {"max_wait": "500ms"}}, read


def postgres(server: PostgresServer, port: int) -> tuple[dict[str, Any], Read]:
    async def read() -> list[int]:
        import asyncpg

        connection = await asyncpg.connect(
            host="127.0.0.1", port=server.port, database="postgres", user="postgres", password=PASSWORD
        )
        rows = await connection.fetch("SELECT (record->>'n')::int AS n FROM logs")
        await connection.close()
        return [row["n"] for row in rows]

    return {
        "type": "postgres", "address": f"127.0.0.1:{port}", "database": "postgres", "password": PASSWORD,
        "create_tables": True,
    }, read  # fmt: skip


def nats(server: NatsServer, port: int) -> tuple[dict[str, Any], Read]:
    async def read() -> list[int]:
        import nats as library

        client = await library.connect(server.url, user="logflow", password="logflow-test")
        subscription = await client.jetstream().subscribe("logs.>", ordered_consumer=True)
        numbers: list[int] = []
        while True:
            try:
                message = await subscription.next_msg(timeout=1)
            except library.errors.TimeoutError:
                break
            numbers += [json.loads(line)["n"] for line in message.data.splitlines()]
        await client.close()
        return numbers

    return {
        "type": "nats", "servers": [f"nats://127.0.0.1:{port}"], "username": "logflow",
        "password": "logflow-test", "subject": "logs.{tag}", "timeout": "3s",
        "create_stream": {"name": "logs", "subjects": ["logs.>"]},
    }, read  # fmt: skip


def kafka(server: KafkaServer, port: int) -> tuple[dict[str, Any], Read]:
    async def read() -> list[int]:
        from aiokafka import AIOKafkaConsumer, TopicPartition

        consumer = AIOKafkaConsumer(
            bootstrap_servers=f"127.0.0.1:{port}", isolation_level="read_committed",
            auto_offset_reset="earliest", enable_auto_commit=False,
        )  # fmt: skip
        await consumer.start()
        places = [TopicPartition("logs", number) for number in range(3)]
        consumer.assign(places)
        numbers: list[int] = []
        quiet_s = time.monotonic()
        while time.monotonic() - quiet_s < 3:
            for messages in (await consumer.getmany(timeout_ms=500)).values():
                numbers += [json.loads(message.value)["n"] for message in messages]
                quiet_s = time.monotonic()
        await consumer.stop()
        return numbers

    return {
        "type": "kafka", "servers": [f"127.0.0.1:{port}"], "topic": "logs", "compress": "none",
        "create_topics": {"partitions": 3}, "write_timeout": "10s",
    }, read  # fmt: skip


STORES: dict[str, tuple[type[Server], str, Callable[[Any, int], tuple[dict[str, Any], Read]]]] = {
    "s3": (S3Server, "obstore", s3),
    "postgres": (PostgresServer, "asyncpg", postgres),
    "nats": (NatsServer, "nats", nats),
    "kafka": (KafkaServer, "aiokafka", kafka),
}


class Writer:
    """Appends numbered lines to a few files."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._files = [(directory / f"t{number}.log").open("a", buffering=1) for number in range(TAGS)]
        self.count = 0

    async def write(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            for _ in range(LINES_PER_S // 20):
                self._files[self.count % TAGS].write(f'{{"n":{self.count}}}\n')
                self.count += 1
            await asyncio.sleep(0.05)


async def torture(
    chance: random.Random,
    server: Server,
    logflow: Process,
    proxy: CruelProxy,
    until_s: float,
    *,
    server_too: bool,
) -> Counter[str]:
    """Do something cruel every now and then."""
    done: Counter[str] = Counter()
    while time.monotonic() < until_s:
        await asyncio.sleep(chance.uniform(0.1, 0.8))
        what = chance.choice(["cut", "swallow", "swallow", "kill logflow"] + ["kill server"] * server_too)
        done[what] += 1
        match what:
            case "cut":
                proxy.cut_connections()
            case "swallow":
                proxy.swallow_answers(chance.randint(1, 3))
            case "kill logflow":
                await asyncio.to_thread(logflow.kill)
                await asyncio.sleep(chance.uniform(0, 0.3))
                logflow.start()
                await asyncio.sleep(1.0)
            case "kill server":
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(chance.uniform(0, 0.5))
                await asyncio.to_thread(server.start)
    return done


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", STORES)
async def test_nothing_is_lost_or_doubled(name: str, seed: int, tmp_path: Path) -> None:
    kind, library, describe = STORES[name]
    pytest.importorskip(library)
    try:
        server = kind(tmp_path / "server") if name != "kafka" else None
    except Absent as error:
        pytest.skip(str(error))
    proxy = CruelProxy(0)
    await proxy.open()
    try:
        if server is None:
            try:
                server = KafkaServer(tmp_path / "server", advertised_port=proxy.port)
            except Absent as error:
                pytest.skip(str(error))
        proxy._target_port = server.port
        await asyncio.to_thread(server.start)
        await run(name, seed, tmp_path, server, proxy, describe)
    finally:
        await proxy.close()
        if server is not None:
            server.stop()


async def run(name: str, seed: int, tmp_path: Path, server: Server, proxy: CruelProxy, describe: Any) -> None:
    chance = random.Random(seed)
    output, read = describe(server, proxy.port)
    config = tmp_path / "logflow.yaml"
    config.write_text(yaml.safe_dump({
        "data_dir": str(tmp_path / "data"),
        "sources": {"files": {"type": "tail", "paths": [str(tmp_path / "logs/*.log")], "format": "plain",
                              "tag": "logs"}},
        "routes": [{"match": "**", "outputs": ["store"]}],
        "outputs": {"store": {**output, "buffer": {"type": "disk"},
                              "retry": {"initial": "100ms", "max": "1s"}}},
    }))  # fmt: skip
    writer = Writer(tmp_path / "logs")
    argv = [sys.executable, "-m", "logflow", "run", "-c", str(config)]
    logflow = Process("logflow", argv, log=tmp_path / "logflow.log")
    logflow.start()
    try:
        until_s = time.monotonic() + RUN_S
        # moto keeps its objects in memory: it is not killed.
        server_too = getattr(server, "keeps", True)
        _, done = await asyncio.gather(
            writer.write(until_s), torture(chance, server, logflow, proxy, until_s, server_too=server_too)
        )
        numbers: list[int] = []
        deadline_s = time.monotonic() + 120
        while len(set(numbers)) < writer.count and time.monotonic() < deadline_s:
            await asyncio.sleep(1.0)
            logflow.check_running()
            with suppress(Exception):  # what it cannot read now, it reads a little later
                numbers = await read()
    finally:
        logflow.kill()
    counts = Counter(numbers)
    lost = [number for number in range(writer.count) if number not in counts]
    doubled = [number for number, count in counts.items() if count > 1]
    print(
        f"{name} seed {seed}: {writer.count} events, {dict(done)}, lost {len(lost)}, doubled {len(doubled)}"
    )
    assert (len(lost), len(doubled)) == (0, 0), (tmp_path / "logflow.log").read_text()[-3000:]
