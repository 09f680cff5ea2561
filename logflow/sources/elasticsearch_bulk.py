"""Source ``elasticsearch_bulk``: what shippers send to Elasticsearch: Filebeat, Fluent Bit, Vector, Logstash.

::

    POST /_bulk, /INDEX/_bulk   index and create are taken, others refused, each item for itself
    GET, HEAD /                 a version and a name: shippers look at them first
    GET /_license, /_xpack      a basic licence
    HEAD, GET, PUT of templates, pipelines and policies    said to be there: nothing is kept

    200  {"errors":false,"items":[{"create":{"status":201,...}}]}    once all of them are safe

A document becomes a record, its ``@timestamp`` the time of the event. ``{index}`` in the tag is the index. A
repeat of documents that all have an ``_id`` is recognised. Source: "Bulk API" in Elasticsearch's reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web
from pydantic import Field

from logflow.batch import DeliveryKey
from logflow.component import Context
from logflow.errors import MalformedData
from logflow.jsontext import decode_object
from logflow.net.complaints import Complaints
from logflow.net.http_server import Events, HttpIntake, HttpIntakeConfig, Refused, RequestHandler
from logflow.net.http_server.tags import TagNames, TagTemplate
from logflow.net.tags import Tags
from logflow.timestamps import TimeFormat

_VERSION = "8.17.0"
_INFO: dict[str, Any] = {
    "name": "logflow",
    "cluster_name": "logflow",
    "cluster_uuid": "logflow",
    "version": {
        "number": _VERSION, "build_flavor": "default", "build_type": "tar", "lucene_version": "9.12.0",
        "minimum_wire_compatibility_version": "7.17.0", "minimum_index_compatibility_version": "7.0.0",
    },
    "tagline": "You Know, for Search",
}  # fmt: skip
_LICENSE = {"license": {"status": "active", "type": "basic", "mode": "basic", "uid": "logflow"}}
_TAKEN = ("index", "create")
_ANSWER_BYTES = 64
"""What the answer to an item takes besides its text."""
_PRODUCT = {"X-Elastic-Product": "Elasticsearch"}
_read_iso, _read_ms = TimeFormat("iso8601"), TimeFormat("unix_ms")
_decode = msgspec.json.Decoder(dict[str, dict[str, Any]]).decode


class ElasticsearchBulkSource(HttpIntake):
    """Accepts bulk requests to Elasticsearch."""

    class Config(HttpIntakeConfig):
        """Options of the source ``elasticsearch_bulk``."""

        tag: TagTemplate = Field(
            "elasticsearch", description="Tag of the events; `{index}` in it is the index."
        )

    config: ElasticsearchBulkSource.Config

    def handler(self, complain: Complaints, tags: Tags) -> RequestHandler:
        """Take bulk requests."""
        return _BulkHandler(self.context, complain, self.config, tags)


class _Items:
    """What becomes of the items of one request; packed, as they are as many as the events."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.errors = False

    def add(self, operation: str, index: str, meta: dict[str, Any], problem: str | None) -> int:
        """Add one; returns its size."""
        item: dict[str, Any] = {"_index": index, "_id": str(meta.get("_id") or "")}
        if problem is None:
            item |= {
                "status": 201, "_version": 1, "result": "created",
                "_shards": {"total": 1, "successful": 1, "failed": 0},
            }  # fmt: skip
        else:
            self.errors = True
            item |= {"status": 400, "error": {"type": "document_parsing_exception", "reason": problem}}
        answer = msgspec.json.encode({operation: item})
        self.answers.append(answer)
        return len(answer)

    def body(self) -> bytes:
        """The answer."""
        errors = b"true" if self.errors else b"false"
        return b'{"took":0,"errors":%b,"items":[%b]}' % (errors, b",".join(self.answers))


