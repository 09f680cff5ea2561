"""Source ``otlp``: logs that come over the OpenTelemetry protocol, by HTTP or gRPC.

::

    POST /v1/logs         ExportLogsServiceRequest, in protocol buffers or as JSON
    LogsService/Export    the same in protocol buffers, where the option ``protocol`` is ``grpc``

    200, OK    an empty ExportLogsServiceResponse, in the form of the request, once all records are safe

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

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from logflow import extras
from logflow.component import Context
from logflow.event import Record
from logflow.net.complaints import Complaints
from logflow.net.http_server import (
    Events,
    HttpIntake,
    HttpIntakeConfig,
    Intake,
    Refused,
    RequestHandler,
    Serving,
)
from logflow.net.http_server.otlp import JSON_GROWTH, LogRecord, read_json, read_protobuf
from logflow.net.http_server.tags import TagNames, TagTemplate
from logflow.net.tags import Tags
from logflow.protobuf import LOGS_EXPORT

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


class OtlpSource(HttpIntake):
    """Accepts logs over OTLP/HTTP or OTLP/gRPC."""

    class Config(HttpIntakeConfig):
        """Options of the source ``otlp``."""

        protocol: Literal["http", "grpc"] = Field(
            "http", description="What is spoken on `listen`; `grpc` needs the extra `grpc`."
        )
        tag: TagTemplate = Field(
            "otlp", description="Tag; attributes of the resource may stand in it: `otlp.{service.name}`."
        )

    config: OtlpSource.Config

    def handler(self, complain: Complaints, tags: Tags) -> Intake:
        """Take logs.

        Raises:
            ComponentError: the library of gRPC is missing.
        """
        config = self.config
        reader = _Reader(self.context, TagNames(config.tag, tags))
        if config.protocol == "http":
            return _ExportHandler(reader, complain, config, tags)
        self.alpn = ("h2",)
        handler: Intake = self._load("logflow.net.http_server.calls").CallHandler(
            self.context, complain, config.limits, auth=config.auth, tags=tags,
            methods={LOGS_EXPORT: partial(reader.read, read_protobuf)},
        )  # fmt: skip
        return handler

    def server(self, handler: Intake) -> Serving:
        """Make what speaks the protocol."""
        if self.config.protocol == "http":
            return super().server(handler)
        server: Serving = self._load("logflow.net.grpc.server").GrpcServer(
            handler, idle_s=self.config.idle_timeout, malformed=self.malformed, fault=handler.fault
        )
        return server

    def _load(self, module: str) -> Any:
        return extras.load(module, "grpc", f"source {self.context.name} (otlp)")


class _Reader:
    """Makes events of log records."""

    def __init__(self, context: Context, names: TagNames) -> None:
        self.context = context
        self._names = names

    def read(
        self, read: Callable[[bytes, Events], Iterator[LogRecord]], body: bytes, events: Events
    ) -> Iterator[None]:
        """Read the message of an export, as ``read`` does, and add its events."""
        now_ns = self.context.clock.time_ns()
        for log in read(body, events):
            tag, extra = self._names.tag(log.resource)
            if events.add(tag, log.time_ns or now_ns, {**_record(log), **extra}, log.shared_bytes):
                yield


class _ExportHandler(RequestHandler):
    def __init__(self, reader: _Reader, complain: Complaints, config: OtlpSource.Config, tags: Tags) -> None:
        super().__init__(reader.context, complain, config.limits, auth=config.auth, tags=tags)
        self._reader = reader

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take an export."""
        if request.path != "/v1/logs":
            raise Refused(404, "logs are posted to /v1/logs")
        if request.method != "POST":
            raise Refused(405, "logs are sent with POST", Allow="POST")
        kind = request.content_type
        if kind not in (_PROTOBUF, _JSON):
            raise Refused(415, f"Content-Type is {_PROTOBUF} or {_JSON}")
        if kind == _JSON:
            await self.take(request, partial(self._reader.read, read_json), growth=JSON_GROWTH)
        else:
            await self.take(request, partial(self._reader.read, read_protobuf))
        return web.Response(body=b"{}" if kind == _JSON else b"", content_type=kind)


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
