"""Following log files that are not rotated."""

from __future__ import annotations

import asyncio
import logging
import os
import tracemalloc
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logflow.batch import Batch
from logflow.receipt import Receipt
from logflow.sources.tail import inotify
from logflow.sources.tail import source as source_module
from logflow.sources.tail.discovery import Finder
from logflow.sources.tail.file import LogFile
from logflow.storage.checkpoints import Checkpoints
from logflow.testing import Collector, run_source

T = "2026-01-31T12:00:00.123456789Z"


async def test_container_lines_become_records_tagged_by_their_path(tail: Any) -> None:
    pod = tail.root / "pods" / "shop_web-1_0a1b" / "app"
    pod.mkdir(parents=True)
    (pod / "0.log").write_text(
        f'{T} stdout F {{"a":1}}\n{T} stderr P par\n{T} stdout F text\n{T} stderr F tial\n'
    )
    (tail.logs / f"web-1_shop_app-{'c' * 64}.log").symlink_to(pod / "0.log")
    async with tail.running(tag="kube.{namespace}.{pod}.{container}"):
        assert await tail.lines(3) == [
            {"a": 1, "stream": "stdout"},
            {"message": "text", "stream": "stdout"},
            {"message": "partial", "stream": "stderr"},
        ]
    assert {batch.tag for batch in tail.collector.batches} == {"kube.shop.web-1.app"}
    assert tail.collector.events()[0][0] % 10**9 == 123456789


async def test_each_file_has_its_own_format(tail: Any) -> None:
    (tail.logs / "cri.log").write_text(f"{T} stdout F one\n")
    (tail.logs / "docker.log").write_text(f'{{"log":"two\\n","stream":"stderr","time":"{T}"}}\n')
    (tail.logs / "plain.log").write_text("three\n")
    async with tail.running(stream="file"):
        await tail.lines(3)
    assert sorted((b.tag, *r.values()) for b in tail.collector.batches for _, r in b.events()) == [
        ("cri", "one", "stdout"),
        ("docker", "two", "stderr"),
        ("plain", "three", "file"),
    ]
    assert {state["format"] for state in tail.states()} == {"cri", "docker", "plain"}


async def test_a_configured_format_is_not_guessed(tail: Any) -> None:
    tail.log.write_text(f"{T} stdout F one\n")
    async with tail.running(format="plain", parse={"type": "raw"}):
        assert await tail.lines(1) == [{"message": f"{T} stdout F one"}]


async def test_appended_lines_are_read_and_an_unfinished_one_waits(tail: Any) -> None:
    tail.log.write_text("one\ntw")
    async with tail.running():
        await tail.read("one")
        with tail.log.open("a") as file:
            file.write("o\nthree\n")
        await tail.read("one", "two", "three")
    assert tail.spans() == [(0, 4), (4, 14)]
    assert tail.states()[0]["offset"] == 14


async def test_new_files_and_excluded_ones(tail: Any) -> None:
    (tail.logs / "noise.log").write_text("no\n")
    (tail.logs / "deep").mkdir()
    async with tail.running(paths=[f"{tail.logs}/**/*.log"], exclude=["noise*", f"{tail.logs}/deep/x.log"]):
        await tail.rest(1)
        (tail.logs / "deep" / "x.log").write_text("no\n")
        (tail.logs / "deep" / "y.log").write_text("yes\n")
        (tail.logs / "deep" / "y.log.gz").write_text("no\n")
        await tail.read("yes")


async def test_reading_from_the_end_is_for_files_that_were_there_before(tail: Any) -> None:
    tail.log.write_text("old\nunfin")
    async with tail.running(read_from="end"):
        await tail.rest(1)
        with tail.log.open("a") as file:
            file.write("ished\nnew\n")
        (tail.logs / "later.log").write_text("first\n")
        await tail.lines(3)
        assert sorted(tail.messages()) == ["first", "new", "unfinished"]
        await tail.rest(1)
    (tail.logs / "between.log").write_text("skipped\n")
    with tail.log.open("a") as file:
        file.write("while down\n")
    async with tail.running(read_from="end"):
        await tail.lines(4)
        await tail.rest(1)
    assert tail.messages()[3:] == ["while down"]


