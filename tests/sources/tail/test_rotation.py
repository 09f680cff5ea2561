"""Files that are renamed, compressed, copied, truncated and removed, while they are read or in between."""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from logflow.sources.tail import catalogue, rotated
from logflow.testing import Collector

T = "2026-01-31T12:00:00Z"


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def compress(path: Path) -> None:
    with gzip.open(f"{path}.gz", "wb") as packed:
        packed.write(path.read_bytes())
    path.unlink()


class Kubelet:
    """Rotates ``0.log`` as the kubelet does, numbering the stamps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = 0
        self._file: TextIO = path.open("a")

    def write(self, *lines: str, end: str = "\n") -> None:
        self._file.writelines(f"{T} {line}{end}" for line in lines)
        self._file.flush()

    def rename(self, *, keep: int = 9) -> Path:
        """Compress what was rotated before, then rename; the writer goes on in the renamed file."""
        for old in sorted(self.path.parent.glob("*.log.*"))[: -keep or None]:
            old.unlink()
        for old in self.path.parent.glob("*.log.*"):
            if old.suffix != ".gz":
                compress(old)
        self._stamp += 1
        return self.path.rename(f"{self.path}.20260131-{self._stamp:06d}")

    def reopen(self) -> None:
        self._file.close()
        self._file = self.path.open("a")

    def rotate(self) -> None:
        self.rename()
        self.reopen()

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def kubelet(tail: Any) -> Iterator[Kubelet]:
    kubelet = Kubelet(tail.logs / "0.log")
    yield kubelet
    kubelet.close()


# -- while it runs ---------------------------------------------------------------------------------


async def test_the_writer_goes_on_in_the_renamed_file_until_it_is_reopened(
    tail: Any, kubelet: Kubelet
) -> None:
    async with tail.running():
        kubelet.write("stdout F one", "stdout P two-", "stderr P three-")
        await tail.lines(1)
        kubelet.rename()
        kubelet.write("stdout P two-", "stderr F three")
        await tail.lines(2)
        kubelet.write("stdout P two-", "stderr P four-")
        kubelet.reopen()
        kubelet.write("stderr P four-", "stdout F two", "stderr F four")
        await tail.read("one", "three-three", "two-two-two-two", "four-four-four")
        await tail.rest(10)
        assert [state["offset"] for state in tail.states()] == [kubelet.path.stat().st_size]
    assert tail.counter("files_opened") == tail.counter("files_closed") == 2


async def test_a_late_line_in_the_old_file_is_not_lost(tail: Any, kubelet: Kubelet) -> None:
    async with tail.running():
        kubelet.write("stdout F one")
        await tail.lines(1)
        old = kubelet.rename()
        kubelet.reopen()
        kubelet.write("stdout F two")
        await tail.lines(2, step_s=0.1)
        append(old, f"{T} stderr F late")
        await tail.lines(3)
        await tail.rest(10)
        append(old, f"{T} stderr F after rotate_wait: nobody reads it")
        await tail.rest(10)
    assert tail.messages() == ["one", "two", "late"]


async def test_several_rotations_between_two_looks(tail: Any, kubelet: Kubelet) -> None:
    async with tail.running(scan_interval=60):
        kubelet.write("stdout F 1", "stdout P 2")
        await tail.lines(1, step_s=60)
        for index in range(3, 7):
            kubelet.rotate()
            kubelet.write(f"stdout F -{index}", f"stderr F {index}", f"stdout P {index}")
        await tail.lines(9)
        await tail.rest(130)
    expected = ["1", "2-3", "3", "3-4", "4", "4-5", "5", "5-6", "6"]
    assert tail.messages() == expected
    assert len(tail.states()) == 1


async def test_an_unfinished_line_in_a_rotated_file_is_given_time_and_then_emitted_as_it_is(
    tail: Any,
) -> None:
    async with tail.running(format="plain"):
        tail.log.write_text("one\nunfin")
        await tail.lines(1)
        rotated = tail.log.rename(f"{tail.log}.1")
        tail.log.write_text("next\n")
        await tail.rest(3)
        assert tail.messages() == ["one"]
        with rotated.open("a") as file:
            file.write("ished\nrest")
        await tail.read("one", "unfinished")
        await tail.lines(4)
        await tail.rest(3)
    assert tail.messages() == ["one", "unfinished", "rest", "next"]
    assert tail.spans()[-2:] == [(15, 20), (0, 5)]  # one byte more than the file has: its missing newline


async def test_a_deleted_file_is_read_to_its_end_and_its_open_joins_are_kept(
    tail: Any, kubelet: Kubelet
) -> None:
    collector, tail.collector.blocked = tail.collector, True
    async with tail.running():
        kubelet.write("stdout F one", "stdout P open", "stderr P too")
        await tail.rest(2)
        kubelet.path.unlink()
        await tail.rest(20)
        kubelet.write("stdout F -closed")
        await collector.unblock()
        await tail.lines(2)
        assert tail.messages() == ["one", "open-closed"]
        await tail.lines(3)
        await tail.rest(10)
        assert tail.states() == []
    assert tail.messages()[2] == "too"
    assert tail.counter("bytes_unread") == 0


async def test_bytes_of_a_deleted_file_that_are_unread_at_the_end_are_counted(
    tail: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tail.log.write_text("one\n")
    tail.collector.blocked = True
    async with tail.running():
        await tail.rest(2)
        tail.log.unlink()
        await tail.rest(20)
    assert tail.counter("bytes_unread") == 4
    assert "was deleted and 4 bytes of it had not been read" in caplog.text


async def test_the_next_file_is_read_at_once_and_each_is_finished_when_its_lines_are_safe(
    tail: Any, kubelet: Kubelet
) -> None:
    tail.collector = Collector(settle=False)
    async with tail.running():
        kubelet.write("stdout F one")
        await tail.lines(1)
        kubelet.rotate()
        kubelet.write("stdout F two")
        await tail.read("one", "two")
        await tail.rest(10)
        assert [state["offset"] for state in tail.states()] == [0, 0]
        tail.collector.receipts[0].settle()
        await tail.rest(10)
        assert [state["offset"] for state in tail.states()] == [0]
        tail.collector.settle_all()
        await tail.rest(1)
        assert [state["offset"] for state in tail.states()] == [34]


async def test_rotated_names_that_the_glob_finds_too_are_not_read_twice(tail: Any) -> None:
    async with tail.running(paths=[f"{tail.logs}/app.log*"]):
        for index in range(3):
            append(tail.log, f"line {index}")
            await tail.lines(index + 1)
            await tail.rest(12)
            for number in reversed(range(1, index + 1)):
                Path(f"{tail.log}.{number}").rename(f"{tail.log}.{number + 1}")
            tail.log.rename(f"{tail.log}.1")
            await tail.rest(2)
        append(tail.log, "last")
        await tail.rest(20)
    async with tail.running(paths=[f"{tail.logs}/app.log*"]):
        await tail.rest(20)
    assert tail.messages() == ["line 0", "line 1", "line 2", "last"]


async def test_a_file_that_is_replaced_by_another_is_read_to_its_end_first(tail: Any) -> None:
    async with tail.running():
        append(tail.log, "one")
        await tail.lines(1)
        append(tail.log, "two")
        other = tail.logs / "other"
        append(other, "three")
        other.replace(tail.log)
        await tail.read("one", "two", "three")


async def test_inotify_tells_of_rotations(tail: Any, kubelet: Kubelet) -> None:
    async with tail.running(inotify=True):
        kubelet.write("stdout P one-")
        await tail.until(lambda: tail.counter("files_opened"))
        for index in range(3):  # in steps that are too short for a scan
            kubelet.rename()
            kubelet.write("stdout F two", "stdout P one-")
            await tail.until(lambda i=index: tail.collector.count > i, step_s=0.06)
            kubelet.reopen()
            await tail.until(lambda i=index: tail.counter("files_opened") > i + 1, step_s=0.06)
    assert tail.messages() == ["one-two"] * 3


# -- truncation ------------------------------------------------------------------------------------


async def test_a_truncated_file_is_read_anew_and_what_was_lost_is_counted(
    tail: Any, caplog: pytest.LogCaptureFixture
) -> None:
    append(tail.log, "one", "two", "three")
    async with tail.running(scan_interval=60):
        await tail.lines(3, step_s=60)
        with tail.log.open("a") as file:
            file.write("unfinished")
        await tail.rest(61)
        tail.log.write_text("four\n")
        await tail.lines(4)
        await tail.rest(1)
    assert tail.messages() == ["one", "two", "three", "four"]
    assert tail.counter("truncations") == 1
    assert tail.counter("bytes_unread") == 10
    assert f"The file {tail.log} was truncated at byte 14" in caplog.text
    streams = [batch.origin.stream for batch in tail.collector.batches]
    assert streams[0] != streams[-1]
    assert len(tail.states()) == 1


@pytest.mark.parametrize("before", ["x\n", "longer than a head " * 100 + "\n"])
async def test_a_file_that_was_truncated_and_grew_beyond_the_position_is_recognised(
    tail: Any, before: str
) -> None:
    tail.log.write_text(before)
    async with tail.running():
        await tail.lines(1)
        tail.log.write_text("y" * len(before) + "\nz\n")
        await tail.read(before.strip("\n"), "y" * len(before), "z")


async def test_the_same_head_with_another_text_before_the_position_is_recognised(tail: Any) -> None:
    head = "h" * 2000 + "\n"
    tail.log.write_text(head + "one\n")
    async with tail.running():
        await tail.lines(2)
        tail.log.write_text(head + "two\nthree\n")
        await tail.lines(5)
    assert tail.messages() == [head.strip(), "one", head.strip(), "two", "three"]


async def test_copytruncate_loses_nothing(tail: Any) -> None:
    append(tail.log, "one")
    async with tail.running(scan_interval=60):
        await tail.lines(1, step_s=60)
        for index in range(3):  # several times between two looks
            append(tail.log, f"unread {index}")
            for number in (2, 1):
                if (old := Path(f"{tail.log}.{number}")).exists():
                    old.rename(f"{tail.log}.{number + 1}")
            shutil.copyfile(tail.log, f"{tail.log}.1")
            os.truncate(tail.log, 0)
        append(tail.log, "new")
        await tail.read("one", "unread 0", "unread 1", "unread 2", "new")
        await tail.rest(120)
        assert len(tail.states()) == 1
    assert tail.counter("bytes_unread") == 0


async def test_what_was_copied_away_between_two_looks_is_read_before_more_is_written(tail: Any) -> None:
    append(tail.log, "one")
    async with tail.running():
        await tail.lines(1)
        for lines in (["two"], ["three"]):
            shutil.copyfile(tail.log, f"{tail.log}.1")
            os.truncate(tail.log, 0)
            await tail.rest(3)
            append(tail.log, *lines)
        Path(f"{tail.log}.1").rename(f"{tail.log}.2")
        shutil.copyfile(tail.log, f"{tail.log}.1")
        os.truncate(tail.log, 0)
        await tail.read("one", "two", "three")


@pytest.mark.parametrize("hole_bytes", [30, 3_000_000])
async def test_a_hole_that_copytruncate_left_is_left_out(tail: Any, hole_bytes: int) -> None:
    """The writer has no O_APPEND: after the truncation it goes on at its old place."""
    with tail.log.open("wb") as writer:
        writer.write(b"x" * (hole_bytes - 1) + b"\n")
        writer.flush()
        async with tail.running(format="plain"):
            await tail.lines(1)
            for index in range(3):
                os.truncate(tail.log, 0)
                await tail.rest(2)
                writer.write(b"line %d\n" % index)
                writer.flush()
                await tail.lines(2 + index)
            await tail.rest(2)
    assert tail.messages()[1:] == ["line 0", "line 1", "line 2"]
    assert tail.counter("bytes_skipped") == 3 * hole_bytes + 7 + 14


@pytest.mark.parametrize("torn", [0, 5])
async def test_room_that_a_writer_has_taken_ahead_is_waited_for(tail: Any, torn: int) -> None:
    lines = [f"line {index} of an appender that maps its file\n".encode() for index in range(120)]
    with tail.log.open("wb+") as file:
        file.write(bytes(4 << 20))
        file.seek(0)
        async with tail.running(format="plain"):
            for count in range(0, 120, 10):
                data = b"".join(lines[count : count + 10])
                file.write(data[: len(data) - torn])
                file.flush()
                await tail.rest(1)
                file.write(data[len(data) - torn :])
                file.flush()
                await tail.lines(count + 10)
            await tail.rest(2)
            file.truncate()
            await tail.rest(2)
    assert tail.messages() == [line.decode().strip() for line in lines]


async def test_docker_with_one_file_truncates_it(tail: Any) -> None:
    def line(text: str) -> str:
        return f'{{"log":"{text}","stream":"stdout","time":"{T}"}}'

    append(tail.log, line("one\\n"), line("two-"))
    async with tail.running():
        await tail.lines(1)
        tail.log.write_text(line("three\\n") + "\n")
        await tail.read("one", "two-three")


# -- while it is down ------------------------------------------------------------------------------


@pytest.mark.parametrize("rotations", [1, 2, 4])
async def test_rotation_while_down_loses_nothing(tail: Any, kubelet: Kubelet, rotations: int) -> None:
    """With two rotations or more, our file is a .gz by now; the ones after it were never seen."""
    kubelet.write("stdout F 0", "stdout P p")
    async with tail.running():
        await tail.lines(1)
    kubelet.write("stderr F unread", "stdout P p")
    for index in range(1, rotations + 1):
        kubelet.rotate()
        kubelet.write(f"stdout F {index}", "stdout P p")
    async with tail.running():
        await tail.lines(2 + rotations)
        await tail.rest(20)
        assert len(tail.states()) == 1
    assert tail.messages() == ["0", "unread", "pp1", *[f"p{index}" for index in range(2, rotations + 1)]]


async def test_rotated_files_are_found_although_there_is_no_current_one(tail: Any, kubelet: Kubelet) -> None:
    kubelet.write("stdout F 0")
    async with tail.running():
        await tail.lines(1)
    for index in range(1, 3):
        kubelet.write(f"stdout F {index}")
        kubelet.rotate()
    kubelet.path.unlink()
    async with tail.running():
        await tail.lines(3)
        kubelet.reopen()
        kubelet.write("stdout F 3")
        await tail.read("0", "1", "2", "3")


async def test_copytruncate_while_down_loses_nothing(tail: Any) -> None:
    append(tail.log, "one")
    async with tail.running():
        await tail.lines(1)
    append(tail.log, "two")
    shutil.copyfile(tail.log, f"{tail.log}.1")
    tail.log.write_text("three\n")
    async with tail.running():
        await tail.read("one", "two", "three")


async def test_a_file_that_is_gone_after_a_restart_leaves_its_open_joins(tail: Any, kubelet: Kubelet) -> None:
    kubelet.write("stdout F one", "stdout P open")
    async with tail.running():
        await tail.lines(1)
    kubelet.path.unlink()
    kubelet.reopen()
    kubelet.write("stdout F new")
    async with tail.running():
        await tail.read("one", "open", "new")
        await tail.rest(10)
        assert len(tail.states()) == 1


async def test_an_inode_that_was_given_out_again_is_another_file(tail: Any) -> None:
    tail.log.write_text("old one\n")
    async with tail.running():
        await tail.lines(1)
    ((stream, state),) = tail.checkpoints.streams("test").items()
    tail.log.unlink()
    tail.log.write_text("new one\nand two\n")
    tail.checkpoints.save("test", stream, state | {"inode": tail.log.stat().st_ino})
    async with tail.running():
        await tail.read("old one", "new one", "and two")
    assert tail.checkpoints.streams("test")[stream]["left_ns"], "it is kept, in case it comes back"


async def test_a_gz_that_took_the_inode_of_another_known_file_is_found(tail: Any, kubelet: Kubelet) -> None:
    """The joins that are open at its end go on in the file that came after it."""
    kubelet.write("stdout F one")
    async with tail.running():
        await tail.lines(1)
        first = kubelet.rename()
        kubelet.reopen()
        kubelet.write("stdout P begun ")
        await tail.until(lambda: any(state["carry"] for state in tail.states()))
    os.link(first, tail.root / "freed")
    second = kubelet.rename()
    kubelet.reopen()
    kubelet.write("stdout F ended")
    compress(second)
    (tail.root / "freed").write_bytes(Path(f"{second}.gz").read_bytes())
    (tail.root / "freed").replace(f"{second}.gz")
    async with tail.running():
        await tail.read("one", "begun ended")


async def test_a_gz_of_what_was_read_is_not_new_although_it_was_made_later(
    tail: Any, kubelet: Kubelet
) -> None:
    """What came after it is gone, so that only times say what is new."""
    kubelet.write("stdout F one")
    async with tail.running():
        await tail.lines(1)
        first = kubelet.rename()
        kubelet.reopen()
        kubelet.write("stdout F two")
        await tail.lines(2)
        second = kubelet.rename()
        second.unlink()
        os.utime(f"{first}.gz", ns=(0, second_later(kubelet.path.parent)))
        kubelet.reopen()
        kubelet.write("stdout F three")
        await tail.read("one", "two", "three")


def second_later(directory: Path) -> int:
    return max(path.stat().st_mtime_ns for path in directory.iterdir()) + 10**9


async def test_what_was_rotated_while_down_is_read_although_the_clock_was_set_back(tail: Any) -> None:
    append(tail.log, "one")
    future_s = time.time() + 3600
    os.utime(tail.log, (future_s, future_s))
    async with tail.running():
        await tail.lines(1)
    tail.log.unlink()  # rotated twice, and one rotated file is kept
    append(Path(f"{tail.log}.1"), "two")
    append(tail.log, "three")
    async with tail.running():
        await tail.read("one", "two", "three")


@pytest.mark.slow
async def test_three_hundred_files_that_shift_while_they_are_looked_for_are_read_once(tail: Any) -> None:
    """A directory that is read while its files are renamed shows some twice, and others not at all."""
    count = 300
    for number in range(count, 0, -1):
        append(Path(f"{tail.log}.{number}"), f"{count - number} is older than the position")
    append(tail.log, "the followed one")
    async with tail.running():
        await tail.lines(1)

    def shift() -> None:
        names = [int(path.suffix[1:]) for path in tail.logs.iterdir() if path.suffix != ".log"]
        for number in sorted(names, reverse=True):
            Path(f"{tail.log}.{number}").rename(f"{tail.log}.{number + 1}")
        tail.log.rename(f"{tail.log}.1")
        append(tail.log, f"line {len(names)}")

    def shift_often() -> None:
        for _ in range(8):
            shift()

    shifting = asyncio.get_running_loop().run_in_executor(None, shift_often)
    while not shifting.done():
        async with tail.running():
            await tail.rest(2)
    await shifting
    async with tail.running():
        await tail.lines(9)
        await tail.rest(2)
    assert tail.messages() == ["the followed one", *(f"line {count + index}" for index in range(8))]


async def test_a_file_that_moved_to_another_configured_place_is_gone_on_with(tail: Any) -> None:
    (tail.logs / "a").mkdir()
    (tail.logs / "b").mkdir()
    append(tail.logs / "a" / "x.log", "one")
    async with tail.running(paths=[f"{tail.logs}/*/*.log"]):
        await tail.lines(1)
    (tail.logs / "a" / "x.log").rename(tail.logs / "b" / "x.log")
    append(tail.logs / "b" / "x.log", "two")
    async with tail.running(paths=[f"{tail.logs}/*/*.log"]):
        await tail.read("one", "two")


@pytest.mark.parametrize("keep", [0, 60, -20])
async def test_a_damaged_gz_does_not_hold_up_what_follows(
    tail: Any, kubelet: Kubelet, caplog: pytest.LogCaptureFixture, keep: int
) -> None:
    kubelet.write("stdout F 0")
    async with tail.running():
        await tail.lines(1)
    kubelet.write(*[f"stdout F {os.urandom(20).hex()}" for _ in range(50)])
    kubelet.rotate()
    kubelet.write("stdout F after")
    kubelet.rotate()
    kubelet.write("stdout F last")
    packed = next(tail.logs.glob("*.gz"))
    data = packed.read_bytes()
    packed.write_bytes(data[:keep] + b"\0" * 8 + data[keep + 8 :] if keep < 100 else data)
    with caplog.at_level(logging.INFO):
        async with tail.running():
            await tail.until(lambda: tail.messages()[-1:] == ["last"])
    assert tail.messages()[-2:] == ["after", "last"]


async def test_after_many_rotations_while_down_the_live_file_is_read_at_once(
    tail: Any, kubelet: Kubelet
) -> None:
    """No file waits for the one before it to be forgotten, whether its last line is whole or not."""
    kubelet.write("stdout F 0")
    async with tail.running():
        await tail.lines(1)
    for index in range(1, 6):
        kubelet.write(f"stdout F {index}")
        old = kubelet.path.rename(f"{kubelet.path}.{6 - index}")
        kubelet.reopen()
    with old.open("a") as file:
        file.write(f"{T} stdout P unfin")
    kubelet.write("stdout F last")
    before_s = tail.clock.monotonic()
    async with tail.running(rotate_wait=60):
        await tail.lines(6, step_s=0.1)
        assert tail.clock.monotonic() - before_s < 5


async def test_without_inotify_a_rotation_each_second_is_kept_up_with(tail: Any, kubelet: Kubelet) -> None:
    async with tail.running(rotate_wait=10):
        for index in range(30):
            kubelet.write(f"stdout F {index}")
            await tail.rest(1)
            kubelet.rotate()
        await tail.rest(2)
        assert tail.messages() == [str(index) for index in range(30)]


# -- a container that was never seen before --------------------------------------------------------


@pytest.fixture
def pod(tail: Any) -> Iterator[Kubelet]:
    """A container's file, as the kubelet lays it out."""
    directory = tail.logs / "shop_web-0_4f6c1f0e" / "web"
    directory.mkdir(parents=True)
    kubelet = Kubelet(directory / "0.log")
    yield kubelet
    kubelet.close()


