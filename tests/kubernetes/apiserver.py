"""An API server of Kubernetes for tests: list and watch of pods and namespaces over real HTTPS.

It does as kube-apiserver does: a version for each change, pages, watches from a version as a chunked stream,
bookmarks, and 410 for versions that were compacted away. ``faults`` are answers that come before sane ones.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from logflow.testing.forwarding import Certificates

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


def pod(name: str, uid: str | None = None, **extra: Any) -> dict[str, Any]:
    """Describe a pod as the API does; ``extra`` goes into its metadata."""
    return {
        "metadata": {
            "name": name, "namespace": "shop", "uid": uid if uid is not None else f"uid-{name}",
            "labels": {"app": "web", "app.kubernetes.io/name": "web", "pod-template-hash": "5d4f"},
            "annotations": {"note": "an annotation"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d4f", "controller": True}],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
            **extra,
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "registry/web:2"}]},
        "status": {
            "containerStatuses": [
                {"name": "app", "image": "docker.io/registry/web:2", "restartCount": 0,
                 "containerID": "containerd://" + "a" * 64}
            ]
        },
    }  # fmt: skip


class ApiServer:
    """The objects, their history, and what went wrong on purpose."""

    def __init__(self, token: Path) -> None:
        self.url = ""
        self.faults: deque[Fault] = deque()
        self.requests: list[str] = []
        self.page = 2
        self.seen: Counter[str] = Counter()
        self._token = token
        self._version = 100
        self._compacted = 0
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}
        self._history: list[tuple[int, str, dict[str, Any]]] = []
        self._changed = asyncio.Condition()
        self._cut: set[web.StreamResponse] = set()

    async def change(self, kind: str, item: dict[str, Any], path: str = "/api/v1/pods") -> None:
        """Add, change or delete an object."""
        async with self._changed:
            self._version += 1
            item["metadata"]["resourceVersion"] = str(self._version)
            key = path, item["metadata"].get("uid") or ""
            if kind == "DELETED":
                self._objects.pop(key, None)
            else:
                self._objects[key] = item
            self._history.append((self._version, kind, {"path": path, "object": item}))
            self._changed.notify_all()

    async def bookmark(self) -> None:
        """Tell the watchers the version, with no change."""
        await self.change("BOOKMARK", {"metadata": {"uid": ""}})
        self._objects.pop(("/api/v1/pods", ""), None)

    def compact(self) -> None:
        """Forget all history: older versions are gone."""
        self._compacted = self._version
        self._history.clear()

    def cut(self) -> None:
        """Break the connections of all watches."""
        for answer in list(self._cut):
            transport = answer._req.transport if answer._req is not None else None  # type: ignore[union-attr]
            if transport is not None:
                transport.abort()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        self.requests.append(request.path_qs)
        if self.faults:
            return await self.faults.popleft()(request)
        if request.headers.get("Authorization") != f"Bearer {self._token.read_text()}":
            return failure(401, "Unauthorized")
        if request.query.get("watch") == "true":
            return await self._watch(request)
        return self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        self.seen["lists"] += 1
        items = [item for (path, _), item in self._objects.items() if path == request.path]
        first = int(request.query.get("continue", "0"))
        size = min(self.page, int(request.query.get("limit", "500")))
        metadata = {"resourceVersion": str(self._version)}
        if first + size < len(items):
            metadata["continue"] = str(first + size)
        return web.json_response({"metadata": metadata, "items": items[first : first + size]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.seen["watches"] += 1
        version = int(request.query["resourceVersion"])
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        if version < self._compacted:
            status = {"code": 410, "message": "too old resource version", "reason": "Expired"}
            await answer.write(_line("ERROR", status))
            return answer
        self._cut.add(answer)
        try:
            while True:
                async with self._changed:
                    while self._version <= version:
                        await self._changed.wait()
                    news = [entry for entry in self._history if entry[0] > version]
                for at, kind, what in news:
                    if what["path"] == request.path or kind == "BOOKMARK":
                        await answer.write(_line(kind, what["object"]))
                    version = at
                version = max(version, self._version)
        finally:
            self._cut.discard(answer)


def _line(kind: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def failure(status: int, message: str, **headers: str) -> web.Response:
    """Answer as the API does when it refuses."""
    return web.json_response({"kind": "Status", "code": status, "message": message}, status=status,
                             headers=headers)  # fmt: skip


@asynccontextmanager
async def api_server(certificates: Certificates, token: Path) -> AsyncIterator[ApiServer]:
    """Serve on loopback with TLS."""
    server = ApiServer(token)
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates.server, certificates.server_key)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
