"""The journal of positions and cuts."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.errors import ComponentError
from logflow.storage import checkpoints as journal
from logflow.storage.checkpoints import Checkpoints
from logflow.storage.fs import Fs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "checkpoints"


def opened(path: Path, fs: Fs | None = None) -> Checkpoints:
    checkpoints = Checkpoints(path, fs=fs)
    checkpoints.open()
    return checkpoints


def known(checkpoints: Checkpoints) -> dict[str, Any]:
    """All that can be asked of the streams, outputs and notes that these tests use."""
    streams = ("s1", "s2")
    return {
        "streams": {source: checkpoints.streams(source) for source in ("a", "b")},
        "planned": {(o, s): checkpoints.planned(o, s) for o in ("x", "y") for s in streams},
        "accepted": {(o, s): checkpoints.accepted(o, s) for o in ("x", "y") for s in streams},
        "boundaries": {s: checkpoints.boundaries(s) for s in streams},
        "notes": {(o, k): checkpoints.noted(o, k) for o in ("x", "y") for k in (b"k1", b"k2")},
    }


def test_everything_recorded_survives_a_restart(path: Path) -> None:
    first = opened(path)
    first.save("a", "s1", {"offset": 10, "carry": b"\x00\xff", "path": "/x"})
    first.cut("x", "s1", 10, 30)
    first.accept("y", "s1", 20)
    first.note("x", b"k1", "somewhere")
    first.save("b", "s2", {"offset": 0})
    first.forget("b", "s2")
    first.close()
    again = opened(path)
    assert known(again) == known(first)
    assert again.streams("a") == {"s1": {"offset": 10, "carry": b"\x00\xff", "path": "/x"}}
    assert again.streams("b") == {}
    assert again.boundaries("s1") == [10, 20, 30]
    assert again.noted("x", b"k1") == "somewhere"
    again.close()


def test_cuts_are_in_the_file_once_they_are_flushed_together_with_what_came_before(path: Path) -> None:
    """After kill -9 nothing is flushed any more: the second journal sees only what is in the file."""
    first = opened(path)
    first.save("a", "s1", {"offset": 0})
    first.cut("x", "s1", 0, 5)
    first.flush()
    first.save("a", "s1", {"offset": 5})
    killed = opened(path)
    assert killed.streams("a") == {"s1": {"offset": 0}}
    assert killed.planned("x", "s1") == [(0, 5)]
    first.close()
    killed.close()


def test_cuts_before_the_position_are_forgotten_and_those_after_it_stay(path: Path) -> None:
    checkpoints = opened(path)
    for start in (0, 10, 20):
        checkpoints.cut("x", "s1", start, start + 10)
    checkpoints.cut("x", "s1", 10, 20)
    checkpoints.save("a", "s1", {"offset": 10})
    assert checkpoints.planned("x", "s1") == [(10, 20), (20, 30)]
    checkpoints.close()


def test_accepting_never_goes_back(path: Path) -> None:
    checkpoints = opened(path)
    checkpoints.accept("x", "s1", 20)
    checkpoints.accept("x", "s1", 10)
    assert checkpoints.accepted("x", "s1") == 20
    assert checkpoints.accepted("x", "s2") == 0
    checkpoints.close()


def test_forgetting_a_stream_forgets_its_cuts(path: Path) -> None:
    checkpoints = opened(path)
    checkpoints.save("a", "s1", {"offset": 0})
    checkpoints.cut("x", "s1", 0, 5)
    checkpoints.accept("x", "s1", 5)
    checkpoints.forget("a", "s1")
    assert checkpoints.boundaries("s1") == []
    assert checkpoints.accepted("x", "s1") == 0
    checkpoints.close()


def test_without_a_path_everything_is_in_memory(path: Path) -> None:
    checkpoints = Checkpoints(None)
    checkpoints.open()
    checkpoints.save("a", "s1", {"offset": 3})
    checkpoints.cut("x", "s1", 3, 4)
    checkpoints.close()
    assert checkpoints.streams("a") == {"s1": {"offset": 3}}


def test_a_torn_tail_is_cut_and_the_journal_goes_on(path: Path) -> None:
    first = opened(path)
    first.save("a", "s1", {"offset": 1})
    first.flush()
    whole = path.stat().st_size
    first.save("a", "s1", {"offset": 2})
    first.close()
    for size in range(whole, path.stat().st_size):
        torn = path.with_name(f"torn-{size}")
        torn.write_bytes(path.read_bytes()[:size])
        second = opened(torn)
        assert second.streams("a") == {"s1": {"offset": 1}}
        second.save("a", "s2", {"offset": 7})
        second.close()
        third = opened(torn)
        assert third.streams("a") == {"s1": {"offset": 1}, "s2": {"offset": 7}}
        third.close()


@pytest.mark.parametrize("size", range(9))
def test_a_file_torn_in_its_first_write_is_a_new_journal(path: Path, size: int) -> None:
    path.parent.mkdir()
    path.write_bytes(b"LFCP0001"[:size])
    checkpoints = opened(path)
    checkpoints.save("a", "s1", {"offset": 1})
    checkpoints.close()
    assert opened(path).streams("a") == {"s1": {"offset": 1}}


def test_damage_costs_its_record_alone_and_the_journal_is_set_aside(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = opened(path)
    ends = []
    for stream in ("s1", "s2", "s3"):
        checkpoints.save("a", stream, {"offset": 1})
        checkpoints.flush()
        ends.append(path.stat().st_size)
    checkpoints.close()
    whole = path.read_bytes()
    for position in range(ends[0], ends[1]):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        again = opened(path)
        assert again.streams("a").keys() == {"s1", "s3"}
        assert again.damaged_bytes == ends[1] - ends[0]
        again.close()
        assert bytes(damaged) in {aside.read_bytes() for aside in path.parent.glob("checkpoints.damaged-*")}
        caplog.clear()
        opened(path).close()
        assert not caplog.messages, "the damage was removed by rewriting the journal"


@pytest.mark.parametrize("content", [b"something else", bytes(5000), b"LFFO0001" + b"x" * 100])
def test_another_kind_of_file_is_set_aside_and_the_journal_begins_anew(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    checkpoints = opened(path)
    assert len(caplog.messages) == 1
    assert "is damaged" in caplog.messages[0]
    assert checkpoints.damaged_bytes == len(content)
    checkpoints.save("a", "s1", {"offset": 1})
    checkpoints.close()
    assert [aside.read_bytes() for aside in path.parent.glob("checkpoints.damaged-*")] == [content]
    assert opened(path).streams("a") == {"s1": {"offset": 1}}


def test_a_later_version_is_refused_and_not_touched(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"LFCP0002 and what it means")
    with pytest.raises(ComponentError, match="has the format LFCP0002"):
        opened(path)
    assert path.read_bytes() == b"LFCP0002 and what it means"


def test_a_place_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ComponentError, match=r"cannot use .*; make its directory writable"):
        opened(tmp_path / "file" / "checkpoints")


def test_a_grown_journal_is_rewritten_to_what_matters(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_COMPACT_BYTES", 4096)
    checkpoints = opened(path)
    checkpoints.cut("x", "s1", 500, 600)
    checkpoints.note("y", b"k2", "kept")
    for offset in range(400):
        checkpoints.save("a", "s1", {"offset": offset})
        checkpoints.accept("y", "s2", offset)
        checkpoints.flush()
        assert path.stat().st_size < 2 * 4096
    checkpoints.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again = opened(path)
    assert known(again) == known(checkpoints)
    again.close()


async def test_sync_is_safe_when_the_journal_is_rewritten_or_closed_meanwhile(path: Path) -> None:
    checkpoints = opened(path)
    checkpoints.save("a", "s1", {"offset": 1})
    await checkpoints.sync()
    checkpoints.close()
    await checkpoints.sync()


class FullDisk(Fs):
    """Lets ``room`` more bytes be written, then fails as a full disk does: after a part of the data."""

    def __init__(self) -> None:
        self.room: float = float("inf")

    def write(self, fd: int, pieces: Sequence[bytes], offset: int) -> None:
        data = b"".join(pieces)
        fits = data[: int(min(max(0, self.room), len(data)))]
        self.room -= len(fits)
        super().write(fd, [fits], offset)
        if len(fits) < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk() -> FullDisk:
    return FullDisk()


def test_a_full_disk_fails_the_cut_and_nothing_is_lost_when_there_is_room(path: Path, disk: FullDisk) -> None:
    checkpoints = opened(path, disk)
    checkpoints.save("a", "s1", {"offset": 1})
    checkpoints.flush()
    disk.room = 7
    checkpoints.cut("x", "s1", 1, 2)
    with pytest.raises(OSError, match="No space"):
        checkpoints.flush()
    for offset in range(2, 2000):  # what cannot be written does not gather in memory
        checkpoints.save("a", "s2", {"offset": offset})
        with pytest.raises(OSError, match="No space"):
            checkpoints.flush()
    assert checkpoints._pending == []
    killed = opened(path)
    assert killed.streams("a") == {"s1": {"offset": 1}}
    killed.close()
    disk.room = float("inf")
    checkpoints.cut("x", "s1", 1, 2)
    checkpoints.flush()
    killed = opened(path)
    assert known(killed) == known(checkpoints)
    killed.close()
    checkpoints.close()


def test_no_room_for_rewriting_leaves_the_journal_as_it_is(
    path: Path, disk: FullDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_COMPACT_BYTES", 100)
    checkpoints = opened(path, disk)
    for offset in range(50):
        disk.room = 60  # enough for one record, not for a whole journal
        checkpoints.save("a", f"s{offset}", {"offset": offset})
        checkpoints.flush()
    assert opened(path).streams("a") == checkpoints.streams("a")
    assert not path.with_suffix(".new").exists()


def test_a_note_that_could_not_be_written_is_written_when_it_is_noted_again(
    path: Path, disk: FullDisk
) -> None:
    checkpoints = opened(path, disk)
    disk.room = 0
    with pytest.raises(OSError, match="No space"):
        checkpoints.note("x", b"k1", "text")
    disk.room = float("inf")
    checkpoints.note("x", b"k1", "text")
    assert opened(path).noted("x", b"k1") == "text"


async def test_a_data_directory_that_is_deleted_is_a_problem_within_a_second(path: Path) -> None:
    """The service syncs every second; no cut succeeds, so that no chunk is sent that nobody could repeat."""
    checkpoints = opened(path)
    checkpoints.save("a", "s1", {"offset": 1})
    await checkpoints.sync()
    assert checkpoints.problem is None
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(OSError, match="deleted while in use"):
        await checkpoints.sync()
    assert checkpoints.problem is not None
    checkpoints.cut("x", "s1", 1, 2)
    with pytest.raises(OSError, match="No such file"):
        checkpoints.flush()
    path.parent.mkdir()
    checkpoints.flush()
    assert checkpoints.problem is None
    assert known(opened(path)) == known(checkpoints)
    checkpoints.close()


_streams = st.sampled_from(["s1", "s2"])
_outputs = st.sampled_from(["x", "y"])
_offsets = st.integers(0, 40)
_calls = st.one_of(
    st.tuples(
        st.just("save"), st.sampled_from(["a", "b"]), _streams, st.builds(lambda o: {"offset": o}, _offsets)
    ),
    st.tuples(st.just("forget"), st.sampled_from(["a", "b"]), _streams),
    st.tuples(st.just("cut"), _outputs, _streams, _offsets, _offsets),
    st.tuples(st.just("accept"), _outputs, _streams, _offsets),
    st.tuples(st.just("note"), _outputs, st.sampled_from([b"k1", b"k2"]), st.sampled_from(["", "t", "u"])),
    st.tuples(st.just("flush")),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(_calls, max_size=40), st.sampled_from([40, 1 << 20]))
def test_a_reopened_journal_knows_what_the_first_one_knew(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[Any, ...]], compact_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "checkpoints"
    before, journal._COMPACT_BYTES = journal._COMPACT_BYTES, compact_bytes
    try:
        first = opened(path)
        for name, *arguments in calls:
            getattr(first, name)(*arguments)
        first.close()
        second = opened(path)
        assert known(second) == known(first)
        second.close()
    finally:
        journal._COMPACT_BYTES = before


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_after_the_magic_are_survived(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("journal") / "checkpoints"
    path.write_bytes(b"LFCP0001" + struct.pack("<I", 0) + data)
    checkpoints = opened(path)
    assert checkpoints.streams("a") == {}
    checkpoints.close()
