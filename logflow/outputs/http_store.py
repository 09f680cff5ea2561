"""The base of outputs to stores over HTTP: such an output is an encoder and a few lines.

::

    class ExampleOutput(HttpStore):
        class Config(HttpStoreConfig):
            type: Literal["example"] = "example"

        content_type = "application/json"

        def body(self, chunks):
            yield from (json_of(chunk) for chunk in chunks)

Endpoints, balancing, retries, credentials, TLS, proxies and compression are those of
:mod:`logflow.net.http_client`, which also says what each answer means.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from logflow.batch import Chunk
from logflow.component import Context, Output
from logflow.net.http_client import Answer, HttpClient, HttpClientConfig, Post

_INLINE_BYTES = 64 << 10
"""Requests above this are encoded in a thread, so that the event loop is not held up."""


class HttpStoreConfig(HttpClientConfig):
    """What every store over HTTP may be given; a store adds options of its own."""


class HttpStore(Output):
    """Delivers chunks in requests, one or several chunks in each.

    Attributes:
        content_type: of a request's body.
        answer_bytes: how much of an answer's body :meth:`results` gets to see.
    """

    Config: ClassVar[type[HttpStoreConfig]]
    content_type: str = "application/json"
    answer_bytes: ClassVar[int] = 64 << 10

    config: HttpStoreConfig

    def __init__(self, config: HttpStoreConfig, context: Context) -> None:
        super().__init__(config, context)
        self.client = HttpClient(config, context, answer_bytes=self.answer_bytes)

    @abstractmethod
    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        """Encode chunks into the body of one request, in slices. Pure; may be called in a thread."""

    def results(self, chunks: Sequence[Chunk], answer: Answer) -> Sequence[Exception | None]:
        """Say what became of each chunk, from an answer that means delivered: None or the error for it.

        For stores that answer 200 and list in the body what they did not take.
        """
        del answer
        return [None] * len(chunks)

    async def open(self) -> None:
        """Load certificates and secrets."""
        await self.client.open()

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def write(self, chunk: Chunk) -> None:
        """Deliver one chunk in a request of its own."""
        (result,) = await self.write_group([chunk])
        if result is not None:
            raise result

    async def write_group(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        """Deliver chunks in one request; the result of each: None, or why it was not delivered."""
        if sum(chunk.size for chunk in chunks) > _INLINE_BYTES:
            body = await asyncio.to_thread(self._compressed, chunks)
        else:
            body = self._compressed(chunks)
        post = Post(_key(chunks), body, self.content_type, chunks[0].tag)
        return self.results(chunks, await self.client.post(post))

    def _compressed(self, chunks: Sequence[Chunk]) -> list[bytes]:
        return self.client.compress(self.body(chunks))


def _key(chunks: Sequence[Chunk]) -> bytes:
    """Name a request by what is in it."""
    if len(chunks) == 1:
        return chunks[0].id
    return hashlib.blake2b(b"".join(chunk.id for chunk in chunks), digest_size=16).digest()
