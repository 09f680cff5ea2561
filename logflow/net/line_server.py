"""Lines and other short messages that come over TCP, and beside it as datagrams: all but what they mean.

::

    accept ──► (PROXY header) ──► (TLS) ──► within max_connections? ──► read ──► take(messages, peer)
                                                                          ▲           │ back-pressure
                                                                          └───────────┘
    closed when   silent for idle_timeout   a message takes longer than read_timeout   a length is wrong

Messages are handed on a few at a time, and connections have turns (``turns.py``), so that the event loop is
not held. What is there of messages that are not whole is a share of the memory of the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from pydantic import Field

from logflow.component import Context
from logflow.config.fields import Duration, Size, parse_size
from logflow.errors import MalformedData
from logflow.memory import Lease, Share
from logflow.net.complaints import Complaints
from logflow.net.datagrams import Datagrams
from logflow.net.framing import Framing
from logflow.net.listen import ListenerConfig, Listeners
from logflow.net.turns import Turn, Turns

_READ_BYTES = 64 << 10
_AT_ONCE = 100
"""Messages that are handed on at once."""
_UNFINISHED_BYTES = 64 << 20
"""Most bytes of messages that are not whole, over all connections."""
_LAST_WORDS_S = 1.0
"""How long datagrams that have come may take to be admitted at a stop."""

Take: TypeAlias = Callable[[Sequence[bytes], str], Awaitable[object]]
"""Takes messages and the address of who sent them (``host:port``, ``unix``); waits under back-pressure."""


class LineServerConfig(ListenerConfig):
    """Options of a source that is a :class:`LineServer`."""

    max_message: Size = Field(
        parse_size("64KiB"), ge=480, le=parse_size("16MiB"),
        description="Longest message; what is longer is cut there and counted.",
    )  # fmt: skip
    idle_timeout: Duration = Field(
        3600.0, gt=0, description="Silence between messages after which a connection is closed."
    )
    read_timeout: Duration = Field(60.0, gt=0, description="Longest time in which a message must come whole.")


class LineServer:
    """Takes messages; those who send them get no answer."""

    def __init__(
        self,
        context: Context,
        config: LineServerConfig,
        address: tuple[str, int] | None,
        *,
        counted: bool = False,
        udp: bool = False,
        unix_datagrams: Path | None = None,
    ) -> None:
        """Describe it; nothing is opened yet.

        Args:
            context: the component's context.
            config: limits, and how connections are encrypted.
            address: host and port; port 0 has the system choose, and ``::`` takes IPv4 too.
            counted: a message may also begin with its length (RFC 6587).
            udp: take datagrams on the same address; each is a message.
            unix_datagrams: path of a unix socket for datagrams.
        """
        self._context = context
        self._config = config
        self._counted = counted
        self._complaints = Complaints(context)
        self._datagrams = Datagrams()
        self._listeners = Listeners(
            context, address, config, self._complaints, handshake_s=config.read_timeout,
            datagrams=(lambda: self._datagrams) if udp else None,
            unix_datagrams=(unix_datagrams, lambda: self._datagrams) if unix_datagrams else None,
        )  # fmt: skip
        self._connections: set[asyncio.Task[None]] = set()
        self._turns = Turns()
        self._share: Share | None = None
        counter = context.counter
        self._truncated = counter("messages_truncated", "Messages that were cut at max_message.")
        self._malformed = counter("frames_malformed", "Connections closed because a length was wrong.")
        self._refused = counter("connections_refused", "Connections over max_connections.")
        self._timed_out = counter(
            "connections_timed_out", "Connections closed because they were silent or too slow."
        )

    @property
    def port(self) -> int:
        """The port in use, once opened: tells which one was chosen for port 0."""
        return self._listeners.port

    async def open(self) -> None:
        """Listen; messages wait until :meth:`run`.

        Raises:
            ComponentError: an address is taken, or a certificate cannot be used.
        """
        await self._listeners.open()

    async def run(self, take: Take, overflowed: Callable[[int], None]) -> None:
        """Take messages until cancelled; then hand on what has come.

        Args:
            take: called for each part of a connection that holds messages, and for datagrams.
            overflowed: told how many datagrams had no room; account for them with ``emit.dropped``.
        """
        limit = self._config.max_message
        self._share = self._context.memory.share(max(_UNFINISHED_BYTES, 2 * limit), alone_bytes=limit)
        turn = Turn(self._turns)
        try:
            await self._listeners.serve(lambda: self._accept(take))
            async for peer, datagrams in self._datagrams.receive(overflowed):
                await self._take_datagrams(datagrams, peer, take, turn)
        finally:
            self.close()
            self._share.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            async with asyncio.timeout(_LAST_WORDS_S):
                for peer, datagrams in self._datagrams.take(overflowed):
                    await self._take_datagrams(datagrams, peer, take, turn)

    def close(self) -> None:
        """Stop listening. Safe twice, and without :meth:`open`."""
        self._listeners.close()

    async def _take_datagrams(self, datagrams: Sequence[bytes], peer: str, take: Take, turn: Turn) -> None:
        limit = self._config.max_message
        self._truncated(sum(len(datagram) > limit for datagram in datagrams))
        if messages := [datagram[:limit] for datagram in datagrams if datagram]:
            await _hand_on(messages, peer, take, turn)

    # -- connections ------------------------------------------------------------------------------

    def _accept(self, take: Take) -> asyncio.BaseProtocol:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._connected(reader, writer, take)

        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=_READ_BYTES), connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, take: Take) -> None:
        host, port = (writer.get_extra_info("peername") or ("unknown", 0))[:2]
        if len(self._connections) >= self._config.max_connections:
            self._refused()
            self._complaints("Connections over max_connections are refused.", host)
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer, host, port, take))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, take: Take
    ) -> None:
        frames = Framing(self._config.max_message, counted=self._counted)
        peer = f"{host}:{port}"
        assert self._share is not None
        lease = self._share.lease()
        try:
            await self._read(reader, frames, peer, take, lease)
        except MalformedData as error:
            self._malformed()
            self._complaints(f"The connection of {host} is closed, as {error}.", host)
        except TimeoutError:
            self._timed_out()
        except OSError:  # it went away
            pass
        finally:
            lease.release()
            writer.transport.abort()
            if rest := frames.rest():
                await take([rest], peer)

    async def _read(
        self, reader: asyncio.StreamReader, frames: Framing, peer: str, take: Take, lease: Lease
    ) -> None:
        clock, turn = self._context.clock, Turn(self._turns)
        deadline = _Deadline(self._config.idle_timeout, self._config.read_timeout, clock.monotonic())
        while True:
            async with asyncio.timeout(max(0.0, deadline.left_s(clock.monotonic()))):
                await lease.reach(frames.kept + _READ_BYTES if frames.kept else 0)
                data = await reader.read(_READ_BYTES)
            if not data:
                return
            before = frames.truncated
            messages = frames.feed(data)
            self._truncated(frames.truncated - before)
            deadline.after(frames.held, clock.monotonic(), whole=bool(messages))
            if messages:
                await turn.begin()
                await _hand_on(messages, peer, take, turn)
            if frames.broken:
                raise MalformedData("a length of a message was wrong")


async def _hand_on(messages: Sequence[bytes], peer: str, take: Take, turn: Turn) -> None:
    for start in range(0, len(messages), _AT_ONCE):
        await take(messages[start : start + _AT_ONCE], peer)
        await turn.go_on()


class _Deadline:
    """How long a read may take: a message that has begun must come whole in time."""

    def __init__(self, idle_s: float, message_s: float, now_s: float) -> None:
        self._idle_s = idle_s
        self._message_s = message_s
        self._begun_s = now_s
        self._open = False

    def after(self, held: int, now_s: float, *, whole: bool) -> None:
        """Something was read: ``held`` bytes of a message are there, and whether another one was whole."""
        if whole or not self._open:
            self._begun_s = now_s
        self._open = held > 0

    def left_s(self, now_s: float) -> float:
        """Seconds from now."""
        return self._begun_s + (self._message_s if self._open else self._idle_s) - now_s
