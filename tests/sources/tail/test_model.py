"""Any sequence of writes, rotations, deliveries, restarts and kills: every line arrives once, in order.

The model of everything behind the source cuts chunks as a memory buffer does: it journals each before it
delivers it, and rebuilds what was planned before a restart. Its receiver knows chunks by what their ids
are made of, and knows every chunk for good.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
from collections import defaultdict, deque
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.batch import Batch, Span
from logflow.receipt import Receipt
from logflow.sources.tail import TailSource
from logflow.storage.checkpoints import Checkpoints
from logflow.testing import FakeClock, make_context

STREAMS = ("stdout", "stderr")
OUTPUT = "central"


class Writer:
    """A container whose lines are numbered, and what rotates its file."""

    def __init__(self, path: Path, how: Literal["rename", "copy"]) -> None:
        self.path = path
        self.written: dict[str, list[str]] = {stream: [] for stream in STREAMS}
        self._how = how
        self._open: dict[str, str] = dict.fromkeys(STREAMS, "")
        self._numbers = dict.fromkeys(STREAMS, 0)
        self._stamp = 0
        self._renamed = False
        self._torn = b""
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, stream: str, pieces: int, *, finish: bool, torn: bool) -> None:
        """Write pieces of a line; ``torn``: the last one's second half is written with the next call."""
        lines = []
        for index in range(pieces):
            last = finish and index == pieces - 1
            text = f"{stream}-{self._numbers[stream]}."
            self._numbers[stream] += 1
            self._open[stream] += text
            lines.append(
                f"2026-01-01T00:00:00.{self._numbers[stream]:05d}Z {stream} {'F' if last else 'P'} {text}\n"
            )
            if last:
                self.written[stream].append(self._open[stream])
                self._open[stream] = ""
        data = self._torn + "".join(lines).encode()
        self._torn = data[-9:] if torn and data else b""
        os.write(self._fd, data[: len(data) - len(self._torn)])

    def rotate(self) -> None:
        """Take one step of a rotation."""
        if self._how == "copy":
            if not self._torn:
                self._copy_and_truncate()
        elif self._renamed:
            self.write("stdout", 0, finish=False, torn=False)
            self._renamed = False
            os.close(self._fd)
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        else:
            self._renamed = True
            self._stamp += 1
            for old in self.path.parent.glob("*.log.*"):
                if old.suffix != ".gz":
                    self._compress(old)
            self.path.rename(f"{self.path}.20260101-{self._stamp:06d}")

    def _copy_and_truncate(self) -> None:
        for old in sorted(self.path.parent.glob("*.log.*"), key=lambda path: -int(path.name.split(".")[2])):
            stem, number, *packed = old.name.removeprefix("0.").split(".")
            moved = old.rename(old.with_name(".".join(["0", stem, str(int(number) + 1), *packed])))
            if moved.suffix != ".gz":
                self._compress(moved)
        shutil.copyfile(self.path, f"{self.path}.1")
        os.truncate(self.path, 0)

    @staticmethod
    def _compress(path: Path) -> None:
        with gzip.open(f"{path}.gz", "wb", compresslevel=1) as packed:
            packed.write(path.read_bytes())
        path.unlink()

    def end(self) -> None:
        """Finish what has begun."""
        self.write("stdout", 0, finish=False, torn=False)
        for stream in STREAMS:
            self.write(stream, 1, finish=True, torn=False)
        if self._renamed:
            self.rotate()

    def close(self) -> None:
        os.close(self._fd)


class Buffer:
    """The memory of one process: batches that wait, cut into chunks."""

    def __init__(self, checkpoints: Checkpoints, received: dict[Span, list[Any]]) -> None:
        self.order: list[str] = []
        self._checkpoints = checkpoints
        self._received = received
        self._queues: dict[str, deque[tuple[Batch, Receipt]]] = defaultdict(deque)
        self._ends: dict[str, int] = {}
        self._unsettled: list[Receipt] = []

    async def __call__(self, batch: Batch) -> Receipt:
        span, receipt = batch.origin, Receipt(1)
        assert isinstance(span, Span)
        assert span.start == self._ends.get(span.stream, span.start), "spans are contiguous"
        assert span.end > span.start
        self._ends[span.stream] = span.end
        if span.stream not in self.order:
            self.order.append(span.stream)
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
            chunk = Span(stream, first.start, end)
            events = [event for batch, _ in taken for event in batch.events()]
            assert self._received.setdefault(chunk, events) == events, "a chunk with one id has one content"
            self._unsettled += [receipt for _, receipt in taken]

    def settle(self, share: int) -> None:
        """Settle every ``share``-th receipt of what was delivered, the last ones first."""
        for receipt in self._unsettled[::-1][::share]:
            receipt.settle()
        self._unsettled = [receipt for receipt in self._unsettled if not receipt.done]


