"""A store over HTTP as a plug-in's author would write it: an encoder and a few lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Literal

import pytest
from aiohttp import web
from pydantic import Field

from logflow.batch import Batch, Chunk, PartialDelivery
from logflow.errors import PermanentError
from logflow.net.http_client import Answer
from logflow.outputs.http_store import HttpStore, HttpStoreConfig
from logflow.testing import make_context

T0 = 1_700_000_000_000_000_000


class LokiOutput(HttpStore):
    """Output ``toy_loki``: one request for many chunks, one stream for each tag."""

    class Config(HttpStoreConfig):
        type: Literal["toy_loki"] = "toy_loki"
        tenant: str = Field("fake", description="The tenant.")

    content_type = "application/json"

    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        streams = [
            {
                "stream": {"tag": chunk.tag},
                "values": [[str(int(time)), json.dumps(record)] for time, record in chunk.events()],
            }
            for chunk in chunks
        ]
        yield json.dumps({"streams": streams}).encode()

    def results(self, chunks: Sequence[Chunk], answer: Answer) -> Sequence[Exception | None]:
        refused = json.loads(answer.body or b"[]")
        return [PermanentError("too old") if chunk.tag in refused else None for chunk in chunks]


@pytest.fixture
async def store(tmp_path):
    """The output in front of a server that takes everything and answers as ``answers`` says."""
    bodies, keys, answers = [], [], []

    async def take(request: web.BaseRequest) -> web.Response:
        bodies.append(await request.json())
        keys.append(request.headers["Idempotency-Key"])
        return web.json_response(answers.pop(0) if answers else [])

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = LokiOutput.Config(endpoints=[f"http://127.0.0.1:{runner.addresses[0][1]}/push"])
    output = LokiOutput(config, make_context(tmp_path, kind="output"))
    await output.open()
    yield output, bodies, keys, answers
    await output.close()
    await runner.cleanup()


def chunk(tag: str) -> Chunk:
    batch = Batch.from_events(tag, [(T0, {"message": tag})])
    return Chunk(os.urandom(16), tag, (batch.entries,), 1)


async def test_a_request_carries_several_chunks_and_each_has_its_result(store):
    output, bodies, keys, answers = store
    chunks = [chunk("a"), chunk("b")]
    answers.append(["b"])
    first, second = await output.write_group(chunks)
    assert first is None
    assert isinstance(second, PermanentError)
    assert [stream["stream"]["tag"] for stream in bodies[0]["streams"]] == ["a", "b"]
    await output.write_group(chunks)
    assert keys[0] == keys[1], "the same chunks make the same request"


async def test_a_single_chunk_is_named_by_its_own_id(store):
    output, _, keys, answers = store
    one = chunk("a")
    await output.write(one)
    assert keys == [one.id.hex()]
    answers.append(["a"])
    with pytest.raises(PermanentError, match="too old"):
        await output.write(one)


class ItemsOutput(LokiOutput):
    """A store that refuses a whole request because of one event."""

    isolates = True

    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        yield json.dumps([record for chunk in chunks for _, record in chunk.events()]).encode()

    def results(self, chunks: Sequence[Chunk], answer: Answer) -> Sequence[Exception | None]:
        return [None] * len(chunks)


class Strict:
    """A server with a largest request and with records that it does not take; keeps what it took."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.sizes: list[int] = []
        self.most = 1000
        self.status: int | None = None

    async def take(self, request: web.BaseRequest) -> web.Response:
        records = await request.json()
        self.sizes.append(len(records))
        if self.status is not None:
            return web.Response(status=self.status)
        if len(records) > self.most:
            return web.Response(status=413)
        if any(record.get("bad") for record in records):
            return web.Response(status=400, text="a record is bad")
        self.taken += [record["n"] for record in records]
        return web.Response()


@pytest.fixture
async def strict(tmp_path):
    server = Strict()
    runner = web.ServerRunner(web.Server(server.take))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = ItemsOutput.Config(endpoints=[f"http://127.0.0.1:{runner.addresses[0][1]}/"])
    output = ItemsOutput(config, make_context(tmp_path, kind="output"))
    await output.open()
    yield output, server
    await output.close()
    await runner.cleanup()


def numbered(tag: str, numbers: Iterable[int], bad: Sequence[int] = ()) -> Chunk:
    events = [(T0, {"n": n, "bad": n in bad}) for n in numbers]
    batch = Batch.from_events(tag, events)
    return Chunk(os.urandom(16), tag, (batch.entries,), batch.count)


async def test_a_request_that_is_too_large_is_halved_and_the_next_ones_are_small_at_once(strict):
    output, server = strict
    server.most = 4
    chunks = [numbered(f"t{n}", [2 * n, 2 * n + 1]) for n in range(6)]
    assert list(await output.write_group(chunks)) == [None] * 6
    assert server.taken == list(range(12))
    server.sizes.clear()
    await output.write_group(chunks)
    assert max(server.sizes) <= 6, "it was learned that 12 are too many"


async def test_the_neighbours_of_a_bad_event_are_delivered(strict):
    output, server = strict
    chunks = [numbered("a", range(100), bad=[17]), numbered("b", range(100, 110))]
    first, second = await output.write_group(chunks)
    assert second is None
    assert isinstance(first, PartialDelivery)
    ((letter, why),) = first.rejected
    assert [record["n"] for _, record in letter.events()] == [17]
    assert "a record is bad" in why
    assert first.rest is None
    assert sorted(server.taken) == [n for n in range(110) if n != 17]


async def test_looking_for_bad_events_takes_a_bounded_number_of_requests(strict):
    output, server = strict
    (result,) = await output.write_group([numbered("a", range(500), bad=range(500))])
    assert isinstance(result, PartialDelivery)
    assert sum(part.count for part, _ in result.rejected) == 500
    assert len(server.sizes) < 150


async def test_a_failure_while_looking_for_bad_events_repeats_nothing_that_was_delivered(strict):
    output, server = strict
    ask = output._request

    async def fail_later(chunks):
        if len(server.sizes) == 4:
            server.status = 500
        return await ask(chunks)

    output._request = fail_later
    (result,) = await output.write_group([numbered("a", range(100), bad=[70])])
    assert isinstance(result, PartialDelivery)
    rest = [record["n"] for _, record in result.rest.events()]
    assert sorted(server.taken + rest) == list(range(100))
    assert list(result.rest.places.indices) == rest
