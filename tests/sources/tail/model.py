"""A model of everything around the source, in which nothing is left to the machine's own timing.

What writes and rotates (:class:`Writer`) works on a :class:`Disk` that chooses which inode a new file gets
and which time a write has, and may act between any two calls that the source makes of the file system
(:class:`Races`). What lies behind the source (:class:`Buffer`) cuts chunks as a memory buffer does: it
journals each before it delivers it, and rebuilds what was planned before a restart. Its receiver knows chunks
by what their ids are made of, and knows every chunk for good.

What is written is made of numbered pieces. One or more of them are a line, which the container's runtime may
split, and one or more lines an event, if the source joins such.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from logflow.batch import Batch, Span
from logflow.receipt import Receipt
from logflow.sources.tail import TailSource, catalogue, listing, rotated
from logflow.sources.tail.identity import LEAST_COPY_BYTES
from logflow.storage.checkpoints import Checkpoints
from logflow.testing import FakeClock, make_context

STREAMS = ("stdout", "stderr")
OUTPUT = "central"
JOIN_WAIT_S = 2.0
SCAN_S = 1.0
TICK_NS = 4_000_000
"""How exact the times of files are on most machines."""

How = Literal["rename", "copy", "sparse"]
"""``sparse``: copied and truncated below a writer that does not append, so that it leaves a hole."""

Action = tuple[Any, ...]

_WORD = re.compile(rf"(?:{'|'.join(STREAMS)})-(\d+)\.")


@dataclass(frozen=True)
class World:
    """What a scenario takes place in.

    Attributes:
        how: files are rotated.
        wide: the glob names rotated files too.
        reuses: the inode of a removed file is that of the next new one.
        coarse: times of files move on only while the agent looks.
        rotated_unseen: before the agent starts.
        joins: the source joins lines to events.
        keep: rotated files that are kept; ``None``: all.
    """

    how: How
    wide: bool = False
    reuses: bool = False
    coarse: bool = False
    rotated_unseen: bool = False
    joins: bool = False
    keep: int | None = None


class Disk:
    """Makes and removes files."""

    def __init__(self, spare: Path, world: World) -> None:
        spare.mkdir()
        self._spare = spare
        self._world = world
        self._spares: list[Path] = []
        self._count = 0
        self._now_ns = time.time_ns() - 3600 * 10**9

    def tick(self) -> None:
        """Let time go on."""
        self._now_ns += TICK_NS

    def stamp(self, file: int | Path) -> None:
        """A file was written to now."""
        if not self._world.coarse:
            self.tick()
        os.utime(file, ns=(self._now_ns, self._now_ns))

    def create(self, path: Path, flags: int) -> int:
        """Make an empty file."""
        if self._spares:
            spare = self._spares.pop()
            os.truncate(spare, 0)
            spare.rename(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags)
        self.stamp(fd)
        return fd

    def remove(self, path: Path) -> None:
        """Remove a file; its inode is free unless somebody has it open."""
        if self._world.reuses and path.stat().st_ino not in _open_inodes():
            self._count += 1
            self._spares.append(path.rename(self._spare / str(self._count)))
        else:
            path.unlink()

    def compress(self, path: Path) -> None:
        """Replace a file by a compressed one."""
        data = gzip.compress(path.read_bytes(), 1)
        fd = self.create(Path(f"{path}.gz.tmp"), 0)
        os.write(fd, data)
        self.stamp(fd)
        os.close(fd)
        Path(f"{path}.gz.tmp").rename(f"{path}.gz")
        self.remove(path)


def _open_inodes() -> set[int]:
    inodes = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            inodes.add(entry.stat().st_ino)
        except OSError:
            continue
    return inodes


@dataclass(frozen=True)
class Piece:
    """Something that was written.

    Attributes:
        text: as it stands in the event, whose pieces follow each other.
        event: its number.
        file: number of the file that holds it.
        at_s: when all of it was written.
    """

    text: str
    event: int
    file: int
    at_s: float


class Writer:
    """A container whose words are numbered, and what rotates its file."""

    def __init__(self, path: Path, disk: Disk, world: World, clock: FakeClock) -> None:
        self.path = path
        self.pieces: dict[str, list[Piece]] = {stream: [] for stream in STREAMS}
        self.oldest = 0
        """Number of the first file that was not removed."""
        self._disk = disk
        self._world = world
        self._clock = clock
        self._file = 0
        self._flags = 0 if world.how == "sparse" else os.O_APPEND
        self._events = dict.fromkeys(STREAMS, 0)
        self._begun: dict[str, Literal["", "line", "event"]] = dict.fromkeys(STREAMS, "")
        """What is gone on with."""
        self._stamp = 0
        self._steps: Iterator[None] | None = None
        """Of the rotation under way."""
        self._copied_all = False
        self._torn = b""
        self._last = STREAMS[0]
        """Who wrote last."""
        self._fd = disk.create(path, self._flags)

    def write(self, stream: str, pieces: int, *, finish: bool, torn: bool) -> None:
        """Write pieces of a line; ``torn``: the last one's second half is written with the next call."""
        if self._copied_all:  # what is written between the copy and the truncation is in neither file
            self.rotate()
        if self._torn:
            self._is_whole()
        lines = [self._line(stream, last=finish and index == pieces - 1) for index in range(pieces)]
        self._last = stream if lines else self._last
        data = self._torn + "".join(lines).encode()
        self._torn = data[-9:] if torn and data else b""
        if data := data[: len(data) - len(self._torn)]:
            os.write(self._fd, data)
            self._disk.stamp(self._fd)

    def _line(self, stream: str, *, last: bool) -> str:
        """Say the next piece; ``last``: of its event."""
        number = len(self.pieces[stream])
        ends_line = last or (self._world.joins and number % 4 != 3)
        word = f"{stream}-{number}."
        indent = "  " if self._begun[stream] == "event" else ""
        text = f"\n{indent}{word}" if indent else word
        self.pieces[stream].append(Piece(text, self._events[stream], self._file, self._clock.monotonic()))
        self._begun[stream] = "" if last else "event" if ends_line else "line"
        self._events[stream] += last
        return f"2026-01-01T00:00:00.{number + 1:05d}Z {stream} {'F' if ends_line else 'P'} {indent}{word}\n"

    def _is_whole(self) -> None:
        """The last piece is written to its end only now."""
        pieces = self.pieces[self._last]
        pieces[-1] = replace(pieces[-1], at_s=self._clock.monotonic())

    def required(self) -> set[str]:
        """The words that must arrive: those whose files were not removed."""
        pieces = chain.from_iterable(self.pieces.values())
        return {piece.text.strip() for piece in pieces if piece.file >= self.oldest}

    def whole(self) -> None:
        """Write what is left of the last line."""
        if self._torn:
            self.write("stdout", 0, finish=False, torn=False)

    def rotate(self) -> None:
        """Take one step of a rotation."""
        if self._steps is None:
            self._steps = self._rename() if self._world.how == "rename" else self._copy_and_truncate()
        if next(self._steps, self) is self:
            self._steps = None

    def _rename(self) -> Iterator[None]:
        self._stamp += 1
        self._remove_old(sorted(self.path.parent.glob("*.log.*")))
        for old in sorted(self.path.parent.glob("*.log.*")):
            if old.suffix != ".gz":
                self._disk.compress(old)
        self.path.rename(f"{self.path}.20260101-{self._stamp:06d}")
        yield
        self.whole()
        os.close(self._fd)
        self._fd = self._disk.create(self.path, self._flags)
        self._file += 1

    def _remove_old(self, rotated: list[Path]) -> None:
        """Remove the oldest of the rotated files so that another one may come."""
        keep = self._world.keep
        if keep is not None:  # nobody rotates so often that files of one time have been removed
            self._disk.tick()
        excess = rotated[: -(keep - 1) or None] if keep is not None else []
        for old in excess:
            self._disk.remove(old)
            self.oldest = self._file - len(rotated) + excess.index(old) + 1

    def _copy_and_truncate(self) -> Iterator[None]:
        self.whole()
        self._remove_old(self._by_number())
        for old in self._by_number():
            stem, number, *packed = old.name.removeprefix("0.").split(".")
            moved = old.rename(old.with_name(".".join(["0", stem, str(int(number) + 1), *packed])))
            if moved.suffix != ".gz":
                self._disk.compress(moved)
        copied = self.path.stat().st_size // 2
        copy = -1
        if copied >= LEAST_COPY_BYTES:  # what is less cannot be told, and no program writes so little at once
            copy = self._disk.create(Path(f"{self.path}.1"), 0)
            self._copy(copy, 0, copied)
            yield
            self.whole()
        copy = copy if copy >= 0 else self._disk.create(Path(f"{self.path}.1"), 0)
        self._copy(copy, os.lseek(copy, 0, os.SEEK_CUR), self.path.stat().st_size)
        os.close(copy)
        self._copied_all = True
        yield
        os.truncate(self.path, 0)
        self._disk.stamp(self.path)
        self._copied_all = False
        self._file += 1

    def _by_number(self) -> list[Path]:
        return sorted(self.path.parent.glob("*.log.*"), key=lambda path: -int(path.name.split(".")[2]))

    def _copy(self, copy: int, start: int, end: int) -> None:
        os.write(copy, self.path.read_bytes()[start:end])
        self._disk.stamp(copy)

    def end(self) -> None:
        """Finish what has begun."""
        self.finish_rotation()
        self.whole()
        for stream in STREAMS:
            self.write(stream, 1, finish=True, torn=False)

    def finish_rotation(self) -> None:
        """Take all the steps that are left."""
        while self._steps is not None:
            self.rotate()

    def act(self, action: Action) -> None:
        """Do what an action says."""
        if action[0] == "write":
            self.write(action[1], action[2], finish=action[3], torn=action[4])
        else:
            self.rotate()

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()  # type: ignore[attr-defined]
        os.close(self._fd)


