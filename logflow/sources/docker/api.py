"""Requests to the Engine API (v1.24 and later) over its unix socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from logflow.errors import MalformedData

_ANSWER_BYTES = 16 << 20
_LINE_BYTES = 1 << 20
_CONNECT_S = 10.0
_ANSWER_S = 30.0


class DockerContainer(msgspec.Struct, frozen=True):
    """What is known of a container."""

    id: str
    name: str
    image: str
    labels: Mapping[str, str]
    terminal: bool
    running: bool


class _State(msgspec.Struct, rename="pascal"):
    running: bool = False


class _Config(msgspec.Struct, rename="pascal"):
    image: str = ""
    tty: bool = False
    labels: dict[str, str] | None = None


class _Inspected(msgspec.Struct, rename="pascal"):
    id: str
    name: str = ""
    config: _Config = msgspec.field(default_factory=_Config)
    state: _State = msgspec.field(default_factory=_State)


class _Listed(msgspec.Struct, rename="pascal"):
    id: str


class _Event(msgspec.Struct):
    Action: str = ""
    id: str = ""


class Api:
    """A client; :meth:`close` it."""

    def __init__(self, socket: Path) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        )

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    async def running(self, labels: Sequence[str]) -> list[str]:
        """Return the ids of the containers that run and have the labels."""
        filters = json.dumps({"label": list(labels)}) if labels else "{}"
        listed = msgspec.json.decode(
            await self._ask("/containers/json", {"filters": filters}), type=list[_Listed]
        )
        return [container.id for container in listed]

    async def inspect(self, container: str) -> DockerContainer:
        """Describe a container."""
        found = msgspec.json.decode(await self._ask(f"/containers/{container}/json", {}), type=_Inspected)
        config = found.config
        return DockerContainer(
            found.id, found.name.removeprefix("/"), config.image, config.labels or {}, config.tty,
            found.state.running,
        )  # fmt: skip

    async def events(self, labels: Sequence[str]) -> AsyncIterator[tuple[str, str]]:
        """Yield what happens to containers: ``start`` or ``destroy``, and the id."""
        filters: dict[str, list[str]] = {"type": ["container"], "event": ["start", "destroy"]}
        if labels:
            filters["label"] = list(labels)
        async with self._get("/events", {"filters": json.dumps(filters)}) as answer:
            yield "connected", ""
            rest = b""
            async for data in answer.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > _LINE_BYTES:
                    raise MalformedData("an event of the daemon is too long")
                for line in lines:
                    if line.strip():
                        event = msgspec.json.decode(line, type=_Event)
                        yield event.Action, event.id

    @asynccontextmanager
    async def logs(self, container: str, since: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Follow a log from a time on: seconds, a point and nanoseconds; ``0`` for all of it."""
        query = {"follow": "1", "stdout": "1", "stderr": "1", "timestamps": "1", "since": since}
        async with self._get(f"/containers/{container}/logs", query) as answer:
            yield answer.content.iter_any()

    async def _ask(self, path: str, query: Mapping[str, str]) -> bytes:
        async with self._get(path, query, timeout_s=_ANSWER_S) as answer:
            body = await answer.content.read(_ANSWER_BYTES + 1)
            while len(body) <= _ANSWER_BYTES and (more := await answer.content.read(_ANSWER_BYTES)):
                body += more
        if len(body) > _ANSWER_BYTES:
            raise MalformedData(f"the daemon's answer to {path} is too long")
        return body

    @asynccontextmanager
    async def _get(
        self, path: str, query: Mapping[str, str], timeout_s: float | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_S)
        async with self._session.get(f"http://docker{path}", params=query, timeout=timeout) as answer:
            if answer.status != 200:
                text: Any = (await answer.content.read(1024)).decode(errors="replace")
                words = "".join(char for char in " ".join(text.split()) if char.isprintable())
                raise MalformedData(f"the daemon answered {answer.status} to {path}: {words[:200]}")
            yield answer
