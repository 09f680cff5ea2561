"""The client's end: calls to the endpoints of an output, over one connection to each."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from multidict import CIMultiDict
from yarl import URL

from logflow.net.grpc.http2 import Headers, Http2, decode
from logflow.net.grpc.wire import (
    AS_HTTP,
    CONTENT_TYPE,
    PREFIX_BYTES,
    Code,
    prefix,
    read_retry_s,
    read_status,
    status_of_page,
    timeout_text,
)
from logflow.net.http_client.config import HttpClientConfig
from logflow.net.http_client.exchange import Answer, NoAnswerError, NotSentError, Post

_NOT_OF_CALLS = {"content-type", "content-length", "content-encoding", "user-agent"}
"""Headers of HTTP that a call has in another form."""
_TOO_LARGE = ("larger than max", "exceeds maximum size", "a body may have", "when decompressed")
"""What servers say of messages that are too large: of grpc-go and grpc-core, of grpc-java, and of our own."""


class GrpcTransport:
    """Connections to the endpoints of a configuration, each made when it is needed.

    Args:
        config: endpoints, TLS, timeouts.
        answer_bytes: how much of an answer is kept.
    """

    def __init__(self, config: HttpClientConfig, answer_bytes: int) -> None:
        self._config = config
        self._answer_bytes = answer_bytes
        self._tls: ssl.SSLContext | None = None
        self._connections: dict[tuple[str, int], _Connection] = {}
        self._turns: dict[tuple[str, int], asyncio.Lock] = {}

    async def open(self) -> None:
        """Load certificates."""
        if self._tls is None and any(url.startswith("https:") for url in self._config.endpoints):
            self._tls = await asyncio.to_thread(self._config.tls.context, ["h2"])

    async def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.hang_up(ErrorCodes.NO_ERROR)
        self._connections.clear()

    async def ask(self, target: URL, post: Post, headers: CIMultiDict[str], shown: str) -> Answer:
        """Call a method; its status is told as that of HTTP which means the same."""
        try:
            async with asyncio.timeout(self._config.timeout):
                connection = await self._connection(target)
                result = await connection.call(self._head(target, headers), self._message(post))
        except TimeoutError as error:
            raise NoAnswerError from error
        return _answer(result, shown)

    async def _connection(self, target: URL) -> _Connection:
        """The connection to an endpoint; a new one where there is none, or none that takes calls."""
        key = target.host or "", target.port or 0
        async with self._turns.setdefault(key, asyncio.Lock()):
            known = self._connections.get(key)
            if known is not None and known.takes_calls:
                return known
            self._connections[key] = made = await self._connect(target, key)
            return made

    async def _connect(self, target: URL, address: tuple[str, int]) -> _Connection:
        secure = target.scheme == "https"
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(self._answer_bytes), *address,
                    ssl=self._tls if secure else None,
                    server_hostname=(self._config.tls.server_name or address[0]) if secure else None,
                    happy_eyeballs_delay=0.25,
                )  # fmt: skip
        except (OSError, TimeoutError) as error:
            raise NotSentError from error
        return connection

    def _head(self, target: URL, headers: CIMultiDict[str]) -> Headers:
        head = [
            (":method", "POST"), (":scheme", target.scheme), (":path", target.raw_path),
            (":authority", target.authority), ("te", "trailers"), ("content-type", CONTENT_TYPE),
            ("user-agent", headers.get("User-Agent", "logflow")),
            ("grpc-timeout", timeout_text(self._config.timeout)),
        ]  # fmt: skip
        if self._config.compress != "none":
            head.append(("grpc-encoding", self._config.compress))
        more = ((name.lower(), value.strip()) for name, value in headers.items())
        return head + [(name, value) for name, value in more if name not in _NOT_OF_CALLS]

    def _message(self, post: Post) -> list[bytes]:
        compressed = self._config.compress != "none"
        return [prefix(sum(map(len, post.body)), compressed=compressed), *post.body]


@dataclass(slots=True)
class _Result:
    """What a call has brought so far."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self, error: Exception | None = None) -> None:
        """It is over; an answer that is there counts whatever comes behind it."""
        if not self.done.done():
            if error is None or "grpc-status" in self.headers:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)


