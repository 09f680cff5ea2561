"""Source ``loki_push``: what shippers send to Loki: Promtail, Alloy, Fluent Bit, Docker's driver.

::

    POST /loki/api/v1/push, /api/prom/push    protocol buffers in a snappy block, or JSON
    GET  /ready, /loki/api/v1/status/buildinfo    what shippers may ask

    204    once all lines are safe

A line is parsed as ``parse`` says (JSON, unless told otherwise); what does not parse is ``message``. Labels
and structured metadata become fields, where a record has none of that name. ``{label}`` in the tag is the
value of a label. Source: "Loki HTTP API".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from aiohttp import web
from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Parser
from logflow.config.fields import ParserField
from logflow.errors import MalformedData
from logflow.event import MAX_TIME_NS, NANOSECOND
from logflow.net.complaints import Complaints
from logflow.net.http_server import HttpIntake, HttpIntakeConfig, Refused, RequestHandler
from logflow.net.http_server.tags import TagNames, TagTemplate
from logflow.packing import pack_entries, to_text
from logflow.protobuf import fields, signed
from logflow.snappy import unpack

_PUSH = ("/loki/api/v1/push", "/api/prom/push")
_LABEL = re.compile(r'\s*([^\s=,{}"]+)\s*=\s*("(?:[^"\\]|\\.)*"|`[^`]*`)\s*(?:,|$)', re.DOTALL)
_decode_json = msgspec.json.Decoder(dict[str, Any]).decode
_decode_text = msgspec.json.Decoder(str, strict=False).decode


class _Line(NamedTuple):
    """A line: its time, its text, and its structured metadata."""

    time_ns: int
    text: bytes
    metadata: Mapping[str, str]


class LokiPushSource(HttpIntake):
    """Takes pushes. See the module's text."""

    class Config(HttpIntakeConfig):
        """Options of the source ``loki_push``."""

        tag: TagTemplate = Field("loki", description="Tag of the events; `{app}` in it is the label `app`.")
        parse: ParserField = Field(
            {"type": "json"}, validate_default=True, description="Parser of the lines."
        )

    config: LokiPushSource.Config

    def handler(self, complain: Complaints) -> RequestHandler:
        """Take pushes."""
        config, context = self.config, self.context
        return _PushHandler(context, complain, config, context.parser(config.parse))


class _PushHandler(RequestHandler):
    own_encodings = ("snappy",)

    def __init__(
        self, context: Context, complain: Complaints, config: LokiPushSource.Config, parser: Parser
    ) -> None:
        super().__init__(context, complain, config.limits, auth=config.auth)
        self._parser = parser
        self._tags = TagNames(config.tag)
        self._max_body = config.max_body

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take a push."""
        if request.method == "GET" and request.path == "/ready":
            return web.Response(text="ready\n")
        if request.method == "GET" and request.path == "/loki/api/v1/status/buildinfo":
            return web.json_response({"version": "3.0.0", "branch": "logflow"})
        if request.path not in _PUSH:
            raise Refused(404, f"post to {_PUSH[0]}")
        if request.method != "POST":
            raise Refused(405, "lines are pushed with POST", Allow="POST")
        kind = request.content_type
        await self.take(request, lambda body: self._read(body, kind))
        return web.Response(status=204)

    def _read(self, body: bytes, kind: str) -> Sequence[Batch]:
        streams = self._json(body) if kind == "application/json" else self._protobuf(body)
        found: dict[str, tuple[list[int], list[dict[str, Any]]]] = {}
        for labels, lines in streams:
            times, records = found.setdefault(self._tags.tag(labels), ([], []))
            texts = [line.text for line in lines]
            for line, parsed in zip(lines, self._parser.parse_many(texts), strict=True):
                time, record = (None, {"message": to_text(line.text)}) if parsed is None else parsed
                times.append(line.time_ns if time is None else int(time))
                records.append({**labels, **line.metadata, **record})
        return [Batch(tag, pack_entries(*columns), len(columns[0])) for tag, columns in found.items()]

    # -- protocol buffers -------------------------------------------------------------------------

    def _protobuf(self, body: bytes) -> Iterator[tuple[dict[str, str], list[_Line]]]:
        for number, stream in fields(memoryview(unpack(body, self._max_body))):
            if number != 1 or isinstance(stream, int):
                continue
            labels: dict[str, str] = {}
            lines: list[_Line] = []
            for inner, value in fields(stream):
                if inner == 1 and not isinstance(value, int):
                    labels = _labels(to_text(bytes(value)))
                elif inner == 2 and not isinstance(value, int):
                    lines.append(_entry(value))
            yield labels, lines

    # -- JSON -------------------------------------------------------------------------------------

    @staticmethod
    def _json(body: bytes) -> Iterator[tuple[dict[str, str], list[_Line]]]:
        try:
            for stream in _decode_json(body)["streams"]:
                labels = {str(key): str(value) for key, value in stream["stream"].items()}
                yield labels, [_value(*value) for value in stream["values"]]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise MalformedData(f"the push is not what Loki takes: {type(error).__name__}") from None


def _entry(message: memoryview) -> _Line:
    """Read an ``EntryAdapter``."""
    time_ns, text, metadata = 0, b"", dict[str, str]()
    for number, value in fields(message):
        if isinstance(value, int):
            continue
        if number == 1:
            parts = {inner: part for inner, part in fields(value) if isinstance(part, int)}
            time_ns = signed(parts.get(1, 0)) * NANOSECOND + signed(parts.get(2, 0))
        elif number == 2:
            text = bytes(value)
        elif number == 3:
            pair = {inner: to_text(bytes(part)) for inner, part in fields(value) if not isinstance(part, int)}
            metadata[pair.get(1, "")] = pair.get(2, "")
    return _Line(_clamped(time_ns), text, metadata)


def _value(time: str, line: str, metadata: Mapping[str, Any] | None = None) -> _Line:
    """Read an item of ``values``."""
    pairs = {str(key): str(value) for key, value in (metadata or {}).items()}
    return _Line(_clamped(int(time)), line.encode("utf-8", "backslashreplace"), pairs)


def _clamped(time_ns: int) -> int:
    return min(max(time_ns, 0), MAX_TIME_NS)


def _labels(text: str) -> dict[str, str]:
    """Read ``{app="x", level="y"}``.

    Raises:
        MalformedData: it is not that.
    """
    inside = text.strip()
    if not (inside.startswith("{") and inside.endswith("}")):
        raise MalformedData("labels stand in braces")
    inside, at, labels = inside[1:-1].strip(), 0, dict[str, str]()
    while at < len(inside):
        match = _LABEL.match(inside, at)
        if match is None:
            raise MalformedData(f"labels cannot be read at character {at}")
        labels[match[1]] = _unquoted(match[2])
        at = match.end()
    return labels


def _unquoted(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    try:
        return _decode_text(text.encode())
    except ValueError:  # an escape that JSON has not
        return text[1:-1]
