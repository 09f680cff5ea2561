"""One server that chunks are sent to: its connections, its health, its heartbeats."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from logflow.clock import Clock
from logflow.errors import DeliveryError, LogflowError
from logflow.forward.connection import ClientOptions, Connection, Request, connect
from logflow.forward.endpoint import Endpoint
from logflow.forward.health import Health, HealthOptions


@dataclass(frozen=True)
class ServerOptions:
    """What is configured about one server.

    Attributes:
        name: in logs, and for the balancer.
        endpoint: where it is.
        weight: its share of the chunks.
        standby: used only while no other is up.
        client: how to connect to it.
        keepalive_s: how long an unused connection is kept; 0 for a connection per chunk.
    """

    name: str
    endpoint: Endpoint
    weight: int
    standby: bool
    client: ClientOptions
    keepalive_s: float


class Server:
    """One server. Connections are made when they are needed and kept for the next chunk."""

    def __init__(
        self, options: ServerOptions, health: HealthOptions, clock: Clock, log: logging.Logger
    ) -> None:
        self.options = options
        self.name = options.name
        self.weight = options.weight
        self.standby = options.standby
        self._heartbeat_s = health.heartbeat_s
        self._health = Health(health, clock.monotonic())
        self._clock = clock
        self._log = log
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()

    @property
    def up(self) -> bool:
        """Whether it is thought to work."""
        return self._health.up(self._clock.monotonic())

    def __str__(self) -> str:
        address = str(self.options.endpoint)
        return address if self.name == address else f"{self.name} ({address})"

    async def deliver(self, request: Request) -> None:
        """Send a frame and wait for its ack, if it asks for one.

        A connection that was kept may have been closed by the server meanwhile; then one more is tried
        at once, to the same server: that one recognises a chunk that it has.

        Raises:
            DeliveryError: the server is now thought to be down; ``request.maybe_received`` tells whether
                it may have the chunk.
        """
        try:
            connection = self._take_idle()
            if connection is not None:
                try:
                    await self._deliver_over(connection, request)
                except LogflowError:
                    if not connection.lost:
                        raise
                    connection = None
            if connection is None:
                await self._deliver_over(await connect(self.options.endpoint, self.options.client), request)
        except LogflowError as error:
            self._failed(str(error))
            raise DeliveryError(f"server {self}: {error}") from error
        if self._health.delivered(self._clock.monotonic()):
            self._log.info("Server %s is up again: it took a chunk.", self)

    async def watch(self) -> None:
        """Send heartbeats until cancelled; a server that is down is watched as well."""
        assert self._heartbeat_s is not None
        while True:
            await self._clock.sleep(self._heartbeat_s)
            await self.beat()

    async def beat(self) -> None:
        """Connect and close, as Fluentd does; then judge the server, and drop connections kept too long."""
        try:
            async with asyncio.timeout(self.options.client.connect_timeout_s):
                probe = await self.options.endpoint.connect(_Probe)
            probe.abort()
        except ConnectionRefusedError:
            self._failed("it refuses connections")
        except (OSError, ValueError):  # a timeout is one of the first, an impossible name of the second
            pass  # silence: the detector weighs it
        else:
            if self._health.heard(self._clock.monotonic()):
                self._log.info("Server %s is up again.", self)
        if self._health.check(self._clock.monotonic()):
            self._log.warning("Server %s is thought to be down: %s.", self, self._health.reason)
        self._drop_idle()

    def close(self) -> None:
        """Close every connection."""
        for connection in self._idle:
            connection.close()
        for connection in self._busy:
            connection.abort()
        self._idle.clear()

    async def _deliver_over(self, connection: Connection, request: Request) -> None:
        self._busy.add(connection)
        try:
            await connection.deliver(request)
        finally:
            self._busy.discard(connection)
        if not self.options.keepalive_s:
            connection.close()
        elif not connection.closed:
            connection.idle_since_s = self._clock.monotonic()
            self._idle.append(connection)

    def _take_idle(self) -> Connection | None:
        """The connection that was used last, so that the others may grow old and go."""
        self._drop_idle()
        return self._idle.pop() if self._idle else None

    def _drop_idle(self) -> None:
        oldest_s = self._clock.monotonic() - self.options.keepalive_s
        kept = []
        for connection in self._idle:
            if connection.closed:
                continue
            if connection.idle_since_s < oldest_s:
                connection.close()
            else:
                kept.append(connection)
        self._idle = kept

    def _failed(self, reason: str) -> None:
        if self._health.failed(self._clock.monotonic(), reason):
            self._log.warning("Server %s is thought to be down: %s.", self, reason)


class _Probe(asyncio.Protocol):
    """A connection that is closed as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def abort(self) -> None:
        self._transport.abort()
