"""The server's end: calls with one message each way, answered by whoever handles them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError

from logflow.component import Counter
from logflow.errors import MalformedData
from logflow.net.grpc.http2 import Headers, Http2, decode
from logflow.net.grpc.wire import (
    CONTENT_TYPE,
    PREFIX_BYTES,
    Code,
    message_text,
    prefix,
    read_prefix,
    read_timeout,
    retry_details,
)

_CALLS = 100
"""Calls at once on a connection."""
_SHOWN = 100
"""Characters of a path that messages show."""
_MOST_RESETS = 200
"""Calls that a client may take back, more than it lets end: each costs us much and the client little."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How a call is answered.

    Attributes:
        status: how it ended.
        message: what is wrong, if something is.
        body: the answer, if nothing is.
        retry_s: after how long to call again, if it may work then.
    """

    status: Code = Code.OK
    message: str = ""
    body: bytes = b""
    retry_s: float | None = None


@dataclass(slots=True)
class Call:
    """A call; its message comes in pieces.

    Attributes:
        path: ``/package.Service/Method``.
        headers: names in lower case.
        peer: who calls: an address without its port.
        encoding: how the message is compressed, once its first bytes are there.
        size: bytes of the message as sent, once they are known.
    """

    path: str
    headers: Mapping[str, str]
    peer: str
    taken: Callable[[int], None]
    encoding: str = "identity"
    size: int | None = None
    ended: bool = False
    _data: deque[tuple[bytes, int]] = field(default_factory=deque)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def named(self) -> str:
        """What messages call it."""
        return f"the call {self.path[:_SHOWN]!a}"

    def feed(self, data: bytes, size: int) -> None:
        """Data came, which takes so many bytes of the window."""
        self._data.append((data, size))
        self._news.set()

    def end(self) -> None:
        """All of it came."""
        self.ended = True
        self._news.set()

    def drop(self) -> None:
        """Nobody reads on."""
        for _, size in self._data:
            self.taken(size)
        self._data.clear()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the message as it comes.

        Raises:
            MalformedData: it is not one message.
        """
        head, got = bytearray(), 0
        async for data in self._pieces():
            piece = data
            if self.size is None:
                head += piece
                if len(head) < PREFIX_BYTES:
                    continue
                piece = self._begin(bytes(head))
            assert self.size is not None
            got += len(piece)
            if got > self.size:
                raise MalformedData("more than one message came")
            yield piece
        if got != self.size:
            raise MalformedData("the message ends too early")

    def _begin(self, head: bytes) -> bytes:
        compressed, self.size = read_prefix(head)
        if compressed:
            self.encoding = self.headers.get("grpc-encoding", "identity").strip().lower()
        return head[PREFIX_BYTES:]

    async def _pieces(self) -> AsyncIterator[bytes]:
        while True:
            while self._data:
                data, size = self._data.popleft()
                yield data
                self.taken(size)
            if self.ended:
                return
            self._news.clear()
            await self._news.wait()


