"""The ``forward`` output: to logflow, Fluentd or Fluent Bit, over the Forward Protocol v1.

Chunks go out as packed frames with their id; a write returns when the ack came. A chunk that a server
*may* have (all of it was written, but no ack came) is offered to the same server again, which recognises
it; to another, where it would be stored a second time if the first had stored it, only after the first
could not be reached for ``failover_after``. A server that takes the chunk and lets us wait is not left:
as a rule it waits itself, for what is behind it. All other failures move on to the next server at once.

The same holds for a chunk that an earlier process cut and did not commit (``Chunk.resumed``): the server
that may have it is its first choice, or the one that was noted in the checkpoints when another was used.

::

    write ──► rank servers ──► first: connect, send ───────────────────────────► ack: delivered
                  ▲                 │ failed before the end      │ no ack
                  │                 ▼                            ▼
                  │             next server            in doubt: this server only, until failover_after
                  └───────────── tried again by the host ────────┘
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator, model_validator

from logflow.batch import Chunk
from logflow.component import Context, Output
from logflow.compression import Compression, compress
from logflow.config.fields import Duration, NonEmpty
from logflow.config.options import Options, OutputConfig
from logflow.config.secrets import StaticSecret
from logflow.config.tls import ClientTls
from logflow.errors import DeliveryError, LimitExceeded, PermanentError
from logflow.forward.balancer import preference, rank
from logflow.forward.connection import ClientOptions, Request
from logflow.forward.endpoint import EndpointField
from logflow.forward.frames import pack_chunk_id, pack_request
from logflow.forward.handshake import ClientSecrets
from logflow.forward.health import HealthOptions
from logflow.forward.upstream import Server, ServerOptions

_INLINE_BYTES = 64 * 1024
_MOST_DOUBTS = 4096


class ServerConfig(Options):
    """One server."""

    address: EndpointField = Field(description="`host:port`, `host` (port 24224) or `unix:/path`.")
    name: NonEmpty | None = Field(None, description="Name in logs and for balancing; the address unless set.")
    weight: int = Field(60, ge=0, le=10_000, description="Share of the chunks; 0 takes nothing.")
    standby: bool = Field(default=False, description="Used only while no other server is up.")
    shared_key: StaticSecret | None = Field(None, description="This server's key; the output's unless set.")
    username: str | None = Field(None, description="User name at this server; the output's unless set.")
    password: StaticSecret | None = Field(None, description="Its password; the output's unless set.")

    @property
    def label(self) -> str:
        """The name in use."""
        return self.name or str(self.address)


@dataclass(frozen=True)
class _Doubt:
    """A server that may have a chunk, and until when only it is asked."""

    server: Server
    until_s: float


class ForwardOutput(Output):
    """Delivers chunks to one of several servers."""

    class Config(OutputConfig):
        """Options of the ``forward`` output."""

        servers: list[ServerConfig] = Field(min_length=1, description="Where chunks may go.")
        balance: Literal["tag", "chunk"] = Field(
            "tag",
            description="`tag`: events of one tag go to one server as long as it is up, so that their order "
            "is kept; `chunk`: chunks are spread, whatever their tag.",
        )
        require_ack: bool = Field(
            default=True,
            description="Wait for the server to say that a chunk is safe. Without it, chunks get lost.",
        )
        ack_timeout: Duration = Field(60.0, gt=0, description="Longest wait for an ack.")
        failover_after: Duration = Field(
            60.0,
            description="How long a chunk that a server may have waits for that server when it cannot be "
            "reached; then it goes to others, where it may be stored a second time.",
        )
        compress: Compression = Field("none", description="How payloads are compressed.")
        connect_timeout: Duration = Field(
            10.0, gt=0, description="Longest time for connecting, TLS and handshake together."
        )
        keepalive: Duration = Field(
            60.0, description="How long an unused connection is kept; 0 makes a connection for each chunk."
        )
        heartbeat: Literal["tcp", "none"] = Field(
            "tcp", description="`tcp` connects to every server now and then, to see whether it is there."
        )
        heartbeat_interval: Duration = Field(1.0, gt=0, description="Time between heartbeats.")
        phi_threshold: float = Field(
            16.0, gt=0, description="Suspicion at which a server that answers no heartbeats is down."
        )
        recover_wait: Duration = Field(
            10.0, description="How long a server must have been fine before it is used again."
        )
        shared_key: StaticSecret | None = Field(None, description="Key for the handshake.")
        username: str | None = Field(None, description="User name for the handshake.")
        password: StaticSecret | None = Field(None, description="Password for the handshake.")
        self_hostname: NonEmpty | None = Field(
            None, description="This client's name in the handshake; must differ from the server's. "
            "The machine's name and the output's unless set.",
        )  # fmt: skip
        tls: ClientTls | None = Field(
            None, description="Encrypt; `{}` is enough for certificates known to the system."
        )
        write_timeout: Duration = Field(150.0, gt=0, description="Longest time that one delivery may take.")
        # Chunks that wait for a server which may have them must not keep the others waiting.
        concurrency: int = Field(
            32, ge=1, le=256, description="Deliveries under way at once; events of one tag stay in order."
        )

        @field_validator("servers")
        @classmethod
        def _check_names(cls, servers: list[ServerConfig]) -> list[ServerConfig]:
            labels = [server.label for server in servers]
            if twice := sorted({label for label in labels if labels.count(label) > 1}):
                raise ValueError(f"{twice[0]!r} is there twice; give the servers different names")
            if not any(server.weight for server in servers):
                raise ValueError("every server has the weight 0; nothing could be sent")
            return servers

        @model_validator(mode="after")
        def _check_timeouts(self) -> ForwardOutput.Config:
            if self.connect_timeout + self.ack_timeout >= self.write_timeout:
                raise ValueError(
                    f"write_timeout ({self.write_timeout:g}s) must be longer than connect_timeout and "
                    f"ack_timeout together ({self.connect_timeout + self.ack_timeout:g}s)"
                )
            return self

    def __init__(self, config: ForwardOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        self.config: ForwardOutput.Config = config
        self._servers: list[Server] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._doubts: dict[bytes, _Doubt] = {}
        self._acks_missing = context.counter(
            "acks_missing", "Chunks that were sent whole but not acknowledged, and are sent again."
        )
        self._failovers = context.counter(
            "failovers", "Chunks that went to another server than the first choice."
        )

    async def open(self) -> None:
        """Load the certificates and begin to watch the servers; connections are made by the first chunks.

        Raises:
            ComponentError: a certificate cannot be used.
        """
        await self.close()
        tls = self.config.tls.context() if self.config.tls else None
        health = HealthOptions(
            self.config.heartbeat_interval if self.config.heartbeat == "tcp" else None,
            self.config.phi_threshold,
            self.config.recover_wait,
        )
        for server in self.config.servers:
            client = ClientOptions(
                tls=tls,
                server_name=self.config.tls.server_name if self.config.tls else None,
                secrets=self._secrets(server),
                connect_timeout_s=self.config.connect_timeout,
                ack_timeout_s=self.config.ack_timeout,
            )
            options = ServerOptions(
                server.label, server.address, server.weight, server.standby, client, self.config.keepalive
            )
            self._servers.append(Server(options, health, self.context.clock, self.context.log))
        if health.heartbeat_s is not None:
            self._watchers = [asyncio.create_task(server.watch()) for server in self._servers]

    async def write(self, chunk: Chunk) -> None:
        """Deliver a chunk to the best server that takes it.

        Raises:
            DeliveryError: none took it, or one may have it but did not say so.
            PermanentError: the protocol cannot carry it.
        """
        request = await self._request(chunk)
        problems = []
        for place, server in enumerate(self._candidates(chunk)):
            self._note(chunk, server)
            try:
                await server.deliver(request)
            except (DeliveryError, asyncio.CancelledError) as error:
                if request.maybe_received and request.chunk:
                    self._doubt(chunk, server, alive=request.unanswered)
                    raise
                if not isinstance(error, DeliveryError):
                    raise
                problems.append(str(error))
            else:
                self._doubts.pop(chunk.id, None)
                if place:
                    self._failovers()
                return
        raise DeliveryError("; ".join(problems))

    async def close(self) -> None:
        """Stop watching and close every connection."""
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        self._doubts.clear()
        await asyncio.sleep(0)  # sockets are closed by the event loop's next turn

    def _secrets(self, server: ServerConfig) -> ClientSecrets | None:
        key = server.shared_key or self.config.shared_key
        username = server.username or self.config.username
        password = server.password or self.config.password
        if key is None and username is None:
            return None
        return ClientSecrets(
            self.config.self_hostname or f"{socket.gethostname()}/{self.context.name}",
            key.get_secret_value().encode() if key else b"",
            username or "",
            password.get_secret_value() if password else "",
        )

    async def _request(self, chunk: Chunk) -> Request:
        compressed = self.config.compress
        payload: tuple[bytes, ...] = chunk.parts
        if compressed != "none":
            if chunk.size <= _INLINE_BYTES:
                payload = (compress(chunk.entries, compressed),)
            else:
                payload = (await asyncio.to_thread(lambda: compress(chunk.entries, compressed)),)
        chunk_id = pack_chunk_id(chunk.id) if self.config.require_ack else b""
        try:
            before, after = pack_request(
                chunk.tag, sum(map(len, payload)), chunk.count, chunk=chunk_id, compressed=compressed
            )
        except LimitExceeded as error:
            raise PermanentError(str(error)) from error
        return Request([before, *payload, after], chunk_id)

    def _candidates(self, chunk: Chunk) -> list[Server]:
        """The servers to try, in order."""
        doubt = self._doubts.get(chunk.id) or self._inherit_doubt(chunk)
        if doubt is not None and self.context.clock.monotonic() < doubt.until_s:
            return [doubt.server]
        servers = rank(self._key(chunk), self._servers)
        if doubt is not None:  # it had its time: whoever else there is comes first
            servers.sort(key=lambda server: server is doubt.server)
        return servers

    def _key(self, chunk: Chunk) -> bytes:
        return chunk.tag.encode("utf-8", "surrogatepass") if self.config.balance == "tag" else chunk.id

    def _note(self, chunk: Chunk, server: Server) -> None:
        """Have the next process know where the chunk may be, if not at its first choice."""
        if self.config.require_ack:
            first = preference(self._key(chunk), self._servers)[0]
            self.context.checkpoints.note(self.context.name, chunk.id, "" if server is first else server.name)

    def _inherit_doubt(self, chunk: Chunk) -> _Doubt | None:
        """Find the server that may have the chunk of an earlier process."""
        if not chunk.resumed or not self.config.require_ack:
            return None
        choices = preference(self._key(chunk), self._servers)
        noted = self.context.checkpoints.noted(self.context.name, chunk.id)
        server = next((server for server in choices if server.name == noted), choices[0])
        doubt = _Doubt(server, self.context.clock.monotonic() + self.config.failover_after)
        self._doubts[chunk.id] = doubt
        return doubt

    def _doubt(self, chunk: Chunk, server: Server, *, alive: bool) -> None:
        """Remember that the server may have the chunk; one that is alive has all the time it needs."""
        self._acks_missing()
        now_s = self.context.clock.monotonic()
        known = self._doubts.get(chunk.id)
        if known is not None and known.server is server and now_s < known.until_s and not alive:
            return
        while len(self._doubts) >= _MOST_DOUBTS:  # chunks that were given up are never asked for again
            del self._doubts[next(iter(self._doubts))]
        self._doubts[chunk.id] = _Doubt(server, now_s + self.config.failover_after)
