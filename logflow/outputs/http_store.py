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

A request carries many chunks, and each has a result of its own. If a store refuses a whole request::

    413 of several chunks       halves, and for ten minutes no request is as large as that one
    413 of one chunk            the host cuts it (``ChunkTooLarge``)
    other refusal of several    halves, so that the neighbours of a bad chunk are delivered
    other refusal of one        a dead letter; if the store ``isolates``, halves down to the bad events
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from logflow.batch import Chunk, PartialDelivery
from logflow.component import Context, Output
from logflow.config.options import GroupOutputConfig
from logflow.config.secrets import Secret
from logflow.errors import ChunkTooLarge, DeliveryError, PermanentError
from logflow.net.http_client import Answer, HttpClient, HttpClientConfig, Post, Transport
from logflow.outputs.outcomes import joined, split

_INLINE_BYTES = 64 << 10
"""Requests above this are encoded in a thread, so that the event loop is not held up."""
_LEARNED_S = 600.0
"""For how long it is remembered how large a request may be."""
_MOST_HALVINGS = 60
"""Requests that are spent on finding bad events in a chunk; what is left then is refused as it is."""


class HttpStoreConfig(HttpClientConfig):
    """What every store over HTTP may be given; a store adds options of its own."""


class GroupStoreConfig(HttpStoreConfig, GroupOutputConfig):
    """The same for stores that take chunks of several tags in one request."""