class Agent:
    """Starts, stops and kills the source; the checkpoints are on disk."""

    def __init__(self, root: Path, logs: Path) -> None:
        self._root = root
        self._paths = [f"{logs}/*.log"]
        self.clock = FakeClock()
        self.received: dict[Span, list[Any]] = {}
        self.order: list[str] = []

    async def start(self) -> None:
        """Start, and find what is there."""
        self.checkpoints = Checkpoints(self._root / "checkpoints")
        self.checkpoints.open()
        self.buffer = Buffer(self.checkpoints, self.received)
        context = make_context(
            self._root,
            clock=self.clock,
            checkpoints=self.checkpoints,
            engine=os.environ.get("LOGFLOW_ENGINE", "python"),
        )
        config = TailSource.Config(
            type="tail", paths=self._paths, tag="t", inotify=False, rotate_wait=2, idle_flush=None
        )
        self.source = TailSource(config, context)
        self.task = asyncio.create_task(self.source.run(self.buffer))
        async with asyncio.timeout(5):
            while not self.source._shared.scans:
                await asyncio.sleep(0.001)
        await self.look(1)

    @property
    def delivered(self) -> int:
        """How many events were received."""
        return sum(map(len, self.received.values()))

    async def look(self, seconds: float) -> None:
        """Let time go on; what was recorded before that is handed to the system, as the service does."""
        self.checkpoints.flush()
        for _ in range(int(seconds / 0.5)):
            await self.clock.advance(0.5)
            while self._busy():
                await asyncio.sleep(0.0005)
        assert not self.task.done(), self.task.exception()

    def _busy(self) -> bool:
        lanes = self.source._catalogue.lanes.values()
        return self.source._looking.locked() or any(lane.running for lane in lanes)

    async def deliver_all(self, expected: int) -> None:
        """Deliver until so many events were received, one file after the other."""
        for _ in range(200):
            states = self.checkpoints.streams("test").values()
            if self.delivered >= expected and sum(not state["left_ns"] for state in states) <= 2:
                break
            self.buffer.deliver(1)
            self.buffer.settle(1)
            await self.look(3)

    async def end(self, *, kill: bool) -> None:
        """Stop in order, or as ``kill -9`` does."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.order += [stream for stream in self.buffer.order if stream not in self.order]
        if kill:
            self.source._catalogue.close_all()
            self.checkpoints._journal.close()  # type: ignore[union-attr]
        else:
            await self.source.drain()
            self.checkpoints.close()


write = st.tuples(
    st.just("write"),
    st.sampled_from(STREAMS),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([False] * 4 + [True]),
)
rotate = st.just(("rotate",))
actions = st.one_of(
    write,
    write,
    rotate,
    st.tuples(st.just("look"), st.sampled_from([0.5, 1.0, 4.0])),
    st.just(("look", 1.0)),
    st.tuples(st.just("deliver"), st.integers(1, 3)),
    st.tuples(st.just("settle"), st.integers(1, 3)),
    st.just(("flush",)),
    st.tuples(st.just("restart"), st.booleans(), st.lists(st.one_of(write, rotate), max_size=4)),
)


def apply_to_writer(writer: Writer, action: tuple[Any, ...]) -> None:
    if action[0] == "write":
        writer.write(action[1], action[2], finish=action[3], torn=action[4])
    else:
        writer.rotate()


def begin_writer(logs: Path, how: Literal["rename", "copy"], *, rotated_unseen: bool) -> Writer:
    """A container with its first line, which may be in a rotated file by now."""
    logs.mkdir(parents=True)
    writer = Writer(logs / "0.log", how)
    writer.write("stdout", 1, finish=True, torn=False)
    if rotated_unseen:
        for _ in range(2 if how == "rename" else 1):
            writer.rotate()
        writer.write("stderr", 2, finish=False, torn=False)
    return writer


async def scenario(
    root: Path, how: Literal["rename", "copy"], steps: list[tuple[Any, ...]], *, rotated_unseen: bool
) -> None:
    logs = root / "logs" / "shop_web-0_4f6c1f0e" / "web"
    writer = begin_writer(logs, how, rotated_unseen=rotated_unseen)
    agent = Agent(root, logs)
    await agent.start()
    agent.checkpoints.flush()  # a file of which nothing is known is not looked for among rotated ones
    for action in steps:
        match action:
            case ("write" | "rotate", *_):
                apply_to_writer(writer, action)
            case ("look", seconds):
                await agent.look(seconds)
            case ("deliver", batches):
                agent.buffer.deliver(batches)
            case ("settle", share):
                agent.buffer.settle(share)
            case ("flush",):
                agent.checkpoints.flush()
            case ("restart", kill, while_down):
                await agent.end(kill=kill)
                for inner in while_down:
                    apply_to_writer(writer, inner)
                await agent.start()
    writer.end()
    expected = sum(map(len, writer.written.values()))
    await agent.deliver_all(expected)
    agent.buffer.deliver(100)
    await agent.end(kill=False)
    writer.close()
    check(agent, writer)


def check(agent: Agent, writer: Writer) -> None:
    """Everything that was written was received once, in the order in which it was written."""
    chunks = sorted(agent.received, key=lambda span: (agent.order.index(span.stream), span.start))
    got: dict[str, list[str]] = {stream: [] for stream in STREAMS}
    for chunk in chunks:
        for _, record in agent.received[chunk]:
            got[record["stream"]].append(record["message"])
    assert got == writer.written


@pytest.mark.slow
@pytest.mark.parametrize("how", ["rename", "copy"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(actions, max_size=25), rotated_unseen=st.booleans())
def test_every_line_arrives_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    how: Literal["rename", "copy"],
    steps: list[tuple[Any, ...]],
    rotated_unseen: bool,
) -> None:
    asyncio.run(scenario(tmp_path_factory.mktemp("tail"), how, steps, rotated_unseen=rotated_unseen))


def test_what_was_copied_away_before_anything_was_seen_is_found_after_a_restart(tmp_path: Path) -> None:
    """The file had content that nobody saw before it was truncated, and has other content at the stop."""
    steps: list[tuple[Any, ...]] = [
        (
            "restart",
            True,
            [*[("write", "stdout", n, n == 3, False) for n in (3, 2)], ("rotate",), ("rotate",)],
        ),
        ("write", "stdout", 2, False, False),
        ("rotate",),
        ("write", "stderr", 3, False, False),
        ("restart", False, [("rotate",), ("write", "stdout", 1, True, False)]),
    ]
    asyncio.run(scenario(tmp_path, "copy", steps, rotated_unseen=False))
