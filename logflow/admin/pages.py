"""What the admin endpoint answers: ``/healthz``, ``/readyz``, ``/metrics``, ``/api/status``.

``/healthz`` answers while the process can work at all: use it as a liveness probe. ``/readyz`` answers
503 until every output was opened, while one is stalled and while a source is blocked, and says which: use it
as a readiness probe. Warnings stand below its ``ok``.

Requests for a host that is not ours are refused, as a web page could have a browser send them (DNS
rebinding): IP addresses, ``localhost``, the machine's name and ``admin.hosts`` are ours.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from logflow.admin import prometheus
from logflow.admin.health import problems, warnings
from logflow.admin.status import status

if TYPE_CHECKING:
    from logflow.config.models import AdminOptions
    from logflow.pipeline.build import Pipeline

_quiet = logging.getLogger("logflow.admin.requests")
_quiet.setLevel(logging.CRITICAL)  # what strangers send is no concern of the log


class Pages:
    """An HTTP server without a socket of its own: it is given connections that were accepted."""

    def __init__(self, options: AdminOptions, now: Callable[[], tuple[Pipeline | None, bool]]) -> None:
        """Answer for the hosts of ``options``, with what ``now`` tells of the pipeline."""
        self._now = now
        own = ["localhost", socket.gethostname(), *(options.listen or ())[:1]]
        self._hosts = {host.lower() for host in (*own, *options.hosts)}
        app = web.Application(client_max_size=64 * 1024, middlewares=[self._guard()])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/api/status", self._status)
        self._runner = web.AppRunner(
            app, access_log=None, logger=_quiet, shutdown_timeout=1.0, keepalive_timeout=75.0
        )

    async def open(self) -> None:
        """Get ready for connections."""
        await self._runner.setup()

    async def close(self) -> None:
        """End all connections."""
        await self._runner.cleanup()

    def protocol(self) -> asyncio.Protocol:
        """Make the protocol of a new connection."""
        assert self._runner.server is not None
        return self._runner.server()

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._is_ours(request.headers.get("Host", "")):
                text = "This is not the host's name; set admin.hosts if it should be.\n"
                return web.Response(status=421, text=text)
            return await handler(request)

        return guard

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        if name in self._hosts:
            return True
        with suppress(ValueError):  # a page cannot make an address mean another machine
            return bool(ipaddress.ip_address(name))
        return False

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        pipeline, running = self._now()
        wrong = [] if running else ["the service is starting or stopping"]
        if pipeline is not None:
            wrong += problems(pipeline)
        if wrong:
            return web.Response(status=503, text="\n".join(wrong) + "\n")
        told = [f"warning: {warning}\n" for warning in warnings(pipeline)] if pipeline is not None else []
        return web.Response(text="".join(["ok\n", *told]))

    async def _metrics(self, _: web.Request) -> web.Response:
        pipeline, _running = self._now()
        body = prometheus.render(pipeline) if pipeline is not None else b""
        return web.Response(body=body, headers={"Content-Type": prometheus.CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        pipeline, running = self._now()
        if pipeline is None:
            return web.json_response({"running": False}, status=503)
        return web.json_response(status(pipeline, running=running))
