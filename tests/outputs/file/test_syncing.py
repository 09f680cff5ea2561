"""Files of a group are synced together where that is cheap, and one by one where it is not."""

from __future__ import annotations

import os

import pytest

from logflow.clock import SystemClock
from logflow.outputs.file import syncing
from logflow.outputs.file.disk import Disk
from logflow.outputs.file.syncing import OnDisk, Syncing


class HandClock(SystemClock):
    """Goes on when it is told to."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


class Recording(Disk):
    """Notes what is synced; the file system, or one file, may refuse."""

    def __init__(self) -> None:
        self.files: list[int] = []
        self.systems = 0
        self.refuses_system = False
        self.takes = lambda: None
        self.refused = -1

    def sync(self, fd: int) -> None:
        if fd == self.refused:
            raise OSError(5, "Input/output error")
        self.files.append(fd)

    def sync_file_system(self, fd: int) -> None:
        self.systems += 1
        self.takes()
        if self.refuses_system:
            raise OSError(5, "Input/output error")


@pytest.fixture
def disk() -> Recording:
    return Recording()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def group(disk, clock, tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemFree: 1 kB\nDirty:  100 kB\nWriteback:   20 kB\nWritebackTmp:  99999999 kB\n")
    monkeypatch.setattr(syncing, "_MEMINFO", meminfo)
    monkeypatch.setattr(syncing, "_reports_errors", lambda: True)
    made = Syncing(disk, clock)
    made.open(tmp_path)
    yield made, [OnDisk(fd, tmp_path.stat().st_dev) for fd in range(100, 120)], meminfo
    made.close()
    made.close()


def test_many_files_are_synced_by_one_call(disk, group):
    made, files, _ = group
    made.sync(files)
    assert (disk.systems, disk.files) == (1, [])


def test_a_few_files_are_synced_one_by_one(disk, group):
    made, files, _ = group
    made.sync(files[:3])
    assert (disk.systems, disk.files) == (0, [100, 101, 102])


def test_what_other_programs_have_to_write_is_not_waited_for(disk, group):
    made, files, meminfo = group
    meminfo.write_text("Dirty: 60000 kB\nWriteback: 9000 kB\n")
    made.sync(files)
    assert (disk.systems, sorted(disk.files)) == (0, [file.fd for file in files])


def test_after_a_slow_sync_of_the_whole_there_is_none_for_a_minute(disk, clock, group):
    made, files, _ = group
    disk.takes = lambda: setattr(clock, "now_s", clock.now_s + 1)
    made.sync(files)
    made.sync(files)
    assert (disk.systems, len(disk.files)) == (1, len(files))
    clock.now_s += 60
    made.sync(files)
    assert disk.systems == 2


def test_files_of_another_file_system_are_synced_one_by_one(disk, group):
    made, files, _ = group
    made.sync([*files, OnDisk(200, files[0].device + 1)])
    assert disk.systems == 0
    assert len(disk.files) == len(files) + 1


def test_an_error_of_the_file_system_is_looked_for_in_each_file(disk, group):
    made, files, _ = group
    disk.refuses_system = True
    made.sync(files)
    assert sorted(disk.files) == [file.fd for file in files], "it was somebody else's"
    disk.refused = 107
    with pytest.raises(OSError, match="Input/output error"):
        made.sync(files)


def test_a_system_that_does_not_report_errors_syncs_one_by_one(disk, clock, group, monkeypatch, tmp_path):
    _, files, _ = group
    monkeypatch.setattr(syncing, "_reports_errors", lambda: False)
    made = Syncing(disk, clock)
    made.open(tmp_path)
    made.sync(files)
    assert (disk.systems, len(disk.files)) == (0, len(files))
    made.close()


def test_a_real_file_system_is_synced(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        Disk().sync_file_system(fd)
    finally:
        os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        Disk().sync_file_system(fd)
