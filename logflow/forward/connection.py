"""The client's side of one connection: handshake, requests, acks.

::

    connect ──► (handshake) ──► ready ─── send ──► sending ──► all written ──► in flight ─── ack ──► ready
                                  ▲                   │                           │
                                  │                   │ lost                      │ lost, given up
                                  └─ acks may wait    ▼                           ▼
                                     in any order   closed: every request that is in flight failed

A request knows by itself whether it was acknowledged, so that whoever stops waiting can look
again later. Acks are found by the id that they hold. Odd bytes between acks do no harm to what is in flight:
a second ack of a chunk is ignored, and after anything else the connection is not used for new requests.
"""

from __future__ import annotations

import asyncio
import math
import os
import ssl
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgpack
from typing_extensions import Buffer

from logflow.errors import DeliveryError, LogflowError, MalformedData, what_happened
from logflow.forward.endpoint import ServerEndpoint
from logflow.forward.handshake import ClientHandshake, ClientSecrets

PIECE_BYTES = 256 * 1024
"""What is handed to the socket at once; at most this much is copied when the socket is full."""
_MAX_ANSWER_BYTES = 16 * 1024
_REMEMBERED_ACKS = 64
_MAP_OF_ONE = b"\x81"


class Unanswered(DeliveryError):
    """Nobody waits for the ack any more; the request is still in flight, and an ack that comes counts."""


@dataclass(eq=False)
class PendingFrame:
    """One frame to send, and what became of it.

    Attributes:
        parts: the frame's bytes, in order.
        chunk: the packed id that the ack must hold; ``b""`` if none is asked for.
        size: bytes of the frame.
        maybe_received: the server may have the whole frame. Set before the last piece is written; from
            then on, only the ack tells.
        acked: the ack came.
        error: why no ack will come.
        given_up: it was this side that closed the connection.
        written: pieces of it that were written, which tells whether it moves.
        on_settled: called once it was acknowledged or never will be.
    """

    parts: Sequence[Buffer]
    chunk: bytes
    maybe_received: bool = False
    acked: bool = False
    error: LogflowError | None = None
    given_up: bool = False
    on_settled: Callable[[PendingFrame], None] | None = None
    _waiter: asyncio.Future[None] | None = field(default=None, repr=False)
    _connection: Connection | None = field(default=None, repr=False)
    _released: str | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """Bytes of the frame."""
        return sum(memoryview(part).nbytes for part in self.parts)

    @property
    def in_flight(self) -> bool:
        """Whether an ack may still come."""
        return self._connection is not None and not self.acked and self.error is None

    async def answered(self) -> None:
        """Wait for the ack.

        Raises:
            LogflowError: it will not come; :class:`Unanswered` after :meth:`release`.
        """
        if self.error is not None:
            raise self.error
        if not self.acked and self._released is not None:
            raise Unanswered(self._released)
        if not self.acked:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def release(self, reason: str) -> None:
        """Have whoever waits for the ack wait no longer; the request stays in flight."""
        self._released = reason
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Unanswered(reason))

    def give_up(self, reason: str) -> None:
        """Close the connection that it is in flight on: no ack can come any more."""
        if self._connection is not None:
            self.given_up = True
            self._connection.fail(DeliveryError(reason))

    def begin(self, connection: Connection) -> None:
        """It is about to be sent, for the first time or once more."""
        self._connection = connection
        self.maybe_received, self.error, self._released = False, None, None

    def settle(self, error: LogflowError | None = None) -> None:
        """It was acknowledged, or never will be."""
        if self.acked or self.error is not None:
            return
        self.acked, self.error = error is None, error
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
        if self.on_settled is not None:
            self.on_settled(self)


@dataclass(frozen=True)
class ClientOptions:
    """How to connect.

    Attributes:
        tls: encrypt with this context; ``None`` for plain TCP.
        server_name: the name in the server's certificate, if it is not the host.
        secrets: for the handshake; ``None`` if the server asks for none.
        connect_timeout_s: longest time for connecting, TLS and the handshake together.
    """

    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    secrets: ClientSecrets | None = None
    connect_timeout_s: float = 10.0


