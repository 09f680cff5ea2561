"""Source ``otlp``: logs that come over the OpenTelemetry protocol, by HTTP.

::

    POST /v1/logs    ExportLogsServiceRequest, in protocol buffers or as JSON

    200    an empty ExportLogsServiceResponse, in the form of the request, once all records are safe

==============================  ==================================================================
of a log record                 becomes
==============================  ==================================================================
time, or observed time          the time of the event
attributes                      fields, maps and lists as they are
body                            ``message``; a map: fields
severity text, or number        ``level``
trace id, span id               ``trace_id`` and ``span_id``, hexadecimal
attributes of the resource      ``resource``
name of the scope               ``scope``
==============================  ==================================================================

What an attribute is called comes first: it is not overwritten. Attributes of the resource can stand in the
tag: ``otlp.{service.name}``. Source: "OTLP Specification", and the definitions of its messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web
from pydantic import Field

from logflow.batch import Batch
from logflow.event import Record
from logflow.net.complaints import Complaints
from logflow.net.http_server import HttpIntake, HttpIntakeConfig, Refused, RequestHandler
from logflow.net.http_server.otlp import LogRecord, read_json, read_protobuf
from logflow.net.http_server.tags import TagNames, TagTemplate
from logflow.packing import pack_entries

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


class OtlpSource(HttpIntake):
    """Takes logs over OTLP/HTTP. See the module's text."""

    class Config(HttpIntakeConfig):
        """Options of the source ``otlp``."""

        tag: TagTemplate = Field(
            "otlp", description="Tag; attributes of the resource may stand in it: `otlp.{service.name}`."
        )

    config: OtlpSource.Config

    def handler(self, complain: Complaints) -> RequestHandler:
        """Take logs."""
        return _ExportHandler(self, complain)


class _ExportHandler(RequestHandler):
    def __init__(self, source: OtlpSource, complain: Complaints) -> None:
        config = source.config
        super().__init__(source.context, complain, config.limits, auth=config.auth)
        self._tags = TagNames(config.tag)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take an export."""
        if request.path != "/v1/logs":
            raise Refused(404, "logs are posted to /v1/logs")
        if request.method != "POST":
            raise Refused(405, "logs are sent with POST", Allow="POST")
        kind = request.content_type
        if kind not in (_PROTOBUF, _JSON):
            raise Refused(415, f"Content-Type is {_PROTOBUF} or {_JSON}")
        read = read_protobuf if kind == _PROTOBUF else read_json
        await self.take(request, lambda body: self._batches_of(body, read))
        return web.Response(body=b"{}" if kind == _JSON else b"", content_type=kind)

    def _batches_of(self, body: bytes, read: Callable[[bytes], Sequence[LogRecord]]) -> Sequence[Batch]:
        now_ns = self.context.clock.time_ns()
        found: dict[str, tuple[list[int], list[Record]]] = {}
        for log in read(body):
            times, records = found.setdefault(self._tags.tag(log.resource), ([], []))
            times.append(log.time_ns or now_ns)
            records.append(_record(log))
        return [Batch(tag, pack_entries(*columns), len(columns[0])) for tag, columns in found.items()]


def _record(log: LogRecord) -> Record:
    record = dict(log.attributes)
    more: Record = {"level": log.severity_text or _level(log.severity)}
    if isinstance(log.body, dict):
        more |= log.body
    elif log.body is not None:
        more["message"] = log.body
    more |= {"trace_id": log.trace_id, "span_id": log.span_id, "resource": log.resource, "scope": log.scope}
    record |= {key: value for key, value in more.items() if value not in (None, "", {}) and key not in record}
    return record


def _level(severity: int) -> str | None:
    """The name of a severity's number: four of them share one."""
    return _LEVELS[(severity - 1) // 4] if 1 <= severity <= 24 else None