class Races:
    """Has the writer act in between calls that the source makes of the file system."""

    def __init__(self) -> None:
        self._armed: deque[Callable[[], None]] = deque()
        self._calls = 0

    def arm(self, calls: int, act: Callable[[], None]) -> None:
        """Act before the call after so many."""
        self.settle()
        self._calls = calls
        self._armed.append(act)

    def settle(self) -> None:
        """Act now if it was not yet."""
        while self._armed:
            self._armed.popleft()()

    def _called(self) -> None:
        if self._armed:
            self._calls -= 1
            if self._calls < 0:
                self.settle()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count the calls of the source."""

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                self._called()
                return function(*args)

            return call

        with (
            mock.patch.object(rotated, "open_content", counted(rotated.open_content)),
            mock.patch.object(catalogue, "open_content", counted(catalogue.open_content)),
            mock.patch.object(listing, "_read", counted(listing._read)),
        ):
            yield


class Buffer:
    """The memory of one process: batches that wait, cut into chunks."""

    def __init__(
        self, checkpoints: Checkpoints, received: dict[Span, list[Any]], starts: dict[Span, list[int]]
    ) -> None:
        self.order: list[str] = []
        self._starts = starts
        self._checkpoints = checkpoints
        self._received = received
        self._queues: dict[str, deque[tuple[Batch, Receipt]]] = defaultdict(deque)
        self._ends: dict[str, int] = {}
        self._unsettled: list[list[Receipt]] = []
        """Of each delivered chunk."""

    async def __call__(self, batch: Batch) -> Receipt:
        span, receipt = batch.origin, Receipt(1)
        assert isinstance(span, Span)
        assert span.start == self._ends.get(span.stream, span.start), "spans are contiguous"
        assert span.end > span.start
        self._ends[span.stream] = span.end
        stream = _placed_by(span.stream)
        if stream not in self.order:
            self.order.append(stream)
        self._queues[span.stream].append((batch, receipt))
        return receipt

    async def ready(self, tag: str) -> None:
        return

    def full(self, tag: str) -> bool:
        return False

    def deliver(self, batches: int) -> None:
        """Deliver one chunk of each stream, of up to so many batches; receipts are settled later."""
        for stream, queue in self._queues.items():
            if not queue:
                continue
            first = queue[0][0].origin
            assert isinstance(first, Span)
            planned = dict(self._checkpoints.planned(OUTPUT, stream)).get(first.start)
            taken: list[tuple[Batch, Receipt]] = []
            end = first.start
            while queue and (end < planned if planned is not None else len(taken) < batches):
                taken.append(queue.popleft())
                end = taken[-1][0].origin.end  # type: ignore[union-attr]
            if planned is not None and end < planned:
                queue.extendleft(reversed(taken))  # it has not all been read again yet
                continue
            assert planned in {None, end}, "no batch straddles a cut"
            self._checkpoints.cut(OUTPUT, stream, first.start, end)
            self._checkpoints.flush()
            chunk = Span(stream, first.start, end)
            events = [event for batch, _ in taken for event in batch.events()]
            self._starts[chunk] = [
                batch.origin.start  # type: ignore[union-attr]
                for batch, _ in taken
                for _ in range(batch.count)
            ]
            assert self._received.setdefault(chunk, events) == events, "a chunk with one id has one content"
            self._unsettled.append([receipt for _, receipt in taken])

    def settle(self, share: int) -> None:
        """Settle every ``share``-th chunk of what was delivered, the last ones first."""
        for receipts in self._unsettled[::-1][::share]:
            for receipt in receipts:
                receipt.settle()
        self._unsettled = [receipts for receipts in self._unsettled if not receipts[0].done]


class Agent:
    """Starts, stops and kills the source; the checkpoints are on disk."""

    def __init__(self, root: Path, paths: list[str], disk: Disk, world: World, clock: FakeClock) -> None:
        self._root = root
        self._options: dict[str, Any] = {"paths": paths}
        if world.joins:
            self._options["multiline"] = {"start": "^[a-z]", "timeout": JOIN_WAIT_S}
        self._disk = disk
        self.clock = clock
        self.received: dict[Span, list[Any]] = {}
        self.starts: dict[Span, list[int]] = {}
        """Where the batch of each event begins."""
        self.order: list[str] = []

    async def start(self) -> None:
        """Start, and find what is there."""
        self.checkpoints = Checkpoints(self._root / "checkpoints")
        self.checkpoints.open()
        self.buffer = Buffer(self.checkpoints, self.received, self.starts)
        context = make_context(
            self._root,
            clock=self.clock,
            checkpoints=self.checkpoints,
            engine=os.environ.get("LOGFLOW_ENGINE", "python"),
        )
        config = TailSource.Config(
            type="tail", tag="t", inotify=False, rotate_wait=2, idle_flush=None, **self._options
        )
        self.source = TailSource(config, context)
        self.task = asyncio.create_task(self.source.run(self.buffer))
        async with asyncio.timeout(5):
            while not self.source._shared.scans:
                await asyncio.sleep(0.001)
        await self.look(1)

    @property
    def delivered(self) -> set[str]:
        """The words that were received."""
        records = (record for events in self.received.values() for _, record in events)
        return {word[0] for record in records for word in _WORD.finditer(record["message"])}

    async def look(self, seconds: float) -> None:
        """Let time go on; what was recorded before that is handed to the system, as the service does."""
        self.checkpoints.flush()
        for _ in range(int(seconds / 0.5)):
            self._disk.tick()
            await self.clock.advance(0.5)
            while self._busy():
                await asyncio.sleep(0.0005)
        assert not self.task.done(), self.task.exception()

    def _busy(self) -> bool:
        lanes = self.source._catalogue.lanes.values()
        return self.source._looking.locked() or any(lane.running for lane in lanes)

    def make_safe(self) -> None:
        """Deliver what was read, and say so."""
        self.buffer.deliver(100)
        self.buffer.settle(1)

    async def deliver_all(self, expected: set[str]) -> None:
        """Deliver until these words were received, one file after the other."""
        for _ in range(200):
            states = self.checkpoints.streams("test").values()
            if expected <= self.delivered and sum(not state["left_ns"] for state in states) <= 2:
                break
            self.buffer.deliver(1)
            self.buffer.settle(1)
            await self.look(3)

    async def end(self, *, kill: bool) -> None:
        """Stop in order, or as ``kill -9`` does."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self._keep_order()
        if kill:
            self.source._catalogue.close_all()
            self.checkpoints._journal.close()  # type: ignore[union-attr]
        else:
            await self.source.drain()
            self.checkpoints.close()

    def _keep_order(self) -> None:
        """Note the order of streams up to the last one that was received: what follows is emitted anew."""
        received = {_placed_by(chunk.stream) for chunk in self.received}
        order = self.buffer.order
        while order and order[-1] not in received:
            order.pop()
        for stream in order:
            name = stream.partition("/")[0]
            if stream not in self.order:
                self.order.insert(self.order.index(name) if name in self.order else len(self.order), stream)


