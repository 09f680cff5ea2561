"""Source ``udp_lines``: each line of a datagram is an event."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, ClassVar, Literal

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Emit, Source
from logflow.config.fields import Address, NonEmpty
from logflow.config.options import SourceConfig
from logflow.errors import ComponentError

_DATAGRAM_BYTES = 64 * 1024


class UdpLinesSource(Source):
    """Listens for datagrams. UDP has no acks: what comes while outputs are full, the system drops."""

    class Config(SourceConfig):
        """Options of the source ``udp_lines``."""

        type: Literal["udp_lines"] = "udp_lines"
        listen: Address = Field(description="Address to listen on.")
        tag: NonEmpty = Field(description="Tag of the events.")
        example: ClassVar[dict[str, Any]] = {"listen": "127.0.0.1:0", "tag": "udp"}

    _socket: socket.socket | None = None

    async def open(self) -> None:
        """Bind the socket."""
        host, port = self.config.listen
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # noqa: FBT003
        try:
            self._socket.bind((host, port))
        except OSError as error:
            await self.close()
            raise ComponentError(f"cannot listen on {host}:{port}: {error.strerror}") from error

    async def run(self, emit: Emit) -> None:
        """Emit what comes."""
        assert self._socket is not None
        while True:
            data = await asyncio.get_running_loop().sock_recv(self._socket, _DATAGRAM_BYTES)
            now_ns = self.context.clock.time_ns()
            lines = [line.decode(errors="replace") for line in data.splitlines() if line]
            if lines:
                events = [(now_ns, {"message": line}) for line in lines]
                await emit(Batch.from_events(self.config.tag, events))

    async def close(self) -> None:
        """Release the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
