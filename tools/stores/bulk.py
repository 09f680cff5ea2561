"""A store with Elasticsearch's bulk interface, and with faults on demand.

It knows what matters to whoever sends: ``create`` answers 409 for an id that is there, mappings are inferred
from the first document of an index and conflict later, some field names are forbidden, indices may not come
to be by themselves, and everything is answered per item. Sources: "Bulk API", "Dynamic field mapping" and
"HTTP request limits" in the reference of Elasticsearch.

``python -m tools.stores.bulk PORT FILE`` serves until it is killed; ids are appended to FILE before they are
answered, as a store that syncs its log does, and read from there at the start. A third argument is the seed
of faults that come by themselves.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

MAX_BODY_BYTES = 100 << 20
FAULTS = ("refuse", "fail", "busy_items", "cut_before", "cut_after", "html", "slow")


@dataclass
class BulkStore:
    """The store.

    Attributes:
        docs: by index, then by id.
        requests: bodies as they came, decompressed.
        faults: one for each of the next requests: see ``_fault``.
        auto_create: whether an index comes to be with its first document.
        pipelines: names of ingest pipelines that exist.
        authorization: header that clients must send.
        max_bytes: largest body.
        templates: index templates that were put.
        log: where ids are noted before they are answered.
        chaos: makes faults by itself.
    """

    docs: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    mappings: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    auto_create: bool = True
    pipelines: set[str] = field(default_factory=set)
    authorization: str | None = None
    max_bytes: int = MAX_BODY_BYTES
    templates: dict[str, Any] = field(default_factory=dict)
    log: TextIO | None = None
    chaos: random.Random | None = None
    counts: Counter[str] = field(default_factory=Counter)
    keep_requests: bool = True

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if self.authorization not in (None, request.headers.get("Authorization")):
            return _error(401, "security_exception", "unable to authenticate")
        if request.method == "PUT" and request.path.startswith("/_index_template/"):
            self.templates[request.path.rpartition("/")[2]] = await _json_of(request)
            return web.json_response({"acknowledged": True})
        if request.method != "POST" or not request.path.endswith("/_bulk"):
            return _error(400, "illegal_argument_exception", "unknown path")
        self.counts["requests"] += 1
        self.counts["bytes"] += request.content_length or 0
        fault = self._next_fault()
        if (instead := await self._instead(request, fault)) is not None:
            return instead
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if len(body) > self.max_bytes:
            return web.Response(status=413)
        if self.keep_requests:
            self.requests.append(body)
        items = self._bulk(body, busy=fault == "busy_items")
        if self.log is not None:
            self.log.flush()
        return self._answer(request, fault, items)

    @staticmethod
    async def _instead(request: web.BaseRequest, fault: str) -> web.Response | None:
        """What happens before anything is stored."""
        match fault:
            case "hang" | "slow":
                await asyncio.sleep(3600 if fault == "hang" else 0.3)
            case "cut_before":
                return _cut(request)
            case "redirect":
                return web.Response(status=302, headers={"Location": "http://elsewhere.example/_bulk"})
            case "refuse":
                return _error(429, "es_rejected_execution_exception", "rejected execution")
            case "fail":
                return _error(500, "internal_server_error", "something broke")
        return None

    def _next_fault(self) -> str:
        if self.faults:
            return self.faults.pop(0)
        if self.chaos is not None and self.chaos.random() < 0.25:
            return self.chaos.choice(FAULTS)
        return ""

    @staticmethod
    def _answer(request: web.BaseRequest, fault: str, items: list[dict[str, Any]]) -> web.StreamResponse:
        if fault == "cut_after":
            return _cut(request)
        if fault == "html":
            return web.Response(
                text="<html><body>Welcome to the proxy</body></html>", content_type="text/html"
            )
        text = json.dumps({"errors": any(i["create"]["status"] >= 300 for i in items), "items": items})
        if fault == "truncate":
            text = text[: len(text) // 2]
        return web.Response(text=text, content_type="application/json")

    def _bulk(self, body: bytes, *, busy: bool) -> list[dict[str, Any]]:
        lines = body.split(b"\n")
        assert lines.pop() == b"", "a bulk request ends with a newline"
        items = []
        for number, (action, document) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
            (operation, meta), *others = json.loads(action).items()
            assert operation == "create"
            assert not others
            if busy and number % 3 == 1:
                found = _refusal(429, "es_rejected_execution_exception", "rejected execution")
            else:
                found = self._create(meta, json.loads(document))
            items.append({"create": found})
        return items

    def _create(self, meta: dict[str, str], document: dict[str, Any]) -> dict[str, Any]:
        index, name = meta["_index"], meta["_id"]
        if index not in self.docs and not self.auto_create:
            return _refusal(404, "index_not_found_exception", f"no such index [{index}]")
        if (pipeline := meta.get("pipeline")) and pipeline not in self.pipelines:
            return _refusal(
                400, "illegal_argument_exception", f"pipeline with id [{pipeline}] does not exist"
            )
        docs = self.docs.setdefault(index, {})
        if name in docs:
            self.counts["repeats"] += 1
            return _refusal(409, "version_conflict_engine_exception", f"[{name}]: version conflict")
        if (problem := self._map(index, document)) is not None:
            return _refusal(400, "document_parsing_exception", problem)
        docs[name] = document
        if self.log is not None:
            self.log.write(json.dumps([index, name, document]) + "\n")
        return {"status": 201}

    def _map(self, index: str, document: dict[str, Any]) -> str | None:
        known = self.mappings.setdefault(index, {})
        for key, value in document.items():
            if key in ("_id", "_index", "_source", "_routing"):
                return f"Field [{key}] is a metadata field and cannot be added inside a document."
            if not key.strip() or ".." in key:
                return "field name cannot be an empty string"
            kind = _kind(value)
            if kind is None:
                continue
            wanted = known.setdefault(key, kind)
            if wanted != kind and not _fits(value, wanted):
                return f"failed to parse field [{key}] of type [{wanted}]"
        return None


def _kind(value: object) -> str | None:
    match value:
        case bool():
            return "boolean"
        case int():
            return "long"
        case float():
            return "float"
        case str():
            return "text"
        case dict():
            return "object"
        case list() if value:
            return _kind(value[0])
    return None


def _fits(value: Any, wanted: str) -> bool:
    if wanted == "text":
        return not isinstance(value, dict)
    if wanted in ("long", "float") and isinstance(value, int | float | str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return False


def _refusal(status: int, kind: str, reason: str) -> dict[str, Any]:
    return {"status": status, "error": {"type": kind, "reason": reason}}


def _error(status: int, kind: str, reason: str) -> web.Response:
    return web.json_response({"error": {"type": kind, "reason": reason}, "status": status}, status=status)


def _cut(request: web.BaseRequest) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _json_of(request: web.BaseRequest) -> Any:
    body = await request.read()
    return json.loads(gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body)


async def start(store: BulkStore, port: int = 0) -> tuple[web.ServerRunner, int]:
    """Serve on loopback; returns the runner, to be cleaned up, and the port."""
    server = web.Server(store, access_log=None, auto_decompress=False)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, runner.addresses[0][1]


async def _serve(port: int, path: Path, seed: str | None) -> None:
    store = BulkStore(keep_requests=False, chaos=None if seed is None else random.Random(seed))
    if path.exists():
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                index, name, document = json.loads(line)
                store.docs.setdefault(index, {})[name] = document
    with path.open("a") as store.log:
        await start(store, port)
        await asyncio.sleep(1e9)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None))
