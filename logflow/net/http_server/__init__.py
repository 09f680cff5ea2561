"""Sources that take events over HTTP: listening, limits and answers, done once.

A source is a configuration on :class:`HttpIntakeConfig`, and a :class:`RequestHandler` that knows its
protocol.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Sequence, Sized
from typing import Protocol

from aiohttp import web
from pydantic import Field, model_validator

from logflow.component import Context, Counter, Emit, Source
from logflow.config.auth import HttpAuth
from logflow.config.fields import Address, Duration, Size, parse_size
from logflow.memory import Share
from logflow.net.complaints import Complaints
from logflow.net.http_server.events import Events
from logflow.net.http_server.handler import RequestHandler
from logflow.net.http_server.intake import Incoming, Intake, Limits, Refused
from logflow.net.listen import ListenerConfig, Listeners, is_handing_over
from logflow.net.tags import DEFAULT_MAX_TAGS, MaxTags, Tags

__all__ = [
    "Events", "HttpIntake", "HttpIntakeConfig", "Incoming", "Intake", "Limits", "Refused", "RequestHandler",
    "Serving",
]  # fmt: skip

_HEADER_BYTES, _HEADERS = 8 << 10, 64
_LINGER_S = 2.0
_STOP_GRACE_S = 1.0


class HttpIntakeConfig(ListenerConfig):
    """What every source over HTTP may be given."""

    listen: Address = Field(("127.0.0.1", 9880), description="Address to listen on.")
    auth: HttpAuth | None = Field(None, description="Credentials that clients must give.")
    max_body: Size = Field(
        parse_size("8MiB"), ge=256, description="Largest body, as sent and when decompressed."
    )
    max_in_flight: Size = Field(
        parse_size("64MiB"), ge=256,
        description="Most bytes that bodies and what becomes of them take at once. A share of the process's "
        "`memory_limit`.",
    )  # fmt: skip
    max_tags: MaxTags = DEFAULT_MAX_TAGS
    read_timeout: Duration = Field(30.0, gt=0, description="Longest time for a body to come.")
    idle_timeout: Duration = Field(
        75.0, gt=0, description="Longest wait for the head of a request on a connection."
    )
    safe_timeout: Duration = Field(
        60.0, gt=0, description="Longest wait until events are safe; then the answer is 503."
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> HttpIntakeConfig:
        if self.max_in_flight < self.max_body:
            raise ValueError("max_in_flight must be at least max_body")
        return self

    @property
    def limits(self) -> Limits:
        """What requests may use."""
        return Limits(self.max_body, self.read_timeout, self.safe_timeout)


class Serving(Protocol):
    """Makes the protocol of each connection, and ends them."""

    @property
    def connections(self) -> Sized:
        """Those that are open."""

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol of a connection."""

    def pre_shutdown(self) -> None:
        """Take no more requests; idle connections end."""

    async def shutdown(self, timeout: float | None = None) -> None:
        """End; what is being answered may go on for so long."""


class HttpIntake(Source):
    """Listens for HTTP.

    Attributes:
        alpn: protocols to agree on with clients over TLS.
    """

    acknowledges = True
    alpn: Sequence[str] = ()

    config: HttpIntakeConfig

    def __init__(self, config: HttpIntakeConfig, context: Context) -> None:
        super().__init__(config, context)
        self._complaints = Complaints(context)
        self._handler = self.handler(self._complaints, Tags(config.max_tags, context))
        self._share: Share | None = None
        self._listeners: Listeners | None = None
        self._server: Serving | None = None
        self.malformed = context.counter("requests_malformed", "Requests that were not HTTP.")
        self._refused = context.counter("connections_refused", "Connections beyond max_connections.")

    @abstractmethod
    def handler(self, complain: Complaints, tags: Tags) -> Intake:
        """Make what answers the requests; called once, at construction."""

    def server(self, handler: Intake) -> Serving:
        """Make what speaks the protocol: HTTP/1.1 unless overridden."""
        assert isinstance(handler, RequestHandler)
        return web.Server(
            handler, access_log=None, logger=_protocol_log(self.malformed), auto_decompress=False,
            keepalive_timeout=self.config.idle_timeout, lingering_time=_LINGER_S,
            max_line_size=_HEADER_BYTES, max_field_size=_HEADER_BYTES, max_headers=_HEADERS,
        )  # fmt: skip

    @property
    def port(self) -> int:
        """The port in use, once opened: tells which one was chosen for port 0."""
        assert self._listeners is not None
        return self._listeners.port

    async def open(self) -> None:
        """Listen; until :meth:`run` the answer is 503.

        Raises:
            ComponentError: the address is taken, or a certificate cannot be used.
        """
        listeners = Listeners(self.context, self.config.listen, self.config, self._complaints, alpn=self.alpn)
        self._server = self.server(self._handler)
        await listeners.open()
        self._listeners = listeners
        if not is_handing_over():  # else whom we replace goes on answering until we can
            await listeners.serve(self._connection)

    async def run(self, emit: Emit) -> None:
        """Take requests until cancelled; those under way are answered until :meth:`drain`."""
        if self._listeners is None:
            await self.open()
        assert self._listeners is not None
        self._share = self._handler.share = self.context.memory.share(self.config.max_in_flight)
        self._handler.emit = emit
        await self._listeners.serve(self._connection)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._listeners.close()
            if self._server is not None:
                # Idle connections end here; what is on its way in the others is answered until `drain`.
                self._server.pre_shutdown()

    async def drain(self) -> None:
        """Answer what is still open, then close the connections."""
        self._handler.emit = None
        self._handler.release()
        if self._listeners is not None:
            self._listeners.close()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(_STOP_GRACE_S)
        self._server = self._listeners = None
        if self._share is not None:
            self._share.close()

    def _connection(self) -> asyncio.Protocol:
        assert self._server is not None
        if len(self._server.connections) >= self.config.max_connections:
            self._refused()
            return _Refusal()
        return self._server()


class _Refusal(asyncio.Protocol):
    """What a connection gets that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        transport.close()


def _protocol_log(count: Counter) -> logging.Logger:
    """A log for the HTTP library, which writes a traceback for whatever is malformed: it only counts."""

    def note(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            count()
        return False

    log = logging.Logger("http")  # noqa: LOG001 - not part of the tree
    log.addFilter(note)
    return log