async def test_nothing_is_read_twice_after_a_restart(tail: Any) -> None:
    tail.log.write_text("one\n")
    async with tail.running():
        await tail.read("one")
    with tail.log.open("a") as file:
        file.write("two\n")
    async with tail.running():
        await tail.read("one", "two")
    assert len({batch.origin.stream for batch in tail.collector.batches}) == 1


async def test_open_joins_survive_a_restart(tail: Any) -> None:
    tail.log.write_text(f"{T} stdout F one\n{T} stdout P tw\n{T} stderr P th")
    async with tail.running():
        await tail.read("one")
    with tail.log.open("a") as file:
        file.write(f"r\n{T} stderr F ee\n{T} stdout F o\n")
    async with tail.running():
        await tail.read("one", "three", "two")


async def test_blocks_are_contiguous_spans_even_without_events(tail: Any) -> None:
    tail.log.write_text(f"{T} stdout P {'x' * 100}\n")
    async with tail.running():
        await tail.until(lambda: tail.collector.batches)
        with tail.log.open("a") as file:
            file.writelines(f"{T} stdout F {'x' * 16000}\n" for _ in range(200))
        await tail.lines(200)
    spans = tail.spans()
    assert tail.collector.batches[0].count == 0
    assert spans[0][0] == 0
    assert spans[-1][1] == tail.log.stat().st_size
    assert all(end == start for (_, end), (start, _) in pairwise(spans))


# -- positions -------------------------------------------------------------------------------------


async def test_the_position_moves_only_over_what_is_safe_in_order(tail: Any) -> None:
    tail.collector = Collector(settle=False)
    async with tail.running():
        for index in range(3):
            with tail.log.open("a") as file:
                file.write(f"line {index}\n")
            await tail.lines(index + 1)
        for settled, offset in ((1, 0), (2, 0), (0, 21)):
            tail.collector.receipts[settled].settle()
            await tail.rest(1)
            assert tail.states()[0]["offset"] == offset


