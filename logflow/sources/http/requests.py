"""Answers to the requests of the source ``http``."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import unquote

from aiohttp import web

from logflow.batch import Batch, DeliveryKey
from logflow.component import Context, Emit
from logflow.compression import decompress
from logflow.config.auth import HttpAuth
from logflow.errors import LimitExceeded, MalformedData
from logflow.event import MAX_TIME_NS, NANOSECOND
from logflow.net.complaints import Complaints
from logflow.receipt import Receipt
from logflow.sources.http.bodies import BodyReader

_INLINE_BYTES = 16 << 10
"""Bodies above this, and compressed ones, are read in a thread, so that the event loop is not held up."""
_MAX_TAG = 512
_SHOWN = 100
_RETRY_AFTER_S = 1
_GROWTH = 5
"""Bytes that a body takes while it is read, for each of its own, besides itself."""
_ENCODINGS: dict[str, Any] = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd", "deflate": "deflate"}


def check_tag(tag: str) -> str:
    """Check a tag that came from outside: printable parts without blanks, none of them empty."""
    if not tag or len(tag) > _MAX_TAG or not tag.isprintable() or " " in tag or not all(tag.split(".")):
        raise ValueError("a tag is parts joined by dots, of printable characters and no blanks")
    return tag


class _RefusedError(Exception):
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


class RequestHandler:
    """Answers requests.

    Attributes:
        emit: where batches go; ``None`` while there is nowhere, and requests are told to come again.
    """

    def __init__(
        self,
        context: Context,
        complain: Complaints,
        reader: BodyReader,
        limits: Limits,
        *,
        auth: HttpAuth | None,
        root_tag: str | None,
    ) -> None:
        self.emit: Emit | None = None
        self._context = context
        self._complain = complain
        self._reader = reader
        self._limits = limits
        self._auth = auth
        self._root_tag = root_tag
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
        except _RefusedError as refusal:
            later = refusal.status in (429, 503)
            (self._deferred if later else self._rejected)()
            if not later:
                peer = request.remote or "unix"
                self._complain(
                    f"Refused {request.method} {request.path[:_SHOWN]!a} from {peer}: "
                    f"{refusal.status}, {refusal}.", peer,
                )  # fmt: skip
            response = web.Response(status=refusal.status, text=f"{refusal}\n", headers=refusal.headers)
            if refusal.status == 503 or not request.content.at_eof():
                response.force_close()
            return response
        except ConnectionError:
            raise  # the client is gone
        except Exception:
            self._context.log.exception("Source %s failed over a request.", self._context.name)
            return web.Response(status=500, text="an error of the server; see its log\n")

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/healthz" and request.method in ("GET", "HEAD"):
            return web.Response(text="ok\n", status=200 if self.emit else 503)
        auth = self._auth
        if auth is not None and not auth.accepts(request.headers.get("Authorization", "")):
            scheme = "Basic" if auth.bearer is None else "Bearer"
            raise _RefusedError(
                401, "credentials are missing or wrong", WWW_Authenticate=f'{scheme} realm="logflow"'
            )
        if request.method != "POST":
            raise _RefusedError(405, "events are sent with POST", Allow="POST")
        tag = self._tag(request)
        if self.emit is None:
            self._refuse_for_now(503, "no events can be taken now")
        if self.emit.full(tag):
            self._refuse_for_now(429, "there is no room for more events now")
        return web.json_response({"events": await self._take(request, tag, self.emit)})

    async def _take(self, request: web.BaseRequest, tag: str, emit: Emit) -> int:
        """Read a body and see to it that its events are safe; returns their number."""
        with self._holding() as held:
            now_ns = self._time(request)
            body = await self._read_body(request, held)
            # What it is decompressed to, and what the events take, of which the smallest grow most.
            compressed = request.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
            held(_GROWTH * (self._limits.body_bytes if compressed else len(body)))
            if len(body) > _INLINE_BYTES or "Content-Encoding" in request.headers:
                batch = await asyncio.to_thread(self._batch, request, tag, body, now_ns)
            else:
                batch = self._batch(request, tag, body, now_ns)
            if not batch.count:
                return 0
            try:
                async with asyncio.timeout(self._limits.safe_s):
                    safe = await self._make_safe(await emit(batch))
            except TimeoutError:
                safe = False
        if not safe:
            self._refuse_for_now(
                503, "the events are not known to be safe; send them again with the same key"
            )
        return batch.count

    async def _make_safe(self, receipt: Receipt) -> bool:
        """Wait for a receipt; ``False`` when we are stopped before it."""
        safe: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        receipt.add_done_callback(lambda: None if safe.done() else safe.set_result(True))
        self._waiting.add(safe)
        try:
            return await safe
        finally:
            self._waiting.discard(safe)

    def _tag(self, request: web.BaseRequest) -> str:
        segments = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
        if segments == [""]:
            if self._root_tag is None:
                raise _RefusedError(404, "post to /TAG")
            return self._root_tag
        try:
            return check_tag(".".join(segments))
        except ValueError as error:
            raise _RefusedError(400, str(error)) from None

    async def _read_body(self, request: web.BaseRequest, held: Any) -> bytes:
        limit_bytes = self._limits.body_bytes
        if (request.content_length or 0) > limit_bytes:
            raise _RefusedError(413, f"a body may have {limit_bytes} bytes")
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
                        raise _RefusedError(413, f"a body may have {limit_bytes} bytes")
        except TimeoutError:
            raise _RefusedError(408, f"the body did not come within {self._limits.read_s:g} s") from None
        except web.RequestPayloadError as error:
            raise _RefusedError(400, f"the body is broken: {error}") from None
        return bytes(body)

    def _time(self, request: web.BaseRequest) -> int:
        """Time of events without one of their own: ``?time=`` in seconds since 1970, as Fluentd has it."""
        text = request.query.get("time")
        if text is None:
            return self._context.clock.time_ns()
        try:
            time_ns = int(Decimal(text) * NANOSECOND)
        except (ArithmeticError, ValueError):
            time_ns = -1
        if not 0 <= time_ns <= MAX_TIME_NS:
            raise _RefusedError(400, "time is a number of seconds since 1970")
        return time_ns

    def _batch(self, request: web.BaseRequest, tag: str, body: bytes, now_ns: int) -> Batch:
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        key = request.headers.get("Idempotency-Key")
        try:
            if encoding != "identity":
                if encoding not in _ENCODINGS:
                    raise _RefusedError(415, "Content-Encoding may be gzip, zstd or deflate")
                body = decompress(body, _ENCODINGS[encoding], self._limits.body_bytes)
            entries, events = self._reader.read(body, request.content_type, now_ns)
        except LimitExceeded as error:
            raise _RefusedError(413, str(error)) from None
        except MalformedData as error:
            raise _RefusedError(400, str(error)) from None
        return Batch(tag, entries, events, _delivery_key(key, tag, body) if key else None)

    @contextmanager
    def _holding(self) -> Iterator[Any]:
        """Account for the memory of one request."""
        total = 0

        def held(size: int) -> None:
            nonlocal total
            # Whoever is alone may have more than that, or a large body would never come in.
            others = self._held_bytes - total
            if others and self._held_bytes + size > self._limits.in_flight_bytes:
                self._refuse_for_now(429, "too much is being received now")
            total += size
            self._held_bytes += size

        try:
            yield held
        finally:
            self._held_bytes -= total

    def _refuse_for_now(self, status: int, text: str) -> NoReturn:
        raise _RefusedError(status, text, Retry_After=str(_RETRY_AFTER_S))


def _delivery_key(key: str, tag: str, body: bytes) -> DeliveryKey:
    """Name a delivery by its key, tag and body, so that only a true repeat is one."""
    digest = hashlib.blake2b(f"{len(key)}\0{key}\0{tag}\0".encode("utf-8", "surrogateescape"), digest_size=16)
    digest.update(body)
    return DeliveryKey(b"http" + digest.digest())
