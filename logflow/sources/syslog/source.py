"""Listens, and hands messages on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Emit, Source
from logflow.config.fields import Address, Duration, NonEmpty, Size, parse_size
from logflow.config.options import SourceConfig
from logflow.config.tls import ServerTls
from logflow.errors import ComponentError, MalformedData
from logflow.net.complaints import Complaints
from logflow.net.listen import Listeners
from logflow.net.tls import HandshakeFailures, Tls
from logflow.sources.syslog.decoding import Decoder
from logflow.sources.syslog.framing import Frames
from logflow.sources.syslog.intake import Datagrams, Deadline
from logflow.timestamps import parse_timezone

_READ_BYTES = 64 << 10
_DEFAULT_PORT = 5140
_LAST_WORDS_S = 1.0
"""How long datagrams that have come may take to be admitted at a stop."""


class SyslogSource(Source):
    """Takes messages; nobody is told that they are safe, as syslog has no answers."""

    class Config(SourceConfig):
        """Options of the source ``syslog``."""

        type: Literal["syslog"] = "syslog"
        listen: Address | None = Field(
            None,
            description=f"Address of TCP and UDP; 127.0.0.1:{_DEFAULT_PORT} unless set, none with `unix`.",
        )
        udp: bool | None = Field(
            None,
            description="Take datagrams on the same address; unless set, only without `tls`.",
        )
        unix: Path | None = Field(None, description="Path of a unix socket for datagrams, as `/dev/log` is.")
        tls: ServerTls | None = Field(None, description="Encrypt TCP connections (RFC 5425).")
        tag: NonEmpty = Field("syslog", description="Tag of the events.")
        timezone: NonEmpty = Field("UTC", description="Zone of times without an offset, as in RFC 3164.")
        max_message: Size = Field(
            parse_size("64KiB"), ge=480, le=parse_size("16MiB"),
            description="Longest message; what is longer is cut there and counted.",
        )  # fmt: skip
        max_connections: int = Field(1024, ge=1, description="Most connections at once.")
        idle_timeout: Duration = Field(
            3600.0, gt=0, description="Silence between messages after which a connection is closed."
        )
        read_timeout: Duration = Field(
            60.0, gt=0, description="Longest time in which a message must come whole."
        )

        @model_validator(mode="after")
        def _check(self) -> SyslogSource.Config:
            parse_timezone(self.timezone)
            return self

    config: SyslogSource.Config

    def __init__(self, config: SyslogSource.Config, context: Context) -> None:
        super().__init__(config, context)
        self._decoder = Decoder(context, config.timezone, config.max_message)
        self._complaints = Complaints(context)
        self._handshake_failures = HandshakeFailures(context, self._complaints)
        counter = context.counter
        self._unparsed = counter("messages_unparsed", "Messages of no known form; kept as they were.")
        self._truncated = counter("messages_truncated", "Messages that were cut at max_message.")
        self._malformed = counter("frames_malformed", "Connections closed because a length was wrong.")
        self._refused = counter("connections_refused", "Connections over max_connections.")
        self._timed_out = counter(
            "connections_timed_out", "Connections closed because they were silent or too slow."
        )
        self._listeners: Listeners | None = None
        self._datagrams: Datagrams | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._emit: Emit | None = None

    @property
    def port(self) -> int:
        """The port in use, once opened: tells which one was chosen for port 0."""
        assert self._listeners is not None
        return self._listeners.port

    async def open(self) -> None:
        """Listen; messages wait until :meth:`run`.

        Raises:
            ComponentError: an address is taken, or a certificate cannot be used.
        """
        config = self.config
        address = config.listen or (None if config.unix else ("127.0.0.1", _DEFAULT_PORT))
        tls = Tls(config.tls.context(), config.read_timeout, self._handshake_failures) if config.tls else None
        udp = config.udp if config.udp is not None else tls is None
        datagrams = self._datagrams = Datagrams(self._drop_datagram)
        listeners = Listeners(
            address, None, tls,
            datagrams=(lambda: datagrams) if udp else None,
            unix_datagrams=(config.unix, lambda: datagrams) if config.unix else None,
            complain=self._complaints,
        )  # fmt: skip
        try:
            await listeners.open()
        except OSError as error:
            raise ComponentError(
                f"source {self.context.name}: cannot listen on {error.filename}: {error.strerror or error}; "
                "stop what listens there, or set another address"
            ) from error
        self._listeners = listeners

    async def run(self, emit: Emit) -> None:
        """Take messages until cancelled; then hand on what has come."""
        if self._listeners is None:
            await self.open()
        assert self._listeners is not None
        assert self._datagrams is not None
        self._emit = emit
        try:
            await self._listeners.serve(self._accept)
            while True:
                await self._datagrams.come.wait()
                await self._take_datagrams(emit)
        finally:
            self._close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._take_datagrams(emit)

    async def preview(self, data: bytes, path: str | None = None) -> Sequence[Batch]:  # noqa: ARG002
        """Return what a connection that sent ``data`` and ended would give."""
        frames = Frames(self.config.max_message)
        messages = frames.feed(data)
        rest = frames.rest()
        return [self._batch([*messages, *([rest] if rest else [])], "")]

    async def close(self) -> None:
        """Stop to listen."""
        self._close()

    def _close(self) -> None:
        if self._listeners is not None:
            self._listeners.close()
            self._listeners = None

    def _drop_datagram(self) -> None:
        if self._emit is not None:
            self._emit.dropped(self.config.tag, 1, "datagram_overflow")

    async def _take_datagrams(self, emit: Emit) -> None:
        assert self._datagrams is not None
        limit = self.config.max_message
        for peer, messages in self._datagrams.take().items():
            self._truncated(sum(len(message) > limit for message in messages))
            cut = [message[:limit] for message in messages if message]
            if cut:
                await emit(self._batch(cut, peer))

    def _batch(self, messages: Sequence[bytes], peer: str) -> Batch:
        entries, unparsed = self._decoder.decode(messages, self.context.clock.time_ns())
        self._unparsed(unparsed)
        return Batch(self.config.tag, entries, len(messages), attributes={"peer": peer} if peer else {})

    # -- connections ------------------------------------------------------------------------------

    def _accept(self) -> asyncio.BaseProtocol:
        reader = asyncio.StreamReader(limit=_READ_BYTES)
        return asyncio.StreamReaderProtocol(reader, self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = (writer.get_extra_info("peername") or ("unknown", 0))[:2]
        if len(self._connections) >= self.config.max_connections:
            self._refused()
            self._complaints("Connections over max_connections are refused.", host)
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer, host, port))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        frames = Frames(self.config.max_message)
        peer = f"{host}:{port}"
        try:
            await self._read(reader, frames, peer)
        except MalformedData as error:
            self._malformed()
            self._complaints(f"The connection of {host} is closed, as {error}.", host)
        except TimeoutError:
            self._timed_out()
        except OSError:  # it went away
            pass
        finally:
            writer.transport.abort()
            if rest := frames.rest():
                await self._hand_on([rest], peer)

    async def _read(self, reader: asyncio.StreamReader, frames: Frames, peer: str) -> None:
        clock = self.context.clock
        deadline = Deadline(self.config.idle_timeout, self.config.read_timeout, clock.monotonic())
        while True:
            async with asyncio.timeout(max(0.0, deadline.left_s(clock.monotonic()))):
                data = await reader.read(_READ_BYTES)
            if not data:
                return
            before = frames.truncated
            messages = frames.feed(data)
            self._truncated(frames.truncated - before)
            deadline.after(frames.held, clock.monotonic(), whole=bool(messages))
            if messages:
                await self._hand_on(messages, peer)
            if frames.broken:
                raise MalformedData("a length of a message was wrong")

    async def _hand_on(self, messages: Sequence[bytes], peer: str) -> None:
        assert self._emit is not None
        await self._emit(self._batch(messages, peer))