def _what(action: Action, writer: Writer, agent: Agent) -> Callable[[], None]:
    """What happens in between calls of the source."""
    if action == ("safe",):
        return partial(_on_loop, asyncio.get_running_loop(), agent.make_safe)
    return partial(writer.act, action)


def _on_loop(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    """Do something on the event loop, also from a thread of the source."""

    async def on_loop() -> None:
        act()

    if threading.current_thread() is threading.main_thread():
        act()
    else:
        asyncio.run_coroutine_threadsafe(on_loop(), loop).result()


async def play(root: Path, world: World, steps: list[Action]) -> None:
    """Play a scenario to its end, and check it."""
    races = Races()
    with races.watched():
        await _play(root, world, steps, races)


async def _play(root: Path, world: World, steps: list[Action], races: Races) -> None:
    logs = root / "logs" / "shop_web-0_4f6c1f0e" / "web"
    logs.mkdir(parents=True)
    disk = Disk(root / "spare", world)
    clock = FakeClock()
    writer = Writer(logs / "0.log", disk, world, clock)
    agent = Agent(root, [f"{logs}/*.log*" if world.wide else f"{logs}/*.log"], disk, world, clock)
    _begin(writer, world)
    await agent.start()
    agent.checkpoints.flush()  # a file of which nothing is known is not looked for among rotated ones
    for action in steps:
        match action:
            case ("write" | "rotate", *_):
                writer.act(action)
            case ("race", calls, inner):
                races.arm(calls, _what(inner, writer, agent))
            case ("look", seconds):
                await agent.look(seconds)
                races.settle()
            case ("deliver", batches):
                agent.buffer.deliver(batches)
            case ("settle", share):
                agent.buffer.settle(share)
            case ("flush",):
                agent.checkpoints.flush()
            case ("restart", kill, while_down):
                await agent.end(kill=kill)
                for inner in while_down:
                    writer.act(inner)
                await agent.start()
                races.settle()
    races.settle()
    writer.end()
    await agent.deliver_all(writer.required())
    agent.buffer.deliver(100)
    await agent.end(kill=False)
    writer.close()
    check(agent, writer)


def _begin(writer: Writer, world: World) -> None:
    """Write the first line, which may be in a rotated file by now."""
    writer.write("stdout", 1, finish=True, torn=False)
    if world.rotated_unseen:
        writer.rotate()
        writer.finish_rotation()
        writer.write("stderr", 2, finish=False, torn=False)


def check(agent: Agent, writer: Writer) -> None:
    """Everything that was written was received once, in the order in which it was written.

    What was removed may be missing, or there twice: its open joins are emitted without the file in which
    they went on. What went on late may be an event of its own.
    """
    got: dict[str, list[str]] = {stream: [] for stream in STREAMS}
    placed = [
        (_place(agent.order, chunk.stream, start), record)
        for chunk, events in agent.received.items()
        for start, (_, record) in zip(agent.starts[chunk], events, strict=True)
    ]
    for _, record in sorted(placed, key=lambda each: each[0]):
        got[record["stream"]].append(record["message"])
    for stream, pieces in writer.pieces.items():
        events = [[int(number) for number in _WORD.findall(message)] for message in got[stream]]
        arrived = [number for event in events for number in event]
        missing = [n for n, piece in enumerate(pieces) if piece.file >= writer.oldest and n not in arrived]
        assert not missing, f"{stream}: {missing} are lost"
        doubled = [n for n in set(arrived) if arrived.count(n) > 1 and pieces[n].file >= writer.oldest]
        assert not doubled, f"{stream}: {doubled} are doubled"
        first = list(dict.fromkeys(arrived))
        assert first == sorted(first), f"{stream}: {arrived} came in this order"
        for event, message in zip(events, got[stream], strict=True):
            gap = event[-1] - event[0] >= len(event)  # what was removed may have ended a line
            assert gap or message == "".join(pieces[number].text for number in event).lstrip("\n")
            assert len({pieces[number].event for number in event}) == 1, f"{message} is no one event"
        parts = [pieces[event[0]].event for event in events]
        for number in set(parts):
            of_event = [piece for piece in pieces if piece.event == number]
            assert parts.count(number) <= 1 or _may_be_split(of_event, writer.oldest), f"{number} is split"


def _place(order: list[str], name: str, start: int) -> tuple[int, int, bool]:
    """The place of a batch among others: what was taken for whole comes before what follows it."""
    flushed = name.partition("/")[2]
    return order.index(_placed_by(name)), int(flushed or start), not flushed


def _placed_by(name: str) -> str:
    """What stands for a stream among others; before the first byte of a file, others may be found."""
    return name if name.endswith("/0") else name.partition("/")[0]


def _may_be_split(event: list[Piece], oldest: int) -> bool:
    """Whether something of an event was removed, or came late."""
    waited_s = max((after.at_s - before.at_s for before, after in pairwise(event)), default=0.0)
    return event[0].file < oldest or waited_s >= JOIN_WAIT_S - SCAN_S
