"""The ``forward`` source: Fluentd, Fluent Bit, Docker, ``fluent-logger`` libraries and logflow send here.

Speaks the Forward Protocol v1 over TCP (with TLS if asked) or a unix socket. A request with a chunk id is
acknowledged when its events are safe, and carries a key by which the buffer recognises it when it comes
again (``logflow.forward.identity``).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from pydantic import Field

from logflow.component import Context, Emit, Source
from logflow.config.fields import Address, Duration, NonEmpty, Size, parse_size
from logflow.config.options import Options, SourceConfig
from logflow.config.secrets import StaticSecret
from logflow.config.tls import ServerTls
from logflow.errors import ComponentError
from logflow.forward.endpoint import DEFAULT_PORT
from logflow.forward.gate import Gate
from logflow.forward.handshake import ServerSecrets
from logflow.forward.receiver import Limits, Receiver, Shared
from logflow.net.complaints import Complaints
from logflow.net.listen import Listeners
from logflow.net.tls import HandshakeFailures, Tls

_STOP_GRACE_S = 1.0


class User(Options):
    """A user that clients may log in as."""

    username: NonEmpty = Field(description="The user's name.")
    password: StaticSecret = Field(description="The user's password.")


class ForwardSource(Source):
    """Listens, and keeps the connections."""

    class Config(SourceConfig):
        """Options of the ``forward`` source."""

        listen: Address | None = Field(
            None,
            description="Address to listen on; 127.0.0.1:24224 unless set, none when only `unix` is set.",
        )
        unix: Path | None = Field(None, description="Path of a unix socket to listen on.")
        tls: ServerTls | None = Field(None, description="Encrypt TCP connections.")
        shared_key: StaticSecret | None = Field(
            None, description="Key that clients must know; asks for the handshake."
        )
        users: list[User] = Field(
            default_factory=list, description="Users that clients must log in as; asks for the handshake."
        )
        self_hostname: NonEmpty | None = Field(
            None,
            description="This server's name in the handshake; the machine's name unless set.",
        )
        udp_heartbeat: bool = Field(
            default=True, description="Answer Fluentd's UDP heartbeats on the same address."
        )
        max_frame: Size = Field(
            parse_size("64MiB"), gt=0, description="Largest frame, as sent and when decompressed."
        )
        memory_limit: Size = Field(
            parse_size("256MiB"),
            gt=0,
            description="Most memory for large frames (over 256KiB) that are received and not yet handed on, "
            "over all connections; each counts twice, and further ones wait in the clients' sockets.",
        )
        max_connections: int = Field(1024, ge=1, description="Most connections at once.")
        idle_timeout: Duration = Field(
            3600.0, gt=0, description="Silence between frames after which a connection is closed."
        )
        read_timeout: Duration = Field(
            60.0, gt=0, description="Silence within a frame after which a connection is closed."
        )

    def __init__(self, config: ForwardSource.Config, context: Context) -> None:
        super().__init__(config, context)
        self.config: ForwardSource.Config = config
        self._shared: Shared | None = None
        self._listeners: Listeners | None = None
        self._complaints = Complaints(context)
        self._handshake_failures = HandshakeFailures(context, self._complaints)

    @property
    def port(self) -> int:
        """The TCP port in use, once opened: tells which one was chosen for port 0."""
        assert self._listeners is not None
        return self._listeners.port

    async def open(self) -> None:
        """Listen; connections wait until :meth:`run`.

        Raises:
            ComponentError: an address is taken, or a certificate cannot be used.
        """
        config = self.config
        address = config.listen or (None if config.unix else ("127.0.0.1", DEFAULT_PORT))
        tls = Tls(config.tls.context(), config.read_timeout, self._handshake_failures) if config.tls else None
        listeners = Listeners(address, config.unix, tls, udp=config.udp_heartbeat)
        try:
            await listeners.open()
        except OSError as error:
            raise ComponentError(
                f"source {self.context.name}: cannot listen on {error.filename}: {error.strerror or error}; "
                "stop what listens there, or set another address"
            ) from error
        self._listeners = listeners

    async def run(self, emit: Emit) -> None:
        """Take connections until cancelled; then handle what has come whole."""
        if self._listeners is None:
            await self.open()
        assert self._listeners is not None
        tasks = _Tasks()
        shared = self._shared = self._make_shared(emit, tasks)
        try:
            await self._listeners.serve(lambda: Receiver(shared))
            await self._expire_connections(shared)
        finally:
            self._close_listeners()
            await asyncio.gather(*(receiver.stop(_STOP_GRACE_S) for receiver in shared.receivers))
            await tasks.cancel()

    async def drain(self) -> None:
        """Close the connections: answers that could be given have been given by now."""
        self._close_listeners()
        if self._shared is not None:
            for receiver in list(self._shared.receivers):
                receiver.close()
            self._shared = None
            await asyncio.sleep(0)

    def _close_listeners(self) -> None:
        if self._listeners is not None:
            self._listeners.close()
            self._listeners = None

    def _make_shared(self, emit: Emit, tasks: _Tasks) -> Shared:
        config, context = self.config, self.context
        secrets = None
        if config.shared_key or config.users:
            secrets = ServerSecrets(
                config.self_hostname or socket.gethostname(),
                config.shared_key.get_secret_value().encode() if config.shared_key else b"",
                {u.username.encode(): u.password.get_secret_value().encode() for u in config.users},
            )
        return Shared(
            engine=context.engine, clock=context.clock, log=context.log, emit=emit, secrets=secrets,
            limits=Limits(config.max_frame, config.max_connections, config.idle_timeout, config.read_timeout),
            gate=Gate(config.memory_limit),
            spawn=tasks.spawn,
            complain=self._complaints,
            frames_rejected=context.counter(
                "frames_rejected", "Frames that were torn, malformed or too large."
            ),
            frames_ignored=context.counter("frames_ignored", "Frames of metrics and traces: no logs."),
            handshakes_refused=context.counter(
                "handshakes_refused", "Clients that did not know the key or the password."
            ),
            connections_refused=context.counter(
                "connections_refused", "Connections over max_connections."
            ),
            connections_timed_out=context.counter(
                "connections_timed_out", "Connections closed because they were silent or too slow."
            ),
        )  # fmt: skip

    async def _expire_connections(self, shared: Shared) -> None:
        interval_s = min(self.config.idle_timeout, self.config.read_timeout) / 4
        while True:
            await self.context.clock.sleep(interval_s)
            now_s = self.context.clock.monotonic()
            for receiver in list(shared.receivers):
                receiver.expire(now_s)


class _Tasks:
    """The tasks of the connections; each ends by itself, and never fails."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def cancel(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
