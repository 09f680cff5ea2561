"""Old files go, the oldest first: those that the output made, and nobody else's."""

from __future__ import annotations

import asyncio
import errno
import logging
import os

import pytest
from pydantic import ValidationError

from logflow.batch import Batch, Chunk
from logflow.outputs.file import FileOutput, retention
from logflow.outputs.file.disk import Disk
from logflow.storage.fs import Fs
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock, make_context

T0 = 1_700_000_000_000_000_000
DAY_S = 86_400
LINE = b'{"n":1}\n'


class Archive:
    """A file output with one file for each tag and day, on a clock that is turned by hand."""

    def __init__(self, tmp_path):
        self.root = tmp_path / "out"
        self.data_dir = tmp_path / "data"
        self.clock = FakeClock(T0)
        self.metrics = Metrics()
        self.disk = Disk()
        self.fs = Fs()
        self.output = None

    def make(self, path="{tag}/%Y-%m-%d.log", **options):
        options = {"sync": "never", "time_key": None, "tag_key": None} | options
        config = FileOutput.Config(path=str(self.root / path), **options)
        output = FileOutput.__new__(type("Output", (FileOutput,), {"disk": self.disk, "fs": self.fs}))
        context = make_context(self.data_dir, "files", kind="output", clock=self.clock, metrics=self.metrics)
        output.__init__(config, context)
        self.output = output
        return output

    async def open(self, **options):
        await self.make(**options).open()

    async def restart(self, **options):
        await self.output.close()
        await self.open(**options)

    async def write(self, tag="app", lines=1):
        batch = Batch.from_events(tag, [(self.clock.time_ns(), {"n": 1})] * lines)
        await self.output.write(Chunk(os.urandom(16), tag, (batch.entries,), lines))

    async def sweep(self):
        """Close what is not written to, and look for old files, as happens now and then."""
        await asyncio.to_thread(self.output._writer.close)
        await asyncio.to_thread(self.output._retention.sweep, self.clock.time_ns(), self.output._writer)

    async def write_days(self, count, lines=1):
        for _ in range(count):
            await self.write(lines=lines)
            await self.output.close()  # what is open never goes
            await self.clock.advance(DAY_S)
            await self.output.open()

    def names(self):
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def counted(self, name):
        return sum(cell.value for cell in self.metrics.counters() if cell.name == name)


@pytest.fixture
async def archive(tmp_path):
    made = Archive(tmp_path)
    yield made
    if made.output is not None:
        await made.output.close()


async def test_files_go_when_nothing_was_written_to_them_for_so_long(archive, caplog):
    caplog.set_level(logging.INFO)
    await archive.open(retain={"age": "3d"})
    await archive.write_days(5)
    await archive.sweep()
    assert archive.names() == ["app/2023-11-16.log", "app/2023-11-17.log", "app/2023-11-18.log"]
    assert (archive.counted("files_removed"), archive.counted("bytes_removed")) == (2, 2 * len(LINE))
    assert [each.message for each in caplog.records if "Removed" in each.message] == [
        "Removed 2 old files of 16 bytes, as retain says."
    ]
    caplog.clear()
    await archive.sweep()
    assert not [each for each in caplog.records if "Removed" in each.message]


async def test_the_oldest_go_until_the_others_fit(archive):
    await archive.open(retain={"size": 7 * len(LINE)})
    await archive.write_days(4, lines=3)
    await archive.sweep()
    assert archive.names() == ["app/2023-11-16.log", "app/2023-11-17.log"]


async def test_it_happens_by_itself_once_a_minute_and_not_at_a_write(archive, monkeypatch):
    await archive.open(retain={"age": "1d"})
    await archive.write_days(1)
    await archive.clock.advance(10)
    await archive.write()
    assert len(archive.names()) == 2
    swept = asyncio.Event()
    loop = asyncio.get_running_loop()
    sweep = retention.Retention.sweep

    def noted(*arguments):
        sweep(*arguments)
        loop.call_soon_threadsafe(swept.set)

    monkeypatch.setattr(retention.Retention, "sweep", noted)
    await archive.clock.advance(60)
    async with asyncio.timeout(10):
        await swept.wait()
    assert archive.names() == ["app/2023-11-15.log"]


