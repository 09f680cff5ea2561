"""The framed journal: what is read back after crashes and damage, and what is said about it."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import msgspec
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.errors import ComponentError
from logflow.storage import journal
from logflow.storage.fs import Fs
from logflow.storage.journal import DAMAGED, Journal, Record

HEADER = b"TEST0001"
RECORDS: list[Record] = [["set", f"key {number}", number] for number in range(20)]


def journal_at(path: Path) -> Journal:
    return Journal(path, b"TEST", ("set", "drop"), compact_bytes=1 << 20, fs=Fs(), log=logging.getLogger("t"))


def written(path: Path, records: list[Record]) -> bytes:
    """The content of a journal with these records."""
    first = journal_at(path)
    assert list(first.open()) == []
    first.append(records)
    first.close()
    return path.read_bytes()


def open_files() -> int:
    """How many files the process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def reopened(path: Path) -> tuple[list[Record], int]:
    """The records that are read back, and how many bytes were damaged."""
    again = journal_at(path)
    try:
        return list(again.open()), again.damaged_bytes
    finally:
        again.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal"


def test_what_was_appended_is_read_back(path: Path) -> None:
    written(path, RECORDS)
    assert reopened(path) == (RECORDS, 0)


def test_a_torn_end_is_cut_off_without_a_word(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = written(path, RECORDS)
    last = len(whole) - len(written(path.with_name("one"), RECORDS[-1:])) + len(HEADER)
    for size in range(last, len(whole)):
        path.write_bytes(whole[:size])
        assert reopened(path) == (RECORDS[:-1], 0)
        assert path.stat().st_size == last
    assert not caplog.messages


@pytest.mark.parametrize("position", range(8))
def test_a_flipped_byte_of_the_header_loses_no_record(path: Path, position: int) -> None:
    damaged = bytearray(written(path, RECORDS))
    damaged[position] ^= 0x80
    path.write_bytes(damaged)
    assert reopened(path) == ([[DAMAGED, 8], *RECORDS], 8)
    assert reopened(path) == ([[DAMAGED, 8], *RECORDS], 0), "the mended journal says where damage was"


def test_damage_in_the_middle_costs_what_it_hit_and_is_kept(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = bytearray(written(path, RECORDS))
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    records, damaged_bytes = reopened(path)
    assert [DAMAGED, damaged_bytes] in records
    assert [record for record in records if record[0] == "set"] == RECORDS[:10] + RECORDS[11:]
    (aside,) = path.parent.glob("journal.damaged-*")
    assert aside.read_bytes() == damaged
    assert [message for message in caplog.messages if str(aside) in message] == caplog.messages


def test_zeros_at_the_end_are_damage_and_are_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = written(path, RECORDS)
    path.write_bytes(whole + bytes(500))
    assert reopened(path) == ([*RECORDS, [DAMAGED, 500]], 500)
    assert len(caplog.messages) == 1


def test_a_file_that_cannot_be_read_is_moved_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir(parents=True)
    assert reopened(path) == ([], 1)
    assert "cannot be read" in caplog.messages[0]
    assert [each.is_dir() for each in path.parent.glob("journal.damaged-*")] == [True]


def test_rights_that_somebody_took_away_are_given_back(path: Path) -> None:
    written(path, RECORDS)
    path.chmod(0)
    assert reopened(path) == (RECORDS, 0)


def test_a_later_version_is_refused_and_nothing_stays_open(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"TEST0002 and what it means")
    before = open_files()
    with pytest.raises(ComponentError, match="has the format TEST0002"):
        reopened(path)
    assert open_files() == before
    assert path.read_bytes() == b"TEST0002 and what it means"


def test_an_open_that_fails_leaves_nothing_behind_and_the_retry_works(tmp_path: Path) -> None:
    (tmp_path / "place").write_bytes(b"")
    journal_ = journal_at(tmp_path / "place" / "journal")
    before = open_files()
    with pytest.raises(ComponentError, match="make its directory writable"):
        journal_.open()
    assert open_files() == before
    (tmp_path / "place").unlink()
    assert list(journal_.open()) == []
    journal_.append(RECORDS)
    journal_.close()
    assert reopened(tmp_path / "place" / "journal") == (RECORDS, 0)


class Counted:
    """The bytes whose checksum was asked for."""

    def __init__(self) -> None:
        self.total = 0

    def __call__(self, data: bytes) -> int:
        self.total += len(data)
        return xxhash.xxh3_64_intdigest(data)


def hostile(size: int) -> bytes:
    """Bytes at each of which a record might begin whose length is most of what is left."""
    start = msgspec.msgpack.encode(["set"])
    unit = b"\xff" * 8 + start
    return (size.to_bytes(4, "little") + unit) * (size // (len(unit) + 4))


@pytest.mark.parametrize("size", [50_000, 500_000])
@pytest.mark.parametrize("kind", ["random", "hostile"])
def test_reading_takes_time_in_proportion_to_the_size(
    path: Path, size: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = random.Random(1).randbytes(size) if kind == "random" else hostile(size)
    path.parent.mkdir()
    path.write_bytes(HEADER + bytes(20) + data)
    counted = Counted()
    monkeypatch.setattr(journal, "_checksum", counted)
    assert reopened(path)[1] > 0.9 * size
    assert counted.total < 12 * size


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 20), st.booleans())
def test_any_bytes_anywhere_cost_no_whole_record(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, place: int, header: bool
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    parts = [b"".join([journal._frame(record)]) for record in RECORDS]
    content = b"".join([*parts[:place], junk, *parts[place:]])
    path.write_bytes((HEADER if header else b"\xffEST0001") + content)
    records, _ = reopened(path)
    ours = [record for record in records if record[0] != DAMAGED]
    assert [record for record in ours if record in RECORDS] == RECORDS
    assert reopened(path)[1] == 0


def test_a_journal_that_was_deleted_while_in_use_is_said_and_written_anew(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is appended to a file without a name is lost when the process ends."""
    first = journal_at(path)
    assert list(first.open()) == []
    first.append(RECORDS[:1])
    path.unlink()
    for _ in range(3):
        with pytest.raises(OSError, match="deleted while in use"):
            first.append(RECORDS[1:2])
    assert len(caplog.messages) == 1
    assert first.suspect
    first.rewrite(RECORDS)
    first.append([["drop", "key 1"]])
    first.close()
    assert reopened(path) == ([*RECORDS, ["drop", "key 1"]], 0)
