"""The ``forward`` output: to logflow, Fluentd or Fluent Bit, over the Forward Protocol v1.

Chunks go out as packed frames with their id, those of a group that go to one server together over one
connection; a write returns when the acks came. A chunk that a server *may*
have (all of it was written, but no ack came) is in doubt: it is offered to the same server again, which
recognises it. To another, where it would be stored a second time if the first had stored it, it goes only
after ``failover_after``, whether the first one lives or not. All other failures move on to the next server
at once.

Nobody waits for an ack that is overdue: the chunk stays in doubt beside the workers, and an ack that comes
late settles it. A server that acknowledges nothing is suspect, and new chunks of any tag go to the others.
One that was restarted is asked as soon as a heartbeat finds it there again.

The same holds for a chunk that an earlier process cut and did not commit (``Chunk.resumed``): the server
that may have it is its first choice, or the one that was noted in the checkpoints when another was used.

::

    write ──► rank servers ──► first: connect, send ───────────────────────────► ack: delivered
      ▲           ▲               │ failed before the end      │ ack overdue          ▲
      │           │               ▼                            ▼                      │ late ack
      │           │           next server               in doubt: this server only ───┘
      │           └────────────────────────────────────────────┤ failover_after, if another is up
      └──── asked again by the host ───────────────────────────┘
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from pydantic import Field, field_validator, model_validator

from logflow.batch import Chunk
from logflow.component import Context, Output
from logflow.compression import Compression, compress
from logflow.config.fields import Duration, NonEmpty, Size
from logflow.config.options import GroupOptions, GroupOutputConfig, OutputConfig
from logflow.config.secrets import StaticSecret
from logflow.config.tls import ClientTls
from logflow.errors import (
    ChunkTooLarge,
    ComponentError,
    DeliveryError,
    LimitExceeded,
    LogflowError,
    PermanentError,
    Undecided,
)
from logflow.forward.balancer import preference, rank
from logflow.forward.connection import ClientOptions, PendingFrame
from logflow.forward.endpoint import ServerEndpoint
from logflow.forward.frames import pack_chunk_id, pack_request
from logflow.forward.handshake import ClientSecrets
from logflow.forward.health import HealthOptions
from logflow.forward.members import Make, Members
from logflow.forward.names import Name, resolve
from logflow.forward.options import ServerConfig
from logflow.forward.upstream import Server, ServerOptions

_INLINE_BYTES = 64 * 1024
_MOST_DOUBTS = 4096
_ASK_AGAIN_S = 0.25
_LOOK_AGAIN_S = 5.0
_MAX_FRAME_BYTES = 4 << 20
_MAX_ZSTD_FRAME_BYTES = 512 << 10
_MOST_CUTS = 3
_LEAST_HALVED = 64 << 10
"""Nobody refuses smaller frames for their size."""


@dataclass
class _Doubt:
    """A server that may have a chunk.

    Attributes:
        server: the only one that is asked, as a rule.
        until_s: monotonic time after which another may be.
        request: what it was sent; ``None`` if an earlier process did that.
        cuts: how often it closed the connection instead of acknowledging.
        telling: how many of these came after it had acknowledged others: not for being down.
        acked: how many chunks it had acknowledged at the last of them.
    """

    server: Server
    until_s: float
    request: PendingFrame | None = None
    cuts: int = 0
    telling: int = 0
    acked: int = -1

    def cut(self, now_s: float) -> bool:
        """The connection was closed again; whether that tells that the server refuses the frame.

        The parts would be new to a server that has the whole, so one that is just down, or killed time and
        again, must not count: it acknowledges others in between, or is like this until the doubt ends.
        """
        self.cuts += 1
        if self.server.chunks != self.acked:
            self.acked = self.server.chunks
            self.telling += 1
        return self.telling >= _MOST_CUTS or (self.cuts >= _MOST_CUTS and now_s >= self.until_s)


@dataclass(eq=False)
class _Sending:
    """A chunk that is offered to one server after the other.

    Attributes:
        chunk: what is delivered.
        request: its frame.
        servers: those that were not tried yet, in order.
        problems: what the others said.
        done: it goes to no other server, as it was delivered, or for the reason ``error``.
    """

    chunk: Chunk
    request: PendingFrame
    servers: deque[Server]
    problems: list[str] = field(default_factory=list)
    done: bool = False
    error: LogflowError | None = None


class ForwardGroupOptions(GroupOptions):
    """How much the ``forward`` output sends in one go."""

    max_wait: Duration = Field(
        0.05,
        description="How long events wait for others while the output is busy, so that they are sent "
        "together; after a quiet time they do not wait.",
    )


class ForwardOutput(Output):
    """Delivers chunks to one of several servers."""

    groups = True
    _resolve = staticmethod(resolve)

    class Config(GroupOutputConfig, OutputConfig):
        """Options of the ``forward`` output."""

        batch: ForwardGroupOptions = Field(
            default_factory=ForwardGroupOptions,
            description="How much is delivered in one go, whatever its tags.",
        )

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
            description="How long a chunk that a server may have waits for its ack; then it goes to "
            "another server that is up, where it may be stored a second time.",
        )
        compress: Compression = Field("none", description="How payloads are compressed.")
        connect_timeout: Duration = Field(
            10.0, gt=0, description="Longest time for connecting, TLS and handshake together."
        )
        keepalive: Duration = Field(
            60.0, description="How long an unused connection is kept; 0 makes a connection for each chunk."
        )
        max_connection_age: Duration | None = Field(
            None,
            gt=0,
            description="A connection that is older (give or take a tenth) is closed when its chunks are "
            "acknowledged, so that load spreads anew behind a load balancer; never unless set.",
            examples=["10m"],
        )
        heartbeat: Literal["tcp", "none"] = Field(
            "tcp",
            description="`tcp` connects to every server now and then, to see whether it is there; not "
            "with TLS or a shared key, as servers log such connections as errors.",
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
        max_frame: Size | None = Field(
            None,
            ge=256,
            description="Largest frame, before compression; larger chunks are cut. 4MiB unless set, and "
            "512KiB with zstd: Fluent Bit refuses frames above 6 MB, and loses what is above 1 MB of zstd.",
        )
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
        self._members = Members(
            context.clock, context.log, config.failover_after,
            lambda server: any(doubt.server is server for doubt in self._doubts.values()),
        )  # fmt: skip
        self._finders: list[asyncio.Task[None]] = []
        self._makers: list[Make] = []
        """For each name in the DNS."""
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
            ComponentError: a certificate cannot be used, or no server can be found.
        """
        await self.close()
        tls = self.config.tls.context() if self.config.tls else None
        names: list[tuple[Name, float, Make]] = []
        for server in self.config.servers:
            make = self._maker(server, tls)
            if server.address is not None:
                self._members.add(make(server.label, server.address))
            elif server.dns is not None:
                names.append((Name(server.dns, self.context.log, self._resolve), server.refresh, make))
        self._makers = [make for *_, make in names]
        found = await asyncio.gather(*(name.look() for name, *_ in names))
        if not self._servers and not any(found):
            places = ", ".join(str(name.endpoint) for name, *_ in names)
            raise ComponentError(f"no server is known, as {places} cannot be resolved")
        for (name, refresh_s, make), first in zip(names, found, strict=True):
            servers = self._members.update({}, first or {}, make)
            self._finders.append(asyncio.create_task(self._find(name, refresh_s, servers, make)))

    async def _find(self, name: Name, refresh_s: float, servers: dict[str, Server], make: Make) -> None:
        """Ask for a name again and again."""
        while True:
            fine = servers and all(server.up for server in servers.values())
            await self.context.clock.sleep(refresh_s if fine else min(refresh_s, _LOOK_AGAIN_S))
            if (found := await name.look()) is not None:
                servers = self._members.update(servers, found, make)

    def _maker(self, server: ServerConfig, tls: ssl.SSLContext | None) -> Make:
        """Return what makes servers of one entry of ``servers``."""
        name = self.config.tls.server_name if self.config.tls else None
        client = ClientOptions(
            tls=tls,
            server_name=name or (server.dns.host if server.dns else None),
            secrets=self._secrets(server),
            connect_timeout_s=self.config.connect_timeout,
        )
        beats = self.config.heartbeat == "tcp" and tls is None and client.secrets is None
        health = HealthOptions(
            self.config.heartbeat_interval if beats else None,
            self.config.phi_threshold,
            self.config.recover_wait,
        )

        def make(name: str, endpoint: ServerEndpoint) -> Server:
            options = ServerOptions(
                name, endpoint, server.weight, server.standby, client,
                keepalive_s=self.config.keepalive, ack_timeout_s=self.config.ack_timeout,
                max_age_s=self.config.max_connection_age or math.inf,
            )  # fmt: skip
            return Server(
                options, health, self.context.clock, self.context.log, others_are_up=self._others_are_up
            )

        return make

    @property
    def _servers(self) -> list[Server]:
        return self._members.active

    async def write(self, chunk: Chunk) -> None:
        """Deliver a chunk to the best server that takes it.

        Raises:
            Undecided: a server may have it, and has not said so yet.
            ChunkTooLarge: smaller ones may be taken.
            DeliveryError: none took it, or one may have it but did not say so.
            PermanentError: the protocol cannot carry it.
        """
        (result,) = await self.write_group([chunk])
        if result is not None:
            raise result

    async def write_group(self, chunks: Sequence[Chunk]) -> Sequence[Exception | None]:
        """Deliver chunks, each to the best server that takes it; those for one server go out together.

        Returns:
            For each chunk None, or what :meth:`write` raises.
        """
        results: list[Exception | None] = [None] * len(chunks)
        sendings: dict[int, _Sending] = {}
        for place, chunk in enumerate(chunks):
            try:
                sending = await self._begin(chunk)
            except LogflowError as error:
                results[place] = error
            else:
                if sending is not None:
                    sendings[place] = sending
        while waiting := [sending for sending in sendings.values() if not sending.done]:
            by_server: dict[Server, list[_Sending]] = {}
            for sending in waiting:
                by_server.setdefault(sending.servers.popleft(), []).append(sending)
            await asyncio.gather(*(self._offer(server, offered) for server, offered in by_server.items()))
        for place, sending in sendings.items():
            results[place] = sending.error
        return results

    async def _begin(self, chunk: Chunk) -> _Sending | None:
        """Find out where a chunk may go; None if it was delivered meanwhile.

        Raises:
            LogflowError: it is not to be sent now, or not as it is.
        """
        # What an earlier process sent whole is asked for whole: its parts would be new to the server.
        if chunk.size > self._max_frame and chunk.count > 1 and not chunk.resumed:
            raise ChunkTooLarge(
                f"a chunk of {chunk.size:,} bytes is larger than max_frame", limit_hint=self._max_frame
            )
        doubt = self._doubts.get(chunk.id) or self._inherit_doubt(chunk)
        if doubt is not None and self._is_acknowledged(chunk, doubt):
            return None
        return _Sending(chunk, await self._request(chunk), deque(self._candidates(chunk, doubt)))

    async def _offer(self, server: Server, sendings: list[_Sending]) -> None:
        """Send chunks to a server, and see for each whether it is done or goes to the next one."""
        for sending in sendings:
            self._note(sending.chunk, server)
        try:
            errors = await server.deliver([sending.request for sending in sendings])
        except asyncio.CancelledError:
            for sending in sendings:
                if sending.request.maybe_received and sending.request.chunk:
                    with suppress(ChunkTooLarge):  # it is found again when the chunk is tried again
                        self._doubt(sending.chunk, server, sending.request)
            raise
        for sending, error in zip(sendings, errors, strict=True):
            try:
                self._answered(sending, server, error)
            except LogflowError as final:
                sending.done, sending.error = True, final

    def _answered(self, sending: _Sending, server: Server, error: DeliveryError | None) -> None:
        """Take what a server made of a chunk.

        Raises:
            LogflowError: the chunk goes no further for now.
        """
        chunk, request = sending.chunk, sending.request
        if error is None:
            self._doubts.pop(chunk.id, None)
            if sending.problems:
                self._failovers()
            sending.done = True
            return
        if request.maybe_received and request.chunk:
            self._doubt(chunk, server, request)
            raise self._undecided(server, str(error)) if request.in_flight else error
        sending.problems.append(str(error))
        if not sending.servers:
            raise DeliveryError("; ".join(sending.problems))

    def _is_acknowledged(self, chunk: Chunk, doubt: _Doubt) -> bool:
        """Whether the ack of a chunk in doubt came meanwhile.

        Raises:
            Undecided: it may still come, or nobody is there to be asked.
        """
        request = doubt.request
        if request is None or not (request.in_flight or request.acked):
            if doubt.server.refuses and not self._is_over(doubt):
                # Asked as soon as a heartbeat finds it there again, and not when a back-off is over.
                raise self._undecided(doubt.server, f"server {doubt.server} refuses connections")
            return False
        if request.in_flight:
            if not self._is_over(doubt):
                raise self._undecided(doubt.server, f"server {doubt.server} has not acknowledged a chunk")
            # A server that has not taken it yet drops it with the connection.
            request.give_up("it did not acknowledge a chunk in time")
        elif request.acked:
            del self._doubts[chunk.id]
        return request.acked

    def _undecided(self, server: Server, problem: str) -> Undecided:
        return Undecided(f"{problem}; {server.name} is asked first until failover_after", _ASK_AGAIN_S)

    def _is_over(self, doubt: _Doubt) -> bool:
        """Whether a chunk in doubt may go elsewhere, and there is somewhere to go."""
        return self.context.clock.monotonic() >= doubt.until_s and self._others_are_up(doubt.server)

    def _others_are_up(self, server: Server) -> bool:
        return any(other.up and other.weight for other in self._servers if other is not server)

    async def close(self) -> None:
        """Stop watching and close every connection."""
        finders, self._finders = self._finders, []
        for finder in finders:
            finder.cancel()
        await asyncio.gather(*finders, return_exceptions=True)
        await self._members.close()
        self._doubts.clear()
        await asyncio.sleep(0)  # sockets are closed by the event loop's next turn

    def status(self) -> dict[str, Any]:
        """Describe every server: its state, its share, and what it owes."""
        total = sum(server.chunks for server in self._servers)
        return {
            "servers": {
                server.name: {"share": round(server.chunks / total, 3) if total else 0.0, **server.status()}
                for server in self._servers
            },
            "in_doubt": len(self._doubts),
        }

    @property
    def _max_frame(self) -> int:
        default = _MAX_ZSTD_FRAME_BYTES if self.config.compress == "zstd" else _MAX_FRAME_BYTES
        return self.config.max_frame or default

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

    async def _request(self, chunk: Chunk) -> PendingFrame:
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
        return PendingFrame([before, *payload, after], chunk_id)

    def _candidates(self, chunk: Chunk, doubt: _Doubt | None = None) -> list[Server]:
        """The servers to try, in order."""
        now_s = self.context.clock.monotonic()
        if doubt is not None and now_s < doubt.until_s:
            return [doubt.server]
        servers = [
            server for server in rank(self._key(chunk), self._servers)
            if doubt is None or server.state != "suspect" or server is doubt.server
        ]  # fmt: skip
        if doubt is not None:  # it had its time: whoever else there is comes first
            servers.sort(key=lambda server: server is doubt.server)
        return servers

    def _key(self, chunk: Chunk) -> bytes:
        return chunk.tag.encode("utf-8", "surrogatepass") if self.config.balance == "tag" else chunk.id

    def _note(self, chunk: Chunk, server: Server) -> None:
        """Have the next process know where the chunk may be, if not at its first choice."""
        if self.config.require_ack:
            # What comes first may be another one after a restart, if servers are found by a name.
            first = not self._makers and server is preference(self._key(chunk), self._servers)[0]
            self.context.checkpoints.note(self.context.name, chunk.id, "" if first else server.name)

    def _inherit_doubt(self, chunk: Chunk) -> _Doubt | None:
        """Find the server that may have the chunk of an earlier process."""
        if not chunk.resumed or not self.config.require_ack:
            return None
        choices = preference(self._key(chunk), self._servers)
        noted = self.context.checkpoints.noted(self.context.name, chunk.id)
        server = next((server for server in choices if server.name == noted), None)
        if server is None and noted and self._makers:
            make = self._makers[0]
            server = self._members.gone(noted, lambda: make(noted, ServerEndpoint.parse(noted)))
        server = server or choices[0]
        doubt = _Doubt(server, self.context.clock.monotonic() + self.config.failover_after)
        self._doubts[chunk.id] = doubt
        return doubt

    def _doubt(self, chunk: Chunk, server: Server, request: PendingFrame) -> None:
        """Remember that the server may have the chunk.

        Raises:
            ChunkTooLarge: it closed the connection time and again, and never took one so large.
        """
        self._acks_missing()
        doubt = self._doubts.pop(chunk.id, None)
        if doubt is None or doubt.server is not server:
            doubt = _Doubt(server, self.context.clock.monotonic() + self.config.failover_after)
        while len(self._doubts) >= _MOST_DOUBTS:  # chunks that were given up are never asked for again
            del self._doubts[next(iter(self._doubts))]
        self._doubts[chunk.id] = doubt
        doubt.request = request
        closed = not request.in_flight and not request.given_up
        refused = closed and doubt.cut(self.context.clock.monotonic())
        if refused and request.size > max(server.largest, _LEAST_HALVED):
            del self._doubts[chunk.id]
            self._halve(chunk, server, request.size)

    def _halve(self, chunk: Chunk, server: Server, size: int) -> NoReturn:
        about_zstd = ", or no zstd (Fluentd before 1.19 and the OpenTelemetry Collector do not know it)"
        self.context.log.warning(
            "Server %s closed the connection on a frame of %s bytes %d times and never acknowledged one so "
            "large; it may take none of this size%s. Smaller ones are sent; max_frame sets their size.",
            server, f"{size:,}", _MOST_CUTS, about_zstd if self.config.compress == "zstd" else "",
        )  # fmt: skip
        raise ChunkTooLarge(
            f"server {server} does not take frames of {size:,} bytes", limit_hint=chunk.size // 2
        )
