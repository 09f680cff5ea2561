"""The log of one container, and how far it was read.

The place is the time of the last line that is safe, and how many lines of that time were read: the API goes
on *at* a time, so that lines of the very same time come again, and are left out.
"""

from __future__ import annotations

from collections.abc import Callable

from logflow.batch import Batch
from logflow.component import Context, Emit
from logflow.engine.api import LineParser
from logflow.errors import MalformedData
from logflow.sources.docker.api import Api, DockerContainer
from logflow.sources.docker.frames import Frames, time_of
from logflow.sources.lines import LineCounters
from logflow.sources.progress import SavedProgress
from logflow.timestamps import parse_rfc3339

Place = tuple[str, int]
"""A time as the API writes it, and how many lines of that time were read."""


class Follower:
    """Follows one container."""

    def __init__(
        self,
        container: DockerContainer,
        tag: str,
        lines: LineParser,
        context: Context,
        *,
        counters: LineCounters,
        place: Place | None,
        save: Callable[[Place], None],
    ) -> None:
        """Begin at ``place``, or at the beginning; ``save`` is told of each place that is safe."""
        self.container = container
        self._tag = tag
        self._lines = lines
        self._context = context
        self._counters = counters
        self._place: Place = place or ("", 0)
        self._progress = SavedProgress[Place](save)
        self._carry = b""
        self._fields = {
            "container_id": container.id,
            "container_name": container.name,
            "container_image": container.image,
        }

    async def follow(self, api: Api, emit: Emit) -> None:
        """Read until the container or the connection ends; go on where it was when called again."""
        frames = Frames(terminal=self.container.terminal)
        again, repeats = self._place
        async with api.logs(self.container.id, _since(again)) as stream:
            async for data in stream:
                lines = frames.feed(data)
                while lines and repeats and time_of(lines[0]).decode() == again:
                    del lines[0]
                    repeats -= 1
                if lines:
                    repeats = 0
                    await self._hand_on(lines, emit)

    async def _hand_on(self, lines: list[bytes], emit: Emit) -> None:
        block = b"".join(lines)
        last = time_of(lines[-1])
        same = 0
        for line in reversed(lines):
            if time_of(line) != last:
                break
            same += 1
        if same == len(lines) and last.decode(errors="replace") == self._place[0]:
            same += self._place[1]
        parsed = self._lines.parse(block, self._carry, self._context.clock.time_ns())
        self._carry = parsed.carry
        self._counters.add(parsed, len(block))
        self._place = (last.decode(errors="replace"), same)
        if parsed.events:
            await self._emit(parsed.entries, parsed.events, emit)

    async def finish(self, emit: Emit) -> None:
        """The container has ended: what it said last is whole."""
        parsed = self._lines.flush(self._carry, self._context.clock.time_ns())
        self._carry = b""
        if parsed.events:
            await self._emit(parsed.entries, parsed.events, emit)

    async def _emit(self, entries: bytes, events: int, emit: Emit) -> None:
        entries = self._context.engine.splice(entries, self._fields)
        receipt = await emit(Batch(self._tag, entries, events, attributes={"peer": self.container.id}))
        if not self._carry:  # else a line that has begun would be lost
            self._progress.add(receipt, self._place)


def _since(time: str) -> str:
    if not time:
        return "0"
    time_ns = parse_rfc3339(time.encode())
    if time_ns is None:
        raise MalformedData(f"{time!r} is not a time")
    return f"{time_ns // 1_000_000_000}.{time_ns % 1_000_000_000:09d}"
