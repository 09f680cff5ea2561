"""Output ``http``: POSTs chunks to one or several endpoints.

A chunk goes to the next endpoint in turn that is well. What then happens depends on the answer::

    2xx                       delivered
    no connection             not stored: the next endpoint is tried at once
    429, 503                  not stored: the next endpoint is tried at once; Retry-After is honoured
    408, 425, other 5xx, 3xx  tried again later
    other 4xx                 never: to the dead letters
    connection or time lost   perhaps stored: tried again later, first at the same endpoint

An endpoint that fails is left alone for a while, longer each time. Every request carries the chunk's id
as ``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header), the same over retries and restarts,
so that a receiver can recognise a repeat: without that, delivery is at least once.
"""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Annotated, Literal

import aiohttp
from pydantic import AfterValidator, Field, SecretStr, field_validator
from yarl import URL

import logflow
from logflow.batch import Chunk
from logflow.component import Context, Output
from logflow.compression import Compression, compress_slices
from logflow.config.auth import HttpAuth
from logflow.config.fields import Duration
from logflow.config.tls import ClientTls
from logflow.errors import DeliveryError, PermanentError, RetryAfter
from logflow.outputs.balance import Endpoint, EndpointPool
from logflow.outputs.formats import CONTENT_TYPES, FormatConfig, formatter

_INLINE_BYTES = 64 << 10
"""Chunks above this are formatted in a thread, so that the event loop is not held up."""
_PIECE_BYTES = 256 << 10
_EXCERPT_BYTES = 400
_ANSWER_BYTES = 64 << 10
_KEEPALIVE_S = 4.0
"""Less than servers' own limits (Node.js has 5 s), so that we do not write to a connection being closed."""
_BUSY = (429, 503)
_LATER = (408, 425)


def _check_endpoint(text: str) -> str:
    try:
        url = URL(text.replace("{tag}", "tag"), encoded=True)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("write an endpoint as http://host:port/path or https://host/path")
    if url.user is not None or url.password is not None:
        raise ValueError("an endpoint must not hold a password, as URLs are logged; use auth")
    return text


class _TryNextError(Exception):
    """This endpoint has not stored the chunk; another may."""