class Connection(asyncio.Protocol):
    """A connection to a server; made by :func:`connect`.

    Attributes:
        lost: the server closed it, and nothing else went wrong before.
        acks: how many came.
        written: pieces of frames that the system took.
        spoilt: the server said something odd: what is in flight may finish, nothing new is sent.
        idle_since_s, expires_s: for whoever keeps it; not touched here.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._handshake = ClientHandshake(options.secrets) if options.secrets else None
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._shaken: asyncio.Future[None] | None = None
        self._error: LogflowError | None = None
        self._in_flight: dict[object, PendingFrame] = {}
        """By the id as it stands in the ack."""
        self._acked: deque[object] = deque(maxlen=_REMEMBERED_ACKS)
        self._received = b""
        self._all_acknowledged = True
        self.lost = False
        self.acks = 0
        self.written = 0
        self.spoilt = False
        self.idle_since_s = 0.0
        self.expires_s = math.inf

    # -- called by the transport ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the transport say when everything was handed to the system."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=1)  # with 0, TLS transports pause for good
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take a part of the handshake, or acks."""
        try:
            if self._handshake is not None and not self._handshake.done:
                self._send_answer(self._handshake.receive(data))
            else:
                self._receive_acks(data)
        except LogflowError as error:
            self.fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._transport = None
        self.lost = self._error is None
        when = " during the handshake; it may have another shared_key" if self._shaking_hands else ""
        self.fail(DeliveryError(f"the server closed the connection{when}{f': {exc}' if exc else ''}"))
        self._writable.set()

    def pause_writing(self) -> None:
        """The system takes no more for now."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The system has taken everything."""
        self._writable.set()

    # -- called by the owner ----------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used."""
        return self._error is not None or self._transport is None or self._transport.is_closing()

    @property
    def quiet(self) -> bool:
        """Whether nothing is in flight."""
        return not self._in_flight

    async def shake_hands(self) -> None:
        """Wait until the handshake is over, if there is one.

        Raises:
            DeliveryError: the server refused, or closed the connection.
            MalformedData: the server does not speak the handshake.
        """
        if self._shaking_hands:
            if self._error is not None:
                raise self._error
            self._shaken = asyncio.get_running_loop().create_future()
            await self._shaken

    async def send(self, requests: Sequence[PendingFrame]) -> None:
        """Write frames, one after the other, and return when all were handed to the system.

        Those that ask for no ack are settled then; the others are in flight.

        Raises:
            DeliveryError: the connection broke; it is closed, and every request says what it knows.
        """
        for request in requests:
            request.begin(self)
            if request.chunk:
                self._in_flight[msgpack.unpackb(request.chunk, raw=True)] = request
        self._all_acknowledged &= all(request.chunk for request in requests)
        try:
            self._check()
            await self._write_all(requests)
        except BaseException as error:
            self.fail(error if isinstance(error, LogflowError) else DeliveryError("sending was cancelled"))
            for request in requests:
                request.settle(self._error)
            raise
        for request in requests:
            if not request.chunk:
                request.settle()

    def fail(self, error: LogflowError) -> None:
        """Close at once; no request that is in flight will be acknowledged."""
        if self._error is None:
            self._error = error
        if self._shaken is not None and not self._shaken.done():
            self._shaken.set_exception(self._error)
            self._shaken.exception()  # it may be that nobody has begun to wait
        in_flight, self._in_flight = self._in_flight, {}
        for request in in_flight.values():
            request.settle(self._error)
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close after what was written has been sent; at once where acks have proved that it was."""
        if self._all_acknowledged:
            self.abort()
        elif self._transport is not None:
            self._transport.close()

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _shaking_hands(self) -> bool:
        return self._handshake is not None and not self._handshake.done

    async def _write_all(self, requests: Sequence[PendingFrame]) -> None:
        if len(requests) == 1 or any(request.size > PIECE_BYTES for request in requests):
            for request in requests:
                await self._write_one(request)
            return
        # Small frames go out together.
        waiting: list[PendingFrame] = []
        size = 0
        for request in requests:
            if size + request.size > PIECE_BYTES:
                await self._write_together(waiting)
                waiting, size = [], 0
            waiting.append(request)
            size += request.size
        await self._write_together(waiting)

    async def _write_together(self, requests: Sequence[PendingFrame]) -> None:
        for request in requests:
            request.maybe_received = True
        await self._write(b"".join(part for request in requests for part in request.parts))

    async def _write_one(self, request: PendingFrame) -> None:
        ahead: Buffer = b""
        for piece in pieces(request.parts):
            if ahead:
                await self._write(ahead)
            ahead = piece
        request.maybe_received = True
        await self._write(ahead)

    def _check(self) -> asyncio.Transport:
        """Return the transport of a connection that works."""
        if self._error is not None:
            raise self._error
        if self._transport is None:
            raise DeliveryError("the connection is closed")
        return self._transport

    async def _write(self, piece: Buffer) -> None:
        self._check().write(memoryview(piece))
        if not self._writable.is_set():
            await self._writable.wait()
        if self._error is not None:
            raise self._error
        self.written += 1

    def _send_answer(self, answer: bytes) -> None:
        assert self._handshake is not None
        if answer and self._transport is not None:
            self._transport.write(answer)
        if self._handshake.done and self._shaken is not None and not self._shaken.done():
            self._shaken.set_result(None)

    def _receive_acks(self, data: bytes) -> None:
        """Find acks in what came; what is behind the last whole one waits for its rest."""
        if not self._in_flight:
            self.spoilt = True  # a second ack, or a stray byte: it would stand before the next ack
            return
        self._received += data
        try:
            self._read_values()
        except (ValueError, msgpack.UnpackException, MalformedData) as error:
            self.spoilt = True
            self._search_acks()
            # Where acks came before, something odd stands between them; else this is no server of ours.
            if self._in_flight and (not self.acks or len(self._received) > _MAX_ANSWER_BYTES):
                raise _as_malformed(error) from error
        if not self._in_flight and self._received:
            self.spoilt = True

    def _read_values(self) -> None:
        unpacker = _unpacker(self._received)
        done = 0
        for value in unpacker:
            self._take_answer(value)
            done = unpacker.tell()
        self._received = self._received[done:]
        if self._received:  # most likely an ack that is not whole yet; or a head that swallows what follows
            self._search_acks()

    def _take_answer(self, value: object) -> None:
        match value:
            case {b"ack": chunk} if self._acknowledge(chunk) or chunk in self._acked:
                return
            case {b"ack": _}:
                raise MalformedData("the server acknowledged another chunk than the one that was sent")
            case [b"HELO", *_]:
                raise DeliveryError("the server asks for a handshake; set shared_key")
            case _:
                raise MalformedData("the server's answer is not an ack")

    def _search_acks(self) -> None:
        """Look for acks wherever a map of one pair may begin."""
        start = self._received.find(_MAP_OF_ONE)
        while start >= 0:
            with suppress(ValueError, msgpack.UnpackException):
                match _unpacker(self._received[start:]).unpack():
                    case {b"ack": chunk}:
                        self._acknowledge(chunk)
            start = self._received.find(_MAP_OF_ONE, start + 1)

    def _acknowledge(self, chunk: object) -> bool:
        """Settle the request with this id, if it is in flight."""
        request = self._in_flight.pop(chunk, None) if isinstance(chunk, Hashable) else None
        if request is not None:
            self.acks += 1
            self._acked.append(chunk)
            request.settle()
        return request is not None


def _unpacker(data: bytes) -> Any:
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=2 * _MAX_ANSWER_BYTES)
    unpacker.feed(data)
    return unpacker


def _as_malformed(error: Exception) -> MalformedData:
    return (
        error
        if isinstance(error, MalformedData)
        else MalformedData(f"the server's answer is damaged: {what_happened(error)}")
    )


async def connect(endpoint: ServerEndpoint, options: ClientOptions) -> Connection:
    """Open a connection that is ready for requests.

    Raises:
        DeliveryError: the server cannot be reached or refused; the text says why.
        MalformedData: the server does not speak the handshake.
    """
    connection: Connection | None = None
    try:
        async with asyncio.timeout(options.connect_timeout_s):
            connection = await endpoint.connect(lambda: Connection(options), options.tls, options.server_name)
            await connection.shake_hands()
    except BaseException as error:
        if connection is not None:
            connection.abort()
        match error:
            case TimeoutError():
                raise DeliveryError(f"connecting took longer than {options.connect_timeout_s:g} s") from None
            case ssl.SSLError():
                raise DeliveryError(f"TLS failed: {_tls_reason(error)}") from error
            case OSError():
                raise DeliveryError(f"cannot connect: {_reason(error)}") from error
        raise
    return connection


def _reason(error: OSError) -> str:
    # asyncio puts the address into the text, and several addresses into one text.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return error.reason or str(error)


def pieces(parts: Iterable[Buffer]) -> Iterator[Buffer]:
    """Cut large parts, without copying, and join small ones, so that writes are of a good size."""
    small: list[Buffer] = []
    size = 0
    for part in parts:
        view = memoryview(part)
        if not view.nbytes:
            continue
        if size + len(view) <= PIECE_BYTES:
            small.append(view)
            size += len(view)
            continue
        if small:
            yield b"".join(small)
        small, size = [], 0
        whole = len(view) - len(view) % PIECE_BYTES
        for start in range(0, whole, PIECE_BYTES):
            yield view[start : start + PIECE_BYTES]
        if whole < len(view):
            small, size = [view[whole:]], len(view) - whole
    if small:
        yield b"".join(small)
