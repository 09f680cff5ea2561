"""Carries requests over HTTP/1.1."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from logflow.net.http_client.config import HttpClientConfig
from logflow.net.http_client.exchange import Answer, NoAnswerError, NotSentError, Post
from logflow.net.http_client.proxies import proxy_for

_PIECE_BYTES = 256 << 10
_FIELD_BYTES = 64 << 10
"""Longest header of an answer; what is longer makes the answer unreadable, though not its status."""
_KEEPALIVE_S = 4.0
"""Less than servers' own limits (Node.js has 5 s), so that we do not write to a connection being closed."""
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r?\n")


class HttpTransport:
    """Connections to the endpoints of a configuration.

    Args:
        config: endpoints, TLS, timeouts, proxy.
        answer_bytes: how much of an answer's body is kept.
    """

    def __init__(self, config: HttpClientConfig, answer_bytes: int) -> None:
        self._config = config
        self._answer_bytes = answer_bytes
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Load certificates."""
        if self._session is not None:
            return
        secure = any(url.startswith("https:") for url in self._config.endpoints)
        tls = await asyncio.to_thread(self._config.tls.context) if secure else None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=tls or True, limit=self._config.concurrency, keepalive_timeout=_KEEPALIVE_S
            ),
            timeout=aiohttp.ClientTimeout(
                total=self._config.timeout, sock_connect=self._config.connect_timeout
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_field_size=_FIELD_BYTES,
            response_class=_Response,
        )

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(self, target: URL, post: Post, headers: CIMultiDict[str], shown: str) -> Answer:
        """Send a request; redirects are not followed."""
        assert self._session is not None, "the host opens an output before it writes"
        try:
            async with self._session.request(
                post.method, target, data=_pieces(post.body), headers=headers, allow_redirects=False,
                proxy=proxy_for(target, self._config.proxy),
                server_hostname=self._config.tls.server_name if target.scheme == "https" else None,
            ) as response:  # fmt: skip
                body = await _beginning(response, self._answer_bytes)
                return Answer(response.status, response.reason or "", response.headers, body, shown)
        except _StatusOnlyError as error:
            return Answer(error.status, endpoint=shown)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSentError from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NoAnswerError from error


class _StatusOnlyError(aiohttp.ClientError):
    """The status line arrived; what follows it cannot be understood."""

    def __init__(self, status: int) -> None:
        super().__init__(f"what follows the status {status} cannot be understood")
        self.status = status


class _Response(aiohttp.ClientResponse):
    """A response that remembers its status line, as aiohttp gives nothing of an answer it cannot parse."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Read the head of the answer.

        Raises:
            aiohttp.ClientError: the answer is damaged; :class:`_StatusOnlyError` behind its status line.
        """
        protocol = connection.protocol
        inherited = protocol.data_received
        head = bytearray()

        def data_received(data: bytes) -> None:
            if len(head) < _PIECE_BYTES:
                head.extend(data[:1024])
            inherited(data)

        protocol.data_received = data_received
        try:
            return await super().start(connection)
        except (aiohttp.ClientError, ConnectionError) as error:
            if line := _STATUS_LINE.match(head):
                raise _StatusOnlyError(int(line[1])) from error
            raise
        finally:
            del protocol.data_received


async def _pieces(body: Sequence[bytes]) -> AsyncIterator[memoryview]:
    """Cut the body into what is written at once: a large write would hold up the event loop."""
    for part in body:
        view = memoryview(part)
        for start in range(0, len(view), _PIECE_BYTES):
            yield view[start : start + _PIECE_BYTES]


async def _beginning(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """Read about the first ``limit_bytes`` of an answer's body, as far as they come.

    Only a connection that was read to its end is kept.
    """
    body = bytearray()
    with suppress(aiohttp.ClientError, TimeoutError):
        while len(body) < limit_bytes and (piece := await response.content.read(limit_bytes)):
            body += piece
    return bytes(body)
