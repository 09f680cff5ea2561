"""The servers behind one name of the DNS, asked for again and again.

::

    look ──► addresses of the name ──► the name of each address ──► {name: address}
                                         agg-0.agg.logs.svc… for agg.logs.svc: the pod's own name
                                         anything else, or none: the address itself

A pod of a StatefulSet behind a headless Service has a name of its own, which stays when it comes back with
another address. Under it the server is known to the balancer, and to the chunks that it may have.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from logflow.errors import what_happened
from logflow.forward.endpoint import ServerEndpoint

MOST_SERVERS = 64
"""Most addresses of one name that are used."""
_PATIENCE_S = 5.0

Resolve: TypeAlias = Callable[[str], Sequence[tuple[str, str | None]]]
"""Finds the addresses of a name, each with the name that it has itself; may block, and raise ``OSError``."""


def resolve(host: str) -> list[tuple[str, str | None]]:
    """Ask the system's resolver.

    Raises:
        OSError: it does not know the name, or does not answer.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = sorted({str(address[0]) for *_, address in found})
    return [(address, _name_of(address)) for address in addresses[: MOST_SERVERS + 1]]


def _name_of(address: str) -> str | None:
    try:
        return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
    except OSError:
        return None


class Name:
    """A name of the DNS, and what it stood for when it was last known."""

    def __init__(self, endpoint: ServerEndpoint, log: logging.Logger, ask: Resolve = resolve) -> None:
        self.endpoint = endpoint
        self._log = log
        self._ask = ask
        self._asking: asyncio.Future[Sequence[tuple[str, str | None]]] | None = None
        self._said = ""

    async def look(self) -> Mapping[str, ServerEndpoint] | None:
        """Return the servers behind the name; None if it cannot be told now, which is said once.

        A resolver that hangs is waited for during a few seconds, and asked nothing new until it answers.
        """
        if self._asking is None or self._asking.done():
            self._asking = _in_thread(lambda: self._ask(self.endpoint.host))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                answer = await asyncio.shield(self._asking)
        except TimeoutError:
            problem = "the resolver does not answer; the last that is known is used"
        except (OSError, ValueError) as error:  # an impossible name is one of the latter
            problem = f"{what_happened(error)}; the last that is known is used"
        else:
            if answer:
                many = len(answer) > MOST_SERVERS
                self._say(f"only the first {MOST_SERVERS} addresses are used" if many else "")
                return self._named(answer[:MOST_SERVERS])
            problem = "it has no address; the last that is known is used"
        self._say(problem)
        return None

    def _named(self, answer: Sequence[tuple[str, str | None]]) -> dict[str, ServerEndpoint]:
        found: dict[str, ServerEndpoint] = {}
        for address, name in answer:
            endpoint = ServerEndpoint(address, self.endpoint.port)
            label, _, domain = (name or "").partition(".")
            own = f"{domain}.".startswith(f"{self.endpoint.host.rstrip('.')}.")
            called = (
                str(ServerEndpoint(f"{label}.{domain}", endpoint.port)) if label and own else str(endpoint)
            )
            found[str(endpoint) if called in found else called] = endpoint
        return found

    def _say(self, problem: str) -> None:
        if problem and problem != self._said:
            self._log.warning("Servers of %s: %s.", self.endpoint, problem)
        self._said = problem


def _in_thread(
    function: Callable[[], Sequence[tuple[str, str | None]]],
) -> asyncio.Future[Sequence[tuple[str, str | None]]]:
    """Call it in a thread that no stop waits for, as a resolver may hang for minutes."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Sequence[tuple[str, str | None]]] = loop.create_future()

    def settle(answer: Sequence[tuple[str, str | None]], error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)
            future.exception()  # it may be that nobody waits any more

    def run() -> None:
        answer: Sequence[tuple[str, str | None]] = ()
        problem: BaseException | None = None
        try:
            answer = function()
        except BaseException as error:
            problem = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, answer, problem)

    threading.Thread(target=run, name="resolver", daemon=True).start()
    return future