class GrpcServer:
    """Makes the protocol of each connection, and ends them.

    Attributes:
        connections: those that are open.
    """

    def __init__(
        self,
        handle: Callable[[Call], Awaitable[Reply]],
        *,
        idle_s: float,
        malformed: Counter,
        fault: Callable[[Exception, str, str], None],
    ) -> None:
        """Serve.

        Args:
            handle: answers a call.
            idle_s: longest time that a connection stays open without a call.
            malformed: counts connections that were not of gRPC.
            fault: told of a call that failed through an error of ours, what it was and whose.
        """
        self.connections: set[_Connection] = set()
        self.handle = handle
        self.idle_s = idle_s
        self.malformed = malformed
        self.fault = fault

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol of a connection."""
        return _Connection(self)

    def pre_shutdown(self) -> None:
        """Take no more calls; connections without any end."""
        for connection in list(self.connections):
            connection.stop()

    async def shutdown(self, timeout: float | None = None) -> None:
        """End: what is being answered may go on for a while."""
        self.pre_shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                for connection in list(self.connections):
                    await connection.lost.wait()
        for connection in list(self.connections):
            connection.abort()


class _Connection(Http2):
    def __init__(self, server: GrpcServer) -> None:
        super().__init__(client=False, streams=_CALLS)
        self.lost = asyncio.Event()
        self._server = server
        self._calls: dict[int, tuple[Call, asyncio.Task[None]]] = {}
        self._peer = "unix"
        self._idle: asyncio.TimerHandle | None = None
        self._stopping = False
        self._resets = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server.connections.add(self)
        if isinstance(peer := transport.get_extra_info("peername"), tuple):
            self._peer = str(peer[0])
        super().connection_made(transport)
        self._wait_for_calls()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()
        self._server.connections.discard(self)
        if self._idle is not None:
            self._idle.cancel()
        for _, task in self._calls.values():
            task.cancel()

    def broken(self, error: ProtocolError) -> None:  # noqa: ARG002 - whatever it is, it counts
        self._server.malformed()

    def stop(self) -> None:
        """Take no more calls, and close once those under way are answered."""
        if not self._stopping:
            self._stopping = True
            if self._calls:
                self.h2.close_connection(last_stream_id=self.h2.highest_inbound_stream_id)
                self.flush()
        if not self._calls:
            self.hang_up(ErrorCodes.NO_ERROR)

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()

    def handle(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._begin(event.stream_id, decode(event.headers))
            case DataReceived():
                known = self._calls.get(event.stream_id)
                if known is None or known[0].ended:
                    self._taken(event.stream_id, event.flow_controlled_length)
                else:
                    known[0].feed(event.data, event.flow_controlled_length)
            case StreamEnded() if event.stream_id in self._calls:
                self._calls[event.stream_id][0].end()
            case StreamReset() if event.stream_id in self._calls:
                self._calls[event.stream_id][1].cancel()
                self._resets += 1
                if self._resets > _MOST_RESETS:
                    self._server.malformed()
                    self.hang_up(ErrorCodes.ENHANCE_YOUR_CALM)
            case ConnectionTerminated():
                self.stop()

    def _begin(self, stream_id: int, headers: dict[str, str]) -> None:
        if self._stopping:
            self.h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        if self._idle is not None:
            self._idle.cancel()
        call = Call(headers.get(":path", ""), headers, self._peer, partial(self._taken, stream_id))
        self._calls[stream_id] = call, asyncio.create_task(self._answer(stream_id, call))

    def _taken(self, stream_id: int, size: int) -> None:
        """Let the peer send so much more."""
        if size and self.transport is not None and not self.transport.is_closing():
            self.h2.acknowledge_received_data(size, stream_id)
            self.flush()

    async def _answer(self, stream_id: int, call: Call) -> None:
        try:
            if not call.headers.get("content-type", "").startswith(CONTENT_TYPE):
                self._send(stream_id, [(":status", "415")])
                return
            try:
                async with asyncio.timeout(read_timeout(call.headers.get("grpc-timeout", ""))):
                    reply = await self._server.handle(call)
            except TimeoutError:
                reply = Reply(Code.DEADLINE_EXCEEDED, "it took longer than the client gave it")
            except Exception as error:
                self._server.fault(error, call.named, call.peer)
                reply = Reply(Code.INTERNAL, "an error of the server; see its log")
            self._resets = max(0, self._resets - 1)
            self._reply(stream_id, reply)
            if not call.ended:
                self.h2.reset_stream(stream_id, ErrorCodes.NO_ERROR)
        except ProtocolError:
            pass  # the client has taken the call back
        finally:
            self._end(stream_id)

    def _reply(self, stream_id: int, reply: Reply) -> None:
        head = [(":status", "200"), ("content-type", CONTENT_TYPE)]
        end = [("grpc-status", str(int(reply.status)))]
        if reply.status is Code.OK:
            self._send(stream_id, head, prefix(len(reply.body), compressed=False) + reply.body, end)
            return
        end.append(("grpc-message", message_text(reply.message)))
        if reply.retry_s is not None:
            details = retry_details(reply.status, reply.message, reply.retry_s)
            end.append(("grpc-status-details-bin", details))
        self._send(stream_id, head + end)

    def _send(self, stream_id: int, head: Headers, body: bytes = b"", end: Headers | None = None) -> None:
        """Send an answer; one with a body is so small that it fits into any window."""
        if self.transport is None or self.transport.is_closing():
            return
        self.h2.send_headers(stream_id, head, end_stream=end is None)
        if end is not None:
            self.h2.send_data(stream_id, body)
            self.h2.send_headers(stream_id, end, end_stream=True)

    def _end(self, stream_id: int) -> None:
        """A call is over."""
        call, _ = self._calls.pop(stream_id)
        call.drop()
        self.flush()
        if not self._calls:
            if self._stopping:
                self.stop()
            else:
                self._wait_for_calls()

    def _wait_for_calls(self) -> None:
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._server.idle_s, self.stop)
