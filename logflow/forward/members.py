"""The servers of one output: those that take chunks, and those that are gone but may have some.

::

    found ──► active: ranked, watched ──► gone ──► leaving: asked about chunks that it may have, and no others
                 ▲                                   │   │ nothing is in flight or in doubt, or
                 └────────── found again ────────────┘   ▼ `failover_after` is over
                                                       closed
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from logflow.clock import Clock
from logflow.forward.endpoint import ServerEndpoint
from logflow.forward.upstream import Server

_TICK_S = 1.0

Make = Callable[[str, ServerEndpoint], Server]
"""Makes a server of a name and an address."""


class Members:
    """Servers with the tasks that watch them."""

    def __init__(
        self, clock: Clock, log: logging.Logger, linger_s: float, in_doubt: Callable[[Server], bool]
    ) -> None:
        """Begin without any.

        Args:
            clock: tells the time.
            log: for servers that come and go.
            linger_s: how long one that is gone is asked about chunks that it may have.
            in_doubt: whether there are such chunks.
        """
        self.active: list[Server] = []
        self._leaving: dict[str, Server] = {}
        self._tasks: dict[Server, list[asyncio.Task[None]]] = {}
        self._clock = clock
        self._log = log
        self._linger_s = linger_s
        self._in_doubt = in_doubt

    def add(self, server: Server) -> None:
        """Use a server from now on."""
        self.active.append(server)
        self._watch(server)

    def update(
        self, before: Mapping[str, Server], found: Mapping[str, ServerEndpoint], make: Make
    ) -> dict[str, Server]:
        """Put the servers that were found in the place of those that were found before.

        A server that has another address under its name stays what it is.
        """
        servers = {}
        for name, endpoint in found.items():
            server = before.get(name)
            if server is None:
                server = self._leaving.pop(name, None) or make(name, endpoint)
                self._log.info("Server %s takes chunks from now on.", server)
                self._stop(server)
                self.add(server)
            if server.options.endpoint != endpoint:
                server.move(endpoint)
            servers[name] = server
        for name, server in before.items():
            if name not in found:
                self.active.remove(server)
                self._log.info("Server %s is gone; other servers take its tags.", server)
                self._leave(server)
        return servers

    def gone(self, name: str, make: Callable[[], Server]) -> Server:
        """Return a server that may have chunks of an earlier process, and that is not there now."""
        if name not in self._leaving:
            self._leave(make())
        return self._leaving[name]

    def _leave(self, server: Server) -> None:
        self._stop(server)
        self._leaving[server.name] = server
        self._watch(server)
        self._tasks[server].append(asyncio.create_task(self._retire(server)))

    async def _retire(self, server: Server) -> None:
        until_s = self._clock.monotonic() + self._linger_s
        await self._clock.sleep(_TICK_S)
        while self._clock.monotonic() < until_s and (server.owes or self._in_doubt(server)):
            await self._clock.sleep(_TICK_S)
        del self._leaving[server.name]
        server.close()
        for task in self._tasks.pop(server):
            if task is not asyncio.current_task():
                task.cancel()

    def _watch(self, server: Server) -> None:
        self._tasks[server] = [asyncio.create_task(watching) for watching in server.watching()]

    def _stop(self, server: Server) -> list[asyncio.Task[None]]:
        tasks = self._tasks.pop(server, [])
        for task in tasks:
            task.cancel()
        return tasks

    async def close(self) -> None:
        """Stop watching and close every connection."""
        tasks = [task for server in list(self._tasks) for task in self._stop(server)]
        await asyncio.gather(*tasks, return_exceptions=True)
        servers = [*self.active, *self._leaving.values()]
        self.active.clear()
        self._leaving.clear()
        for server in servers:
            server.close()
