"""The admin endpoint: ``/healthz``, ``/readyz``, ``/metrics``, ``/api/status``.

``/healthz`` answers while the process can work at all: use it as a liveness probe. ``/readyz`` answers
503 until every output was opened and while one is stalled, and names it: use it as a readiness probe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from logflow.errors import ComponentError
from logflow.telemetry import prometheus
from logflow.telemetry.status import is_stalled, status

if TYPE_CHECKING:
    from logflow.pipeline.build import Pipeline


class _Service(Protocol):
    running: bool


class AdminServer:
    """Serves what is known about one pipeline; loopback unless configured otherwise."""

    def __init__(self, pipeline: Pipeline, service: _Service) -> None:
        self._pipeline = pipeline
        self._service = service
        self._runner: web.AppRunner | None = None

    async def open(self, address: tuple[str, int]) -> None:
        """Listen.

        Raises:
            ComponentError: the address cannot be used.
        """
        app = web.Application(client_max_size=64 * 1024)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/api/status", self._status)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *address).start()
        except OSError as error:
            raise ComponentError(
                f"admin.listen: cannot listen on {address[0]}:{address[1]}: {error.strerror}; "
                "free the port, choose another one or set admin.listen to null"
            ) from error

    async def close(self) -> None:
        """Stop listening. Safe twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        now_s = self._pipeline.clock.monotonic()
        problems = [] if self._service.running else ["the service is starting or stopping"]
        for name, flusher in self._pipeline.flushers.items():
            if not flusher.status.opened:
                problems.append(
                    f"output {name} is not open: {flusher.status.problem or 'it is being opened'}"
                )
            elif flusher.buffer.problem is not None:
                problems.append(f"output {name} cannot store events: {flusher.buffer.problem}")
            elif is_stalled(flusher, now_s):
                problems.append(f"output {name} is stalled: {flusher.status.problem or 'no progress'}")
        if problems:
            return web.Response(status=503, text="\n".join(problems) + "\n")
        warnings = [
            f"warning: {each.events} events wait in the buffer of {each.output}, which no output uses\n"
            for each in self._pipeline.stranded
        ]
        return web.Response(text="".join(["ok\n", *warnings]))

    async def _metrics(self, _: web.Request) -> web.Response:
        body = prometheus.render(self._pipeline)
        return web.Response(body=body, headers={"Content-Type": prometheus.CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(status(self._pipeline, running=self._service.running))
