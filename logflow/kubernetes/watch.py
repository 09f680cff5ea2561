"""One list and watch of the API, kept up for good.

::

    no version ── list, page by page ──▶ version ── watch from there ──▶ ADDED, MODIFIED, DELETED, BOOKMARK
        ▲                                  ▲                                 │ each tells the next version
        │                                  └── connection ended or lost ◀────┤
        └── 410 Gone, or an answer that cannot be used ◀─────────────────────┘

Between two connections there is a pause that doubles, with jitter, as long as nothing useful comes. Nothing
that the API sends is trusted: lines, pages and times are bounded, and an object that cannot be used is
counted and skipped.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import aiohttp
import msgspec

from logflow.clock import Clock
from logflow.component import Context
from logflow.errors import ComponentError
from logflow.jsontext import JSON_ESCAPES
from logflow.kubernetes.access import Access
from logflow.kubernetes.pods import Object

_PAGE = 500
_PAGE_BYTES = 64 << 20
_LINE_BYTES = 4 << 20
"""Longest event; etcd takes objects of up to 1.5 MB."""
_ANSWER_BYTES = 4096
"""Most bytes that are read of an answer that refuses a request."""
_LIST_S = 60.0
_CONNECT_S = 10.0
_SILENCE_S = 150.0
"""Silence after which a watch is made anew; the API sends bookmarks about once a minute."""
_WATCH_S = (300, 600)
"""Between these lies the time after which the API is asked to end a watch."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_MOST_ASKED_S = 300.0
"""Longest pause that the API may ask for."""
_STEADY_S = 60.0
"""A watch that held for so long was a good one, even if nothing happened."""
_LOG_AGAIN_S = 300.0
_THREAD_BYTES = 256 << 10
"""Larger pages are decoded in a thread."""


class Store(Protocol):
    """Where objects are kept."""

    def put(self, item: Object) -> None:
        """Know an object, or what is new of it."""
        ...

    def remove(self, item: Object, now_s: float) -> None:
        """An object was deleted."""
        ...

    def replace(self, items: Iterable[Object], now_s: float) -> None:
        """Take a list as all that there is."""
        ...


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Failure(msgspec.Struct):
    code: int = 0
    message: str = ""


class _BadAnswer(Exception):
    """The API answered what cannot be used.

    Attributes:
        anew: whether a list is needed before the next watch.
        pause_s: the pause that the API asked for.
    """

    def __init__(self, message: str, *, anew: bool = False, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.anew = anew
        self.pause_s = pause_s


S = TypeVar("S", bound=Store)


class Watch(Generic[S]):
    """Keeps a store as the API has it. To be shared: see :mod:`logflow.services`."""

    def __init__(self, access: Access, path: str, selector: str, store: S, context: Context) -> None:
        """Describe it; :meth:`run` connects.

        Args:
            access: how to reach the API.
            path: what is watched, such as ``/api/v1/pods``.
            selector: field selector that limits it; may be empty.
            store: gets what is found.
            context: of whoever asked first; it counts and logs.
        """
        self.listed = asyncio.Event()
        """Set once the store holds a whole list."""
        self._access = access
        self._path = path
        self._selector = selector
        self.store = store
        self._clock: Clock = context.clock
        self._log: logging.Logger = context.log
        self._failures = context.counter("kubernetes_api_failures", "Answers of the API that were of no use.")
        self._unusable = context.counter("kubernetes_objects_unusable", "Objects without a UID or a name.")
        self._version = ""
        self._fresh = False
        self._useful = False
        self._said: tuple[str, float] | None = None

    async def run(self) -> None:
        """List and watch until cancelled."""
        failed = 0
        while True:
            self._useful = False
            begun_s = self._clock.monotonic()
            asked_s = 0.0
            try:
                await self._connect()
            except _BadAnswer as error:
                asked_s = min(error.pause_s, _MOST_ASKED_S)
                if error.anew:
                    self._version, self._fresh = "", True
                self._complain(str(error))
            except TimeoutError:
                self._complain(f"{self._access.url} did not answer in time")
            except (aiohttp.ClientError, OSError, ComponentError, ValueError) as error:
                self._complain(" ".join(f"{error or type(error).__name__}".split()))
            if self._useful or self._clock.monotonic() - begun_s >= _STEADY_S:
                failed = 0
            pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(failed, 16), _LONGEST_PAUSE_S)
            failed += 1
            await self._clock.sleep(max(asked_s, pause_s * random.uniform(0.5, 1.0)))  # noqa: S311

    async def _connect(self) -> None:
        """List if need be, and watch until the connection ends."""
        tls = await asyncio.to_thread(self._access.tls)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls if tls is not None else True, limit=2),
            headers={**self._access.headers(), "Accept": "application/json", "User-Agent": "logflow"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S),
        )
        async with session:
            if not self._version:
                async with asyncio.timeout(_LIST_S):
                    await self._list(session)
            await self._follow(session)

    async def _list(self, session: aiohttp.ClientSession) -> None:
        items: list[Object] = []
        query = {"limit": str(_PAGE)}
        if self._selector and not self._fresh:
            query["resourceVersion"] = "0"  # what the API has at hand will do, and spares its store
        while True:
            async with self._get(session, query) as answer:
                body = await _read(answer, _PAGE_BYTES)
            decode = asyncio.to_thread(self._decode_page, body) if len(body) > _THREAD_BYTES else None
            page, found = await decode if decode is not None else self._decode_page(body)
            items += found
            if not page.continue_:
                break
            query = {"limit": str(_PAGE), "continue": page.continue_}
        if not page.resource_version:
            raise _BadAnswer("the list has no version to watch from", anew=True)
        self.store.replace(items, self._clock.monotonic())
        self._version, self._fresh = page.resource_version, False
        self.listed.set()

    def _decode_page(self, body: bytes) -> tuple[_ListMetadata, list[Object]]:
        page = _decode(body, _Page)
        found = map(_object, page.items or ())
        return page.metadata, [item for item in found if self._is_usable(item)]

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        query = {
            "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": self._version,
            "timeoutSeconds": str(random.randint(*_WATCH_S)),  # noqa: S311
        }  # fmt: skip
        async with self._get(session, query) as answer:
            if self._said is not None:
                self._said = None
                self._log.info("The API of Kubernetes answers again.")
            async for line in _lines(answer):
                self._take(_decode(line, _Event))

    def _take(self, event: _Event) -> None:
        if event.type == "ERROR":
            failure = _decode(bytes(event.object), _Failure)
            raise _BadAnswer(f"the watch ended: {_shown(failure.message)} ({failure.code})", anew=True)
        item = _object(event.object)
        if event.type != "BOOKMARK" and self._is_usable(item):
            if event.type == "DELETED":
                self.store.remove(item, self._clock.monotonic())
            else:
                self.store.put(item)
        if item.metadata.resource_version:
            self._version = item.metadata.resource_version
            self._useful = True

    def _is_usable(self, item: Object) -> bool:
        usable = bool(item.metadata.uid and item.metadata.name)
        self._unusable(not usable)
        return usable

    def _get(self, session: aiohttp.ClientSession, query: dict[str, str]) -> Any:
        if self._selector:
            query = {**query, "fieldSelector": self._selector}
        return _Request(
            session.get(
                self._access.url + self._path, params=query, allow_redirects=False,
                server_hostname=self._access.server_name,
            )
        )  # fmt: skip

    def _complain(self, what: str) -> None:
        self._failures()
        now_s = self._clock.monotonic()
        if self._said is None or self._said[0] != what or now_s - self._said[1] >= _LOG_AGAIN_S:
            self._said = what, now_s
            self._log.warning(
                "The API of Kubernetes cannot be watched (%s): %s. Events go on with what is known.",
                self._path,
                what,
            )


