"""The ``forward`` source: Fluentd, Fluent Bit, Docker, ``fluent-logger`` libraries and logflow send here.

Speaks the Forward Protocol v1 over TCP (with TLS if asked) or a unix socket. A request with a chunk id is
acknowledged when its events are safe, and carries a key by which the buffer recognises it when it comes
again (``logflow.forward.identity``).
"""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr

from logflow.component import Context, Emit, Source
from logflow.config.fields import Address, Duration, NonEmpty, Size, parse_size
from logflow.config.options import Options, SourceConfig
from logflow.config.tls import ServerTls
from logflow.errors import ComponentError
from logflow.forward.handshake import ServerSecrets
from logflow.forward.receiver import Limits, Receiver, Shared

_HEARTBEAT = b"\x00"
_STOP_GRACE_S = 1.0
_COMPLAINTS_PER_MINUTE = 10


class User(Options):
    """A user that clients may log in as."""

    username: NonEmpty = Field(description="The user's name.")
    password: SecretStr = Field(description="The user's password.")


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
        shared_key: SecretStr | None = Field(
            None, description="Key that clients must know; asks for the handshake."
        )
        users: list[User] = Field(
            default_factory=list, description="Users that clients must log in as; asks for the handshake."
        )
        self_hostname: NonEmpty = Field(
            default_factory=socket.gethostname,
            description="This server's name in the handshake; the machine's name unless set.",
        )
        udp_heartbeat: bool = Field(
            default=True, description="Answer Fluentd's UDP heartbeats on the same address."
        )
        max_frame: Size = Field(
            parse_size("64MiB"), gt=0, description="Largest frame, as sent and when decompressed."
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
        self._servers: list[asyncio.Server] = []
        self._udp: asyncio.DatagramTransport | None = None
        self._complaints = _Complaints(context)

    @property
    def port(self) -> int:
        """The TCP port in use, once opened: tells which one was chosen for port 0."""
        for server in self._servers:
            for listener in server.sockets:
                if listener.family in (socket.AF_INET, socket.AF_INET6):
                    return int(listener.getsockname()[1])
        raise LookupError("the source does not listen on TCP")

    async def open(self) -> None:
        """Bind the addresses.

        Raises:
            ComponentError: one is taken, or a certificate cannot be used.
        """
        tls = self.config.tls.context() if self.config.tls else None
        loop = asyncio.get_running_loop()
        address = self.config.listen
        if address is None and self.config.unix is None:
            address = ("127.0.0.1", 24224)
        try:
            if address is not None:
                timeout = self.config.read_timeout if tls else None
                self._servers.append(await loop.create_server(
                    self._accept, *address, ssl=tls, ssl_handshake_timeout=timeout, start_serving=False,
                    backlog=512,
                ))  # fmt: skip
                if self.config.udp_heartbeat:
                    self._udp, _ = await loop.create_datagram_endpoint(_Heartbeats, (address[0], self.port))
            if self.config.unix is not None:
                await _check_unix_path(self.config.unix)
                self._servers.append(await loop.create_unix_server(
                    self._accept, self.config.unix, start_serving=False
                ))  # fmt: skip
        except OSError as error:
            await self._close_listeners()
            where = " and ".join(
                str(w) for w in (address and "{}:{}".format(*address), self.config.unix) if w
            )
            raise ComponentError(
                f"source {self.context.name}: cannot listen on {where}: {error.strerror or error}; "
                "stop what listens there, or set another address"
            ) from error

    async def run(self, emit: Emit) -> None:
        """Take connections until cancelled; then handle what has come whole and close the listeners."""
        if not self._servers:
            await self.open()
        tasks = _Tasks()
        self._shared = self._make_shared(emit, tasks)
        try:
            for server in self._servers:
                await server.start_serving()
            await self._expire_connections(self._shared)
        finally:
            await self._close_listeners()
            await asyncio.gather(*(receiver.stop(_STOP_GRACE_S) for receiver in self._shared.receivers))
            await tasks.cancel()

    async def drain(self) -> None:
        """Close the connections: answers that could be given have been given by now."""
        await self._close_listeners()
        if self._shared is not None:
            for receiver in list(self._shared.receivers):
                receiver.close()
            self._shared = None
            await asyncio.sleep(0)

    def _accept(self) -> Receiver:
        assert self._shared is not None
        return Receiver(self._shared)

    def _make_shared(self, emit: Emit, tasks: _Tasks) -> Shared:
        config, context = self.config, self.context
        secrets = None
        if config.shared_key or config.users:
            secrets = ServerSecrets(
                config.self_hostname,
                config.shared_key.get_secret_value().encode() if config.shared_key else b"",
                {u.username.encode(): u.password.get_secret_value().encode() for u in config.users},
            )
        return Shared(
            engine=context.engine, clock=context.clock, log=context.log, emit=emit, secrets=secrets,
            limits=Limits(config.max_frame, config.max_connections, config.idle_timeout, config.read_timeout),
            spawn=tasks.spawn,
            complain=self._complaints,
            frames_rejected=context.counter(
                "frames_rejected", "Frames that were torn, malformed or too large."
            ),
            frames_ignored=context.counter("frames_ignored", "Frames of metrics and traces: no logs."),
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

    async def _close_listeners(self) -> None:
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        if servers and self.config.unix is not None:
            self.config.unix.unlink(missing_ok=True)
        if self._udp is not None:
            self._udp.close()
            self._udp = None
        await asyncio.sleep(0)


class _Heartbeats(asyncio.DatagramProtocol):
    """Answers the one byte that Fluentd sends, and nothing else: nobody can be flooded through us."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to answer through."""
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Answer a heartbeat."""
        if data == _HEARTBEAT:
            self._transport.sendto(_HEARTBEAT, addr)


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


class _Complaints:
    """Logs what peers do wrong; a flood of it becomes a number."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._minute = -1
        self._logged = 0
        self._suppressed = 0

    def __call__(self, sentence: str) -> None:
        minute = int(self._context.clock.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._logged = minute, 0
        if self._logged >= _COMPLAINTS_PER_MINUTE:
            self._suppressed += 1
            return
        self._logged += 1
        if self._suppressed:
            sentence += f" {self._suppressed} more were not logged."
            self._suppressed = 0
        self._context.log.warning("Source %s: %s", self._context.name, sentence)


async def _check_unix_path(path: Path) -> None:
    """See that nobody listens there; asyncio removes what a dead process left."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return
    writer.close()
    raise OSError(98, "Address already in use")
