"""Accepts TLS connections, and says whose handshake failed and why: asyncio's own server does not.

::

    accept ──► handshake ──► the connection's protocol is made and connected
                   └───────► failed: told to the owner; a client that only left is not worth a word
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from logflow.component import Context

_HANDSHAKES = 512
"""Most handshakes at once; further clients wait to be accepted."""

_PAUSE_S = 0.1
"""Pause after an error of accepting, such as too many open files."""


@dataclass(frozen=True)
class Tls:
    """How connections are encrypted.

    Attributes:
        context: certificates and what clients must show.
        handshake_timeout_s: longest time for a handshake.
        failed: told the client's address and why its handshake failed.
    """

    context: ssl.SSLContext
    handshake_timeout_s: float
    failed: Callable[[str, str], None]


class HandshakeFailures:
    """Counts and logs handshakes that failed."""

    def __init__(self, context: Context, complain: Callable[[str], None]) -> None:
        self._count = context.counter(
            "tls_handshakes_failed", "TLS handshakes that failed, without those of clients that only left."
        )
        self._complain = complain

    def __call__(self, address: str, why: str) -> None:
        """Tell of one: the client's address, and why."""
        self._count()
        self._complain(f"The TLS handshake with {address} failed: {why}.")


class TlsAcceptor:
    """Accepts on one listening socket, from the start until :meth:`close`."""

    def __init__(self, tls: Tls, listener: socket.socket, accept: Callable[[], asyncio.BaseProtocol]) -> None:
        """Begin.

        Args:
            tls: how connections are encrypted.
            listener: a listening socket; it stays its owner's to close, after :meth:`close`.
            accept: makes the protocol of each connection.
        """
        self._tls = tls
        self._listener = listener
        self._accept = accept
        self._room = asyncio.Semaphore(_HANDSHAKES)
        self._handshakes: set[asyncio.Task[None]] = set()
        listener.settimeout(0.0)
        self._accepting = asyncio.create_task(self._run())

    def close(self) -> None:
        """Accept no more and end the handshakes; connections stay. Safe twice."""
        self._accepting.cancel()
        # At once: its number may be that of another socket by the time that the task ends.
        asyncio.get_running_loop().remove_reader(self._listener)
        for handshake in self._handshakes:
            handshake.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                connection, address = await loop.sock_accept(self._listener)
            except OSError:
                self._room.release()
                await asyncio.sleep(_PAUSE_S)
                continue
            handshake = asyncio.create_task(self._shake_hands(connection, address))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._ended)

    async def _shake_hands(self, connection: socket.socket, address: tuple[Any, ...]) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._accept, connection,
                ssl=self._tls.context, ssl_handshake_timeout=self._tls.handshake_timeout_s,
            )  # fmt: skip
        except ssl.SSLError as error:
            self._tls.failed(address[0], _reason(error))
        except ConnectionAbortedError:
            self._tls.failed(address[0], f"it took longer than {self._tls.handshake_timeout_s:g} s")
        except OSError:  # it went away, as probes of the port and heartbeats do
            pass

    def _ended(self, handshake: asyncio.Task[None]) -> None:
        self._handshakes.discard(handshake)
        self._room.release()


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return (error.reason or str(error)).lower().replace("_", " ")