class _Connection(Http2):
    def __init__(self, answer_bytes: int) -> None:
        super().__init__(client=True)
        self._answer_bytes = answer_bytes
        self._calls: dict[int, _Result] = {}
        self._leaving = False

    @property
    def takes_calls(self) -> bool:
        """Whether new calls may be made on it."""
        return not self._leaving and self.transport is not None and not self.transport.is_closing()

    async def call(self, head: Headers, message: list[bytes]) -> _Result:
        """Make a call and wait for its end."""
        while self.h2.open_outbound_streams >= self.h2.remote_settings.max_concurrent_streams:
            await self.wait()
            if not self.takes_calls:
                raise NotSentError from ConnectionResetError("the connection is being closed")
        stream_id, result = self._begin(head)
        sending = asyncio.create_task(self._send(stream_id, message))
        try:
            await result.done
        except BaseException:
            self._take_back(stream_id)
            raise
        finally:
            sending.cancel()
            del self._calls[stream_id]
            self.moved()
            if self._leaving and not self._calls:
                self.hang_up()
        return result

    def _begin(self, head: Headers) -> tuple[int, _Result]:
        if not self.takes_calls:
            raise NotSentError from ConnectionResetError("the connection was closed")
        try:
            stream_id = self.h2.get_next_available_stream_id()
            self.h2.send_headers(stream_id, head)
        except ProtocolError as error:
            self._leaving = True  # it has had all the calls that a connection may have
            raise NotSentError from error
        result = self._calls[stream_id] = _Result()
        return stream_id, result

    async def _send(self, stream_id: int, message: list[bytes]) -> None:
        try:
            await self.send(stream_id, message)
            self.h2.end_stream(stream_id)
            self.flush()
        except (ProtocolError, ConnectionError):
            pass  # how the call ended is told by what came

    def _take_back(self, stream_id: int) -> None:
        """Nobody waits for an answer any more; a connection that is silent for so long is given up."""
        try:
            self.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
            self.flush()
        except ProtocolError:
            pass
        self._leaving = True

    def handle(self, event: Event) -> None:
        match event:
            case ResponseReceived() | TrailersReceived() if event.stream_id in self._calls:
                self._calls[event.stream_id].headers |= decode(event.headers)
            case DataReceived():
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                result = self._calls.get(event.stream_id)
                if result is not None and len(result.body) < self._answer_bytes:
                    result.body += event.data
            case StreamEnded() if event.stream_id in self._calls:
                self._calls[event.stream_id].end()
            case StreamReset() if event.stream_id in self._calls:
                self._calls[event.stream_id].end(_reset(event))
            case ConnectionTerminated():
                self._leave(event)

    def _leave(self, event: ConnectionTerminated) -> None:
        """The server takes no more calls; those above the last one that it names it has not looked at."""
        self._leaving = True
        last = event.last_stream_id if event.last_stream_id is not None else math.inf
        for stream_id, result in list(self._calls.items()):
            if stream_id > last:
                result.end(_caused(NotSentError(), "the server is closing the connection"))
        self.moved()
        if not self._calls:
            self.hang_up()

    def broken(self, error: ProtocolError) -> None:
        self._end_all(_caused(NoAnswerError(), f"it does not speak HTTP/2: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end_all(_caused(NoAnswerError(), str(exc or "the connection was closed")))

    def _end_all(self, error: Exception) -> None:
        for result in list(self._calls.values()):
            result.end(error)


def _reset(event: StreamReset) -> Exception:
    if event.error_code == ErrorCodes.REFUSED_STREAM:
        return _caused(NotSentError(), "it refused the call")
    return _caused(NoAnswerError(), f"it broke the call off with HTTP/2's error {event.error_code}")


def _caused(error: Exception, why: str) -> Exception:
    error.__cause__ = ConnectionError(why)
    return error


def _answer(result: _Result, shown: str) -> Answer:
    ended = read_status(result.headers)
    if ended is None:
        http = result.headers.get(":status", "")
        status = status_of_page(int(http)) if http.isdecimal() else 500
        return Answer(status, f"without a status of gRPC (HTTP {http})", result.headers, b"", shown)
    status, message = ended
    meaning = AS_HTTP.get(status, 400)
    headers = _paused(result.headers)
    if status is Code.RESOURCE_EXHAUSTED and not headers and any(word in message for word in _TOO_LARGE):
        meaning = 413
    reason = "OK" if status is Code.OK else f"({status.name}) {message}"
    return Answer(meaning, reason, headers, bytes(result.body[PREFIX_BYTES:]), shown)


def _paused(headers: Mapping[str, str]) -> dict[str, str]:
    """The pause that a server asks for, as HTTP has it."""
    delay_s = read_retry_s(headers)
    return {} if delay_s is None else {"Retry-After": str(math.ceil(delay_s))}
