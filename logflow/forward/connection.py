"""The client's side of one connection: handshake, requests, acks.

::

    connect ──► (handshake) ──► idle ◄────────────── ack matches ──────────────┐
                                  │                                            │
                                  └─ send ──► sending ──► all written ──► waiting for the ack
                                                 │                             │
                                                 └── lost, timeout, wrong ack ─┴──► closed

One request is under way at a time; a server's several connections carry several. A connection that
saw any error is closed and never used again.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgpack
from typing_extensions import Buffer

from logflow.errors import DeliveryError, LogflowError, MalformedData
from logflow.forward.endpoint import Endpoint
from logflow.forward.handshake import ClientHandshake, ClientSecrets

PIECE_BYTES = 256 * 1024
"""What is handed to the socket at once; at most this much is copied when the socket is full."""
_MAX_ANSWER_BYTES = 16 * 1024


@dataclass
class Request:
    """One frame to send.

    Attributes:
        parts: the frame's bytes, in order.
        chunk: the packed id that the ack must hold; ``b""`` when none is asked for.
        maybe_received: the server may have the whole frame. Set before the last piece is written; from
            then on, only the ack tells.
        unanswered: the server neither answered in time nor closed the connection.
    """

    parts: list[Buffer]
    chunk: bytes
    maybe_received: bool = False
    unanswered: bool = False


@dataclass(frozen=True)
class ClientOptions:
    """How to connect.

    Attributes:
        tls: encrypt with this context; ``None`` for plain TCP.
        server_name: the name in the server's certificate, when it is not the host.
        secrets: for the handshake; ``None`` when the server asks for none.
        connect_timeout_s: longest time for connecting, TLS and the handshake together.
        ack_timeout_s: longest wait for an ack.
    """

    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    secrets: ClientSecrets | None = None
    connect_timeout_s: float = 10.0
    ack_timeout_s: float = 60.0


class Connection(asyncio.Protocol):
    """A connection to a server; made by :func:`connect`.

    Attributes:
        lost: the server closed it, and nothing else went wrong before.
        idle_since_s: for whoever keeps it; not touched here.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._handshake = ClientHandshake(options.secrets) if options.secrets else None
        self._transport: asyncio.Transport | None = None
        self._unpacker = _unpacker()
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiter: asyncio.Future[Any] | None = None
        self._error: LogflowError | None = None
        self._all_acknowledged = True
        self.lost = False
        self.idle_since_s = 0.0

    # -- called by the transport ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the transport say when everything was handed to the system."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=1)  # with 0, TLS transports pause for good
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take a part of the handshake, or of an ack."""
        try:
            if self._handshake is not None and not self._handshake.done:
                self._send_answer(self._handshake.receive(data))
            else:
                self._receive_answer(data)
        except LogflowError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._transport = None
        self.lost = self._error is None
        when = " during the handshake; it may have another shared_key" if self._shaking_hands else ""
        self._fail(DeliveryError(f"the server closed the connection{when}{f': {exc}' if exc else ''}"))
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

    async def shake_hands(self) -> None:
        """Wait until the handshake is over, if there is one.

        Raises:
            DeliveryError: the server refused, or closed the connection.
            MalformedData: the server does not speak the handshake.
        """
        if self._shaking_hands:
            await self._expect_answer()

    async def deliver(self, request: Request) -> None:
        """Send a frame; returns when its ack came, or when it was written where none is asked for.

        Raises:
            DeliveryError: it was not delivered, or no ack came; the connection is closed.
            MalformedData: the server's answer makes no sense; the connection is closed.
        """
        self._all_acknowledged = bool(request.chunk)
        try:
            if request.chunk:
                self._expect_answer()
            await self._send(request)
            if request.chunk:
                await self._receive_ack(request.chunk)
        except TimeoutError:
            request.unanswered = True
            self.abort()
            raise DeliveryError(
                f"no ack came within {self._options.ack_timeout_s:g} s of sending the chunk"
            ) from None
        except BaseException:
            self.abort()
            raise

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

    async def _send(self, request: Request) -> None:
        ahead = None
        for piece in pieces(request.parts):
            if ahead is not None:
                await self._write(ahead)
            ahead = piece
        if ahead is not None:
            request.maybe_received = True
            await self._write(ahead)

    async def _write(self, piece: Buffer) -> None:
        if self._error is not None:
            raise self._error
        if self._transport is None:
            raise DeliveryError("the connection is closed")
        self._transport.write(memoryview(piece))
        if not self._writable.is_set():
            await self._writable.wait()
        if self._error is not None:
            raise self._error

    async def _receive_ack(self, chunk: bytes) -> None:
        assert self._waiter is not None
        async with asyncio.timeout(self._options.ack_timeout_s):
            answer = await self._waiter
        self._waiter = None
        if answer != msgpack.unpackb(chunk, raw=True):
            raise MalformedData("the server acknowledged another chunk than the one that was sent")

    def _expect_answer(self) -> asyncio.Future[Any]:
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def _send_answer(self, answer: bytes) -> None:
        assert self._handshake is not None
        if answer and self._transport is not None:
            self._transport.write(answer)
        if self._handshake.done:
            self._resolve(None)

    def _receive_answer(self, data: bytes) -> None:
        try:
            self._unpacker.feed(data)
            answer = next(self._unpacker, None)
        except (ValueError, msgpack.UnpackException) as error:
            raise MalformedData(f"the server's answer is damaged: {error}") from error
        match answer:
            case None:
                return
            case {b"ack": chunk}:
                self._resolve(chunk)
            case [b"HELO", *_]:
                raise DeliveryError("the server asks for a handshake; set shared_key")
            case _:
                raise MalformedData("the server's answer is no ack")

    def _resolve(self, answer: object) -> None:
        if self._waiter is None:
            raise MalformedData("the server acknowledged what it was not sent")
        if not self._waiter.done():
            self._waiter.set_result(answer)

    def _fail(self, error: LogflowError) -> None:
        if self._error is None:
            self._error = error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._error)
            self._waiter.exception()  # it may be that nobody has begun to wait
        self.abort()


async def connect(endpoint: Endpoint, options: ClientOptions) -> Connection:
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


def _unpacker() -> Any:
    return msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=_MAX_ANSWER_BYTES)
