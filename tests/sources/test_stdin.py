"""The stdin source."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from logflow.engine.api import Engine
from logflow.sources.stdin import StdinSource
from logflow.telemetry.metrics import Metrics
from logflow.testing import Collector, make_context, run_source


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """A pipe whose ends a test may close itself."""
    ends = list(os.pipe())
    yield ends
    for fd in ends:
        with suppress(OSError):
            os.close(fd)


def make(
    tmp_path: Path,
    input_fd: int,
    *,
    engine: str = "python",
    metrics: Metrics | None = None,
    **options: object,
) -> StdinSource:
    config = StdinSource.Config(type="stdin", tag="app", **options)
    source = StdinSource(config, make_context(tmp_path, engine=engine, metrics=metrics))
    source.input_fd = input_fd
    return source


async def test_lines_become_events_and_the_end_of_input_ends_the_source(
    tmp_path: Path, pipe: list[int], engine: Engine
) -> None:
    os.write(pipe[1], b'{"a":1}\nplain text\n\xff\nno newline')
    os.close(pipe[1])
    collector = Collector()
    await make(tmp_path, pipe[0], engine=engine.name).run(collector)
    assert collector.records() == [
        {"a": 1}, {"message": "plain text"}, {"message": "\\xff"}, {"message": "no newline"},
    ]  # fmt: skip
    assert {batch.tag for batch in collector.batches} == {"app"}
    assert all(batch.origin is None for batch in collector.batches)


async def test_a_line_that_comes_in_pieces_is_put_together(tmp_path: Path, pipe: list[int]) -> None:
    collector = Collector()
    async with run_source(make(tmp_path, pipe[0]), collector) as task:
        for piece in (b"he", b"llo\nwo", b"rld\n"):
            os.write(pipe[1], piece)
            await asyncio.sleep(0.005)
        os.close(pipe[1])
        await task
    assert [record["message"] for record in collector.records()] == ["hello", "world"]


async def test_cri_lines_are_joined_and_an_open_join_is_kept_at_the_end(
    tmp_path: Path, pipe: list[int]
) -> None:
    os.write(pipe[1], b"2026-01-01T00:00:00Z stdout P a\n2026-01-01T00:00:00Z stdout F b\n")
    os.write(pipe[1], b"2026-01-01T00:00:00Z stderr P open\n")
    os.close(pipe[1])
    collector = Collector()
    await make(tmp_path, pipe[0], format="cri").run(collector)
    assert collector.records() == [
        {"message": "ab", "stream": "stdout"},
        {"message": "open", "stream": "stderr"},
    ]


async def test_a_line_that_is_too_long_is_cut_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"x" * 3_000_000 + b"\nshort\n" + b"y" * 500_000)
    metrics, collector = Metrics(), Collector()
    with path.open("rb") as file:
        await make(tmp_path, file.fileno(), metrics=metrics, max_line=1000).run(collector)
    assert collector.records() == [
        {"message": "x" * 1000, "truncated": True},
        {"message": "short"},
        {"message": "y" * 1000, "truncated": True},
    ]
    assert {cell.name: cell.value for cell in metrics.counters()}["lines_truncated"] == 2


async def test_nothing_is_read_while_the_outputs_have_no_room(tmp_path: Path, pipe: list[int]) -> None:
    os.write(pipe[1], b"line\n")
    collector = Collector()
    collector.blocked = True
    async with run_source(make(tmp_path, pipe[0]), collector):
        await asyncio.sleep(0.01)
        assert os.read(pipe[0], 100) == b"line\n"


async def test_lines_are_passed_through_byte_for_byte(tmp_path: Path, pipe: list[int]) -> None:
    data = b"\xff\x00 one\n" + b"z" * 100_000 + b"\nno newline"
    path = tmp_path / "input"
    path.write_bytes(data)
    collector = Collector()
    with path.open("rb") as file:
        source = make(tmp_path, file.fileno(), passthrough=True)
        source.output_fd = pipe[1]
        task = asyncio.create_task(source.run(collector))
        passed = b""
        while len(passed) < len(data):
            passed += await asyncio.to_thread(os.read, pipe[0], 65536)
        await task
    assert passed == data
    assert collector.count == 3


async def test_a_closed_output_ends_the_pass_through_but_not_the_source(
    tmp_path: Path, pipe: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    os.close(pipe[0])
    path = tmp_path / "input"
    path.write_bytes(b"one\ntwo\n")
    collector = Collector()
    with path.open("rb") as file, caplog.at_level(logging.WARNING):
        source = make(tmp_path, file.fileno(), passthrough=True)
        source.output_fd = pipe[1]
        await source.run(collector)
    assert collector.count == 2
    assert "not passed through any longer" in caplog.text


async def test_what_was_written_before_a_stop_is_still_emitted(tmp_path: Path, pipe: list[int]) -> None:
    collector = Collector()
    async with run_source(make(tmp_path, pipe[0]), collector):
        await asyncio.sleep(0)
        os.write(pipe[1], b"last\nwords")
    assert [record["message"] for record in collector.records()] == ["last", "words"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1", "utf-8"])
async def test_text_in_another_encoding_is_brought_to_utf_8(
    tmp_path: Path, pipe: list[int], encoding: str
) -> None:
    data = "café\nnächste\nlast".encode(encoding)
    collector = Collector()
    async with run_source(make(tmp_path, pipe[0], encoding=encoding), collector):
        for start in range(0, len(data), 3):  # in the middle of characters
            os.write(pipe[1], data[start : start + 3])
            await asyncio.sleep(0.001)
        os.close(pipe[1])
        await collector.wait_for(3)
    assert [record["message"] for record in collector.records()] == ["café", "nächste", "last"]


async def test_a_byte_order_mark_at_the_beginning_is_not_text(tmp_path: Path, pipe: list[int]) -> None:
    os.write(pipe[1], b'\xef\xbb\xbf{"a":1}\n\xef\xbb\xbf{}\n')
    os.close(pipe[1])
    collector = Collector()
    await make(tmp_path, pipe[0]).run(collector)
    assert collector.records() == [{"a": 1}, {"message": "\ufeff{}"}]


def test_an_encoding_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    for name in ("utf-99", "hex", "rot13"):
        with pytest.raises(ValueError, match="not a text encoding"):
            make(tmp_path, 0, encoding=name)


async def test_an_event_of_several_lines_does_not_wait_for_the_next_one(
    tmp_path: Path, pipe: list[int]
) -> None:
    source = make(tmp_path, pipe[0], multiline={"start": "^\\d", "timeout": "50ms"})
    collector = Collector()
    async with run_source(source, collector):
        os.write(pipe[1], b"1 first\n  more\n")
        await collector.wait_for(1)
        os.write(pipe[1], b"2 second\n")
        await collector.wait_for(2)
    assert [record["message"] for record in collector.records()] == ["1 first\n  more", "2 second"]
