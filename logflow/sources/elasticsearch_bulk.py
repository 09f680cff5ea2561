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
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web
from pydantic import Field

from logflow.batch import Batch, DeliveryKey
from logflow.component import Context
from logflow.config.auth import HttpAuth
from logflow.errors import MalformedData
from logflow.event import Record
from logflow.jsontext import decode_object
from logflow.net.complaints import Complaints
from logflow.net.http_server import HttpIntake, HttpIntakeConfig, Limits, Refused, RequestHandler
from logflow.net.http_server.tags import TagNames, TagTemplate
from logflow.packing import pack_entries
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
_PRODUCT = {"X-Elastic-Product": "Elasticsearch"}
_read_iso, _read_ms = TimeFormat("iso8601"), TimeFormat("unix_ms")
_decode = msgspec.json.Decoder(dict[str, dict[str, Any]]).decode


class ElasticsearchBulkSource(HttpIntake):
    """Takes bulk requests. See the module's text."""

    class Config(HttpIntakeConfig):
        """Options of the source ``elasticsearch_bulk``."""

        tag: TagTemplate = Field(
            "elasticsearch", description="Tag of the events; `{index}` in it is the index."
        )

    config: ElasticsearchBulkSource.Config

    def handler(self, complain: Complaints) -> RequestHandler:
        """Take bulk requests."""
        config = self.config
        return _BulkHandler(self.context, complain, config.limits, config.auth, TagNames(config.tag))


class _Items:
    """What becomes of the items of one request."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.errors = False

    def add(self, operation: str, index: str, meta: dict[str, Any], problem: str | None) -> None:
        item: dict[str, Any] = {
            "_index": index,
            "_id": str(meta.get("_id") or ""),
            "status": 201 if problem is None else 400,
        }
        if problem is None:
            item |= {
                "_version": 1,
                "result": "created",
                "_shards": {"total": 1, "successful": 1, "failed": 0},
            }
        else:
            self.errors = True
            item["error"] = {"type": "document_parsing_exception", "reason": problem}
        self.answers.append({operation: item})


class _BulkHandler(RequestHandler):
    """Answers shippers as Elasticsearch would."""

    def __init__(
        self, context: Context, complain: Complaints, limits: Limits, auth: HttpAuth | None, tags: TagNames
    ) -> None:
        super().__init__(context, complain, limits, auth=auth)
        self._tags = tags

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
        await self.take(request, lambda body: self._read(body, index, items))
        return web.json_response(
            {"took": 0, "errors": items.errors, "items": items.answers}, headers=_PRODUCT,
            dumps=lambda value: msgspec.json.encode(value).decode(),
        )  # fmt: skip

    def _read(self, body: bytes, default_index: str, items: _Items) -> Sequence[Batch]:
        lines = iter([line for line in body.split(b"\n") if line.strip()])
        found: dict[str, _Documents] = {}
        for number, line in enumerate(lines, start=1):
            operation, meta = _action(line, number)
            index = str(meta.get("_index") or default_index or "_")
            if operation == "delete":
                items.add(operation, index, meta, "documents cannot be deleted here")
                continue
            document = next(lines, None)
            if document is None:
                raise MalformedData("the last action has no document behind it")
            problem, record = None, decode_object(document)
            if operation not in _TAKEN:
                problem = f"{operation} is not taken, only index and create"
            elif record is None:
                problem = "the document is not a JSON object"
            else:
                tag = self._tags.tag({"index": index})
                documents = found.setdefault(tag, _Documents(self.context.clock.time_ns()))
                documents.add(record, meta.get("_id"))
            items.add(operation, index, meta, problem)
        return [documents.batch(tag) for tag, documents in found.items()]


class _Documents:
    """Documents of one tag."""

    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns
        self._times: list[int] = []
        self._records: list[Record] = []
        self._ids: list[str] = []

    def add(self, record: Record, name: object) -> None:
        time_ns = _time(record.get("@timestamp"))
        if time_ns is not None:
            del record["@timestamp"]
        self._times.append(self._now_ns if time_ns is None else time_ns)
        self._records.append(record)
        if name:
            self._ids.append(str(name))

    def batch(self, tag: str) -> Batch:
        entries = pack_entries(self._times, self._records)
        origin = None
        if len(self._ids) == len(self._records):
            text = "\0".join([tag, *self._ids]).encode("utf-8", "backslashreplace")
            origin = DeliveryKey(b"bulk" + hashlib.blake2b(text, digest_size=16).digest())
        return Batch(tag, entries, len(self._records), origin)


def _time(value: object) -> int | None:
    """Read ``@timestamp``: ISO 8601, or milliseconds as a number."""
    return _read_ms(value) if isinstance(value, int | float) else _read_iso(value)


def _action(line: bytes, number: int) -> tuple[str, dict[str, Any]]:
    try:
        ((operation, meta),) = _decode(line).items()
    except ValueError:  # msgspec's errors are ValueErrors
        raise MalformedData(f"action {number} of the bulk request cannot be read") from None
    return operation, meta
