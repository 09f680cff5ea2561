"""Answers to HTTP requests that bring events: what all protocols over HTTP have in common.

What a protocol adds is a subclass: which requests there are, and how they are answered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from aiohttp import web

from logflow.errors import MalformedData
from logflow.net.http_server.intake import Intake, Read, Refused

_SHOWN = 100


class _Request:
    """A request of HTTP as something that has a body."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request

    @property
    def peer(self) -> str:
        return self._request.remote or "unix"

    @property
    def size(self) -> int | None:
        return self._request.content_length

    @property
    def encoding(self) -> str:
        return self._request.headers.get("Content-Encoding", "identity").strip().lower()

    async def pieces(self) -> AsyncIterator[bytes]:
        request = self._request
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # it is not a part of the answer
        try:
            async for piece in request.content.iter_any():
                yield piece
        except web.RequestPayloadError as error:
            raise MalformedData(str(error)) from None


class RequestHandler(Intake, ABC):
    """Answers requests."""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._answer(request)
        except Refused as refusal:
            self.note(refusal, f"{request.method} {request.path[:_SHOWN]!a}", request.remote or "unix")
            response = self.refusal(refusal)
            if refusal.status == 503 or not request.content.at_eof():
                response.force_close()
            return response
        except ConnectionError:
            raise  # the client is gone
        except Exception as error:
            self.fault(error, f"{request.method} {request.path[:_SHOWN]!a}", request.remote or "unix")
            return web.Response(status=500, text="an error of the server; see its log\n")

    @abstractmethod
    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request whose credentials are right.

        Raises:
            Refused: it is answered with something else than "taken".
        """

    def refusal(self, refused: Refused) -> web.Response:
        """Make the answer for what is refused, in the form that the protocol's clients read."""
        return web.Response(status=refused.status, text=f"{refused}\n", headers=refused.headers)

    def authorized(self, request: web.BaseRequest) -> bool:
        """Whether a request has the credentials that it must have."""
        return self.knows(request.headers.get("Authorization", ""))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/healthz" and request.method in ("GET", "HEAD"):
            return web.Response(text="ok\n", status=200 if self.emit else 503)
        if not self.authorized(request):
            scheme = "Basic" if self._auth is None or self._auth.bearer is None else "Bearer"
            raise Refused(
                401, "credentials are missing or wrong", WWW_Authenticate=f'{scheme} realm="logflow"'
            )
        return await self.answer(request)

    async def take(self, request: web.BaseRequest, read: Read, *, growth: int = 0) -> int:
        """Take the body of a request; see :meth:`take_body`."""
        return await self.take_body(_Request(request), read, growth=growth)
