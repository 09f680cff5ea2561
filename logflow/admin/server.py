"""The HTTP server of the admin endpoint: ``/healthz``, ``/readyz``, ``/metrics``, ``/api/status``.

``/healthz`` answers while the process can work at all: use it as a liveness probe. ``/readyz`` answers
503 until every output was opened, while one is stalled and while a source is blocked, and says which: use it
as a readiness probe. Warnings stand below its ``ok``.

Whoever reaches the port can see how things are, so what he can do to the process is bounded: connections, the
time for a request, its size. Requests for a host that is not ours are refused, as a web page could have a
browser send them (DNS rebinding): IP addresses, ``localhost``, the machine's name and ``admin.hosts`` are
ours.
Some descriptors are kept back, so that it answers when the process has no other left.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from logflow.admin import prometheus
from logflow.admin.health import problems, warnings
from logflow.admin.status import status
from logflow.errors import ComponentError

if TYPE_CHECKING:
    from logflow.config.models import AdminOptions
    from logflow.pipeline.build import Pipeline


MOST_CONNECTIONS = 64
REQUEST_S = 10.0
"""How long a new connection may take until its first request is there."""
CONNECTION_S = 300.0
"""How long a connection may last."""
_RESERVE = 4
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_PAUSE_S = 0.5

_quiet = logging.getLogger("logflow.admin.requests")
_quiet.setLevel(logging.CRITICAL)  # what strangers send is no concern of the log


class AdminServer:
    """Serves what is known about the pipeline that runs now; loopback unless configured otherwise."""

    def __init__(self, options: AdminOptions, now: Callable[[], tuple[Pipeline | None, bool]]) -> None:
        """Serve as ``options`` say.

        Args:
            options: where to listen, and for which hosts.
            now: tells which pipeline there is now, if any, and whether it is running.
        """
        self._now = now
        self._listen = options.listen
        self._hosts = {"localhost", socket.gethostname().lower(), *(host.lower() for host in options.hosts)}
        self._runner: web.AppRunner | None = None
        self._listening: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._reserve: list[int] = []
        self._open = 0

    async def open(self) -> None:
        """Listen, unless configured to listen nowhere.

        Raises:
            ComponentError: the address cannot be used.
        """
        if self._listen is None:
            return
        app = web.Application(client_max_size=64 * 1024, middlewares=[self._guard()])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/api/status", self._status)
        self._runner = web.AppRunner(
            app, access_log=None, logger=_quiet, shutdown_timeout=1.0, keepalive_timeout=75.0
        )
        await self._runner.setup()
        try:
            await self._bind(*self._listen)
        except OSError as error:
            await self.close()
            raise ComponentError(
                f"admin.listen: cannot listen on {self._listen[0]}:{self._listen[1]}: {error.strerror}; "
                "free the port, choose another one or set admin.listen to null"
            ) from error
        self._fill_reserve()
        self._accepting = [asyncio.create_task(self._accept(each)) for each in self._listening]

    async def close(self) -> None:
        """Stop listening. Safe twice."""
        accepting, self._accepting = self._accepting, []
        for task in accepting:
            task.cancel()
        await asyncio.gather(*accepting, return_exceptions=True)
        while self._listening:
            self._listening.pop().close()
        while self._reserve:
            os.close(self._reserve.pop())
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    # -- connections ------------------------------------------------------------------------------

    async def _bind(self, host: str, port: int) -> None:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            listening = socket.socket(family, socket.SOCK_STREAM)
            self._listening.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                both = host == "::" and len(found) == 1
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
            listening.bind(address)
            listening.listen(128)
            listening.setblocking(False)  # noqa: FBT003

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno not in _NO_DESCRIPTORS or not self._reserve:
                    await asyncio.sleep(_PAUSE_S)
                    continue
                os.close(self._reserve.pop())  # the next accept finds this one
                continue
            if self._open >= MOST_CONNECTIONS:
                connection.close()
                continue
            with suppress(OSError):
                await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        assert self._runner is not None
        assert self._runner.server is not None
        return _Bounded(self._runner.server(), self._closed, self._opened)

    def _opened(self) -> None:
        self._open += 1

    def _closed(self) -> None:
        self._open -= 1
        asyncio.get_running_loop().call_soon(self._fill_reserve)  # when its descriptor is free

    def _fill_reserve(self) -> None:
        with suppress(OSError):
            while self._runner is not None and len(self._reserve) < _RESERVE:
                self._reserve.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    # -- requests ---------------------------------------------------------------------------------

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._is_ours(request.headers.get("Host", "")):
                text = "This is not the host's name; set admin.hosts if it should be.\n"
                return web.Response(status=421, text=text)
            return await handler(request)

        return guard

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        if name in self._hosts or (self._listen is not None and name == self._listen[0].lower()):
            return True
        with suppress(ValueError):  # a page cannot make an address mean another machine
            return bool(ipaddress.ip_address(name))
        return False

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        pipeline, running = self._now()
        wrong = [] if running else ["the service is starting or stopping"]
        if pipeline is not None:
            wrong += problems(pipeline)
        if wrong:
            return web.Response(status=503, text="\n".join(wrong) + "\n")
        told = [f"warning: {warning}\n" for warning in warnings(pipeline)] if pipeline is not None else []
        return web.Response(text="".join(["ok\n", *told]))

    async def _metrics(self, _: web.Request) -> web.Response:
        pipeline, _running = self._now()
        body = prometheus.render(pipeline) if pipeline is not None else b""
        return web.Response(body=body, headers={"Content-Type": prometheus.CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        pipeline, running = self._now()
        if pipeline is None:
            return web.json_response({"running": False}, status=503)
        return web.json_response(status(pipeline, running=running))


class _Bounded(asyncio.Protocol):
    """A connection that ends in time; everything else is the inner protocol's work."""

    def __init__(
        self, inner: asyncio.Protocol, closed: Callable[[], None], opened: Callable[[], None]
    ) -> None:
        self._inner = inner
        self._closed = closed
        self._opened = opened
        self._tail = b""
        self._timers: list[asyncio.TimerHandle] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._opened()
        loop = asyncio.get_running_loop()
        assert isinstance(transport, asyncio.Transport)
        self._timers = [
            loop.call_later(REQUEST_S, transport.abort),
            loop.call_later(CONNECTION_S, transport.close),
        ]
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._tail = self._tail[-3:] + data
        if b"\r\n\r\n" in self._tail:
            self._timers[0].cancel()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in self._timers:
            timer.cancel()
        self._inner.connection_lost(exc)
        self._closed()
