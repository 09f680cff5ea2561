"""Output and source ``nats`` against a real server."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logflow.batch import Batch, Chunk
from logflow.errors import ChunkTooLarge, DeliveryError
from logflow.net.nats import _without_user
from logflow.outputs.nats import NatsOutput, _subject
from logflow.sources.nats import NatsSource
from logflow.testing import Collector, make_context, run_source
from tools.servers.nats import NatsServer

T0 = 1_700_000_000_123_456_789


def chunk(tag: str, *records: dict[str, Any]) -> Chunk:
    batch = Batch.from_events(tag, [(T0, record) for record in records])
    return Chunk(os.urandom(16), tag, (batch.entries,), len(records))


class Bench:
    def __init__(self, server: NatsServer, directory: Path, **options: Any) -> None:
        self.name = f"s{os.urandom(4).hex()}"
        self.directory = directory
        self.access = {"servers": [server.url], "username": "logflow", "password": "logflow-test"}
        stream = {"name": self.name, "subjects": [f"{self.name}.>"]}
        self.options = {**self.access, "subject": f"{self.name}.{{tag}}", "create_stream": stream, **options}
        config = NatsOutput.Config(**self.options)
        self.output = NatsOutput(config, make_context(directory, kind="output"))

    def source(self, **options: Any) -> NatsSource:
        config = NatsSource.Config(**self.access, stream=self.name, **options)
        return NatsSource(config, make_context(self.directory / "source"))

    async def stored(self) -> list[Any]:
        jetstream = await self.output._nats.stream()
        info = await jetstream.stream_info(self.name)
        return [await jetstream.get_msg(self.name, number + 1) for number in range(info.state.messages)]


@pytest.fixture
async def bench(nats: NatsServer, tmp_path: Path):
    bench = Bench(nats, tmp_path)
    await bench.output.open()
    yield bench
    await bench.output.close()


async def test_a_chunk_is_a_message(bench: Bench) -> None:
    first = chunk("app.web", {"n": 1}, {"n": 2})
    assert await bench.output.write_group([first, chunk("a b.*", {"n": 3})]) == [None, None]
    messages = {message.subject.partition(".")[2]: message for message in await bench.stored()}
    assert messages.keys() == {"app.web", "a_b._"}
    lines = messages["app.web"].data.splitlines()
    assert [json.loads(line)["n"] for line in lines] == [1, 2]
    assert messages["app.web"].headers["tag"] == "app.web"


async def test_what_comes_again_is_there_once(bench: Bench) -> None:
    first = chunk("app", {"n": 1})
    for _ in range(3):
        await bench.output.write(first)
    await bench.output.close()
    again = NatsOutput(bench.output.config, make_context(bench.directory, kind="output"))
    await again.open()
    await again.write(first)
    await again.close()
    assert len(await bench.stored()) == 1


async def test_an_event_can_be_a_message(nats: NatsServer, tmp_path: Path) -> None:
    bench = Bench(nats, tmp_path, message="event")
    await bench.output.open()
    many = chunk("app", *({"n": number} for number in range(530)))
    await bench.output.write(many)
    await bench.output.write(many)
    assert [json.loads(message.data)["n"] for message in await bench.stored()] == list(range(530))
    await bench.output.close()


async def test_a_chunk_that_is_too_large_is_told(bench: Bench) -> None:
    with pytest.raises(ChunkTooLarge, match="max_payload"):
        await bench.output.write(chunk("app", *({"m": "x" * 1000} for _ in range(1200))))


async def test_a_missing_stream_is_held_and_said(nats: NatsServer, tmp_path: Path) -> None:
    bench = Bench(nats, tmp_path, create_stream=None)
    await bench.output.open()
    with pytest.raises(
        DeliveryError, match=r"no stream takes the subject .*; make one, or set create_stream"
    ):
        await bench.output.write(chunk("app", {"n": 1}))
    await bench.output.close()


@pytest.mark.parametrize(
    ("options", "told"),
    [({"password": "wrong"}, "refuses these credentials"),
     ({"servers": ["nats://a:secret@127.0.0.1:9"], "timeout": 2}, "nats://127.0.0.1:9 cannot be reached")],
)  # fmt: skip
async def test_what_cannot_be_connected_to_is_held_and_said(
    nats: NatsServer, tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    bench = Bench(nats, tmp_path, **options)
    with pytest.raises(DeliveryError, match=told) as caught:
        await bench.output.open()
    assert "wrong" not in str(caught.value)
    assert "secret" not in str(caught.value)
    await bench.output.close()


async def test_a_server_that_comes_back_has_each_once(nats: NatsServer, tmp_path: Path) -> None:
    bench = Bench(nats, tmp_path, timeout=2)
    await bench.output.open()
    chunks = [chunk("app", {"n": number}) for number in range(30)]
    await bench.output.write_group(chunks[:10])
    nats.kill()
    assert all(isinstance(error, DeliveryError) for error in await bench.output.write_group(chunks))
    nats.start()
    assert await bench.output.write_group(chunks) == [None] * 30
    numbers = [json.loads(message.data)["n"] for message in await bench.stored()]
    assert sorted(numbers) == list(range(30))
    await bench.output.close()


async def test_messages_are_events(bench: Bench) -> None:
    await bench.output.write(chunk("app.web", {"n": 1}, {"n": 2}))
    collector = Collector()
    async with run_source(bench.source(tag_header="tag"), collector):
        await collector.wait_for(2)
    assert collector.batches[0].tag == "app.web"
    assert [int(time) for time, _ in collector.events()] == [T0, T0]
    assert [record["n"] for record in collector.records()] == [1, 2]


async def test_only_what_is_safe_is_acknowledged(bench: Bench, monkeypatch) -> None:
    """Who comes after reads again what had no receipt."""
    monkeypatch.setattr("logflow.sources.nats._ACK_WAIT_S", 1.0)
    for number in range(4):
        await bench.output.write(chunk(f"t{number}", {"n": number}))
    first = Collector(settle=False)
    async with run_source(bench.source(), first):
        await first.wait_for(4)
        first.receipts[1].settle()
        await asyncio.sleep(2.0)  # what waits does not come again meanwhile
        assert first.count == 4
    second = Collector()
    async with run_source(bench.source(), second):
        await second.wait_for(3)
    assert sorted(record["n"] for record in second.records()) == [0, 2, 3]


def test_subjects_and_urls() -> None:
    assert _subject("/logs.a b.>.*..x") == "logs.a_b._._._.x"
    assert _without_user("nats://u:p@host:1") == "nats://host:1"


@pytest.mark.parametrize(
    "options",
    [{"servers": []}, {"subject": "a..b"}, {"username": "a"}, {"token": "a", "credentials_file": "/b"}],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NatsOutput.Config(**{"servers": ["nats://n:4222"], "subject": "logs", **options})
