"""Bodies that bring events, whatever protocol carried them, until their events are safe.

::

    body ──► decompressed ──► read(body, events), piece by piece ──► batches ──► emit ──► safe
             └── in a thread if it is large; two bodies at a time, the others wait in line ──┘

A body is read within limits of size and time, and the memory that it takes is accounted for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn, Protocol

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
_RETRY_AFTER_S = 1
_COPIES = 2
"""How often a body lies in memory while it is passed on."""
_EVENTS_GROWTH = 5
"""Bytes that the events of the largest body may take, for each of its own."""
_READING = 2
"""Bodies that are read at once: more would only take the processor from each other and from the rest."""
_PLAIN = "identity"
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


class Incoming(Protocol):
    """A request with a body, as its protocol has it."""

    @property
    def peer(self) -> str:
        """Who sent it: an address without its port, as clients use many connections."""

    @property
    def size(self) -> int | None:
        """Bytes of the body, if the request says so."""

    @property
    def encoding(self) -> str:
        """How the body is compressed, as HTTP calls it; known once the body is there."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            MalformedData: it is broken.
        """


class Intake:
    """Takes bodies.

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

    def knows(self, authorization: str) -> bool:
        """Whether the header ``Authorization`` of a request has the credentials that it must have."""
        return self._auth is None or self._auth.accepts(authorization)

    def release(self) -> None:
        """Tell whoever still waits for events to be safe that they are not known to be."""
        for safe in self._waiting:
            if not safe.done():
                safe.set_result(False)

    def note(self, refusal: Refused, what: str, peer: str) -> None:
        """Count a request that was refused, and say so unless it may come again."""
        later = refusal.status in (429, 503)
        (self._deferred if later else self._rejected)()
        if not later:
            self._complain(f"Refused {what} from {peer}: {refusal.status}, {refusal}.", peer)

    def fault(self, error: Exception, what: str, peer: str) -> None:
        """Say that a request failed through an error of ours, which is being handled."""
        self._complain.fault(f"{what} from {peer} failed: internal error: {error!r}.", peer)

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

    async def take_body(self, incoming: Incoming, read: Read, *, growth: int = 0) -> int:
        """Read a body and see to it that its events are safe.

        Args:
            incoming: whose body it is.
            read: adds the events of a decompressed body; called in threads if that is large.
            growth: bytes that it takes meanwhile for each byte of a body, besides events.

        Returns:
            The number of events.

        Raises:
            Refused: they are not, or not known to be.
        """
        emit = self.emit_for(())
        assert self.share is not None
        lease = self.share.lease()
        try:
            body = await self._read_body(incoming, lease)
            events = Events(_EVENTS_GROWTH * self._limits.body_bytes)
            reading = self._reading(incoming.encoding, body, read, events, growth)
            del body
            if lease.size > _COPIES * _INLINE_BYTES or incoming.encoding != _PLAIN:
                async with self._turns:
                    await self._read_on(reading, lease)
            else:
                for _ in reading:
                    pass
            batches = [self.tags.limit(batch) for batch in events.batches()]
            self._hold(lease, sum(len(batch.entries) for batch in batches))
            self.emit_for(batch.tag for batch in batches)
            batches = [replace(batch, attributes={"peer": incoming.peer}) for batch in batches]
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
        self, encoding: str, body: bytearray, read: Read, events: Events, growth: int
    ) -> Iterator[int]:
        """Read a body; yields the bytes that are held besides it as it came."""
        try:
            plain, size = bytes(body), 0
            if encoding not in (_PLAIN, *self.own_encodings):
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

    async def _read_body(self, incoming: Incoming, lease: Lease) -> bytearray:
        limit_bytes = self._limits.body_bytes
        if (incoming.size or 0) > limit_bytes:
            raise Refused(413, f"a body may have {limit_bytes} bytes")
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.read_s):
                async for piece in incoming.pieces():
                    self._hold(lease, _COPIES * (len(body) + len(piece)))
                    body += piece
                    if len(body) > limit_bytes:
                        raise Refused(413, f"a body may have {limit_bytes} bytes")
        except TimeoutError:
            raise Refused(408, f"the body did not come within {self._limits.read_s:g} s") from None
        except MalformedData as error:
            raise Refused(400, f"the body is broken: {error}") from None
        return body

    def _hold(self, lease: Lease, size: int) -> None:
        """Account for the memory of a request; whoever is alone may have more than there is."""
        if not lease.resize(size):
            self.refuse_for_now(429, "too much is being received now")

    def refuse_for_now(self, status: int, text: str) -> NoReturn:
        """Tell a client to come again."""
        raise Refused(status, text, Retry_After=str(_RETRY_AFTER_S))
