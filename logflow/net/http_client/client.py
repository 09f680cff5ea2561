"""Sends requests, and says what their answers mean; the table is that of the package."""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NoReturn

from multidict import CIMultiDict

import logflow
from logflow.clock import Clock
from logflow.component import Context
from logflow.compression import compress_slices
from logflow.config.secrets import Secret
from logflow.errors import ChunkTooLarge, DeliveryError, PermanentError, RetryAfter
from logflow.net.http_client.config import HttpClientConfig
from logflow.net.http_client.credentials import Credentials
from logflow.net.http_client.endpoints import Endpoint, EndpointPool
from logflow.net.http_client.exchange import Answer, NoAnswerError, NotSentError, Post, Transport
from logflow.net.http_client.pressure import Pressure
from logflow.net.http_client.transport import HttpTransport

_EXCERPT_CHARACTERS = 400
_BUSY = (429, 503)


class _TryNextError(Exception):
    """This endpoint has not stored the request; another may."""


class HttpClient:
    """Posts requests to the endpoints of a configuration.

    Args:
        config: endpoints, credentials, timeouts.
        context: of the output that it works for.
        answer_bytes: how much of an answer's body is kept.
        identity: headers with secrets that the kind of server wants, each with the text before the secret.
        transport: carries the requests; HTTP/1.1 unless given.
    """

    def __init__(
        self,
        config: HttpClientConfig,
        context: Context,
        *,
        answer_bytes: int = 64 << 10,
        identity: Mapping[str, tuple[str, Secret]] = MappingProxyType({}),
        transport: Transport | None = None,
    ) -> None:
        self._config = config
        self._clock: Clock = context.clock
        self._log = context.log
        self._transport = transport or HttpTransport(config, answer_bytes)
        self._credentials = Credentials(config.headers, config.auth, identity)
        self._pressure = Pressure(config.concurrency, context.clock)
        self._pool = EndpointPool(config.endpoints, context.clock)

    async def open(self) -> None:
        """Load certificates and secrets; connections are made when they are needed.

        Raises:
            ComponentError: a certificate cannot be used.
            DeliveryError: the file of a secret cannot be read.
        """
        self._credentials.headers()
        await self._transport.open()

    async def close(self) -> None:
        """Close the connections. Safe twice, and without :meth:`open`."""
        await self._transport.close()

    @property
    def bearable(self) -> int:
        """How many requests at once the endpoints bear, by what they answered so far."""
        return self._pressure.limit

    @property
    def by_tag(self) -> bool:
        """Whether a URL holds the tag, so that a request can carry events of one tag only."""
        return any(endpoint.by_tag for endpoint in self._pool.endpoints)

    def compress(self, slices: Iterable[bytes]) -> list[bytes]:
        """Make the body of a request; safe to call from a thread.

        It stays in slices: one block of many megabytes would be fresh memory for each request.
        """
        return list(compress_slices(slices, self._config.compress))

    async def post(self, post: Post) -> Answer:
        """Send a request to the first endpoint that takes it; returns the answer that says so.

        Raises:
            DeliveryError: none took it now; ``RetryAfter`` if all of them asked for a pause.
            ChunkTooLarge: smaller requests may be taken.
            PermanentError: it will never be taken.
        """
        problems = []
        for endpoint in self._pool.candidates(post.key):
            try:
                with self._pressure.request():
                    answer = await self._ask(endpoint, post)
                    if answer.status in _BUSY:
                        self._pressure.too_much()
                self._judge(endpoint, post, answer)
            except _TryNextError as error:
                problems.append(str(error))
            else:
                return answer
        text = "; ".join(problems)
        if self._pool.held_by_all(post.tag, self._config.hold_for):
            raise PermanentError(f"{text}; this has been so for {self._config.hold_for:g} s")
        raise self._pool.failure(text)

    def excerpt(self, answer: Answer) -> str:
        """Return who answered what in one line of printable characters, with secrets masked."""
        text = answer.body.decode("utf-8", "backslashreplace")
        words = self._credentials.mask(
            f"{answer.reason}: {text}"[: _EXCERPT_CHARACTERS + self._credentials.longest]
        )
        line = " ".join("".join(c if c.isprintable() else " " for c in words).split())[:_EXCERPT_CHARACTERS]
        return f"{answer.endpoint} answered {answer.status} {line}".rstrip(" :")

    async def _ask(self, endpoint: Endpoint, post: Post) -> Answer:
        shown, target = endpoint.shown(post.tag), endpoint.target(post.tag, post.path)
        headers = self._headers(post)
        if target.raw_query_string:  # it may hold a key
            self._credentials.hide(target.raw_query_string)
            for value in target.query.values():
                self._credentials.hide(value)
        try:
            answer = await self._transport.ask(target, post, headers, shown)
        except NotSentError as error:
            self._pool.failed(endpoint)
            raise _TryNextError(f"cannot connect to {shown}: {self._why(error.__cause__)}") from error
        except NoAnswerError as error:
            if isinstance(error.__cause__, TimeoutError):
                self._pressure.too_much()
            self._pool.failed(endpoint)
            self._pool.is_unsure(post.key, endpoint)
            raise DeliveryError(f"no answer from {shown}: {self._why(error.__cause__)}") from error
        except asyncio.CancelledError:
            self._pool.is_unsure(post.key, endpoint)
            raise
        self._pool.is_sure(post.key)
        return answer

    def _headers(self, post: Post) -> CIMultiDict[str]:
        headers = CIMultiDict({
            "User-Agent": f"logflow/{logflow.__version__}",
            "Content-Type": post.content_type,
            "Idempotency-Key": post.key.hex(),
        })  # fmt: skip
        if self._config.compress != "none":
            headers["Content-Encoding"] = self._config.compress
        # Assignment replaces a header whatever its case; a union would send both.
        for name, value in (*post.headers.items(), *self._credentials.headers().items()):
            headers[name] = value
        headers["Content-Length"] = str(sum(map(len, post.body)))
        return headers

    def _judge(self, endpoint: Endpoint, post: Post, answer: Answer) -> None:
        """Return if the answer means delivered."""
        meaning = self._config.meaning(answer.status)
        asked_s = self._retry_after_s(answer.headers.get("Retry-After"))
        if answer.status == 413 and meaning == "reject" and asked_s is not None:
            meaning = "retry"
        if meaning != "hold":
            endpoint.let_go(post.tag)
        match meaning:
            case "delivered":
                endpoint.works()
            case "reject":
                endpoint.works()
                too_large = answer.status == 413
                raise (ChunkTooLarge if too_large else PermanentError)(self.excerpt(answer))
            case "hold":
                self._hold(endpoint, post, answer)
            case "retry":
                self._retry(endpoint, answer, asked_s)

    def _hold(self, endpoint: Endpoint, post: Post, answer: Answer) -> NoReturn:
        endpoint.hold(post.tag, self._clock.monotonic())
        if not endpoint.by_tag:
            self._pool.failed(endpoint)
        raise _TryNextError(
            f"{self.excerpt(answer)} (events are held for {self._config.hold_for:g} s, as this often passes; "
            "look at endpoints, auth and headers)"
        )

    def _retry(self, endpoint: Endpoint, answer: Answer, asked_s: float | None) -> NoReturn:
        busy = answer.status in _BUSY
        if busy or not endpoint.by_tag:
            self._pool.failed(endpoint, asked_s)
        text = self.excerpt(answer)
        if 300 <= answer.status < 400:
            where = self._credentials.mask(answer.headers.get("Location", "somewhere").partition("?")[0])[
                :200
            ]
            raise DeliveryError(f"{text}: redirects to {where!r} are not followed; change endpoints")
        if busy:
            raise _TryNextError(text)
        raise DeliveryError(text) if asked_s is None else RetryAfter(text, asked_s)

    def _retry_after_s(self, value: str | None) -> float | None:
        """Read ``Retry-After`` (RFC 9110, section 10.2.3): seconds or a date; None if it is neither."""
        if value is None:
            return None
        try:
            if value.strip().isdecimal():
                delay_s = float(value)
            else:
                moment = email.utils.parsedate_to_datetime(value)
                delay_s = moment.timestamp() - self._clock.time_ns() / 1e9
        except (ValueError, OverflowError):
            return None
        return min(max(delay_s, 0.0), self._config.max_retry_after)

    def _why(self, error: BaseException | None) -> str:
        if isinstance(error, TimeoutError):
            return "it took too long"
        return self._credentials.mask(str(error) or type(error).__name__).replace("\n", " ")
