"""Accepts connections on a listening socket.

::

    accept ──► a descriptor to spare? ──► (PROXY header) ──► (TLS handshake) ──► protocol made and connected
                    └─► closed at once            └─► refused       └─► failed; the owner is told of both

asyncio's own server writes a traceback for each failed accept, and does not say whose handshake failed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from logflow.net.descriptors import is_spare
from logflow.net.proxy_protocol import ProxyHeaders
from logflow.net.tls import Tls, why_failed

_STARTING = 512
"""Most connections that are being made at once; further clients wait to be accepted."""
_PAUSE_S = 0.2
"""Pause when nothing can be accepted, as when the process has too many open files."""


class Acceptor:
    """Accepts on one listening socket, from the start until :meth:`close`."""

    def __init__(
        self,
        listener: socket.socket,
        accept: Callable[[], asyncio.BaseProtocol],
        tls: Tls | None = None,
        complain: Callable[[str, str], None] | None = None,
        proxied: ProxyHeaders | None = None,
    ) -> None:
        """Begin.

        Args:
            listener: a listening socket; it stays its owner's to close, after :meth:`close`.
            accept: makes the protocol of each connection.
            tls: how connections are encrypted.
            complain: logs a sentence, now and then, about what keeps us from accepting.
            proxied: reads the header of the PROXY protocol that each connection begins with.
        """
        self._listener = listener
        self._accept = accept
        self._tls = tls
        self._complain = complain
        self._proxied = proxied
        self._room = asyncio.Semaphore(_STARTING)
        self._starting: set[asyncio.Task[None]] = set()
        listener.settimeout(0.0)
        self._accepting = asyncio.create_task(self._run())

    def close(self) -> None:
        """Accept no more and end the handshakes; connections stay. Safe twice."""
        self._accepting.cancel()
        # At once: its number may be that of another socket by the time that the task ends.
        asyncio.get_running_loop().remove_reader(self._listener)
        for task in self._starting if self._tls or self._proxied else ():
            task.cancel()  # the others are connected as good as at once

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                connection, address = await loop.sock_accept(self._listener)
            except OSError as error:
                self._room.release()
                self._say(f"Cannot accept connections for now: {error.strerror or error}.")
                await asyncio.sleep(_PAUSE_S)
                continue
            if not is_spare(connection.fileno()):
                # What is left is for files, buffers and the admin endpoint.
                self._room.release()
                connection.close()
                self._say("Connections are refused for now: the process has too many open files.")
                await asyncio.sleep(0)
                continue
            task = asyncio.create_task(self._start(connection, address))
            self._starting.add(task)
            task.add_done_callback(self._started)

    async def _start(self, connection: socket.socket, address: Any) -> None:
        loop, tls = asyncio.get_running_loop(), self._tls
        if self._proxied is not None:
            client = await self._proxied.client_of(connection, address[0])
            if client is None:
                return
            connection, address = client, client.getpeername()
        try:
            if tls is None:
                await loop.connect_accepted_socket(self._accept, connection)
            else:
                await loop.connect_accepted_socket(
                    self._accept, connection,
                    ssl=tls.context, ssl_handshake_timeout=tls.handshake_timeout_s,
                )  # fmt: skip
        except ssl.SSLError as error:
            if tls is not None:
                tls.failed(address[0], why_failed(error))
        except ConnectionAbortedError:
            if tls is not None:
                tls.failed(address[0], f"it took longer than {tls.handshake_timeout_s:g} s")
        except OSError:  # it went away, as probes of the port and heartbeats do
            pass

    def _say(self, sentence: str) -> None:
        if self._complain is not None:
            self._complain(sentence, "")

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        self._room.release()