class HttpStore(Output):
    """Delivers chunks in requests, one or several chunks in each.

    Attributes:
        content_type: of a request's body.
        answer_bytes: how much of an answer's body :meth:`results` gets to see.
        isolates: whether a refused chunk is halved until only bad events are left: for stores that refuse
            requests as a whole because of one event, and store nothing of them or recognise repeats.
        most_events: in one request, if the store says so.
        shows_pages: whether the server may answer with HTML. Otherwise that is somebody else before the
            store, who took nothing whatever the status says, such as a proxy that wants a login.
    """

    Config: ClassVar[type[HttpStoreConfig]]
    content_type: str = "application/json"
    answer_bytes: ClassVar[int] = 64 << 10
    isolates: ClassVar[bool] = False
    most_events: ClassVar[int | None] = None
    shows_pages: ClassVar[bool] = False

    config: HttpStoreConfig

    def __init__(self, config: HttpStoreConfig, context: Context) -> None:
        super().__init__(config, context)
        self.client = HttpClient(
            config,
            context,
            answer_bytes=self.answer_bytes,
            identity=self.identity(),
            transport=self.transport(),
        )
        self._taken: tuple[int, float] | None = None
        """How large a request may be, in bytes of packed events, and until when that is believed."""

    @abstractmethod
    def body(self, chunks: Sequence[Chunk]) -> Iterable[bytes]:
        """Encode chunks into the body of one request, in slices. Pure; may be called in a thread."""

    def identity(self) -> Mapping[str, tuple[str, Secret]]:
        """Headers with secrets, each with the words before the secret; called once, at construction."""
        return {}

    def transport(self) -> Transport | None:
        """What carries the requests, if not HTTP/1.1; called once, at construction."""
        return None

    def path(self, chunks: Sequence[Chunk]) -> str:
        """What stands behind an endpoint's own path, with a query if need be."""
        del chunks
        return ""

    def request_headers(self, chunks: Sequence[Chunk]) -> Mapping[str, str]:
        """Headers of one request."""
        del chunks
        return {}

    def apart(self, chunk: Chunk) -> str:
        """Name what a request can have one of only, such as a tenant; chunks that differ in it go apart."""
        return chunk.tag if self.client.by_tag else ""

    def results(self, chunks: Sequence[Chunk], answer: Answer) -> Sequence[Exception | None]:
        """Say what became of each chunk, from an answer that means delivered: None or the error for it.

        For stores that answer 200 and list in the body what they did not take. May be called in a thread.
        """
        del answer
        return [None] * len(chunks)

    def bearable(self) -> int | None:
        """How many requests at once the store bears, by its answers."""
        return self.client.bearable

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
        """Deliver chunks in one request, or in as many as it takes; the result of each."""
        found: dict[bytes, Exception | None] = {}
        if self.most_events is not None:
            for chunk in chunks:
                if chunk.count > self.most_events:
                    found[chunk.id] = ChunkTooLarge(f"a request may hold {self.most_events} events")
        requests = self._requests([chunk for chunk in chunks if chunk.id not in found])
        if len(requests) == 1 and not found:
            return await self._deliver(chunks)
        for request in requests:
            results = await self._each(request)
            found.update(zip((chunk.id for chunk in request), results, strict=True))
        return [found[chunk.id] for chunk in chunks]

    def _requests(self, chunks: Sequence[Chunk]) -> list[list[Chunk]]:
        """Divide chunks by what a request can have one of only, and by what a request may take."""
        most_bytes, until_s = self._taken or (0, 0.0)
        if most_bytes and self.context.clock.monotonic() >= until_s:
            self._taken, most_bytes = None, 0
        requests: dict[str, list[list[Chunk]]] = {}
        for chunk in chunks:
            alike = requests.setdefault(self.apart(chunk), [[]])
            if most_bytes and alike[-1] and sum(c.size for c in alike[-1]) + chunk.size > most_bytes:
                alike.append([])
            alike[-1].append(chunk)
        return [request for alike in requests.values() for request in alike]

    async def _each(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        """Deliver chunks; whatever is raised is the result of each of them."""
        try:
            return await self._deliver(chunks)
        except Exception as error:
            return [error] * len(chunks)

    async def _deliver(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        """Deliver chunks in one request, and in smaller ones if it is refused."""
        try:
            return await self._request(chunks)
        except (ChunkTooLarge, PermanentError) as error:
            if len(chunks) == 1:
                if isinstance(error, ChunkTooLarge) or not self.isolates or chunks[0].count == 1:
                    raise
                return [await self._isolate(chunks[0], error)]
            if isinstance(error, ChunkTooLarge):
                size = sum(chunk.size for chunk in chunks)
                self._taken = (size // 2, self.context.clock.monotonic() + _LEARNED_S)
        middle = len(chunks) // 2
        return [*await self._each(chunks[:middle]), *await self._each(chunks[middle:])]

    async def _request(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        if sum(chunk.size for chunk in chunks) > _INLINE_BYTES:
            body = await asyncio.to_thread(self._compressed, chunks)
        else:
            body = self._compressed(chunks)
        headers = self.request_headers(chunks)
        post = Post(request_name(chunks), body, self.content_type, chunks[0].tag, headers, self.path(chunks))
        answer = await self.client.post(post)
        if not self.shows_pages and answer.headers.get("Content-Type", "").startswith("text/html"):
            raise DeliveryError(
                f"{self.client.excerpt(answer)}: that is a page for people, and not an answer of the store; "
                "look at endpoints, and at what stands before them"
            )
        if len(answer.body) > _INLINE_BYTES:
            return await asyncio.to_thread(self.results, chunks, answer)
        return self.results(chunks, answer)

    async def _isolate(self, chunk: Chunk, refusal: PermanentError) -> Exception | None:
        """Find the events because of which a chunk was refused; the others are delivered."""
        waiting: list[tuple[Chunk, PermanentError | None]] = [(chunk, refusal)]
        rejected: list[tuple[Chunk, str]] = []
        tries = 0
        while waiting:
            part, known = waiting.pop()
            try:
                if known is not None:
                    raise known
                (result,) = await self._request([part])
                if result is not None:
                    raise result
            except PermanentError as error:
                if part.count == 1 or tries >= _MOST_HALVINGS:
                    rejected.append((part, str(error)))
                    continue
                tries += 1
                waiting += [(half, None) for half in reversed(split(part, self.context.engine))]
            except Exception as error:
                rest = joined([part, *(chunk for chunk, _ in reversed(waiting))])
                return PartialDelivery(str(error), rest, rejected)
        return PartialDelivery(str(refusal), None, rejected)

    def _compressed(self, chunks: Sequence[Chunk]) -> list[bytes]:
        return self.client.compress(self.body(chunks))


def request_name(chunks: Sequence[Chunk]) -> bytes:
    """Name a request by what is in it."""
    if len(chunks) == 1 and chunks[0].part is None:
        return chunks[0].id
    names = (chunk.id if chunk.part is None else _part_name(chunk) for chunk in chunks)
    return hashlib.blake2b(b"".join(names), digest_size=16).digest()


def _part_name(chunk: Chunk) -> bytes:
    assert chunk.part is not None
    return chunk.part.chunk + repr(list(chunk.part.indices)).encode()