class _BulkHandler(RequestHandler):
    """Answers shippers as Elasticsearch would."""

    def __init__(
        self, context: Context, complain: Complaints, config: ElasticsearchBulkSource.Config, tags: Tags
    ) -> None:
        super().__init__(context, complain, config.limits, auth=config.auth, tags=tags)
        self._names = TagNames(config.tag, tags)

    def refusal(self, refused: Refused) -> web.Response:
        """An error as the store writes it."""
        kind = {401: "security_exception", 429: "es_rejected_execution_exception"}.get(
            refused.status, "illegal_argument_exception"
        )
        body = {"error": {"type": kind, "reason": str(refused)}, "status": refused.status}
        return web.json_response(body, status=refused.status, headers={**refused.headers, **_PRODUCT})

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take a bulk request, or tell what shippers ask at the start."""
        path = request.path.rstrip("/")
        if path.rpartition("/")[2] == "_bulk" and request.method in ("POST", "PUT"):
            return await self._bulk(request, path.removesuffix("/_bulk").strip("/"))
        if request.method in ("GET", "HEAD") and path == "":
            return web.json_response(_INFO, headers=_PRODUCT)
        if path in ("/_license", "/_xpack"):
            return web.json_response(_LICENSE, headers=_PRODUCT)
        if request.method in ("GET", "HEAD", "PUT") and path.startswith("/_"):
            return web.json_response({"acknowledged": True}, headers=_PRODUCT)
        raise Refused(404, "only bulk requests are taken")

    async def _bulk(self, request: web.BaseRequest, index: str) -> web.Response:
        items = _Items()
        await self.take(request, lambda body, events: self._read(body, index, items, events))
        return web.Response(body=items.body(), content_type="application/json", headers=_PRODUCT)

    def _read(self, body: bytes, default_index: str, items: _Items, events: Events) -> Iterator[None]:
        now_ns, names = self.context.clock.time_ns(), _Names()
        lines = _lines(body)
        for number, line in enumerate(lines, start=1):
            full = False
            operation, meta = _action(line, number)
            index = str(meta.get("_index") or default_index or "_")
            problem = "documents cannot be deleted here" if operation == "delete" else None
            if problem is None:
                document = next(lines, None)
                if document is None:
                    raise MalformedData("the last action has no document behind it")
                record = decode_object(document)
                if operation not in _TAKEN:
                    problem = f"{operation} is not taken, only index and create"
                elif record is None:
                    problem = "the document is not a JSON object"
                else:
                    tag, extra = self._names.tag({"index": index})
                    time_ns = _time(record.get("@timestamp"))
                    if time_ns is not None:
                        del record["@timestamp"]
                    full = events.add(tag, now_ns if time_ns is None else time_ns, {**extra, **record})
                    names.add(tag, meta.get("_id"))
            events.hold(items.add(operation, index, meta, problem) + _ANSWER_BYTES)
            if full:
                yield
        for tag, key in names.all():
            events.name(tag, key)


class _Names:
    """The ids of the documents of each tag: if all have one, a repeat of them can be recognised."""

    def __init__(self) -> None:
        self._digests: dict[str, Any] = {}

    def add(self, tag: str, name: object) -> None:
        digest = self._digests.get(tag)
        if digest is None and tag not in self._digests:
            digest = self._digests[tag] = hashlib.blake2b(tag.encode(), digest_size=16)
        if not name:
            self._digests[tag] = None
        elif digest is not None:
            digest.update(f"\0{name}".encode("utf-8", "backslashreplace"))

    def all(self) -> Iterator[tuple[str, DeliveryKey]]:
        for tag, digest in self._digests.items():
            if digest is not None:
                yield tag, DeliveryKey(b"bulk" + digest.digest())


def _lines(body: bytes) -> Iterator[bytes]:
    """Lines that are not blank."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start) + 1 or len(body)
        if line := body[start:end].strip():
            yield line
        start = end


def _time(value: object) -> int | None:
    """Read ``@timestamp``: ISO 8601, or milliseconds as a number."""
    return _read_ms(value) if isinstance(value, int | float) else _read_iso(value)


def _action(line: bytes, number: int) -> tuple[str, dict[str, Any]]:
    try:
        ((operation, meta),) = _decode(line).items()
    except ValueError:  # msgspec's errors are ValueErrors
        raise MalformedData(f"action {number} of the bulk request cannot be read") from None
    return operation, meta
