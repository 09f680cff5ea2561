"""Answers to requests that bring events: what all protocols over HTTP have in common.

A body is read within limits of size and time, its memory is accounted for, and the answer that says "taken"
goes out once the events are safe. What a protocol adds is a subclass: which requests there are, and how they
are answered.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn

from aiohttp import web

from logflow.batch import Batch
from logflow.component import Context, Emit
from logflow.compression import decompress
from logflow.config.auth import HttpAuth
from logflow.errors import LimitExceeded, MalformedData
from logflow.net.complaints import Complaints
from logflow.receipt import Receipt

_INLINE_BYTES = 16 << 10
"""Bodies above this, and compressed ones, are read in a thread, so that the event loop is not held up."""
_SHOWN = 100
_RETRY_AFTER_S = 1
_GROWTH = 5
"""Bytes that a body takes while it is read, for each of its own, besides itself."""
_ENCODINGS: dict[str, Any] = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd", "deflate": "deflate"}


class Refused(Exception):
    """A request is answered with something else than 200."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True, slots=True)
class Limits:
    """What requests may use: bytes of one body and of all at once, seconds to come and to be safe."""

    body_bytes: int
    in_flight_bytes: int
    read_s: float
    safe_s: float


class RequestHandler(ABC):
    """Answers requests.

    Attributes:
        emit: where batches go; ``None`` while there is nowhere, and requests are told to come again.
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
    ) -> None:
        self.emit: Emit | None = None
        self.context = context
        self._complain = complain
        self._limits = limits
        self._auth = auth
        self._held_bytes = 0
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

    async def take(self, request: web.BaseRequest, read: Callable[[bytes], Sequence[Batch]]) -> int:
        """Read a body and see to it that its events are safe.

        Args:
            request: whose body it is.
            read: makes batches of a decompressed body; called in a thread if that is large.

        Returns:
            The number of events.
        """
        emit = self.emit_for(())
        with self._holding() as held:
            body = await self._read_body(request, held)
            # What it is decompressed to, and what the events take, of which the smallest grow most.
            compressed = request.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
            held(_GROWTH * (self._limits.body_bytes if compressed else len(body)))
            if len(body) > _INLINE_BYTES or "Content-Encoding" in request.headers:
                batches = await asyncio.to_thread(self._batches, request, body, read)
            else:
                batches = self._batches(request, body, read)
            self.emit_for(batch.tag for batch in batches)
            # Not with the port: clients use many connections.
            peer = {"peer": request.remote or "unix"}
            batches = [replace(batch, attributes=peer) for batch in batches]
            try:
                async with asyncio.timeout(self._limits.safe_s):
                    safe = all([await self._make_safe(await emit(batch)) for batch in batches if batch.count])
            except TimeoutError:
                safe = False
        if not safe:
            self.refuse_for_now(503, "the events are not known to be safe; send them again with the same key")
        return sum(batch.count for batch in batches)

    async def _make_safe(self, receipt: Receipt) -> bool:
        """Wait for a receipt; ``False`` when we are stopped before it."""
        safe: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        receipt.add_done_callback(lambda: None if safe.done() else safe.set_result(True))
        self._waiting.add(safe)
        try:
            return await safe
        finally:
            self._waiting.discard(safe)

    async def _read_body(self, request: web.BaseRequest, held: Any) -> bytes:
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
                    held(len(piece))
                    body += piece
                    if len(body) > limit_bytes:
                        raise Refused(413, f"a body may have {limit_bytes} bytes")
        except TimeoutError:
            raise Refused(408, f"the body did not come within {self._limits.read_s:g} s") from None
        except web.RequestPayloadError as error:
            raise Refused(400, f"the body is broken: {error}") from None
        return bytes(body)

    def _batches(
        self, request: web.BaseRequest, body: bytes, read: Callable[[bytes], Sequence[Batch]]
    ) -> Sequence[Batch]:
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        try:
            if encoding not in ("identity", *self.own_encodings):
                if encoding not in _ENCODINGS:
                    raise Refused(415, "Content-Encoding may be gzip, zstd or deflate")
                body = decompress(body, _ENCODINGS[encoding], self._limits.body_bytes)
            return read(body)
        except LimitExceeded as error:
            raise Refused(413, str(error)) from None
        except MalformedData as error:
            raise Refused(400, str(error)) from None

    @contextmanager
    def _holding(self) -> Iterator[Any]:
        """Account for the memory of one request."""
        total = 0

        def held(size: int) -> None:
            nonlocal total
            # Whoever is alone may have more than that, or a large body would never come in.
            others = self._held_bytes - total
            if others and self._held_bytes + size > self._limits.in_flight_bytes:
                self.refuse_for_now(429, "too much is being received now")
            total += size
            self._held_bytes += size

        try:
            yield held
        finally:
            self._held_bytes -= total

    def refuse_for_now(self, status: int, text: str) -> NoReturn:
        """Tell a client to come again."""
        raise Refused(status, text, Retry_After=str(_RETRY_AFTER_S))
