"""Source ``splunk_hec``: what clients send to Splunk's HTTP Event Collector.

::

    POST /services/collector, .../event, .../event/1.0    {"event":..., "time":..., "fields":...} in a row
    POST /services/collector/raw, .../raw/1.0             lines
    GET  /services/collector/health

    200  {"text":"Success","code":0}    once all of them are safe
    400  {"text":...,"code":6}          nothing of the request was taken

An event that is an object becomes the record, any other is ``message``. ``host``, ``source``, ``sourcetype``,
``index`` and what stands in ``fields`` become fields, where the record has none of that name. The first four
can stand in the tag too: ``hec.{index}``. Source: "HTTP Event Collector" in Splunk's documentation.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from aiohttp import web
from pydantic import Field

from logflow.component import Context
from logflow.config.secrets import StaticSecret
from logflow.errors import MalformedData
from logflow.event import MAX_TIME_NS, NANOSECOND, Record
from logflow.jsontext import decode_objects
from logflow.net.complaints import Complaints
from logflow.net.http_server import Events, HttpIntake, HttpIntakeConfig, Refused, RequestHandler
from logflow.net.http_server.bodies import PIECE_BYTES, object_lines
from logflow.net.http_server.tags import TagNames, TagTemplate
from logflow.net.tags import Tags
from logflow.packing import to_text

_COLLECTOR = "/services/collector"
_META = ("host", "source", "sourcetype", "index")
_CODES = {401: 2, 400: 6, 413: 6, 429: 9, 503: 9}


class SplunkHecSource(HttpIntake):
    """Accepts what clients send to an HTTP Event Collector."""

    class Config(HttpIntakeConfig):
        """Options of the source ``splunk_hec``."""

        tag: TagTemplate = Field(
            "splunk", description="Tag; `{index}`, `{host}`, `{source}` and `{sourcetype}` may stand in it."
        )
        token: StaticSecret | None = Field(None, description="Token that clients must give.")

    config: SplunkHecSource.Config

    def handler(self, complain: Complaints, tags: Tags) -> RequestHandler:
        """Take what the collector takes."""
        return _CollectorHandler(self.context, complain, self.config, tags)


class _CollectorHandler(RequestHandler):
    def __init__(
        self, context: Context, complain: Complaints, config: SplunkHecSource.Config, tags: Tags
    ) -> None:
        super().__init__(context, complain, config.limits, auth=config.auth, tags=tags)
        self._token = None if config.token is None else config.token.get_secret_value()
        self._names = TagNames(config.tag, tags)

    def authorized(self, request: web.BaseRequest) -> bool:
        """Whether a request has the token, as header or as the password of basic authentication."""
        if self._token is None:
            return super().authorized(request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode("utf-8", "backslashreplace")
        return scheme.lower() == "splunk" and hmac.compare_digest(given, self._token.encode())

    def refusal(self, refused: Refused) -> web.Response:
        """An error as the collector writes it."""
        body = {"text": str(refused), "code": _CODES.get(refused.status, 8)}
        return web.json_response(body, status=refused.status, headers=refused.headers)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take events, or lines."""
        path = request.path.removesuffix("/1.0").rstrip("/")
        if request.method == "GET" and path == f"{_COLLECTOR}/health":
            return web.json_response({"text": "HEC is healthy", "code": 17})
        if path not in (_COLLECTOR, f"{_COLLECTOR}/event", f"{_COLLECTOR}/raw"):
            raise Refused(404, f"post to {_COLLECTOR}/event")
        if request.method != "POST":
            raise Refused(405, "events are sent with POST", Allow="POST")
        meta = {key: request.query[key] for key in _META if key in request.query}
        texts = _lines if path.endswith("/raw") else self._objects
        await self.take(request, lambda body, events: self._read(texts(body), meta, events))
        return web.json_response({"text": "Success", "code": 0})

    def _objects(self, body: bytes) -> Iterator[Record]:
        number = 0
        for _, lines in object_lines(self.context.engine, body):
            for event in decode_objects([line for line in lines.split(b"\n") if line]):
                if event is None or event.get("event") is None:
                    raise MalformedData(f"event {number} cannot be read, or has no field event")
                yield event
                number += 1

    def _read(self, found: Iterator[Record], query: dict[str, str], events: Events) -> Iterator[None]:
        now_ns = self.context.clock.time_ns()
        query_bytes = sum(map(len, query.values()))
        for event in found:
            meta = {key: event.get(key, query.get(key)) for key in _META}
            text = event["event"]
            record = text if isinstance(text, dict) else {"message": text}
            extra = event.get("fields")
            more = {**meta, **extra} if isinstance(extra, dict) else meta
            tag, own = self._names.tag(meta)
            record |= {key: value for key, value in more.items() if value is not None and key not in record}
            time_ns = _time(event.get("time"))
            if events.add(tag, now_ns if time_ns is None else time_ns, {**own, **record}, query_bytes):
                yield


def _lines(body: bytes) -> Iterator[dict[str, Any]]:
    start = 0
    while start < len(body):
        end = body.find(b"\n", start + PIECE_BYTES // 16) + 1 or len(body)
        yield from ({"event": to_text(line)} for line in body[start:end].splitlines() if line.strip())
        start = end


def _time(value: object) -> int | None:
    """Read seconds, as a number or as text; what is too large for seconds is milliseconds."""
    try:
        time = Decimal(str(value))
        time_ns = int(time * (NANOSECOND if time < 1 << 32 else 1_000_000))
    except (ArithmeticError, ValueError):
        return None
    return time_ns if 0 <= time_ns <= MAX_TIME_NS else None