async def test_a_file_that_is_open_stays(archive):
    await archive.open(retain={"size": 1})
    await archive.write()
    archive.output._retention.sweep(archive.clock.time_ns(), archive.output._writer)
    assert archive.names() == ["app/2023-11-14.log"]
    await archive.sweep()
    assert archive.names() == []


async def test_rotated_files_go_too(archive):
    await archive.open(path="app.log", rotate_every="1d", retain={"age": "2d"})
    await archive.write_days(4)
    await archive.write()
    await archive.sweep()
    assert archive.names() == ["app.log", "app.log.20231117-221320", "app.log.20231118-221320"]


async def test_what_others_wrote_stays(archive, caplog):
    """Their own files, files that they began, and those that they changed, replaced or linked."""
    (archive.root / "app").mkdir(parents=True)
    (archive.root / "app" / "notes.log").write_text("mine")
    (archive.root / "app" / "2023-11-14.log").write_text("begun by somebody else\n")
    await archive.open(retain={"age": "1d"})
    await archive.write_days(6)
    folder = archive.root / "app"
    with (folder / "2023-11-15.log").open("a") as file:
        file.write("more\n")
    copy = (folder / "2023-11-16.log").read_bytes()
    (folder / "2023-11-16.log").rename(folder / "old")
    (folder / "2023-11-16.log").write_bytes(copy)
    (folder / "2023-11-17.log").write_bytes(b"x" * (len(LINE) - 1) + b"\n")
    (folder / "2023-11-18.log").unlink()
    (folder / "2023-11-18.log").symlink_to(folder / "notes.log")
    stay = archive.names()
    await archive.clock.advance(1)
    for _ in range(3):
        await archive.sweep()
        assert archive.names() == [name for name in stay if name != "app/2023-11-19.log"]
        await archive.clock.advance(9 * DAY_S)
    assert archive.counted("files_removed") == 1
    told = [each.message for each in caplog.records if "somebody else" in each.message]
    assert len(told) == 1
    assert "2023-11-15.log was changed by somebody else, and stays (4 such files)" in told[0]


async def test_a_directory_that_became_a_link_out_of_the_root_is_not_followed(archive, tmp_path):
    await archive.open(retain={"age": "1d"})
    await archive.write_days(3)
    await asyncio.to_thread(archive.output._writer.close)
    elsewhere = tmp_path / "elsewhere"
    (archive.root / "app").rename(elsewhere)
    (archive.root / "app").symlink_to(elsewhere)
    await archive.sweep()
    assert len(list(elsewhere.iterdir())) == 3


async def test_the_list_survives_a_restart_and_a_kill(archive):
    await archive.open(retain={"age": "1d"})
    await archive.write_days(2)
    await archive.restart(retain={"age": "1d"})
    await archive.write()
    killed = archive.output  # without a close: the next one finds its files as it left them
    killed._retention.close()  # first, as a sweep may be under way
    killed._journal.close()
    for file in killed._writer.writer._files.values():
        os.close(file.fd)
    killed._writer.writer._files.clear()
    os.utime(archive.root / "app" / "2023-11-16.log", ns=(archive.clock.time_ns(),) * 2)
    await archive.open(retain={"age": "1d"})
    await archive.sweep()
    assert archive.names() == ["app/2023-11-15.log", "app/2023-11-16.log"]
    await archive.clock.advance(2 * DAY_S)
    await archive.sweep()
    assert archive.names() == []
    await killed.close()


