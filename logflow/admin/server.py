"""Listens for those who ask how things are; :mod:`logflow.admin.pages` answers.

Whoever reaches the port can see how things are, so what he can do to the process is bounded: connections, the
time for a request, its size. If there are too many connections, the one that was silent for longest makes
room, so that those who never end their requests keep nobody out. Some descriptors are kept back, so that it
answers when the process has no other left.

The HTTP server takes a third of the time that it takes to start. So its modules are loaded when somebody
connects, or shortly after the start, while the first lines are read already.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from logflow.errors import ComponentError

if TYPE_CHECKING:
    from logflow.admin.pages import Pages
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
_LOADED_AFTER_S = 1.0


class AdminServer:
    """Serves what is known about the pipeline that runs now; loopback unless configured otherwise."""

    def __init__(self, options: AdminOptions, now: Callable[[], tuple[Pipeline | None, bool]]) -> None:
        """Serve as ``options`` say.

        Args:
            options: where to listen, and for which hosts.
            now: tells which pipeline there is now, if any, and whether it is running.
        """
        self._options = options
        self._now = now
        self._pages: Pages | None = None
        self._asked = asyncio.Event()
        self._loaded = asyncio.Event()
        self._listening: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._reserve: list[int] = []
        self._open: dict[_Bounded, None] = {}
        """Connections; the one that was heard of last comes last."""

    async def open(self) -> None:
        """Listen, unless configured to listen nowhere.

        Raises:
            ComponentError: the address cannot be used.
        """
        if self._options.listen is None:
            return
        host, port = self._options.listen
        try:
            await self._bind(host, port)
        except OSError as error:
            await self.close()
            raise ComponentError(
                f"admin.listen: cannot listen on {host}:{port}: {error.strerror}; "
                "free the port, choose another one or set admin.listen to null"
            ) from error
        self._fill_reserve()
        loading = asyncio.create_task(self._load())
        self._tasks = [loading, *(asyncio.create_task(self._accept(each)) for each in self._listening)]

    async def close(self) -> None:
        """Stop listening. Safe twice."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._listening:
            self._listening.pop().close()
        while self._reserve:
            os.close(self._reserve.pop())
        pages, self._pages = self._pages, None
        if pages is not None:
            await pages.close()

    async def _load(self) -> None:
        """Load the HTTP server once somebody asks, or after a while, so that no upgrade comes between."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOADED_AFTER_S):
                await self._asked.wait()
        while self._pages is None:
            try:
                module = await asyncio.to_thread(import_module, "logflow.admin.pages")
            except OSError:  # there is no descriptor left to read modules through
                if self._reserve:
                    os.close(self._reserve.pop())
                else:
                    await asyncio.sleep(_PAUSE_S)
                    self._fill_reserve()
            else:
                pages = module.Pages(self._options, self._now)
                await pages.open()
                self._pages = pages
        self._fill_reserve()
        self._loaded.set()

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
            self._asked.set()
            try:
                await self._loaded.wait()
            except BaseException:
                connection.close()
                raise
            with suppress(OSError):
                await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        assert self._pages is not None
        return _Bounded(self._pages.protocol(), self._heard, self._closed)

    def _heard(self, connection: _Bounded) -> None:
        self._open.pop(connection, None)
        while len(self._open) >= MOST_CONNECTIONS:
            silent = next(iter(self._open))
            del self._open[silent]
            silent.abort()
        self._open[connection] = None

    def _closed(self, connection: _Bounded) -> None:
        self._open.pop(connection, None)
        asyncio.get_running_loop().call_soon(self._fill_reserve)  # when its descriptor is free

    def _fill_reserve(self) -> None:
        with suppress(OSError):
            while self._listening and len(self._reserve) < _RESERVE:
                self._reserve.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


class _Bounded(asyncio.Protocol):
    """A connection that ends in time; everything else is the inner protocol's work."""

    def __init__(
        self,
        inner: asyncio.Protocol,
        heard: Callable[[_Bounded], None],
        closed: Callable[[_Bounded], None],
    ) -> None:
        self._inner = inner
        self._heard = heard
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._tail = b""
        self._timers: list[asyncio.TimerHandle] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._heard(self)
        self._timers = [
            loop.call_later(REQUEST_S, transport.abort),
            loop.call_later(CONNECTION_S, transport.close),
        ]
        self._inner.connection_made(transport)

    def abort(self) -> None:
        """End it now: others need the place."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._transport.is_closing():  # it has just made room
            return
        self._heard(self)
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
        self._closed(self)
