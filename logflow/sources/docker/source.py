"""Which containers are followed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import aiohttp
import msgspec
from pydantic import Field

from logflow.component import Context, Emit, Source
from logflow.config.fields import NonEmpty, ParserField, Size, parse_size
from logflow.config.options import SourceConfig
from logflow.errors import MalformedData
from logflow.sources.docker.api import Api, DockerContainer
from logflow.sources.docker.follower import Follower, Place
from logflow.sources.lines import LineCounters

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 30.0
_FAILURES = (aiohttp.ClientError, OSError, TimeoutError, MalformedData, msgspec.MsgspecError)
_MOST_PLACES = 2000
"""Most containers whose places are kept."""


class DockerSource(Source):
    """Follows every container that runs, and those that are started."""

    class Config(SourceConfig):
        """Options of the source ``docker``."""

        type: Literal["docker"] = "docker"
        socket: Path = Field(Path("/var/run/docker.sock"), description="The daemon's unix socket.")
        labels: list[NonEmpty] = Field(
            [], description="Only containers with these labels: `name` or `name=value`."
        )
        tag: NonEmpty = Field("docker.{name}", description="Tag; may hold `{name}` and `{id}` (12 digits).")
        parse: ParserField = Field(
            {"type": "json"},
            description="Parser of the messages; one that it does not match is kept as `message`.",
            validate_default=True,
        )
        max_line: Size = Field(
            parse_size("1MiB"), ge=64, description="Longest message; it is cut there and marked."
        )

    config: DockerSource.Config
    keeps_state = True

    def __init__(self, config: DockerSource.Config, context: Context) -> None:
        super().__init__(config, context)
        self._counters = LineCounters(context.counter)
        self._lines = context.engine.line_parser(
            "cri", context.parser(config.parse), max_line=config.max_line
        )
        self._following: dict[str, asyncio.Task[None]] = {}
        self._followers: dict[str, Follower] = {}
        self._started: set[str] = set()
        """Containers that were started while what they had said before was still read."""
        self._said = ""

    async def run(self, emit: Emit) -> None:
        """Follow until cancelled; a daemon that is not there is asked again and again."""
        backoff_s = _FIRST_BACKOFF_S
        try:
            while True:
                api = Api(self.config.socket)
                try:
                    async for action, container in api.events(self.config.labels):
                        if action == "connected":
                            await self._follow_running(api, emit)
                        elif action == "start":
                            self._follow(container, api, emit)
                        elif action == "destroy":
                            self._forget(container)
                        backoff_s, self._said = _FIRST_BACKOFF_S, ""
                    why = "the daemon ended the connection"
                except _FAILURES as error:
                    why = " ".join(str(error).split()) or type(error).__name__
                finally:
                    await self._stop()
                    await api.close()
                self._say(f"Source {self.context.name}: {why}; docker is asked again.")
                await self.context.clock.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)
        finally:
            await self._stop()

    async def _follow_running(self, api: Api, emit: Emit) -> None:
        running = await api.running(self.config.labels)
        for container in running:
            self._follow(container, api, emit)
        places = dict(self.context.state)
        if len(places) > _MOST_PLACES:  # of containers that were removed while nobody looked
            kept = {name: place for name, place in places.items() if name in running}
            self.context.state.replace(kept)

    def _follow(self, container: str, api: Api, emit: Emit) -> None:
        if container in self._following:
            self._started.add(container)
        else:
            task = asyncio.create_task(self._follow_one(container, api, emit))
            self._following[container] = task
            task.add_done_callback(lambda _: self._following.pop(container, None))

    async def _follow_one(self, container: str, api: Api, emit: Emit) -> None:
        """Follow a container as long as it runs; the source begins anew when the daemon is lost."""
        try:
            follower = self._followers.get(container)
            if follower is None:
                follower = self._followers[container] = self._make(await api.inspect(container))
            while True:
                self._started.discard(container)
                await follower.follow(api, emit)
                if (await api.inspect(container)).running:
                    await self.context.clock.sleep(_FIRST_BACKOFF_S)
                    continue
                await follower.finish(emit)
                if container not in self._started:
                    return
        except _FAILURES as error:
            self.context.log.warning(
                "Source %s: the log of container %s is not read any further for now: %s.",
                self.context.name, container[:12], " ".join(str(error).split()) or type(error).__name__,
            )  # fmt: skip

    def _make(self, container: DockerContainer) -> Follower:
        tag = self.config.tag.replace("{name}", _safe(container.name)).replace("{id}", container.id[:12])
        saved = self.context.state.get(container.id)
        place: Place | None = (saved[0], saved[1]) if saved else None
        return Follower(
            container, tag, self._lines, self.context,
            counters=self._counters, place=place, save=lambda place: self._save(container.id, place),
        )  # fmt: skip

    def _save(self, container: str, place: Place) -> None:
        self.context.state[container] = list(place)

    def _forget(self, container: str) -> None:
        self._followers.pop(container, None)
        if container in self.context.state:
            del self.context.state[container]

    async def _stop(self) -> None:
        tasks: list[asyncio.Task[Any]] = list(self._following.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._following.clear()

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self.context.log.warning("%s", sentence)


def _safe(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in name) or "_"
