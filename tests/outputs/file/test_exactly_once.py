"""Every chunk is in its files exactly once, wherever the process or the machine dies."""

from __future__ import annotations

import gzip
import itertools
import os
import random
import re
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow import encoders
from logflow.batch import Batch, Chunk
from logflow.errors import ComponentError, DeliveryError
from logflow.outputs.file import FileOutput
from logflow.outputs.file.disk import Disk
from logflow.storage.fs import Fs
from logflow.testing import FakeClock, make_context

T0 = 1_700_000_000_000_000_000


@pytest.fixture
def tmp_path():
    """A directory in memory where there is one: thousands of small files wait long for a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as path:
        yield Path(path)


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    """Write each part of a chunk by itself, so that all may end between two of them."""
    monkeypatch.setattr(encoders, "_SLICE_BYTES", 1)


class KilledError(BaseException):
    """The process is no more."""


class QuickDisk(Disk):
    """A disk that never syncs, so that tests are quick."""

    def sync(self, fd):
        pass

    def sync_file_system(self, fd):
        pass

    def sync_directory(self, path):
        pass


class FaultyDisk(Disk):
    """A disk that dies at a step: before a call, or with a write half done.

    Every call that changes something is a step, a write is two. ``lose_power`` takes away what was
    not synced.
    """

    def __init__(self, die_at: float = float("inf")) -> None:
        self.steps = 0
        self.die_at = die_at
        self.fds: set[int] = set()
        self.written: dict[int, str] = {}
        self.synced: dict[int, int] = {}
        self.new_names: set[str] = set()

    def _step(self):
        self.steps += 1
        if self.steps > self.die_at:
            raise KilledError

    def open(self, path, flags, mode):
        self._step()
        new = flags & os.O_CREAT and not os.path.lexists(path)
        fd = super().open(path, flags, mode)
        self.fds.add(fd)
        if new:
            self.new_names.add(path)
        self.synced.setdefault(os.fstat(fd).st_ino, os.fstat(fd).st_size)
        return fd

    def close(self, fd):
        if fd in self.fds:  # what dies closes nothing by itself, but the system does
            self.fds.remove(fd)
            super().close(fd)

    def write(self, fd, data):
        self._step()
        try:
            self._step()
        except KilledError:
            os.write(fd, data[: len(data) // 2])
            raise
        return super().write(fd, data)

    def truncate(self, fd, length):
        self._step()
        super().truncate(fd, length)
        inode = os.fstat(fd).st_ino
        self.synced[inode] = min(self.synced[inode], length)

    def sync(self, fd):
        self._step()
        status = os.fstat(fd)
        self.synced[status.st_ino] = status.st_size

    def sync_file_system(self, fd):
        self._step()
        for each in self.fds:
            status = os.fstat(each)
            self.synced[status.st_ino] = status.st_size

    def rename(self, old, new):
        self._step()
        super().rename(old, new)
        if old in self.new_names:
            self.new_names.discard(old)
            self.new_names.add(new)

    def unlink(self, path):
        self._step()
        super().unlink(path)

    def make_directories(self, path, mode=None):
        self._step()
        super().make_directories(path, mode)

    def sync_directory(self, path):
        self._step()
        self.new_names = {name for name in self.new_names if str(Path(name).parent) != path}

    def kill(self):
        self.die_at = 0
        for fd in list(self.fds):
            self.close(fd)

    def lose_power(self, root: Path, rng: random.Random) -> None:
        self.kill()
        for path in [path for path in root.rglob("*") if path.is_file()]:
            status = path.stat()
            if str(path) in self.new_names and rng.random() < 0.5:
                path.unlink()
            elif status.st_ino in self.synced and status.st_size > self.synced[status.st_ino]:
                os.truncate(path, rng.randint(self.synced[status.st_ino], status.st_size))


class JournalFs(Fs):
    """The same disk, as the journal sees it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    def make_directory(self, path):
        self.disk.make_directories(str(path))

    def open_new(self, path):
        return self.disk.open(str(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)

    def open(self, path, *, write=False):
        return self.disk.open(str(path), os.O_RDWR if write else os.O_RDONLY, 0)

    def close(self, fd):
        self.disk.close(fd)

    def write(self, fd, pieces, offset):
        os.lseek(fd, offset, os.SEEK_SET)
        self.disk.write_all(fd, b"".join(pieces))

    def truncate(self, fd, size):
        self.disk.truncate(fd, size)

    def sync(self, fd):
        self.disk.sync(fd)

    def sync_directory(self, path):
        self.disk.sync_directory(str(path))

    def rename(self, old, new):
        self.disk.rename(str(old), str(new))

    def remove(self, path):
        self.disk.unlink(str(path))


def write(output: FileOutput, *chunks: Chunk) -> None:
    """Deliver chunks in one go."""
    for answer in output._writer.write(chunks):
        if answer is not None:
            raise answer


def lines_of_parquet(path: Path) -> bytes:
    from pyarrow import parquet

    rows = parquet.read_table(path, columns=["n", "e"]).to_pylist()
    return b"".join(b'"n":%d,"e":%d\n' % (row["n"], row["e"]) for row in rows)


@dataclass
class World:
    """A directory, a list of chunks, and a buffer that presents them until they are delivered."""

    root: Path
    options: dict = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    delivered: int = 0
    clock: FakeClock = field(default_factory=FakeClock)
    group: int = 1

    def __post_init__(self):
        self.options = dict(self.options)
        self.group = self.options.pop("group", 1)
        for n in range(4):
            tag = "ab"[n % 2]
            events = [(T0, {"n": n, "e": e, "to": "xyx"[e], "pad": "." * 30}) for e in range(3)]
            parts = tuple(Batch.from_events(tag, [event]).entries for event in events)
            self.chunks.append(Chunk(bytes([n]) * 16, tag, parts, 3))

    def start(self, disk: Disk) -> FileOutput:
        options = {"path": "{tag}-{to}.log", **self.options}
        path = str(self.root / "out" / options.pop("path"))
        if options.get("format") != "parquet":
            options = {"max_open_files": 3, **options}
        config = FileOutput.Config(path=path, **options)
        output = FileOutput.__new__(type("Output", (FileOutput,), {"disk": disk, "fs": JournalFs(disk)}))
        output.__init__(config, make_context(self.root / "data", kind="output", clock=self.clock))
        return output

    def run(self, disk: Disk, *, forget: int = 0) -> None:
        """Recover, then deliver what is left; ``forget``: deliveries that the buffer did not record."""
        self.delivered = max(0, self.delivered - forget)
        output = self.start(disk)
        output._recover()
        while self.delivered < len(self.chunks):
            group = self.chunks[self.delivered : self.delivered + self.group]
            write(output, *group)
            self.delivered += len(group)
        output._writer.close()
        output._journal.close()

    def check(self) -> None:
        expected = Counter((n, e) for n in range(len(self.chunks)) for e in range(3))
        found: Counter[tuple[int, int]] = Counter()
        for path in sorted(path for path in (self.root / "out").rglob("*") if path.is_file()):
            data = path.read_bytes()
            text = gzip.decompress(data) if path.suffix == ".gz" and data else data
            if path.suffix == ".parquet":
                text = lines_of_parquet(path)
            assert not text or text.endswith(b"\n")
            numbers = [(int(n), int(e)) for n, e in re.findall(rb'"n":(\d+),"e":(\d+).*\n', text)]
            assert len(numbers) == text.count(b"\n"), f"a torn line in {path}"
            assert numbers == sorted(numbers), f"out of order in {path}"
            found.update(numbers)
        assert found == expected


SCENARIOS = {
    "plain": {},
    "never_synced": {"sync": "never"},
    "rotated": {"path": "{tag}.log", "rotate_size": 250},
    "rotated_gzip": {"path": "{tag}.log", "rotate_size": 250, "compress": "gzip"},
    "few_files": {"max_open_files": 1},
    "slices": {"path": "{tag}.log"},
    "grouped": {"group": 3},
    "grouped_gzip": {"group": 2, "path": "all.log", "compress": "gzip"},
    "grouped_few_files": {"group": 4, "max_open_files": 4},
}
if find_spec("pyarrow"):
    SCENARIOS |= {
        "parquet": {"format": "parquet"},
        "grouped_parquet": {"format": "parquet", "group": 3, "path": "{tag}/{to}", "retain": {"age": "1d"}},
    }


def steps_of(root: Path, options: dict) -> int:
    world, disk = World(root, options), FaultyDisk()
    world.run(disk)
    world.check()
    return disk.steps


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_step_nothing_is_lost_or_doubled(tmp_path, scenario):
    options = SCENARIOS[scenario]
    for step in range(steps_of(tmp_path / "whole", options)):
        world, disk = World(tmp_path / str(step), options), FaultyDisk(die_at=step)
        with pytest.raises(KilledError):
            world.run(disk)
        disk.kill()
        world.run(Disk(), forget=step % 3)
        world.check()


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kills=st.lists(st.integers(0, 50), max_size=5), seed=st.integers(0, 1 << 32))
def test_killed_again_and_again_also_while_recovering(tmp_path, scenario, kills, seed):
    rng = random.Random(seed)
    world = World(tmp_path / f"{seed}-{rng.getrandbits(64)}-{len(kills)}", SCENARIOS[scenario])
    for step in kills:
        disk = FaultyDisk(die_at=step)
        try:
            world.run(disk, forget=rng.randint(0, 2))
        except KilledError:
            disk.kill()
    world.run(Disk(), forget=rng.randint(0, 2))
    world.check()


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "never_synced"])
def test_a_power_cut_at_any_step_loses_nothing_that_was_delivered(tmp_path, scenario):
    options, rng = SCENARIOS[scenario], random.Random(7)
    for step in range(steps_of(tmp_path / "whole", options)):
        world, disk = World(tmp_path / str(step), options), FaultyDisk(die_at=step)
        with pytest.raises(KilledError):
            world.run(disk)
        disk.lose_power(tmp_path / str(step), rng)
        world.run(Disk(), forget=step % 3)
        world.check()