class HttpOutput(Output):
    """Delivers over HTTP. See the module's text."""

    class Config(FormatConfig):
        """Options of the output ``http``."""

        type: Literal["http"] = "http"
        endpoints: list[Annotated[str, AfterValidator(_check_endpoint)]] = Field(
            min_length=1, description="URLs that take chunks in turn; `{tag}` in them is the chunk's tag.",
            examples=[["http://127.0.0.1:8080/logs"]],
        )  # fmt: skip
        format: Literal["ndjson", "json", "msgpack"] = Field(
            "ndjson", description="`json` is one array; `msgpack` is the packed entries `[time, record]`."
        )
        compress: Compression = Field("none", description="Content-Encoding of the body.")
        headers: dict[str, SecretStr] = Field({}, description="Headers to add; their values are not shown.")
        auth: HttpAuth | None = Field(None, description="Basic credentials or a bearer token.")
        tls: ClientTls = Field(ClientTls(), description="How `https` endpoints are verified.")
        timeout: Duration = Field(30.0, gt=0, description="Longest time for one request.")
        connect_timeout: Duration = Field(5.0, gt=0, description="Longest time for a connection to come up.")
        max_retry_after: Duration = Field(300.0, description="Longest pause that an endpoint may ask for.")

        @field_validator("headers")
        @classmethod
        def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
            for name, value in headers.items():
                if not name.isascii() or not name.isprintable() or {":", " "} & set(name) or not name:
                    raise ValueError(f"{name!r} is not a header's name")
                if {"\r", "\n", "\0"} & set(value.get_secret_value()):
                    raise ValueError(f"the value of the header {name} must be one line")
            return headers

    config: HttpOutput.Config

    def __init__(self, config: HttpOutput.Config, context: Context) -> None:
        super().__init__(config, context)
        self._format = formatter(config, context.engine)
        self._pool = EndpointPool(config.endpoints, context.clock)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the session; connections are made when they are needed."""
        if self._session is not None:
            return
        secure = any(url.startswith("https:") for url in self.config.endpoints)
        context = await asyncio.to_thread(self.config.tls.context) if secure else None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=context or True, limit=self.config.concurrency, keepalive_timeout=_KEEPALIVE_S
            ),
            timeout=aiohttp.ClientTimeout(
                total=self.config.timeout, sock_connect=self.config.connect_timeout
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers(),
        )

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def write(self, chunk: Chunk) -> None:
        """POST a chunk to the first endpoint that takes it."""
        if chunk.size > _INLINE_BYTES:
            body = await asyncio.to_thread(self._body, chunk)
        else:
            body = self._body(chunk)
        problems = []
        for endpoint in self._pool.candidates(chunk.id):
            try:
                await self._post(endpoint, chunk, body)
            except _TryNextError as error:
                problems.append(str(error))
            else:
                return
        self._pool.raise_failure("; ".join(problems))

    def _body(self, chunk: Chunk) -> list[bytes]:
        """The body in slices: one block of many megabytes would be fresh memory for each chunk."""
        return list(compress_slices(self._format(chunk.parts, chunk.tag), self.config.compress))

    def _headers(self) -> dict[str, str]:
        headers = {
            "User-Agent": f"logflow/{logflow.__version__}",
            "Content-Type": CONTENT_TYPES[self.config.format],
        }
        if self.config.compress != "none":
            headers["Content-Encoding"] = self.config.compress
        if self.config.auth is not None:
            headers["Authorization"] = self.config.auth.header()
        return headers | {name: value.get_secret_value() for name, value in self.config.headers.items()}

    async def _post(self, endpoint: Endpoint, chunk: Chunk, body: Sequence[bytes]) -> None:
        assert self._session is not None, "the host opens an output before it writes"
        size = sum(map(len, body))
        headers = {"Idempotency-Key": chunk.id.hex(), "Content-Length": str(size)}
        try:
            async with self._session.post(
                endpoint.target(chunk.tag), data=_pieces(body), headers=headers, allow_redirects=False,
                server_hostname=self.config.tls.server_name if endpoint.url.startswith("https:") else None,
            ) as response:  # fmt: skip
                self._pool.is_sure(chunk.id)
                await self._judge(endpoint, response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._pool.failed(endpoint)
            raise _TryNextError(f"cannot connect to {endpoint}: {_why(error)}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            self._pool.failed(endpoint)
            self._pool.is_unsure(chunk.id, endpoint)
            raise DeliveryError(f"no answer from {endpoint}: {_why(error)}") from error
        except asyncio.CancelledError:
            self._pool.is_unsure(chunk.id, endpoint)
            raise

    async def _judge(self, endpoint: Endpoint, response: aiohttp.ClientResponse) -> None:
        """Return if the answer means delivered."""
        status = response.status
        if 200 <= status < 300:
            endpoint.works()
            await _beginning(response, _ANSWER_BYTES)  # only a connection that was read to its end is kept
            return
        answer = f"{endpoint} answered {status} {await _excerpt(response)}".rstrip(" :")
        if 300 <= status < 400:
            self._pool.failed(endpoint)
            where = response.headers.get("Location", "somewhere").partition("?")[0][:200]
            raise DeliveryError(f"{answer}: redirects to {where!r} are not followed; change endpoints")
        if status < 500 and status not in (*_LATER, *_BUSY):
            endpoint.works()
            raise PermanentError(answer)
        asked_s = self._retry_after_s(response.headers.get("Retry-After"))
        self._pool.failed(endpoint, asked_s)
        if status in _BUSY:
            raise _TryNextError(answer)
        raise DeliveryError(answer) if asked_s is None else RetryAfter(answer, asked_s)

    def _retry_after_s(self, value: str | None) -> float | None:
        """Read ``Retry-After`` (RFC 9110, section 10.2.3): seconds or a date; ``None`` when it is neither."""
        if value is None:
            return None
        try:
            if value.strip().isdecimal():
                delay_s = float(value)
            else:
                moment = email.utils.parsedate_to_datetime(value)
                delay_s = moment.timestamp() - self.context.clock.time_ns() / 1e9
        except (ValueError, OverflowError):
            return None
        return min(max(delay_s, 0.0), self.config.max_retry_after)


async def _pieces(body: Sequence[bytes]) -> AsyncIterator[memoryview]:
    """Cut the body into what is written at once: a large write would hold up the event loop."""
    for part in body:
        view = memoryview(part)
        for start in range(0, len(view), _PIECE_BYTES):
            yield view[start : start + _PIECE_BYTES]


async def _excerpt(response: aiohttp.ClientResponse) -> str:
    """The reason and the beginning of an answer's body, in one line of printable characters."""
    body = await _beginning(response, _EXCERPT_BYTES)
    text = f"{response.reason or ''}: {body[:_EXCERPT_BYTES].decode('utf-8', 'backslashreplace')}"
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


async def _beginning(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """About the first ``limit_bytes`` of an answer's body, as far as they come."""
    body = bytearray()
    with suppress(aiohttp.ClientError, TimeoutError):
        while len(body) < limit_bytes and (piece := await response.content.read(limit_bytes)):
            body += piece
    return bytes(body)


def _why(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return "it took too long" if isinstance(error, TimeoutError) else text.replace("\n", " ")
