"""Answers to requests that bring events: what all protocols over HTTP have in common.

A body is read within limits of size and time, its memory is accounted for, and the answer that says "taken"
goes out once the events are safe. What a protocol adds is a subclass: which requests there are, and how they
are answered.

::

    body ──► decompressed ──► read(body, events), piece by piece ──► batches ──► emit ──► safe ──► answer
             └── in a thread if it is large; two bodies at a time, the others wait in line ──┘
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn

from aiohttp import web

from logflow.component import Context, Emit
from logflow.compression import decompress_pieces
from logflow.config.auth import HttpAuth
from logflow.errors import LimitExceeded, MalformedData
from logflow.memory import Lease, Share
from logflow.net.complaints import Complaints
from logflow.net.http_server.events import Events
from logflow.net.tags import Tags
from logflow.receipt import Receipt, all_of

_INLINE_BYTES = 16 << 10
"""Bodies above this, and compressed ones, are read in a thread, so that the event loop is not held up."""
_SHOWN = 100
_RETRY_AFTER_S = 1
_COPIES = 2
"""How often a body lies in memory while it is passed on."""
_EVENTS_GROWTH = 5
"""Bytes that the events of the largest body may take, for each of its own."""
_READING = 2
"""Bodies that are read at once: more would only take the processor from each other and from the rest."""
_ENCODINGS: dict[str, Any] = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd", "deflate": "deflate"}


class Refused(Exception):
    """A request is answered with something else than 200."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True, slots=True)
class Limits:
    """What requests may use: bytes of one body, seconds to come and to be safe."""

    body_bytes: int
    read_s: float
    safe_s: float


Read = Callable[[bytes, Events], Iterator[None]]
"""Reads a decompressed body, and adds its events.

It yields after each piece of work, and may be called from any thread, by one at a time.
"""


