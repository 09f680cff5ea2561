"""Source ``udp_lines``: each line of a datagram is an event."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Emit, Source
from logflow.config.fields import Address, NonEmpty
from logflow.config.options import SourceConfig
from logflow.net.datagrams import DatagramListener


class UdpLinesSource(Source):
    """Listens for datagrams; those that come faster than the outputs take them are dropped and counted."""

    class Config(SourceConfig):
        """Options of the source ``udp_lines``."""

        type: Literal["udp_lines"] = "udp_lines"
        listen: Address = Field(description="Address to listen on.")
        tag: NonEmpty = Field(description="Tag of the events.")
        example: ClassVar[dict[str, Any]] = {"listen": "127.0.0.1:0", "tag": "udp"}

    def __init__(self, config: UdpLinesSource.Config, context: Context) -> None:
        super().__init__(config, context)
        self._listener = DatagramListener(context, config.listen)

    async def open(self) -> None:
        """Bind the socket."""
        await self._listener.open()

    async def run(self, emit: Emit) -> None:
        """Emit what comes."""
        tag = self.config.tag

        def overflowed(datagrams: int) -> None:
            emit.dropped(tag, datagrams, "datagram_overflow")

        async for peer, datagrams in self._listener.receive(overflowed):
            now_ns = self.context.clock.time_ns()
            lines = [
                line.decode(errors="replace") for data in datagrams for line in data.splitlines() if line
            ]
            if lines:
                events = [(now_ns, {"message": line}) for line in lines]
                await emit(Batch.from_events(tag, events, attributes={"peer": peer}))

    async def close(self) -> None:
        """Release the socket."""
        self._listener.close()
