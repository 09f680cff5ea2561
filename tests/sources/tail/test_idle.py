"""What is not whole and does not go on: somebody's last words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from logflow.testing import Collector

T = "2026-01-31T12:00:00Z"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


async def test_a_join_that_does_not_go_on_is_delivered_and_marked(tail: Any) -> None:
    async with tail.running(idle_flush=5):
        append(tail.log, f"{T} stdout F one\n{T} stderr P last wo")
        await tail.lines(1)
        append(tail.log, f"rds\n{T} stdout P too\n")
        await tail.rest(4)
        assert tail.collector.count == 1
        assert (await tail.lines(3))[1:] == [
            {"message": "last words", "stream": "stderr", "unterminated": True},
            {"message": "too", "stream": "stdout", "unterminated": True},
        ]
        append(tail.log, f"{T} stderr F and more\n")
        assert (await tail.lines(4))[3] == {"message": "and more", "stream": "stderr"}
        await tail.rest(10)
        assert len(tail.states()) == 1
    async with tail.running(idle_flush=5):
        await tail.rest(20)
    assert tail.collector.count == 4


@pytest.mark.parametrize("delivered", [False, True])
async def test_it_is_the_same_under_the_same_name_after_a_kill(tail: Any, delivered: bool) -> None:
    """Whether or not more had come meanwhile: a receiver knows it again."""
    tail.collector = first = Collector(settle=False)
    append(tail.log, f"{T} stdout F one\n{T} stderr P last\n")
    async with tail.running(idle_flush=5):
        await tail.lines(2)
        if delivered:
            tail.collector.receipts[0].settle()
            await tail.rest(1)
        on_disk = tail.checkpoints.streams("test")
    for stream, state in on_disk.items():
        tail.checkpoints.save("test", stream, state)
    append(tail.log, f"{T} stderr F more\n")
    tail.collector = again = Collector()
    async with tail.running(idle_flush=5):
        await tail.lines(2 if delivered else 3)
        await tail.rest(10)

    def by_name(collector: Collector) -> dict[Any, Any]:
        return {batch.origin: batch.entries for batch in collector.batches}

    sent = by_name(first)
    for origin, entries in by_name(again).items():
        assert sent.get(origin, entries) == entries
    received = sent | by_name(again)
    messages = [event["message"] for batch in again.batches + first.batches for _, event in batch.events()]
    assert set(messages) == {"one", "last", "more"}
    assert sum(map(bool, received.values())) == 3


async def test_what_was_taken_for_whole_survives_a_kill_after_its_file_was_rotated(tail: Any) -> None:
    """Its bytes were delivered, so that the file was done with; the join itself was still on its way."""
    tail.collector = first = Collector(settle=False)
    append(tail.log, f"{T} stdout F one\n{T} stderr P last\n")
    async with tail.running(idle_flush=5):
        await tail.lines(2)
        first.receipts[0].settle()
        await tail.rest(1)
        tail.log.rename(f"{tail.log}.1")
        append(tail.log, f"{T} stdout F two\n")
        await tail.lines(3)
        first.receipts[2].settle()
        await tail.rest(20)
        on_disk = tail.checkpoints.streams("test")
    for stream, state in on_disk.items():
        tail.checkpoints.save("test", stream, state)
    tail.collector = again = Collector()
    async with tail.running(idle_flush=5):
        await tail.lines(1)
        await tail.rest(10)
    assert tail.messages() == ["last"]
    assert again.batches[0].origin == first.batches[1].origin
    async with tail.running(idle_flush=5):
        await tail.rest(10)
    assert tail.messages() == ["last"]


async def test_a_line_without_a_newline_is_delivered_after_a_while(tail: Any) -> None:
    append(tail.log, "one\ntwo")
    async with tail.running(idle_flush_line=30):
        await tail.lines(1)
        await tail.rest(25)
        append(tail.log, "-")
        await tail.rest(25)
        assert tail.messages() == ["one"]
        await tail.rest(10)
        assert tail.collector.records()[1:] == [{"message": "two-", "unterminated": True}]
        append(tail.log, "three\nfour")
        await tail.lines(4)
    assert tail.messages() == ["one", "two-", "three", "four"]
    assert tail.spans() == [(0, 4), (4, 8), (8, 14), (14, 18)]


async def test_it_ends_at_the_same_place_after_a_kill(tail: Any) -> None:
    append(tail.log, "one\ntwo")
    tail.collector = first = Collector(settle=False)
    async with tail.running(idle_flush_line=30):
        await tail.lines(2)
        on_disk = tail.checkpoints.streams("test")
    for stream, state in on_disk.items():
        tail.checkpoints.save("test", stream, state)
    append(tail.log, " and more\nthree\n")
    tail.collector = Collector()
    async with tail.running(idle_flush_line=30):
        await tail.lines(4)
    assert tail.messages() == ["one", "two", " and more", "three"]
    assert [batch.origin for batch in tail.collector.batches][:2] == [batch.origin for batch in first.batches]


async def test_the_last_event_of_several_lines_is_delivered_when_no_more_come(tail: Any) -> None:
    async with tail.running(format="plain", multiline={"start": r"^\d", "timeout": "2s"}):
        append(tail.log, "1 one\n  more\n2 two\n")
        await tail.lines(1)
        append(tail.log, "  more of two\n")
        await tail.rest(1)
        assert tail.collector.count == 1
        assert await tail.lines(2) == [{"message": "1 one\n  more"}, {"message": "2 two\n  more of two"}]


async def test_a_file_stays_known_while_only_joins_taken_for_whole_came_after_it(tail: Any) -> None:
    """Its successor is empty, so that nothing else says which rotated files are new."""
    tail.collector = Collector(settle=False)
    async with tail.running(idle_flush=5, rotate_wait=1):
        append(tail.log, f"{T} stdout F one\n{T} stderr P last words\n")
        await tail.lines(1)
        tail.log.rename(f"{tail.log}.1")
        append(tail.log, "")
        await tail.rest(1)
        assert len(tail.states()) == 2
        await tail.lines(2)
        await tail.rest(10)
        tail.collector.settle_all()
        await tail.rest(2)
        assert [state["offset"] > 0 for state in tail.states()] == [True, False]