class RequestHandler(ABC):
    """Answers requests.

    Attributes:
        emit: where batches go; ``None`` while there is nowhere, and requests are told to come again.
        share: what all requests may hold; ``None`` while there is no ``emit``.
        tags: bounds their number.
        own_encodings: Content-Encodings that the protocol reads itself.
    """

    own_encodings: ClassVar[Sequence[str]] = ()

    def __init__(
        self,
        context: Context,
        complain: Complaints,
        limits: Limits,
        *,
        auth: HttpAuth | None,
        tags: Tags,
    ) -> None:
        self.emit: Emit | None = None
        self.share: Share | None = None
        self.context = context
        self.tags = tags
        self._complain = complain
        self._limits = limits
        self._auth = auth
        self._turns = asyncio.Semaphore(_READING)
        self._waiting: set[asyncio.Future[bool]] = set()
        self._rejected = context.counter("requests_rejected", "Requests that can never be taken as they are.")
        self._deferred = context.counter("requests_deferred", "Requests that were told to come again.")

    def release(self) -> None:
        """Tell whoever still waits for events to be safe that they are not known to be."""
        for safe in self._waiting:
            if not safe.done():
                safe.set_result(False)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._answer(request)
        except Refused as refusal:
            later = refusal.status in (429, 503)
            (self._deferred if later else self._rejected)()
            if not later:
                peer = request.remote or "unix"
                self._complain(
                    f"Refused {request.method} {request.path[:_SHOWN]!a} from {peer}: "
                    f"{refusal.status}, {refusal}.", peer,
                )  # fmt: skip
            response = self.refusal(refusal)
            if refusal.status == 503 or not request.content.at_eof():
                response.force_close()
            return response
        except ConnectionError:
            raise  # the client is gone
        except Exception:
            self.context.log.exception("Source %s failed over a request.", self.context.name)
            return web.Response(status=500, text="an error of the server; see its log\n")

    @abstractmethod
    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request whose credentials are right.

        Raises:
            Refused: it is answered with something else than "taken".
        """

    def refusal(self, refused: Refused) -> web.Response:
        """Make the answer for what is refused, in the form that the protocol's clients read."""
        return web.Response(status=refused.status, text=f"{refused}\n", headers=refused.headers)

    def authorized(self, request: web.BaseRequest) -> bool:
        """Whether a request has the credentials that it must have."""
        return self._auth is None or self._auth.accepts(request.headers.get("Authorization", ""))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/healthz" and request.method in ("GET", "HEAD"):
            return web.Response(text="ok\n", status=200 if self.emit else 503)
        if not self.authorized(request):
            scheme = "Basic" if self._auth is None or self._auth.bearer is None else "Bearer"
            raise Refused(
                401, "credentials are missing or wrong", WWW_Authenticate=f'{scheme} realm="logflow"'
            )
        return await self.answer(request)

    def emit_for(self, tags: Iterable[str]) -> Emit:
        """Return where events of these tags go.

        Raises:
            Refused: there is nowhere now, or no room.
        """
        if self.emit is None:
            self.refuse_for_now(503, "no events can be taken now")
        if any(map(self.emit.full, tags)):
            self.refuse_for_now(429, "there is no room for more events now")
        return self.emit

    async def take(self, request: web.BaseRequest, read: Read, *, growth: int = 0) -> int:
        """Read a body and see to it that its events are safe.

        Args:
            request: whose body it is.
            read: adds the events of a decompressed body; called in threads if that is large.
            growth: bytes that it takes meanwhile for each byte of a body, besides events.

        Returns:
            The number of events.
        """
        emit = self.emit_for(())
        assert self.share is not None
        lease = self.share.lease()
        try:
            body = await self._read_body(request, lease)
            events = Events(_EVENTS_GROWTH * self._limits.body_bytes)
            reading = self._reading(request, body, read, events, growth)
            del body
            if lease.size > _COPIES * _INLINE_BYTES or "Content-Encoding" in request.headers:
                async with self._turns:
                    await self._read_on(reading, lease)
            else:
                for _ in reading:
                    pass
            batches = [self.tags.limit(batch) for batch in events.batches()]
            self._hold(lease, sum(len(batch.entries) for batch in batches))
            self.emit_for(batch.tag for batch in batches)
            # Not with the port: clients use many connections.
            peer = {"peer": request.remote or "unix"}
            batches = [replace(batch, attributes=peer) for batch in batches]
            try:
                async with asyncio.timeout(self._limits.safe_s):
                    safe = await self._make_safe(all_of([await emit(batch) for batch in batches]))
            except TimeoutError:
                safe = False
        finally:
            lease.release()
        if not safe:
            self.refuse_for_now(503, "the events are not known to be safe; send them again with the same key")
        return events.count

    async def _read_on(self, reading: Iterator[int], lease: Lease) -> None:
        """Read a body in threads, piece by piece, and account for what that takes."""
        body_bytes = lease.size
        while (held := await asyncio.to_thread(next, reading, None)) is not None:
            self._hold(lease, body_bytes + held)

    def _reading(
        self, request: web.BaseRequest, body: bytearray, read: Read, events: Events, growth: int
    ) -> Iterator[int]:
        """Read a body; yields the bytes that are held besides it as it came."""
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        try:
            plain, size = bytes(body), 0
            if encoding not in ("identity", *self.own_encodings):
                if encoding not in _ENCODINGS:
                    raise Refused(415, "Content-Encoding may be gzip, zstd or deflate")
                pieces: list[bytes] = []
                for piece in decompress_pieces(body, _ENCODINGS[encoding], self._limits.body_bytes):
                    pieces.append(piece)
                    size += _COPIES * len(piece)
                    yield size
                plain = b"".join(pieces)
                del pieces
            body.clear()
            size += growth * len(plain)
            yield size
            for _ in read(plain, events):
                yield size + events.size
        except LimitExceeded as error:
            raise Refused(413, str(error)) from None
        except MalformedData as error:
            raise Refused(400, str(error)) from None

    async def _make_safe(self, receipt: Receipt) -> bool:
        """Wait for a receipt; ``False`` when we are stopped before it."""
        safe: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        receipt.add_done_callback(lambda: None if safe.done() else safe.set_result(True))
        self._waiting.add(safe)
        try:
            return await safe
        finally:
            self._waiting.discard(safe)

    async def _read_body(self, request: web.BaseRequest, lease: Lease) -> bytearray:
        limit_bytes = self._limits.body_bytes
        if (request.content_length or 0) > limit_bytes:
            raise Refused(413, f"a body may have {limit_bytes} bytes")
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # it is not a part of the answer
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.read_s):
                async for piece in request.content.iter_any():
                    self._hold(lease, _COPIES * (len(body) + len(piece)))
                    body += piece
                    if len(body) > limit_bytes:
                        raise Refused(413, f"a body may have {limit_bytes} bytes")
        except TimeoutError:
            raise Refused(408, f"the body did not come within {self._limits.read_s:g} s") from None
        except web.RequestPayloadError as error:
            raise Refused(400, f"the body is broken: {error}") from None
        return body

    def _hold(self, lease: Lease, size: int) -> None:
        """Account for the memory of a request; whoever is alone may have more than there is."""
        if not lease.resize(size):
            self.refuse_for_now(429, "too much is being received now")

    def refuse_for_now(self, status: int, text: str) -> NoReturn:
        """Tell a client to come again."""
        raise Refused(status, text, Retry_After=str(_RETRY_AFTER_S))
