"""The ``forward`` source: Fluentd, Fluent Bit, Docker, ``fluent-logger`` libraries and logflow send here.

Speaks the Forward Protocol v1 over TCP (with TLS if asked) or a unix socket. A request with a chunk id is
acknowledged when its events are safe, and carries a key by which the buffer recognises it when it comes
again (``logflow.forward.identity``).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from logflow.component import Context, Emit, Source
from logflow.config.fields import Address, Duration, NonEmpty, Size, parse_size
from logflow.config.options import Options
from logflow.config.secrets import StaticSecret
from logflow.forward.endpoint import DEFAULT_PORT
from logflow.forward.handshake import ServerSecrets
from logflow.forward.heartbeats import Heartbeats
from logflow.forward.intake import PART_BYTES, RequestPart
from logflow.forward.partials import Partials
from logflow.forward.receiver import Receiver
from logflow.forward.shared import ReceiverContext, ReceiverLimits
from logflow.memory import Share
from logflow.net.complaints import Complaints
from logflow.net.listen import ListenerConfig, Listeners
from logflow.net.tags import DEFAULT_MAX_TAGS, MaxTags, Tags

_STOP_GRACE_S = 1.0
_PRESSURE_S = 0.5
"""How often it is looked whether somebody waits for memory."""
_CHECK_S = 2.5
"""How often it is looked for connections that are silent, or slow, for too long."""


class User(Options):
    """A user that clients may log in as."""

    username: NonEmpty = Field(description="The user's name.")
    password: StaticSecret = Field(description="The user's password.")


class ForwardSource(Source):
    """Listens, and keeps the connections."""

    class Config(ListenerConfig):
        """Options of the ``forward`` source."""

        listen: Address | None = Field(
            None,
            description="Address to listen on; 127.0.0.1:24224 unless set, none when only `unix` is set.",
        )
        unix: Path | None = Field(None, description="Path of a unix socket to listen on.")
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
            parse_size("64MiB"), ge=256, description="Largest frame, as sent and when decompressed."
        )
        memory_limit: Size = Field(
            parse_size("256MiB"),
            gt=0,
            description="Most memory for what is received and opened and not yet handed on, over all "
            "connections; the rest waits in the clients' sockets. A share of the process's `memory_limit`.",
        )
        group_fields: bool = Field(
            default=True,
            description="Add the fields of a group of records, as Fluent Bit frames them, to its events.",
        )
        join_partial: bool = Field(
            default=True,
            description="Put messages together that Docker's log driver has cut into pieces.",
        )
        max_tags: MaxTags = DEFAULT_MAX_TAGS
        idle_timeout: Duration = Field(
            3600.0, gt=0, description="Silence between frames after which a connection is closed."
        )
        read_timeout: Duration = Field(
            60.0, gt=0, description="Silence within a frame after which a connection is closed."
        )

    def __init__(self, config: ForwardSource.Config, context: Context) -> None:
        super().__init__(config, context)
        self.config: ForwardSource.Config = config
        self._shared: ReceiverContext | None = None
        self._listeners: Listeners | None = None
        self._complaints = Complaints(context)
        self._shares: tuple[Share, ...] = ()
        self._mended = {
            "time_missing": context.counter(
                "times_missing", "Events without a time; they got that of arrival."
            ),
            "time_scaled": context.counter(
                "times_scaled",
                "Times in ms, us or ns where seconds are expected; they were put right.",
            ),
            "time_clamped": context.counter(
                "times_clamped", "Times before 1970 or after 2106; they became the nearest possible."
            ),
            "group_too_large": context.counter(
                "groups_too_large", "Groups whose fields are too many to be added to each event."
            ),
        }

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
        listeners = Listeners(
            self.context, address, config, self._complaints, handshake_s=config.read_timeout,
            unix=config.unix, datagrams=Heartbeats if config.udp_heartbeat else None,
        )  # fmt: skip
        await listeners.open()
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
            if shared.partials is not None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(shared.partials.flush(), _STOP_GRACE_S)

    async def drain(self) -> None:
        """Close the connections: answers that could be given have been given by now."""
        self._close_listeners()
        if self._shared is not None:
            for receiver in list(self._shared.receivers):
                receiver.close()
            self._shared = None
            await asyncio.sleep(0)
        for share in self._shares:
            share.close()
        self._shares = ()

    def _close_listeners(self) -> None:
        if self._listeners is not None:
            self._listeners.close()
            self._listeners = None

    def _make_shared(self, emit: Emit, tasks: _Tasks) -> ReceiverContext:
        config, context = self.config, self.context
        secrets = None
        if config.shared_key or config.users:
            secrets = ServerSecrets(
                config.self_hostname or socket.gethostname(),
                config.shared_key.get_secret_value().encode() if config.shared_key else b"",
                {u.username.encode(): u.password.get_secret_value().encode() for u in config.users},
            )
        half = config.memory_limit // 2
        # A frame may be looked for that is as large as allowed; whoever is first may have all of it.
        reading = context.memory.share(half, alone_bytes=min(config.max_frame, half // 2))
        opening = context.memory.share(half, alone_bytes=min(4 * PART_BYTES, half // 2))
        self._shares = (reading, opening)
        partials = Partials(context, emit, opening.lease(), tasks.spawn) if config.join_partial else None
        return ReceiverContext(
            engine=context.engine, clock=context.clock, emit=emit, secrets=secrets,
            limits=ReceiverLimits(
                config.max_frame, config.max_connections, config.idle_timeout, config.read_timeout
            ),
            reading=reading,
            opening=opening,
            groups=config.group_fields,
            tags=Tags(config.max_tags, context),
            partials=partials,
            account=partial(self._account, emit),
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

    def _account(self, emit: Emit, tag: str, address: str, part: RequestPart) -> None:
        """Account for events that are no good, or were put right."""
        for reason, events in part.skipped.items():
            emit.dropped(tag, events, reason)
        for what, events in part.mended.items():
            self._mended[what](events)
        if part.skipped:
            reasons = ", ".join(f"{events} ({reason})" for reason, events in part.skipped.items())
            self._complaints(
                f"Left out events of {tag!r} from {address} that are no good: {reasons}.", address
            )

    async def _expire_connections(self, shared: ReceiverContext) -> None:
        config, clock = self.config, self.context.clock
        interval_s = min(config.idle_timeout / 4, config.read_timeout / 4, _CHECK_S)
        grants, next_s = 0, clock.monotonic() + interval_s
        while True:
            await clock.sleep(min(interval_s, _PRESSURE_S))
            now_s = clock.monotonic()
            if shared.reading.waiting and shared.reading.grants == grants:
                _make_way(shared, now_s)
            grants = shared.reading.grants
            if now_s >= next_s:
                next_s = now_s + interval_s
                for receiver in list(shared.receivers):
                    receiver.expire(now_s)


def _make_way(shared: ReceiverContext, now_s: float) -> None:
    """Take memory from those whose frames come slowest, as others have waited for a while."""
    slow = [(slowness, receiver) for receiver in shared.receivers if (slowness := receiver.slowness(now_s))]
    slow.sort(key=lambda pair: pair[0], reverse=True)
    for _, receiver in slow[: shared.reading.waiting]:
        receiver.give_way()


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
