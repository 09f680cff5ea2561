"""Output ``syslog``: RFC 5424 over TCP or TLS (RFC 6587, RFC 5425), or over UDP (RFC 5426).

Syslog has no acknowledgements: what this machine's kernel took counts as delivered. A server that dies, or a
connection that breaks, loses what was on its way; over UDP anything may be lost.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from contextlib import suppress

from logflow.batch import Chunk
from logflow.component import Context, Output
from logflow.errors import ChunkTooLarge, DeliveryError
from logflow.outputs.syslog.messages import Messages, SyslogOptions

_SLICE_BYTES = 64 << 10


class SyslogOutput(Output):
    """Sends messages over one connection, one chunk after the other."""

    class Config(SyslogOptions):
        """Options of the output ``syslog``."""

    groups = True
    config: SyslogOutput.Config

    def __init__(self, config: SyslogOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        self._messages = Messages(config, context)
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None
        self._udp: socket.socket | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Connect."""
        async with self._turn:
            await self._connect()

    async def close(self) -> None:
        """Disconnect."""
        self._drop()

    async def write(self, chunk: Chunk) -> None:
        """Send a chunk."""
        async with self._turn:
            messages = await asyncio.to_thread(lambda: [*self._messages.of(chunk)])
            try:
                if not self._usable:
                    await self._connect()
                if self._udp is not None:
                    await self._send_datagrams(self._udp, messages)
                else:
                    await self._send(messages)
            except OSError as error:
                self._drop()
                if error.errno == errno.EMSGSIZE:
                    raise ChunkTooLarge(
                        "a message is larger than a datagram may be; lower max_message"
                    ) from error
                raise self._undelivered(error) from error
            except BaseException:  # half a message may be on its way
                self._drop()
                raise

    async def _send(self, messages: Sequence[bytes]) -> None:
        assert self._writer is not None
        framed = bytearray()
        for message in messages:
            framed += b"%d %b" % (len(message), message)
            if len(framed) > _SLICE_BYTES:
                self._writer.write(bytes(framed))
                framed.clear()
                await self._writer.drain()
        self._writer.write(bytes(framed))
        # Not only handed over to the event loop: until the kernel has all of it.
        self._writer.transport.set_write_buffer_limits(high=0)
        await self._writer.drain()
        if self._writer.is_closing():
            raise ConnectionResetError("the connection was closed")

    async def _send_datagrams(self, udp: socket.socket, messages: Sequence[bytes]) -> None:
        loop = asyncio.get_running_loop()
        for message in messages:
            await loop.sock_sendall(udp, message)

    @property
    def _usable(self) -> bool:
        """Whether there is a connection that the server has not closed."""
        if self._udp is not None:
            return True
        if self._writer is None or self._reader is None:
            return False
        return not (self._writer.is_closing() or self._reader.at_eof())

    async def _connect(self) -> None:
        self._drop()
        host, port = self.config.address
        tls = self.config.tls
        try:
            async with asyncio.timeout(self.config.connect_timeout):
                if self.config.protocol == "udp":
                    self._udp = await self._datagrams(host, port)
                else:
                    self._reader, self._writer = await asyncio.open_connection(
                        host, port, ssl=tls.context() if tls else None,
                        server_hostname=(tls.server_name or host) if tls else None,
                    )  # fmt: skip
        except (OSError, TimeoutError) as error:
            raise self._undelivered(error) from error

    async def _datagrams(self, host: str, port: int) -> socket.socket:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        family, kind, number, _, address = found[0]
        udp = socket.socket(family, kind, number)
        udp.settimeout(0)
        udp.connect(address)
        return udp

    def _drop(self) -> None:
        writer, self._writer, self._reader = self._writer, None, None
        udp, self._udp = self._udp, None
        if udp is not None:
            udp.close()
        if writer is not None:
            with suppress(Exception):
                writer.transport.abort()

    def _undelivered(self, error: BaseException) -> DeliveryError:
        host, port = self.config.address
        text = " ".join(str(error).split()) or "no answer in time"
        return DeliveryError(f"the syslog server at {host}:{port} cannot be reached: {text}")
