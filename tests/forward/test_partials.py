"""What Docker's log driver has cut is put together; nothing is lost, doubled or answered too early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from logflow.batch import Batch, DeliveryKey
from logflow.forward.partials import MESSAGE_BYTES, WAIT_FOR_ANSWER_S, WAIT_S, Partials
from logflow.memory import Memory
from logflow.packing import ENTRY_HEADER
from logflow.receipt import Receipt
from logflow.telemetry.metrics import Metrics
from logflow.testing import Collector, FakeClock, make_context


class Bench:
    """Pieces in, events out."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.emit = Collector(settle=False)
        self.metrics = Metrics()
        self.share = Memory(1 << 20).share(1 << 20)
        self.lease = self.share.lease()
        self.tasks: list[asyncio.Task[None]] = []
        context = make_context(path, clock=self.clock, metrics=self.metrics)
        self.partials = Partials(context, self.emit, self.lease, self._spawn)

    @property
    def incomplete(self) -> int:
        return sum(cell.value for cell in self.metrics.counters())

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(work))
        return self.tasks[-1]

    async def send(self, *pieces: tuple[str, int, bool, bytes], key: bytes | None = None) -> Receipt:
        """Send pieces (id, ordinal, whether it is the last one, text), all in one batch."""
        entries = b"".join(entry(*piece) for piece in pieces)
        return await self.partials.emit(
            Batch("t", entries, len(pieces), None if key is None else DeliveryKey(key))
        )

    @property
    def logs(self) -> list[str]:
        return [record["log"] for record in self.emit.records()]


def entry(name: str, ordinal: int, last: bool, text: bytes) -> bytes:
    partial = {
        "partial_message": "true",
        "partial_id": name,
        "partial_ordinal": str(ordinal),
        "partial_last": "true" if last else "false",
    }
    record = {b"container_name": b"/web", b"source": b"stdout", b"log": text}
    record |= {key.encode(): value.encode() for key, value in partial.items()} if name else {}
    return ENTRY_HEADER + ordinal.to_bytes(4, "big") + bytes(4) + msgpack.packb(record, use_bin_type=False)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for task in bench.tasks:
        task.cancel()


async def test_pieces_become_one_event_with_the_time_and_the_fields_of_the_first(bench: Bench) -> None:
    await bench.send(("a", 1, False, b"x" * 5), ("", 9, True, b"between"))
    await bench.send(("a", 2, False, b"y"))
    await bench.send(("a", 3, True, b"z"))
    assert [(int(time), record) for time, record in bench.emit.events()] == [
        (9 * 10**9, {"container_name": "/web", "source": "stdout", "log": "between"}),
        (10**9, {"container_name": "/web", "source": "stdout", "log": "xxxxxyz"}),
    ]
    assert bench.lease.size == 0


async def test_a_character_may_be_cut_in_its_middle(bench: Bench) -> None:
    whole = "é".encode()
    await bench.send(("a", 1, False, whole[:1]), ("a", 2, True, whole[1:] + b"\xff"))
    assert bench.logs == ["é\\xff"]


async def test_messages_of_several_ids_are_told_apart(bench: Bench) -> None:
    await bench.send(
        ("a", 1, False, b"a1"), ("b", 1, False, b"b1"), ("a", 2, True, b"a2"), ("b", 2, True, b"b2")
    )
    assert bench.logs == ["a1a2", "b1b2"]


async def test_pieces_are_answered_when_their_message_is_safe(bench: Bench) -> None:
    answers = [await bench.send(("a", n, n == 3, b"x"), key=b"%d" % n) for n in (1, 2, 3)]
    assert (bench.logs, [answer.done for answer in answers]) == (["xxx"], [False] * 3)
    bench.emit.settle_all()
    assert all(answer.done for answer in answers)