async def test_receipts_that_resolve_while_draining_are_still_saved(tail: Any) -> None:
    tail.log.write_text("one\n")
    tail.collector = Collector(settle=False)
    source = tail.source()
    task = asyncio.create_task(source.run(tail.collector))
    await tail.lines(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    tail.collector.settle_all()
    await source.drain()
    assert tail.states()[0]["offset"] == 4
    await source.drain()


async def test_many_receipts_are_saved_as_one_position(tail: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints,
        "save",
        lambda self, source, stream, state, **names: (
            saved.append(state["offset"]),
            save(self, source, stream, state, **names),
        )[1],
    )
    tail.log.write_text("x" * 99 + "\n")
    async with tail.running():
        await tail.lines(1)
        for _ in range(20):
            with tail.log.open("a") as file:
                file.write("x" * 99 + "\n")
            await tail.until(
                lambda: False or tail.collector.batches[-1].origin.end == tail.log.stat().st_size, step_s=1
            )
    assert len(saved) <= 25


async def test_no_batch_straddles_a_cut_when_it_is_read_again(tail: Any) -> None:
    """After kill -9 the position is old, but the chunks that were cut must be built again."""
    tail.log.write_text("".join(f"{index:03d}\n" for index in range(100)))
    tail.collector = Collector(settle=False)
    async with tail.running():
        await tail.lines(100)
    stream = tail.collector.batches[0].origin.stream
    for start, end in ((0, 40), (40, 44), (44, 45), (200, 240)):  # 45 is not at the end of a line
        tail.checkpoints.cut("central", stream, start, end)
    tail.checkpoints.accept("archive", stream, 120)
    tail.collector = Collector()
    async with tail.running():
        await tail.lines(100)
        await tail.rest(1)
    assert tail.spans() == [(0, 40), (40, 44), (44, 120), (120, 200), (200, 240), (240, 400)]
    assert tail.messages() == [f"{index:03d}" for index in range(100)]


async def test_a_saved_position_that_makes_no_sense_is_ignored(
    tail: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tail.log.write_text("one\n")
    tail.checkpoints.save("test", "stream", {"offset": 3, "what": "else"})
    async with tail.running():
        await tail.read("one")
    assert "cannot be understood" in caplog.text


async def test_positions_of_files_that_are_not_configured_are_left_alone(tail: Any) -> None:
    tail.log.write_text("one\n")
    async with tail.running():
        await tail.read("one")
    before = tail.states()
    async with tail.running(paths=[f"{tail.logs}/other/*.log"]):
        await tail.rest(1)
    assert tail.states() == before


# -- back-pressure ---------------------------------------------------------------------------------


class Routes(Collector):
    """Blocks one tag only."""

    def __init__(self, blocked_tag: str) -> None:
        super().__init__()
        self.blocked_tag: str | None = blocked_tag
        self.opened = asyncio.Event()

    async def ready(self, tag: str) -> None:
        if tag == self.blocked_tag:
            await self.opened.wait()


async def test_a_blocked_route_holds_up_its_own_files_only_and_nothing_of_them_is_read(tail: Any) -> None:
    for name in ("blocked", "free"):
        (tail.logs / f"{name}.log").write_text("one\n")
    tail.collector = Routes("blocked")
    async with tail.running():
        await tail.lines(1)
        with (tail.logs / "free.log").open("a") as file:
            file.write("two\n")
        await tail.lines(2)
        assert [batch.tag for batch in tail.collector.batches] == ["free", "free"]
        assert tail.counter("lines_read") == 2
        tail.collector.opened.set()
        await tail.lines(3)


class Failing(Collector):
    """Refuses a batch once."""

    failed = False

    async def __call__(self, batch: Batch) -> Receipt:
        if batch.origin is not None and batch.origin.start and not self.failed:  # type: ignore[union-attr]
            self.failed = True
            raise RuntimeError("a bug")
        return await super().__call__(batch)


async def test_after_a_failure_the_source_goes_on_where_it_was(tail: Any) -> None:
    tail.log.write_text("one\n")
    tail.collector = Failing()
    source = tail.source()
    task = asyncio.create_task(source.run(tail.collector))
    await tail.lines(1)
    with tail.log.open("a") as file:
        file.write("two\n")
    await tail.until(task.done)
    assert task.exception() is not None
    async with run_source(source, tail.collector):
        await tail.read("one", "two")


async def test_a_bug_that_one_file_shows_does_not_stop_the_others(tail: Any, monkeypatch: Any) -> None:
    """It is reported once and counted; the other files are read."""
    read = LogFile.read

    def fail(self: LogFile, *arguments: Any) -> Any:
        if self.path.endswith("bad.log"):
            raise RuntimeError("a bug")
        return read(self, *arguments)

    monkeypatch.setattr(LogFile, "read", fail)
    tail.log.with_name("bad.log").write_text("one\n")
    tail.log.write_text("two\n")
    async with tail.running():
        await tail.read("two")
        await tail.until(lambda: tail.counter("files_unreadable") > 0)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_line_of_50_mb_is_cut_in_bounded_memory_and_the_file_goes_on(tail: Any) -> None:
    with tail.log.open("w") as file:
        file.write(f"{T} stdout F before\n{T} stdout F ")
        for _ in range(50):
            file.write("x" * (1 << 20))
    tracemalloc.start()
    async with tail.running(max_line="64KiB"):
        await tail.read("before")
        with tail.log.open("a") as file:
            file.write(f"\n{T} stdout F after\n")
        records = await tail.lines(3)
        _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 10 << 20
    assert records[1] == {"message": "x" * 65536, "stream": "stdout", "truncated": True}
    assert records[2] == {"message": "after", "stream": "stdout"}
    assert tail.counter("lines_truncated") == 1
    assert tail.states()[0]["offset"] == tail.log.stat().st_size


async def test_a_line_longer_than_a_block_but_not_too_long_is_whole(tail: Any) -> None:
    tail.log.write_bytes(b"short\n" + b"y" * 900_000 + b"\nlast\n")
    async with tail.running():
        await tail.read("short", "y" * 900_000, "last")


async def test_what_is_not_a_file_is_reported_once_and_tried_again(
    tail: Any, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tail.log)
    (tail.logs / "directory.log").mkdir()
    (tail.logs / "dangling.log").symlink_to("nowhere")
    with caplog.at_level(logging.WARNING):
        async with tail.running():
            await tail.rest(4)
            assert tail.counter("files_unreadable") > 1
            assert caplog.text.count("cannot be opened: it is not a regular file") == 1
            tail.log.unlink()
            tail.log.write_text("now\n")
            await tail.read("now")


async def test_a_read_error_is_reported_once_and_reading_goes_on_later(
    tail: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail.log.write_text("one\n")
    (tail.logs / "other.log").write_text("fine\n")
    read = os.preadv
    broken = True

    def failing(fd: int, buffers: Any, offset: int) -> int:
        if broken and Path(f"/proc/self/fd/{fd}").readlink() == tail.log:
            raise OSError(5, "Input/output error")
        return read(fd, buffers, offset)

    async with tail.running():
        monkeypatch.setattr(os, "preadv", failing)
        await tail.rest(2)
        with tail.log.open("a") as file:
            file.write("two\n")
        with (tail.logs / "other.log").open("a") as file:
            file.write("too\n")
        await tail.rest(3)
        broken = False
        await tail.lines(4)
    assert sorted(tail.messages()) == ["fine", "one", "too", "two"]
    assert caplog.text.count("cannot be read now: Input/output error") <= 1


async def test_a_directory_that_vanishes_is_no_trouble(tail: Any) -> None:
    directory = tail.logs / "sub"
    directory.mkdir()
    (directory / "a.log").write_text("one\n")
    async with tail.running(paths=[f"{tail.logs}/*/*.log", f"{tail.root}/never/*.log"]):
        await tail.read("one")
        (directory / "a.log").unlink()
        directory.rmdir()
        await tail.rest(10)
        directory.mkdir()
        (directory / "a.log").write_text("two\n")
        await tail.read("one", "two")


def test_mistakes_in_the_configuration_are_explained(tail: Any) -> None:
    for options, message in (
        ({"tag": "{pood}"}, "{pood} is not a part of a path; a tag may hold {namespace}"),
        ({"tag": "a{"}, "Single '{'"),
        ({"paths": []}, "at least 1 item"),
        ({"max_line": 3}, "greater than or equal to 64"),
    ):
        with pytest.raises(ValidationError, match=message):
            tail.source(**options)


async def test_a_line_that_is_not_whole_may_be_written_anew_in_place(tail: Any) -> None:
    tail.log.write_text('[\n{"n":0}\n]')
    async with tail.running(format="plain"):
        await tail.lines(2)
        for number in range(1, 6):
            with tail.log.open("rb+") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b',{"n":%d}\n]' % number)
            await tail.lines(2 + number)
        await tail.rest(3)
    assert tail.collector.count == 7
    assert tail.counter("truncations") == 0


async def test_a_byte_order_mark_is_no_text(tail: Any) -> None:
    tail.log.write_bytes(b'\xef\xbb\xbf{"a":1}\n')
    (tail.logs / "cri.log").write_bytes(b"\xef\xbb\xbf" + f"{T} stdout F two\n".encode())
    async with tail.running():
        records = await tail.lines(2)
    assert sorted(records, key=str) == [{"a": 1}, {"message": "two", "stream": "stdout"}]
    assert tail.spans()[0][0] == 0


async def test_a_name_that_is_not_utf8_is_followed_like_any_other(tmp_path: Path, tail: Any) -> None:
    path = tail.logs / os.fsdecode(b"caf\xe9.log")
    path.write_text("one\n")
    tail.checkpoints = Checkpoints(tmp_path / "checkpoints")
    tail.checkpoints.open()
    async with tail.running():
        await tail.read("one")
    tail.checkpoints.close()
    tail.checkpoints.open()
    with path.open("a") as file:
        file.write("two\n")
    async with tail.running():
        await tail.read("one", "two")
    assert {batch.tag for batch in tail.collector.batches} == {"caf_xE9"}


async def test_a_batch_says_where_it_comes_from_and_so_does_a_field_if_wanted(tail: Any) -> None:
    tail.log.write_text("one\n")
    async with tail.running(path_key="file"):
        assert await tail.lines(1) == [{"message": "one", "file": str(tail.log)}]
    assert tail.collector.batches[0].attributes == {"source": "test", "path": str(tail.log)}


@pytest.mark.parametrize("engine", ["python", "native"])
async def test_a_field_says_where_in_the_file_an_event_begins(tail: Any, engine: str) -> None:
    """Over a byte-order mark, a restart, a hole, a rotation and a last line without a newline."""
    tail.engine = engine
    tail.log.write_bytes(b"\xef\xbb\xbfone\ntwo\n")
    async with tail.running(offset_key="at"):
        await tail.lines(2)
    with tail.log.open("ab") as file:
        file.write(bytes(5) + b"three\nfour\nfive")
    async with tail.running(offset_key="at"):
        await tail.lines(4)
        tail.log.rename(f"{tail.log}.1")
        tail.log.write_text("six\n")
        found = await tail.lines(6, step_s=1)
    assert [(record["message"], record["at"]) for record in found] == [
        ("one", 3), ("two", 7), ("three", 16), ("four", 22), ("five", 27), ("six", 0),
    ]  # fmt: skip


async def test_offsets_are_those_of_the_bytes_in_another_encoding(tail: Any) -> None:
    tail.log.write_bytes("été\nà\nfin\n".encode("latin-1"))
    async with tail.running(offset_key="at", encoding="latin-1"):
        found = await tail.lines(3)
    assert [(record["message"], record["at"]) for record in found] == [("été", 0), ("à", 4), ("fin", 6)]


async def test_batches_say_which_container_they_are_from(tail: Any) -> None:
    target = tail.logs / "pods" / "shop_web-0_1234" / "app" / "2.log"
    target.parent.mkdir(parents=True)
    target.write_text("2026-01-01T00:00:00Z stdout F one\n")
    (tail.logs / f"web-0_shop_app-{'a' * 64}.log").symlink_to(target)
    async with tail.running():
        await tail.lines(1)
    assert tail.collector.batches[0].attributes["container"] == {
        "namespace": "shop", "pod": "web-0", "uid": "1234", "container": "app", "restart": "2",
        "container_id": "a" * 64,
    }  # fmt: skip


async def test_that_nothing_is_found_is_said_once(tail: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with tail.running():
            await tail.rest(5)
            (tail.logs / "lost.log").symlink_to("nowhere")
            await tail.rest(5)
            tail.log.write_text("one\n")
            await tail.read("one")
    assert caplog.text.count("No file matches the paths") == 2
    assert caplog.text.count("1 links that the paths name lead nowhere, such as") == 2
    assert caplog.text.count("Files that match the paths: 1.") == 1


def open_files(directory: Path) -> int:
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            count += link.readlink().is_relative_to(directory)
    return count


async def test_an_idle_file_is_closed_and_opened_when_it_grows(tail: Any) -> None:
    tail.log.write_text("one\n")
    async with tail.running(close_inactive=60):
        await tail.lines(1)
        await tail.rest(70)
        assert open_files(tail.logs) == 0
        with tail.log.open("a") as file:
            file.write("two\n")
        await tail.lines(2)
        assert open_files(tail.logs) == 1
        await tail.rest(70)
        with tail.log.open("a") as file:
            file.write("three\n")
        tail.log.rename(f"{tail.log}.1")
        tail.log.write_text("four\n")
        await tail.lines(4)
        await tail.rest(10)
    async with tail.running(close_inactive=60):
        await tail.rest(3)
    assert tail.messages() == ["one", "two", "three", "four"]


async def test_no_more_files_are_open_than_may_be(
    tail: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(source_module, "_most_open", lambda: 16)
    paths = [tail.logs / f"{index:03d}.log" for index in range(100)]
    async with tail.running():
        for turn in range(1, 4):
            for path in paths:
                with path.open("a") as file:
                    file.write(f"{path.stem} {turn}\n")
            await tail.lines(100 * turn)
            await tail.rest(2)
            assert open_files(tail.logs) <= 16
    async with tail.running():
        await tail.until(lambda: tail.counter("files_opened") == 200)
        await tail.rest(3)
        assert open_files(tail.logs) <= 16
    assert sorted(tail.messages()) == sorted(f"{path.stem} {turn}" for path in paths for turn in (1, 2, 3))
    assert caplog.text.count("no more may be") == 2


async def test_old_files_are_left_alone_until_they_are_written_to(tail: Any) -> None:
    now_s = tail.clock.time_ns() / 1e9
    tail.log.write_text("one\n")
    os.utime(tail.log, (now_s - 7200, now_s - 7200))
    async with tail.running(ignore_older=3600):
        await tail.rest(5)
        assert tail.collector.count == 0
        with tail.log.open("a") as file:
            file.write("two\n")
        await tail.read("one", "two")


# -- inotify ---------------------------------------------------------------------------------------


async def test_inotify_tells_of_lines_files_and_directories_while_the_clock_stands(tail: Any) -> None:
    tail.log.write_text("one\n")
    async with tail.running(inotify=True, paths=[f"{tail.logs}/*.log", f"{tail.logs}/*/*/*.log"]):
        await tail.collector.wait_for(1)
        with tail.log.open("a") as file:
            file.write("two\n")
        await tail.collector.wait_for(2)
        (tail.logs / "new.log").write_text("three\n")
        await tail.collector.wait_for(3)
        (tail.logs / "pod" / "container").mkdir(parents=True)
        (tail.logs / "pod" / "container" / "0.log").write_text("four\n")
        await tail.collector.wait_for(4)
    assert tail.messages() == ["one", "two", "three", "four"]


@pytest.mark.parametrize("refused", ["__init__", "watch"])
async def test_without_inotify_scans_find_everything_and_it_is_said_once(
    tail: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inotify.Inotify, refused, refuse)
    if refused == "watch":
        monkeypatch.setattr(inotify.Inotify, "__init__", lambda self: setattr(self, "fd", os.eventfd(0)))
    tail.log.write_text("one\n")
    async with tail.running(inotify=True):
        await tail.read("one")
        (tail.logs / "new.log").write_text("two\n")
        await tail.read("one", "two")
        with tail.log.open("a") as file:
            file.write("three\n")
        await tail.read("one", "two", "three")
    assert caplog.text.count("No space left on device; see fs.inotify.max_user") == 1


async def test_when_notices_were_lost_everything_is_looked_at(tail: Any) -> None:
    async with tail.running(inotify=True) as source:
        await tail.rest(1)
        source._watcher._inotify.unwatch(next(iter(source._watcher._directories)))
        await asyncio.sleep(0.02)
        tail.log.write_text("one\n")
        source._watcher._tell(inotify.Notice(-1, inotify.IN_Q_OVERFLOW, ""))
        await tail.collector.wait_for(1)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift_jis", "euc_jp", "gbk", "gb18030"])
async def test_files_in_another_encoding_are_brought_to_utf_8(tail: Any, encoding: str) -> None:
    text = {"latin-1": "café", "cp1252": "5 €", "gbk": "日志"}.get(encoding, "日本")
    lines = [f"{text} {index} \\ 表"[: None if ord(text[0]) > 255 else -2] for index in range(3)]
    data = "".join(f"{line}\n" for line in lines).encode(encoding)
    tail.log.write_bytes(data)
    async with tail.running(encoding=encoding):
        await tail.read(*lines)
    assert tail.states()[0]["offset"] == len(data), "positions are those of the file's own bytes"


def test_files_in_which_lines_cannot_be_found_are_refused(tail: Any) -> None:
    with pytest.raises(ValueError, match="cannot be followed"):
        tail.source(encoding="utf-32")


async def test_links_that_lead_outside_are_left_out_if_so_wanted(
    tail: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.log").write_text("secret too\n")
    tail.log.write_text("one\n")
    (tail.logs / "link.log").symlink_to(tmp_path / "secret")
    (tail.logs / "directory").symlink_to(tmp_path / "elsewhere")
    (tail.logs / "inside.log").symlink_to(tail.log)
    async with tail.running(paths=[f"{tail.logs}/**/*.log"], follow_links="within"):
        await tail.read("one")
        (tail.logs / "later.log").symlink_to(tmp_path / "secret")
        await tail.read("one")
    assert "2 links lead outside" in caplog.text


async def test_a_link_that_is_changed_after_it_was_looked_at_is_not_read_either(
    tail: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tail.logs / "link.log").symlink_to(tmp_path / "secret")
    source = tail.source(follow_links="within")
    finder = source._catalogue._finder
    monkeypatch.setattr(finder, "look", Finder([f"{tail.logs}/*.log"], ()).look)
    async with run_source(source, tail.collector):
        await source._catalogue.look(f"{tail.logs}/link.log")
        await tail.rest(3)
    assert tail.messages() == []
