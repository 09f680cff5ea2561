"""Listens, and hands messages on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from logflow.batch import Batch
from logflow.component import Context, Emit, Source
from logflow.config.fields import Address, NonEmpty
from logflow.net.framing import Framing
from logflow.net.line_server import LineServer, LineServerConfig
from logflow.sources.syslog.decoding import Decoder
from logflow.timestamps import parse_timezone

_DEFAULT_PORT = 5140


class SyslogSource(Source):
    """Takes messages; nobody is told that they are safe, as syslog has no answers."""

    class Config(LineServerConfig):
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
        tag: NonEmpty = Field("syslog", description="Tag of the events.")
        timezone: NonEmpty = Field("UTC", description="Zone of times without an offset, as in RFC 3164.")

        @model_validator(mode="after")
        def _check(self) -> SyslogSource.Config:
            parse_timezone(self.timezone)
            return self

    config: SyslogSource.Config

    def __init__(self, config: SyslogSource.Config, context: Context) -> None:
        super().__init__(config, context)
        self._decoder = Decoder(context, config.timezone, config.max_message)
        self._unparsed = context.counter("messages_unparsed", "Messages of no known form; kept as they were.")
        self._server = LineServer(
            context, config, config.listen or (None if config.unix else ("127.0.0.1", _DEFAULT_PORT)),
            counted=True,
            udp=config.udp if config.udp is not None else config.tls is None,
            unix_datagrams=config.unix,
        )  # fmt: skip

    @property
    def port(self) -> int:
        """The port in use, once opened: tells which one was chosen for port 0."""
        return self._server.port

    async def open(self) -> None:
        """Listen; messages wait until :meth:`run`.

        Raises:
            ComponentError: an address is taken, or a certificate cannot be used.
        """
        await self._server.open()

    async def run(self, emit: Emit) -> None:
        """Take messages until cancelled; then hand on what has come."""

        async def take(messages: Sequence[bytes], peer: str) -> None:
            await emit(self._batch(messages, peer))

        def overflowed(datagrams: int) -> None:
            emit.dropped(self.config.tag, datagrams, "datagram_overflow")

        await self._server.run(take, overflowed)

    async def preview(self, data: bytes, path: str | None = None) -> Sequence[Batch]:  # noqa: ARG002
        """Return what a connection that sent ``data`` and ended would give."""
        frames = Framing(self.config.max_message, counted=True)
        messages = frames.feed(data)
        rest = frames.rest()
        return [self._batch([*messages, *([rest] if rest else [])], "")]

    async def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def _batch(self, messages: Sequence[bytes], peer: str) -> Batch:
        entries, unparsed = self._decoder.decode(messages, self.context.clock.time_ns())
        self._unparsed(unparsed)
        return Batch(self.config.tag, entries, len(messages), attributes={"peer": peer} if peer else {})
