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
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import msgspec
from aiohttp import web
from pydantic import Field

from logflow.component import Context
from logflow.config.fields import ParserField
from logflow.errors import MalformedData
from logflow.event import MAX_TIME_NS, NANOSECOND
from logflow.net.complaints import Complaints
from logflow.net.http_server import Events, HttpIntake, HttpIntakeConfig, Refused, RequestHandler
from logflow.net.http_server.tags import TagNames, TagTemplate
from logflow.net.tags import Tags
from logflow.packing import to_text
from logflow.protobuf import fields, signed
from logflow.snappy import unpack

_T = TypeVar("_T")

_PUSH = ("/loki/api/v1/push", "/api/prom/push")
_LABEL = re.compile(r'\s*([^\s=,{}"]+)\s*=\s*("(?:[^"\\]|\\.)*"|`[^`]*`)\s*(?:,|$)', re.DOTALL)
_JSON_GROWTH = 18
"""Bytes that reading JSON takes for each of its own: a value that is not looked into takes 48 of them."""
_MOST_LINES = 500
"""Lines of a stream that are parsed at once."""


class _Push(msgspec.Struct):
    streams: list[msgspec.Raw]


class _PushedStream(msgspec.Struct):
    stream: dict[str, Any]
    values: list[msgspec.Raw]


_decode_push = msgspec.json.Decoder(_Push).decode
_decode_stream = msgspec.json.Decoder(_PushedStream).decode
_decode_value = msgspec.json.Decoder(list[Any]).decode
_decode_text = msgspec.json.Decoder(str, strict=False).decode


class _Line(NamedTuple):
    """A line: its time, its text, and its structured metadata."""

    time_ns: int
    text: bytes
    metadata: Mapping[str, str]


class _Stream(NamedTuple):
    """Lines with the same labels, and the size of these."""

    labels: dict[str, str]
    shared_bytes: int
    lines: Iterator[_Line]


class LokiPushSource(HttpIntake):
    """Accepts pushes to Loki."""

    class Config(HttpIntakeConfig):
        """Options of the source ``loki_push``."""

        tag: TagTemplate = Field("loki", description="Tag of the events; `{app}` in it is the label `app`.")
        parse: ParserField = Field(
            {"type": "json"}, validate_default=True, description="Parser of the lines."
        )

    config: LokiPushSource.Config

    def handler(self, complain: Complaints, tags: Tags) -> RequestHandler:
        """Take pushes."""
        return _PushHandler(self.context, complain, self.config, tags)


class _PushHandler(RequestHandler):
    own_encodings = ("snappy",)

    def __init__(
        self, context: Context, complain: Complaints, config: LokiPushSource.Config, tags: Tags
    ) -> None:
        super().__init__(context, complain, config.limits, auth=config.auth, tags=tags)
        self._parser = context.parser(config.parse)
        self._names = TagNames(config.tag, tags)
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
        if request.content_type == "application/json":
            await self.take(request, lambda *data: self._read(_read_json, *data), growth=_JSON_GROWTH)
        else:
            await self.take(request, lambda *data: self._read(self._read_protobuf, *data), growth=1)
        return web.Response(status=204)

    def _read(
        self, read: Callable[[bytes], Iterator[_Stream]], body: bytes, events: Events
    ) -> Iterator[None]:
        for stream in read(body):
            events.hold()
            while lines := list(islice(stream.lines, _MOST_LINES)):
                if self._add(stream, lines, events):
                    yield

    def _add(self, stream: _Stream, lines: list[_Line], events: Events) -> bool:
        full, labels = False, stream.labels
        parsed = self._parser.parse_many([line.text for line in lines])
        for line, found in zip(lines, parsed, strict=True):
            time, record = (None, {"message": to_text(line.text)}) if found is None else found
            time_ns = line.time_ns if time is None else int(time)
            tag, extra = self._names.tag(labels)
            record = {**extra, **labels, **line.metadata, **record}
            full |= events.add(tag, time_ns, record, stream.shared_bytes)
        return full

    def _read_protobuf(self, body: bytes) -> Iterator[_Stream]:
        for number, message in fields(memoryview(unpack(body, self._max_body))):
            if number == 1 and not isinstance(message, int):
                labels = next(_parts(message, 1), b"{}")
                lines = (_entry(entry) for entry in _parts(message, 2))
                yield _Stream(_labels(to_text(bytes(labels))), len(labels), lines)


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, value in fields(message):
        if number == wanted and not isinstance(value, int):
            yield value


def _read_json(body: bytes) -> Iterator[_Stream]:
    for part in _decoded(_decode_push, body).streams:
        stream = _decoded(_decode_stream, part)
        labels = {str(key): str(value) for key, value in stream.stream.items()}
        size = sum(len(key) + len(value) for key, value in labels.items())
        yield _Stream(labels, size, (_decoded(_read_value, value) for value in stream.values))


def _decoded(decode: Callable[[Any], _T], text: bytes | msgspec.Raw) -> _T:
    try:
        return decode(text)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
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


def _read_value(text: msgspec.Raw) -> _Line:
    """Read an item of ``values``."""
    return _line(*_decode_value(text))


def _line(time: str, line: str, metadata: Mapping[str, Any] | None = None) -> _Line:
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
        raise MalformedData("labels must be in braces")
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