@pytest.mark.parametrize("after", ["rename", "moved"])
async def test_a_kill_in_the_middle_of_a_rotation_does_not_lose_the_file(archive, monkeypatch, after):
    class KilledError(BaseException):
        pass

    def die(*_):
        raise KilledError

    options = {"path": "app.log", "rotate_every": "1d", "idle_close": "9d", "retain": {"age": "5d"}}
    await archive.open(**options)
    await archive.write()
    await archive.clock.advance(DAY_S)
    with monkeypatch.context() as patch:
        patch.setattr(
            *((retention.Retention, "moved") if after == "rename" else (retention.Retention, "closed")), die
        )
        with pytest.raises(KilledError):
            await archive.write()
        archive.output._retention.close()  # first, as a sweep may be under way
        archive.output._journal.close()
        for file in archive.output._writer.writer._files.values():
            os.close(file.fd)
        archive.output._writer.writer._files.clear()
    (name,) = archive.names()
    assert name.startswith("app.log.2023")
    os.utime(archive.root / name, ns=(archive.clock.time_ns(),) * 2)
    await archive.open(**options)
    await archive.clock.advance(6 * DAY_S)
    await archive.sweep()
    assert archive.names() == []


async def test_a_sweep_in_the_middle_of_a_rotation_does_not_lose_the_file(archive, monkeypatch):
    await archive.open(path="app.log", rotate_every="1d", idle_close="9d", retain={"age": "5d"})
    await archive.write()
    await archive.clock.advance(DAY_S)
    rename = archive.disk.rename

    def rename_and_sweep(old, new):
        rename(old, new)
        archive.output._retention.sweep(archive.clock.time_ns(), archive.output._writer)

    with monkeypatch.context() as patch:
        patch.setattr(archive.disk, "rename", rename_and_sweep)
        await archive.write()
    assert len(archive.names()) == 2
    await archive.clock.advance(6 * DAY_S)
    await archive.sweep()
    assert archive.names() == []


async def test_a_file_that_is_gone_already_is_no_error(archive, caplog):
    await archive.open(retain={"age": "1d"})
    await archive.write_days(3)
    (archive.root / "app" / "2023-11-14.log").unlink()
    await archive.sweep()
    assert archive.names() == ["app/2023-11-16.log"]
    assert archive.counted("files_removed") == 1
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_files_of_a_disk_that_is_not_there_now_are_not_forgotten(archive):
    await archive.open(retain={"age": "1d"})
    await archive.write_days(2)
    (archive.root / "app").rename(archive.root / "away")
    await archive.sweep()
    (archive.root / "away").rename(archive.root / "app")
    await archive.sweep()
    assert archive.names() == ["app/2023-11-15.log"]


async def test_files_that_cannot_be_removed_are_told_of_once_and_tried_again(archive, caplog):
    class Stubborn(Disk):
        stuck = True

        def unlink(self, path):
            if self.stuck:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM), path)
            super().unlink(path)

    archive.disk = Stubborn()
    await archive.open(retain={"age": "1d"})
    await archive.write_days(3)
    for _ in range(3):
        await archive.sweep()
    (told,) = [each.message for each in caplog.records if "cannot be removed" in each.message]
    assert "2023-11-14.log cannot be removed: Operation not permitted (2 such files)" in told
    archive.disk.stuck = False
    await archive.sweep()
    assert archive.names() == ["app/2023-11-16.log"]


async def test_a_list_that_cannot_be_written_for_a_while_fails_no_delivery_and_loses_nothing(archive):
    class Full(Fs):
        full = False

        def write(self, fd, pieces, offset):
            if self.full and b"LFFR" in os.pread(fd, 4, 0):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(fd, pieces, offset)

    archive.fs = Full()
    await archive.open(retain={"age": "1d"})
    archive.fs.full = True
    await archive.write()
    archive.fs.full = False
    await archive.sweep()
    await archive.restart(retain={"age": "1d"})
    assert archive.names() == ["app/2023-11-14.log"]
    await archive.clock.advance(2 * DAY_S)
    await archive.sweep()
    assert archive.names() == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"path": "%Y/a.log", "retain": {}}, "set age, size or both"),
        ({"path": "%Y/a.log", "retain": {"age": "0s"}}, "greater than 0"),
        (
            {"path": "{tag}.log", "retain": {"age": "30d"}},
            "retain removes whole files; put the date into path",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(options, problem):
    with pytest.raises(ValidationError, match=problem):
        FileOutput.Config(**options)