async def test_pieces_that_come_again_make_the_same_delivery(bench: Bench, tmp_path: Path) -> None:
    """As after a kill: nothing was answered, so that all of them come again, to whoever is there now."""
    again = Bench(tmp_path)
    for one in (bench, again):
        for n in (1, 2):
            await one.send(("a", n, n == 2, b"x"), key=b"%d" % n)
    assert bench.emit.batches[0].origin == again.emit.batches[0].origin is not None


async def test_a_piece_that_comes_again_before_its_message_is_whole_is_taken_once(bench: Bench) -> None:
    first = await bench.send(("a", 1, False, b"x"), key=b"1")
    again = await bench.send(("a", 1, False, b"x"), key=b"1")
    await bench.send(("a", 2, True, b"y"), key=b"2")
    bench.emit.settle_all()
    assert (bench.logs, first.done, again.done) == (["xy"], True, True)


async def test_a_piece_that_comes_again_after_its_message_was_whole_is_answered(bench: Bench) -> None:
    await bench.send(("a", 1, False, b"x"), key=b"1")
    await bench.send(("a", 2, True, b"y"), key=b"2")
    again = await bench.send(("a", 2, True, b"y"), key=b"2")
    assert (bench.logs, again.done) == (["xy"], False)
    bench.emit.settle_all()
    assert again.done


async def test_what_does_not_go_on_comes_out_as_it_was(bench: Bench) -> None:
    await bench.send(("a", 1, False, b"x"), ("a", 2, False, b"y"))
    await bench.clock.advance(WAIT_S - 0.5)
    assert bench.logs == []
    await bench.clock.advance(1)
    assert bench.emit.records()[1]["partial_ordinal"] == "2"
    assert (bench.logs, bench.incomplete, bench.lease.size) == (["x", "y"], 1, 0)
    await bench.send(("a", 3, True, b"z"))
    assert bench.logs == ["x", "y", "z"]


async def test_who_waits_for_each_answer_does_not_wait_long_and_only_once(bench: Bench) -> None:
    answer = await bench.send(("a", 1, False, b"x"), key=b"1")
    await bench.clock.advance(WAIT_FOR_ANSWER_S + 0.5)
    bench.emit.settle_all()
    assert (bench.logs, answer.done, bench.emit.batches[0].origin) == (["x"], True, DeliveryKey(b"1"))
    await bench.send(("a", 2, True, b"y"), key=b"2")
    await bench.send(("b", 1, False, b"z"), key=b"3")
    assert bench.logs == ["x", "y", "z"]


@pytest.mark.parametrize(
    "piece", [("a", 3, True, b"gap"), ("a", 1, False, b"again"), ("other", 2, True, b"headless")]
)
async def test_pieces_that_do_not_fit_lose_nothing(bench: Bench, piece: Any) -> None:
    await bench.send(("a", 1, False, b"x"), piece)
    await bench.partials.flush()
    assert sorted(bench.logs) == sorted(["x", piece[3].decode()])


async def test_a_message_that_is_too_large_goes_on_in_pieces(bench: Bench) -> None:
    size = MESSAGE_BYTES // 4
    for n in range(1, 5):
        await bench.send(("a", n, n == 4, bytes(size)))
    assert [len(log) for log in bench.logs] == [size] * 4
    assert bench.lease.size == 0


async def test_where_others_need_the_memory_nothing_is_held(bench: Bench) -> None:
    assert bench.share.lease().resize(300_000)
    for name in "abc":
        await bench.send((name, 1, False, bytes(200_000)))
    assert len(bench.logs) == 2
    await bench.partials.flush()
    assert (len(bench.logs), bench.lease.size) == (3, 0)


async def test_a_stop_lets_everything_go_on(bench: Bench) -> None:
    answer = await bench.send(("a", 1, False, b"x"), key=b"1")
    await bench.send(("b", 1, False, b"y"))
    await bench.partials.flush()
    bench.emit.settle_all()
    assert (sorted(bench.logs), answer.done) == (["x", "y"], True)
