"""A connection of HTTP/2: what a client and a server have in common.

What comes in is given to :meth:`Http2.handle` as events of the library; what is to go out is written after
each piece that came. A peer that does not read what we answer is not read from either.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, ConnectionState, H2Connection, H2ConnectionStateMachine
from h2.errors import ErrorCodes
from h2.events import Event, RemoteSettingsChanged, WindowUpdated
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

_STREAM_WINDOW_BYTES = 1 << 20
_WINDOW_BYTES = 4 << 20
"""What may come on one stream, and on all of a connection, before we have taken it."""
_DEFAULT_WINDOW_BYTES = 65_535
_HEADER_BYTES = 16 << 10
"""Most bytes of the headers of one call."""
_WRITE_BYTES = 256 << 10
"""What is written at once."""

Headers = list[tuple[str, str]]


class _States(H2ConnectionStateMachine):
    """Calls under way go on after a GOAWAY (RFC 9113, section 6.8); for the library it would end them."""

    _transitions = {  # noqa: RUF012 - as the library has it
        **H2ConnectionStateMachine._transitions,  # noqa: SLF001 - there is no other way
        **{
            (state, way): (None, state)
            for state in (ConnectionState.IDLE, ConnectionState.CLIENT_OPEN, ConnectionState.SERVER_OPEN)
            for way in (ConnectionInputs.SEND_GOAWAY, ConnectionInputs.RECV_GOAWAY)
        },
    }


class Http2(asyncio.Protocol, ABC):
    """One connection.

    Args:
        client: whether it is the client's end.
        streams: most that the peer may have open at once; 0 for clients, to whom nobody opens any.
    """

    def __init__(self, *, client: bool, streams: int = 0) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=client, header_encoding=None))
        values = {
            SettingCodes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW_BYTES,
            SettingCodes.MAX_HEADER_LIST_SIZE: _HEADER_BYTES,
            SettingCodes.MAX_CONCURRENT_STREAMS: streams,
        }
        if client:
            values[SettingCodes.ENABLE_PUSH] = 0
        self.h2.state_machine = _States()
        self.h2.local_settings = Settings(client=client, initial_values=values)
        self.h2.decoder.max_header_list_size = _HEADER_BYTES
        self.transport: asyncio.Transport | None = None
        self._moved = asyncio.Event()
        self._writable = True

    @abstractmethod
    def handle(self, event: Event) -> None:
        """Take an event."""

    @abstractmethod
    def broken(self, error: ProtocolError) -> None:
        """The peer does not speak the protocol; the connection ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(_WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        try:
            for event in self.h2.receive_data(data):
                if self.transport is None or self.transport.is_closing():
                    return
                if isinstance(event, WindowUpdated | RemoteSettingsChanged):
                    self.moved()
                self.handle(event)
        except ProtocolError as error:
            self.broken(error)
            self.hang_up()
        else:
            self.flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Let those go on who wait to send."""
        self.transport = None
        self.moved()

    def pause_writing(self) -> None:
        """The peer does not read: neither do we."""
        self._writable = False
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer has read."""
        self._writable = True
        if self.transport is not None:
            self.transport.resume_reading()
        self.moved()

    def flush(self) -> None:
        """Write what is to go out."""
        if (
            self.transport is not None
            and not self.transport.is_closing()
            and (data := self.h2.data_to_send())
        ):
            self.transport.write(data)

    def hang_up(self, error: ErrorCodes | None = None) -> None:
        """Close the connection once what is to go out has been written; with an error, say it."""
        if self.transport is not None and not self.transport.is_closing():
            if error is not None:
                self.h2.close_connection(error)
            self.flush()
            self.transport.close()

    def moved(self) -> None:
        """Let those look again who wait for room to send."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def wait(self) -> None:
        """Wait until something has changed for those who send."""
        await self._moved.wait()

    async def send(self, stream_id: int, slices: Iterable[bytes]) -> None:
        """Send data on a stream, as fast as the peer takes it; the stream stays open.

        Raises:
            ProtocolError: the stream has ended.
            ConnectionError: the connection has.
        """
        unwritten = 0
        for part in slices:
            view, at = memoryview(part), 0
            while at < len(view):
                room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
                if room <= 0 or unwritten >= _WRITE_BYTES or not self._writable:
                    self.flush()
                    unwritten = 0
                    await (self.wait() if room <= 0 or not self._writable else asyncio.sleep(0))
                    if self.transport is None:
                        raise ConnectionResetError("the connection was lost")
                    continue
                self.h2.send_data(stream_id, bytes(view[at : at + room]))
                at += room
                unwritten += room
        self.flush()


def decode(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by their names, which HTTP/2 has in lower case; of those that are there twice, the last."""
    return {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in headers}