class _Request:
    """A request whose answer is 200, or says what to do."""

    def __init__(self, request: Any) -> None:
        self._request = request

    async def __aenter__(self) -> aiohttp.ClientResponse:
        answer: aiohttp.ClientResponse = await self._request.__aenter__()
        if answer.status == 200:
            return answer
        try:
            text = (await answer.content.read(_ANSWER_BYTES)).decode(errors="backslashreplace")
        finally:
            answer.close()
        raise _BadAnswer(
            f"{answer.status} {_shown(text)}{_advice(answer.status)}",
            anew=answer.status in {400, 410},
            pause_s=_seconds(answer.headers.get("Retry-After", "")),
        )

    async def __aexit__(self, *error: object) -> None:
        await self._request.__aexit__(*error)


def _advice(status: int) -> str:
    if status == 403:
        return "; give the service account the right to list and watch it"
    return "; the token is read again" if status == 401 else ""


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() and len(text) < 6 else 0.0


def _shown(text: str) -> str:
    """What the API says, as a part of one line."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        text = msgspec.json.decode(text, type=_Failure).message or text
    words = " ".join(text.split())
    return "".join(char for char in words if char.isprintable())[:200]


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for data in answer.content.iter_any():
        body += data
        if len(body) > limit:
            raise _BadAnswer(f"a page of the list has more than {limit} bytes", anew=True)
    return bytes(body)


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for data in answer.content.iter_any():
        *whole, last = data.split(b"\n")
        for line in whole:
            rest += line
            if rest.strip():
                yield bytes(rest)
            rest.clear()
        rest += last
        if len(rest) > _LINE_BYTES:
            raise _BadAnswer(f"an event has more than {_LINE_BYTES} bytes", anew=True)


def _object(raw: msgspec.Raw) -> Object:
    """Decode an object; one of another shape is as good as an empty one."""
    try:
        item: Object = _decode(bytes(raw), Object)
    except _BadAnswer:
        return Object()
    return item


def _decode(data: bytes, kind: Any) -> Any:
    """Decode JSON; what is not UTF-8 in it is escaped.

    Raises:
        _BadAnswer: it is no JSON of this kind.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return msgspec.json.decode(data.decode("utf-8", JSON_ESCAPES), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _BadAnswer(f"an answer that cannot be read: {error}", anew=True) from error
