"""A server that keeps what is posted to it and answers as told, for tests of outputs over HTTP."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import web


@dataclass
class Received:
    """A request, decompressed."""

    path: str
    headers: dict[str, str]
    body: bytes


Answer: TypeAlias = tuple[int, str] | Callable[[Received], tuple[int, str]]


@dataclass
class Recorder:
    """The server.

    Attributes:
        requests: what came.
        answers: for the next requests, one each; then ``otherwise``.
        otherwise: what all others get.
    """

    requests: list[Received] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    otherwise: Answer = (200, "{}")
    port: int = 0

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        received = Received(request.path_qs, dict(request.headers), body)
        self.requests.append(received)
        answer = self.answers.pop(0) if self.answers else self.otherwise
        status, text = answer(received) if callable(answer) else answer
        return web.Response(status=status, text=text)

    async def start(self) -> web.ServerRunner:
        """Serve on loopback; returns the runner, to be cleaned up."""
        runner = web.ServerRunner(
            web.Server(self, access_log=None, auto_decompress=False), shutdown_timeout=0.1
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        return runner