class FullDisk(QuickDisk):
    """A disk whose calls fail with ENOSPC (writes after half) at chosen steps."""

    def __init__(self, fail_at: range) -> None:
        self.steps = 0
        self.fail_at = fail_at

    def _step(self):
        self.steps += 1
        if self.steps in self.fail_at:
            raise OSError(28, "No space left on device")

    def write(self, fd, data):
        try:
            self._step()
        except OSError:
            os.write(fd, data[: len(data) // 2])
            raise
        return super().write(fd, data)

    def sync(self, fd):
        self._step()

    def truncate(self, fd, length):
        self._step()
        super().truncate(fd, length)

    def rename(self, old, new):
        self._step()
        super().rename(old, new)

    def open(self, path, flags, mode):
        self._step()
        return super().open(path, flags, mode)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("failures", [1, 4])
def test_a_disk_that_fails_at_any_step_delays_and_nothing_else(tmp_path, scenario, failures):
    for step in itertools.count():
        world = World(tmp_path / f"{step}", SCENARIOS[scenario])
        disk = FullDisk(range(step, step + failures))
        output = world.start(disk)
        tries = 0
        while True:
            try:
                output._recover()
                break
            except (OSError, Exception):
                tries += 1
        for chunk in world.chunks:
            while True:
                try:
                    write(output, chunk)
                    break
                except DeliveryError:
                    tries += 1
                    if failures == 1:
                        _only_whole_lines(world)
        world.check()
        output._writer.close()
        output._journal.close()
        again = world.start(QuickDisk())
        again._recover()
        assert all(again._journal.committed(chunk.id) for chunk in world.chunks)
        again._journal.close()
        assert tries <= failures
        if disk.steps < step:
            return


def _only_whole_lines(world):
    for path in (world.root / "out").rglob("*.log"):
        assert path.read_bytes().endswith(b"\n") or not path.stat().st_size


def test_what_others_wrote_meanwhile_is_not_cut(tmp_path):
    world, disk = World(tmp_path, {"path": "{tag}.log"}), FaultyDisk(die_at=40)
    with pytest.raises(KilledError):
        world.run(disk)
    disk.kill()
    (tmp_path / "out/a.log").unlink()
    (tmp_path / "out/a.log").write_bytes(b"somebody else's\n" * 100)
    world.start(QuickDisk())._recover()
    assert (tmp_path / "out/a.log").read_bytes() == b"somebody else's\n" * 100


def test_a_file_that_was_renamed_meanwhile_is_still_cut(tmp_path):
    world = World(tmp_path, {"path": "all.log"})
    whole = FaultyDisk()
    output = world.start(whole)
    output._recover()
    write(output, world.chunks[0])
    before = whole.steps
    write(output, world.chunks[1])
    whole.kill()

    world = World(tmp_path / "again", {"path": "all.log"})
    disk = FaultyDisk(die_at=before + 1)  # in the middle of the second chunk's data
    with pytest.raises(KilledError):
        world.run(disk)
    disk.kill()
    (tmp_path / "again/out/all.log").rename(tmp_path / "again/out/all.log.1")
    assert not (tmp_path / "again/out/all.log.1").read_bytes().endswith(b"\n")
    world.run(QuickDisk())
    world.check()


def test_a_directory_that_is_not_there_at_the_start_is_recovered_later(tmp_path):
    world, disk = World(tmp_path, {"path": "{tag}.d/all.log"}), FaultyDisk()
    output = world.start(disk)
    output._recover()
    write(output, world.chunks[0])
    disk.die_at = disk.steps + 1
    with pytest.raises(KilledError):
        write(output, world.chunks[2])
    disk.kill()
    (tmp_path / "out/a.d").rename(tmp_path / "away")
    output = world.start(QuickDisk())
    output._recover()
    (tmp_path / "away").rename(tmp_path / "out/a.d")
    for chunk in world.chunks:
        write(output, chunk)
    world.check()
    output._writer.close()
    output._journal.close()


def test_a_damaged_journal_is_set_aside_and_cuts_no_file_shorter_than_what_was_delivered(tmp_path, caplog):
    world = World(tmp_path)
    world.run(QuickDisk())
    journal = tmp_path / "data/journal"
    data = journal.read_bytes()
    lengths = {path: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    for position in [*range(8), *range(20, len(data) - 1, 7)]:
        journal.write_bytes(data[:position] + bytes([data[position] ^ 0x90]) + data[position + 1 :])
        again = world.start(QuickDisk())
        again._recover()
        again._journal.close()
        assert lengths == {path: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert "is damaged" in caplog.text
    assert list((tmp_path / "data").glob("journal.damaged-*"))


@pytest.mark.parametrize("damage", ["header", "zeroed", "random", "removed", "a directory"])
def test_whatever_became_of_the_journal_exactly_once_holds_again_from_there_on(tmp_path, damage):
    world = World(tmp_path, {"path": "{tag}.log"})
    output = world.start(QuickDisk())
    output._recover()
    write(output, world.chunks[0])
    world.delivered = 1
    output._writer.close()
    output._journal.close()
    journal = tmp_path / "data/journal"
    data = journal.read_bytes()
    journal.unlink()
    match damage:
        case "header":
            journal.write_bytes(b"\xff" + data[1:])
        case "zeroed":
            journal.write_bytes(bytes(len(data)))
        case "random":
            journal.write_bytes(random.Random(3).randbytes(len(data)))
        case "a directory":
            journal.mkdir()
    for step in (15, 22, 31):
        disk = FaultyDisk(die_at=step)
        with suppress(KilledError):
            world.run(disk)
        disk.kill()
    world.run(QuickDisk())
    world.check()


def test_a_failed_open_leaves_nothing_behind_and_the_retry_works(tmp_path):
    world = World(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/journal").write_bytes(b"LFFO0002 of a later version")
    output = world.start(QuickDisk())
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(ComponentError, match="LFFO0002"):
            output._recover()
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    (tmp_path / "data/journal").unlink()
    output._recover()
    write(output, world.chunks[0])
    output._writer.close()
    output._journal.close()
    assert (tmp_path / "data/journal").read_bytes().startswith(b"LFFO0001")


class Unwritable(QuickDisk):
    """A disk that does not take what contains some bytes."""

    refused = b""

    def write(self, fd, data):
        if self.refused and self.refused in bytes(data):
            os.write(fd, data[: len(data) // 2])
            raise OSError(5, "Input/output error")
        return super().write(fd, data)


def test_a_chunk_that_fails_in_a_group_leaves_nothing_and_the_others_are_delivered(tmp_path):
    world, disk = World(tmp_path, {"path": "all.log"}), Unwritable()
    output = world.start(disk)
    output._recover()
    disk.refused = b'"n":1,"e":1'
    answers = output._writer.write(world.chunks)
    assert [answer is None for answer in answers] == [True, False, True, True]
    assert isinstance(answers[1], DeliveryError)
    text = (tmp_path / "out/all.log").read_bytes()
    assert re.findall(rb'"n":(\d+)', text) == [b"0"] * 3 + [b"2"] * 3 + [b"3"] * 3
    disk.refused = b""
    write(output, world.chunks[1])
    output._writer.close()
    output._journal.close()
    world.delivered = 4
    world.run(QuickDisk())
    assert (tmp_path / "out/all.log").read_bytes().startswith(text)
    assert (tmp_path / "out/all.log").read_bytes().count(b"\n") == 12


def test_a_path_that_cannot_be_opened_fails_its_own_chunks_only(tmp_path):
    world = World(tmp_path, {"path": "{tag}.log"})
    (tmp_path / "out/a.log").mkdir(parents=True)
    output = world.start(QuickDisk())
    output._recover()
    answers = output._writer.write(world.chunks)
    assert [answer is None for answer in answers] == [False, True, False, True]
    assert (tmp_path / "out/b.log").read_bytes().count(b"\n") == 6
    output._writer.close()
    output._journal.close()


class Syncs(Disk):
    """Counts what is synced."""

    def __init__(self) -> None:
        self.count = 0

    def sync(self, fd):
        self.count += 1


def test_a_group_syncs_each_file_and_the_journal_once(tmp_path):
    world, disk = World(tmp_path, {"path": "{tag}.log"}), Syncs()
    output = world.start(disk)
    output._recover()
    write(output, *world.chunks[:2])
    before, size = disk.count, (tmp_path / "data/journal").stat().st_size
    more = [Chunk(bytes([n]) * 16, "ab"[n % 2], world.chunks[0].parts, 3) for n in range(10, 40)]
    write(output, *more)
    assert disk.count - before == 3
    assert (tmp_path / "data/journal").stat().st_size - size < 30 * 20 + 100
    output._writer.close()
    output._journal.close()


def test_the_journal_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr("logflow.outputs.file.journal._COMPACT_BYTES", 2000)
    monkeypatch.setattr("logflow.outputs.file.journal._WINDOW", 10)
    world = World(tmp_path, {"path": "all.log", "sync": "never"})
    output = world.start(QuickDisk())
    output._recover()
    entries = world.chunks[0].entries
    for n in range(300):
        write(output, Chunk(n.to_bytes(16, "big"), "t", (entries,), 3))
        assert (tmp_path / "data/journal").stat().st_size < 2500
    output._writer.close()
    output._journal.close()
    again = world.start(QuickDisk())
    again._recover()
    assert again._journal.committed((299).to_bytes(16, "big"))
    assert not again._journal.committed((280).to_bytes(16, "big"))
    assert (tmp_path / "out/all.log").read_bytes().count(b"\n") == 900
