"""A store over HTTP as a plug-in's author would write it: an encoder and a few lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Literal

import pytest
from aiohttp import web
from pydantic import Field

from logflow.batch import Batch, Chunk
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