PODS = "*/*/*.log"


def age(path: Path, seconds: int) -> None:
    """Have a file last written to so long ago."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - seconds * 10**9))


async def test_what_a_container_had_rotated_away_before_it_was_seen_is_read_first(
    tail: Any, pod: Kubelet
) -> None:
    pod.write("stdout F compressed")
    pod.rotate()
    pod.write("stdout F one", "stdout P two-")
    pod.rotate()
    append(Path(f"{pod.path}.20260131-000003"), f"{T} stdout P two-")
    pod.write("stdout F two")
    async with tail.running(paths=[f"{tail.logs}/{PODS}"], tag="{pod}"):
        await tail.read("compressed", "one", "two-two-two")
        await tail.rest(10)
        assert {batch.tag for batch in tail.collector.batches} == {"web-0"}
        assert len(tail.states()) == 1
    pod.rotate()
    pod.write("stdout F three")
    async with tail.running(paths=[f"{tail.logs}/{PODS}"]):
        await tail.read("compressed", "one", "two-two-two", "three")


async def test_it_is_not_read_again_after_a_kill(tail: Any, pod: Kubelet) -> None:
    pod.write("stdout F one")
    pod.rotate()
    pod.write("stdout F two")
    tail.collector = first = Collector(settle=False)
    async with tail.running(paths=[f"{tail.logs}/{PODS}"]):
        await tail.lines(2)
        on_disk = tail.checkpoints.streams("test")
    for stream, state in on_disk.items():
        tail.checkpoints.save("test", stream, state)
    tail.collector = Collector()
    async with tail.running(paths=[f"{tail.logs}/{PODS}"]):
        await tail.read("one", "two")
        await tail.rest(10)
    assert [batch.origin for batch in tail.collector.batches] == [batch.origin for batch in first.batches]
    async with tail.running(paths=[f"{tail.logs}/{PODS}"]):
        await tail.rest(10)
    assert tail.messages() == ["one", "two"]


async def test_a_container_that_came_while_nobody_followed_is_read_from_its_first_line(
    tail: Any, pod: Kubelet
) -> None:
    tail.log.write_text("known\n")
    age(tail.log, 60)
    paths = [f"{tail.logs}/*.log", f"{tail.logs}/{PODS}"]
    async with tail.running(paths=paths, exclude=["0.log"]):
        await tail.read("known")
    pod.write("stdout F one")
    pod.rotate()
    pod.write("stdout F two")
    async with tail.running(paths=paths, read_from="beginning"):
        await tail.read("known", "one", "two")


@pytest.mark.parametrize("restart", [False, True])
async def test_what_is_older_than_the_last_look_was_read_then(tail: Any, pod: Kubelet, restart: bool) -> None:
    """Somebody removed the file of a container, whose rotated files were read long ago."""
    tail.log.write_text("known\n")
    paths = [f"{tail.logs}/*.log", f"{tail.logs}/{PODS}"]
    pod.write("stdout F one")
    pod.rotate()
    age(Path(f"{pod.path}.20260131-000001"), 60)
    pod.write("stdout F two")
    async with tail.running(paths=paths):
        await tail.lines(3)
        await tail.rest(10)
        pod.path.unlink()
        await tail.rest(20)
        assert len(tail.states()) == 1
        if not restart:
            pod.reopen()
            pod.write("stdout F three")
            await tail.lines(4)
            await tail.rest(10)
    if restart:
        pod.reopen()
        pod.write("stdout F three")
        async with tail.running(paths=paths):
            await tail.lines(4)
            await tail.rest(10)
    assert sorted(tail.messages()) == ["known", "one", "three", "two"]


async def test_the_agent_died_before_it_came_to_a_container(tail: Any, pod: Kubelet) -> None:
    """What it knows of others is younger than what this one wrote before."""
    paths = [f"{tail.logs}/*.log", f"{tail.logs}/{PODS}"]
    pod.write("stdout F one")
    pod.rotate()
    age(Path(f"{pod.path}.20260131-000001"), 60)
    tail.log.write_text("known\n")
    async with tail.running(paths=[f"{tail.logs}/*.log"], exclude=["0.log"]):
        await tail.read("known")
    pod.write("stdout F two")
    async with tail.running(paths=paths):
        await tail.read("known", "one", "two")


@pytest.mark.parametrize("inotify", [False, True])
async def test_a_link_leads_nowhere_at_first_as_its_file_is_just_being_rotated(
    tail: Any, pod: Kubelet, inotify: bool
) -> None:
    links = tail.logs / "containers"
    links.mkdir()
    (links / "web-0_shop_app-0123.log").symlink_to(pod.path)
    tail.log.write_text("known\n")
    pod.write("stdout F one")
    pod.rename()
    age(Path(f"{pod.path}.20260131-000001"), 60)
    paths = [f"{tail.logs}/*.log", f"{links}/*.log"]
    async with tail.running(paths=paths, inotify=inotify, scan_interval=3600 if inotify else 5):
        await tail.read("known")
        pod.reopen()
        pod.write("stdout F two")
        await tail.read("known", "one", "two")


async def test_a_rotated_file_is_compressed_while_a_new_container_is_taken_up(
    tail: Any, pod: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for message in ("one", "two"):
        pod.write(f"stdout F {message}")
        pod.path.rename(f"{pod.path}.20260131-00000{pod._stamp}")
        pod._stamp += 1
        pod.reopen()
    pod.write("stdout F three")
    late = Path(f"{pod.path}.20260131-000001")
    real_open = catalogue.open_content

    def open_content(path: str) -> Any:
        if path == str(late) and late.exists():
            compress(late)
        return real_open(path)

    monkeypatch.setattr(catalogue, "open_content", open_content)
    async with tail.running(paths=[f"{tail.logs}/{PODS}"]):
        await tail.read("one", "two", "three")


async def test_reading_from_the_end_leaves_rotated_files_alone(tail: Any, pod: Kubelet) -> None:
    pod.write("stdout F one")
    pod.rotate()
    pod.write("stdout F two")
    async with tail.running(paths=[f"{tail.logs}/{PODS}"], read_from="end"):
        await tail.rest(3)
        pod.write("stdout F three")
        await tail.read("three")


async def test_what_lies_beside_other_files_is_not_read(tail: Any) -> None:
    """Their paths come back: it may have been read long ago."""
    append(Path(f"{tail.log}.1"), "old")
    append(tail.log, "new")
    async with tail.running():
        await tail.read("new")


def test_the_file_itself_may_be_rotated_away_while_the_others_are_looked_for(pod: Kubelet) -> None:
    for index in range(3):
        pod.write(f"stdout F {index}")
        (pod.path.parent / "0.log").rename(f"{pod.path}.20260131-{index}00000")
        pod.reopen()
    current = Path(f"{pod.path}.20260131-100000").stat()
    found = rotated.unseen(str(pod.path), (current.st_dev, current.st_ino), 0)
    assert [sibling.path for sibling in found] == [f"{pod.path}.20260131-000000"]


# -- hand-over and kill -9 -------------------------------------------------------------------------


async def test_a_join_that_was_handed_over_is_not_handed_over_again_after_a_kill(
    tail: Any, kubelet: Kubelet
) -> None:
    """The position of the old file is old; it is read again up to where its join was handed over."""
    tail.collector = first = Collector(settle=False)
    async with tail.running():
        kubelet.write("stdout F one", "stdout P two-")
        await tail.lines(1)
        kubelet.rotate()
        kubelet.write("stdout F two", "stdout F three")
        await tail.lines(3)
        on_disk = tail.checkpoints.streams("test")
    assert [state["offset"] for state in on_disk.values()] == [0, 0]
    for stream, state in on_disk.items():
        tail.checkpoints.save("test", stream, state)
    tail.collector = Collector()
    async with tail.running():
        await tail.read("one", "two-two", "three")
    assert [batch.origin for batch in tail.collector.batches] == [batch.origin for batch in first.batches]


async def test_what_was_deleted_unread_while_nobody_looked_is_counted(
    tail: Any, caplog: pytest.LogCaptureFixture
) -> None:
    other = tail.log.with_name("other.log")
    append(other, "other")
    append(tail.log, "one", "two")
    tail.collector = Collector(settle=False)
    async with tail.running():
        await tail.lines(3)
    tail.log.unlink()
    tail.collector = Collector()
    for _ in range(2):
        async with tail.running():
            await tail.lines(1)
            await tail.rest(1)
    assert tail.messages() == ["other"]
    assert tail.counter("bytes_unread") == 8
    assert caplog.text.count("was deleted and 8 bytes of it had not been read") == 1


async def test_what_may_come_back_is_not_counted_as_deleted(tail: Any) -> None:
    append(tail.log, "one", "two")
    tail.collector = Collector(settle=False)
    async with tail.running():
        await tail.lines(2)
    away = tail.log.rename(tail.root / "unmounted")
    tail.collector = Collector()
    async with tail.running():
        await tail.rest(1)
        away.rename(tail.log)
        await tail.read("one", "two")
    assert tail.counter("bytes_unread") == 0
