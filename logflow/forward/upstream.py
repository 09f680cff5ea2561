"""One server that chunks are sent to: its connections, its health, and the acks that it owes."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from logflow.clock import Clock
from logflow.errors import DeliveryError, LogflowError
from logflow.forward.acktimes import AckTimes
from logflow.forward.connection import ClientOptions, Connection, PendingFrame, Unanswered, connect
from logflow.forward.endpoint import ServerEndpoint
from logflow.forward.health import Health, HealthOptions, State

_TICK_S = 0.25
"""How often missing acks are looked for."""


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
        ack_timeout_s: longest wait for an ack.
        max_age_s: a connection that is older is not used for new chunks; give or take a tenth.
    """

    name: str
    endpoint: ServerEndpoint
    weight: int
    standby: bool
    client: ClientOptions
    keepalive_s: float
    ack_timeout_s: float
    max_age_s: float = math.inf


class Server:
    """One server. Connections are made when they are needed and kept for the next chunk.

    Attributes:
        chunks: how many it acknowledged, or was sent where no acks are asked for.
        last_error: what went wrong last, if anything ever did.
        largest: bytes of the largest frame that it acknowledged.
        refuses: whether it refused the last heartbeat, so that nobody is there to be asked anything.
    """

    def __init__(
        self,
        options: ServerOptions,
        health: HealthOptions,
        clock: Clock,
        log: logging.Logger,
        *,
        others_are_up: Callable[[Server], bool] = lambda _: False,
    ) -> None:
        """Make a server.

        Args:
            options: what is configured about it.
            health: when it counts as failed.
            clock: tells the time.
            log: for what happens to it.
            others_are_up: whether chunks could go elsewhere; only then nobody is kept waiting for its acks.
        """
        self.options = options
        self.name = options.name
        self.weight = options.weight
        self.standby = options.standby
        self.chunks = 0
        self.largest = 0
        self.refuses = False
        self.last_error: str | None = None
        self._heartbeat_s = health.heartbeat_s
        self._health_options = health
        self._health = Health(health, clock.monotonic())
        self._clock = clock
        self._log = log
        self._others_are_up = others_are_up
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._in_flight: dict[PendingFrame, _Flight] = {}
        self._acked_s = -math.inf
        self._sent = asyncio.Event()
        self._ack_times = AckTimes()

    @property
    def up(self) -> bool:
        """Whether it is thought to work."""
        return self._health.up(self._clock.monotonic())

    @property
    def owes(self) -> bool:
        """Whether acks of it may still come."""
        return bool(self._in_flight)

    @property
    def unanswered(self) -> int:
        """Chunks that it may have, for whose acks nobody waits any more."""
        return sum(flight.released for flight in self._in_flight.values())

    @property
    def state(self) -> State:
        """How it is."""
        return self._health.state(self._clock.monotonic())

    def status(self) -> dict[str, Any]:
        """Describe it for ``/api/status``."""
        return {
            "state": self.state,
            "problem": self._health.reason or self._health.suspicion,
            "down_for_s": round(self._health.down_for_s(self._clock.monotonic()), 3),
            "phi": round(self._health.phi(self._clock.monotonic()), 2),
            "weight": self.weight,
            "standby": self.standby,
            "chunks": self.chunks,
            "unacknowledged": len(self._in_flight),
            "last_error": self.last_error,
        }

    def __str__(self) -> str:
        address = str(self.options.endpoint)
        return address if self.name == address else f"{self.name} ({address})"

    # -- delivering -------------------------------------------------------------------------------

    async def deliver(self, requests: Sequence[PendingFrame]) -> list[DeliveryError | None]:
        """Send frames over one connection, and wait for the acks of those that ask for one.

        A connection that was kept may have been closed by the server meanwhile; then one more is tried
        at once, to the same server: that one recognises a chunk that it has.

        Returns:
            For each frame None, or why it is not known to have arrived: :class:`Unanswered` if its ack is
            overdue and may still come; else the server is now thought to be down. Then
            ``request.maybe_received`` tells whether it may have the chunk.
        """
        errors: dict[PendingFrame, LogflowError] = {}
        left = requests
        if (kept := self._take_idle()) is not None:
            errors = await self._deliver_over(kept, requests)
            left = [r for r in errors if kept.lost and not isinstance(errors[r], Unanswered)]
        if left:
            try:
                connection = await self._connect()
            except LogflowError as error:
                errors |= dict.fromkeys(left, error)
            else:
                errors = {r: errors[r] for r in errors if r not in left}
                errors |= await self._deliver_over(connection, left)
        return [self._described(errors.get(request)) for request in requests]

    async def _connect(self) -> Connection:
        connection = await connect(self.options.endpoint, self.options.client)
        # Not all at once, as connections are often made together.
        spread = random.uniform(0.9, 1.1)  # noqa: S311 - not a secret
        connection.expires_s = self._clock.monotonic() + self.options.max_age_s * spread
        return connection

    def _described(self, error: LogflowError | None) -> DeliveryError | None:
        """Put the server's name before an error, and think what must be thought of the server."""
        if error is None:
            return None
        if isinstance(error, Unanswered):
            return Unanswered(f"server {self}: {error}")
        self._failed(str(error))
        described = DeliveryError(f"server {self}: {error}")
        described.__cause__ = error
        return described

    async def _deliver_over(
        self, connection: Connection, requests: Sequence[PendingFrame]
    ) -> dict[PendingFrame, LogflowError]:
        """Deliver over a connection; returns what went wrong, by request."""
        now_s = self._clock.monotonic()
        for request in requests:
            # The request itself tells when it is settled, as its ack may come when nobody waits any more.
            request.on_settled = self._settled
            self._in_flight[request] = _Flight(connection, now_s, connection.written)
        self._busy.add(connection)
        self._sent.set()
        errors: dict[PendingFrame, LogflowError] = {}
        with suppress(LogflowError):  # every request knows what became of it
            await connection.send(requests)
        for request in requests:
            try:
                await request.answered()
            except LogflowError as error:
                errors[request] = error
        return errors

    def _settled(self, request: PendingFrame) -> None:
        """An ack came, or never will."""
        flight = self._in_flight.pop(request)
        if request.acked:
            now_s = self._clock.monotonic()
            self.chunks += 1
            self.largest = max(self.largest, request.size)
            if request.chunk and (not flight.released or self.state == "suspect"):
                # After a standstill, one of the many late acks says enough about it.
                self._ack_times.took(now_s - flight.moved_s)
            self._acked_s = now_s
            self._trust()
            if self._health.delivered(now_s):
                self._log.info("Server %s is up again: it took a chunk.", self)
        if flight.connection.quiet and flight.connection in self._busy:
            self._put_away(flight.connection)

    # -- acks that do not come --------------------------------------------------------------------

    async def watch_acks(self) -> None:
        """Look for acks that are overdue until cancelled; sleeps while none is missing."""
        while True:
            if not self._in_flight:
                self._sent.clear()
                await self._sent.wait()
            await self._clock.sleep(_TICK_S)
            self.check_acks()

    def check_acks(self) -> None:
        """Judge the server by the acks that it owes, and let nobody wait in vain."""
        now_s = self._clock.monotonic()
        patience_s = self._ack_times.patience_s
        overdue: list[tuple[PendingFrame, _Flight]] = []
        for request, flight in list(self._in_flight.items()):
            flight.note_progress(now_s)
            if now_s - flight.moved_s > self.options.ack_timeout_s:
                reason = f"no ack came within {self.options.ack_timeout_s:g} s of sending the chunk"
                self._failed(reason)
                request.give_up(reason)
            elif now_s - flight.moved_s > patience_s:
                overdue.append((request, flight))
        if not overdue:
            self._trust()
            return
        oldest_s = min(flight.moved_s for _, flight in overdue)
        silent_s = now_s - max(oldest_s, self._acked_s)
        if silent_s > patience_s and self._health.suspect(
            f"it has acknowledged nothing for {silent_s:.1f} s"
        ):
            self._log.warning(
                "Server %s is suspect: it has acknowledged nothing for %.1f s; new chunks go to others.",
                self, silent_s,
            )  # fmt: skip
        # As long as nothing else could go on, waiting costs nothing.
        if self.state == "suspect" and not self._others_are_up(self):
            return
        for request, flight in overdue if self.state == "up" else list(self._in_flight.items()):
            self._release(request, flight, now_s)

    def _release(self, request: PendingFrame, flight: _Flight, now_s: float) -> None:
        if not request.maybe_received:  # another server can have it at once
            request.give_up("it does not read what it is sent")
        elif not flight.released:
            flight.released = True
            request.release(f"it has not acknowledged a chunk for {now_s - flight.moved_s:.1f} s")

    def _trust(self) -> None:
        if self._health.suspect(None):
            self._log.info("Server %s acknowledges chunks again.", self)

    def watching(self) -> list[Coroutine[Any, Any, None]]:
        """What has to run as long as it is in use."""
        beats = self._heartbeat_s is not None
        return [self.watch_acks(), self.watch()] if beats else [self.watch_acks()]

    # -- heartbeats -------------------------------------------------------------------------------

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
            self.refuses = True
            self._failed("it refuses connections")
        except (OSError, ValueError):  # a timeout is one of the first, an impossible name of the second
            pass  # silence: the detector weighs it
        else:
            self.refuses = False
            if self._health.heard(self._clock.monotonic()):
                self._log.info("Server %s is up again.", self)
        if self._health.check(self._clock.monotonic()):
            self._log.warning("Server %s is thought to be down: %s.", self, self._health.reason)
        self._drop_idle()

    # -- connections ------------------------------------------------------------------------------

    def move(self, endpoint: ServerEndpoint) -> None:
        """It has another address from now on; what is in flight stays where it is.

        What it was at the old one says nothing about the new one.
        """
        self._log.info("Server %s has another address now: %s.", self, endpoint)
        self.options = replace(self.options, endpoint=endpoint)
        self._health = Health(self._health_options, self._clock.monotonic())
        self.refuses = False
        self._close_idle()

    def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def close(self) -> None:
        """Close every connection."""
        self._close_idle()
        for connection in list(self._busy):
            connection.fail(DeliveryError("the output was closed"))

    def _put_away(self, connection: Connection) -> None:
        """Keep a connection for the next chunk, or close it."""
        self._busy.discard(connection)
        now_s = self._clock.monotonic()
        if not self.options.keepalive_s or connection.spoilt or connection.expires_s <= now_s:
            connection.close()
        elif not connection.closed:
            connection.idle_since_s = now_s
            self._idle.append(connection)

    def _take_idle(self) -> Connection | None:
        """The connection that was used last, so that the others may grow old and go."""
        self._drop_idle()
        return self._idle.pop() if self._idle else None

    def _drop_idle(self) -> None:
        now_s = self._clock.monotonic()
        oldest_s = now_s - self.options.keepalive_s
        kept = []
        for connection in self._idle:
            if connection.closed:
                continue
            if connection.idle_since_s < oldest_s or connection.spoilt or connection.expires_s <= now_s:
                connection.close()
            else:
                kept.append(connection)
        self._idle = kept

    def _failed(self, reason: str) -> None:
        self.last_error = reason
        if self._health.failed(self._clock.monotonic(), reason):
            self._log.warning("Server %s is thought to be down: %s.", self, reason)


@dataclass(eq=False)
class _Flight:
    """A request on its way.

    Attributes:
        connection: that it is on.
        moved_s: when the connection moved last.
        written: pieces that the connection had taken by then.
        released: nobody waits for its ack any more.
    """

    connection: Connection
    moved_s: float
    written: int = 0
    released: bool = False

    def note_progress(self, now_s: float) -> None:
        """A frame on a slow line is not overdue as long as it moves, or one that goes out with it."""
        if self.connection.written != self.written:
            self.written, self.moved_s = self.connection.written, now_s


class _Probe(asyncio.Protocol):
    """A connection that is closed as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def abort(self) -> None:
        self._transport.abort()
