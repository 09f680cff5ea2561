"""Answers to the requests of the source ``http``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from urllib.parse import unquote

from aiohttp import web

from logflow.batch import DeliveryKey
from logflow.component import Context
from logflow.config.auth import HttpAuth
from logflow.event import MAX_TIME_NS, NANOSECOND
from logflow.net.complaints import Complaints
from logflow.net.http_server import Events, Limits, Refused, RequestHandler
from logflow.net.http_server.tags import check_tag
from logflow.net.tags import Tags
from logflow.sources.http.bodies import BodyReader


class TagHandler(RequestHandler):
    """Takes what is posted to a tag."""

    def __init__(
        self,
        context: Context,
        complain: Complaints,
        reader: BodyReader,
        limits: Limits,
        *,
        auth: HttpAuth | None,
        root_tag: str | None,
        tags: Tags,
    ) -> None:
        super().__init__(context, complain, limits, auth=auth, tags=tags)
        self._reader = reader
        self._root_tag = root_tag

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take the events of a request."""
        if request.method != "POST":
            raise Refused(405, "events are sent with POST", Allow="POST")
        tag = self._tag(request)
        self.emit_for([tag])
        now_ns = self._time(request)
        key = request.headers.get("Idempotency-Key")

        def read(body: bytes, events: Events) -> Iterator[None]:
            for piece in self._reader.read(body, request.content_type, now_ns):
                events.add_packed(tag, piece.entries, piece.events)
                yield
            if key:
                events.name(tag, delivery_key(key, tag, body))

        return web.json_response({"events": await self.take(request, read)})

    def _tag(self, request: web.BaseRequest) -> str:
        segments = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
        if segments == [""]:
            if self._root_tag is None:
                raise Refused(404, "post to /TAG")
            return self._root_tag
        try:
            return check_tag(".".join(segments))
        except ValueError as error:
            raise Refused(400, str(error)) from None

    def _time(self, request: web.BaseRequest) -> int:
        """Time of events without one of their own: ``?time=`` in seconds since 1970, as Fluentd has it."""
        text = request.query.get("time")
        if text is None:
            return self.context.clock.time_ns()
        try:
            time_ns = int(Decimal(text) * NANOSECOND)
        except (ArithmeticError, ValueError):
            time_ns = -1
        if not 0 <= time_ns <= MAX_TIME_NS:
            raise Refused(400, "time is a number of seconds since 1970")
        return time_ns


def delivery_key(key: str, tag: str, body: bytes) -> DeliveryKey:
    """Name a delivery by its key, tag and body, so that only a true repeat is one."""
    digest = hashlib.blake2b(f"{len(key)}\0{key}\0{tag}\0".encode("utf-8", "surrogateescape"), digest_size=16)
    digest.update(body)
    return DeliveryKey(b"http" + digest.digest())
