"""Source ``toy_syslog``: lines over TCP and UDP that may begin with a priority, such as ``<13>``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Emit, Source
from logflow.config.fields import Address, NonEmpty
from logflow.net.line_server import LineServer, LineServerConfig

_PRIORITY = re.compile(rb"<(\d{1,3})>")


class ToySyslogSource(Source):
    """TLS, the PROXY protocol, limits and reloads are the server's; a message is all that is left."""

    class Config(LineServerConfig):
        """Options of the source ``toy_syslog``."""

        type: Literal["toy_syslog"] = "toy_syslog"
        listen: Address = Field(("127.0.0.1", 5140), description="Address to listen on.")
        tag: NonEmpty = Field("syslog", description="Tag of the events.")
        example: ClassVar[dict[str, Any]] = {"listen": "127.0.0.1:0"}

    def __init__(self, config: ToySyslogSource.Config, context: Context) -> None:
        super().__init__(config, context)
        self._server = LineServer(context, config, config.listen, udp=config.tls is None)

    @property
    def port(self) -> int:
        """The port in use, once opened."""
        return self._server.port

    async def open(self) -> None:
        """Listen."""
        await self._server.open()

    async def run(self, emit: Emit) -> None:
        """Emit what comes."""
        tag = self.config.tag

        async def take(messages: Sequence[bytes], peer: str) -> None:
            now_ns = self.context.clock.time_ns()
            events = [(now_ns, _record(message)) for message in messages]
            await emit(Batch.from_events(tag, events, attributes={"peer": peer}))

        await self._server.run(take, lambda datagrams: emit.dropped(tag, datagrams, "datagram_overflow"))

    async def close(self) -> None:
        """Stop listening."""
        self._server.close()


def _record(message: bytes) -> dict[str, Any]:
    found = _PRIORITY.match(message)
    text = message[found.end() if found else 0 :].decode(errors="replace")
    return {"severity": int(found[1]) % 8, "message": text} if found else {"message": text}
