"""The log files of containers keep to what containerd and the kubelet do."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.testing.containers import (
    PIECE_BYTES,
    ContainerLog,
    ContainerName,
    cri_lines,
    cri_messages,
    format_time,
    read_container,
)


@pytest.mark.parametrize(
    ("time_ns", "offset_s", "expected"),
    [
        (1_700_000_000_000_000_000, 0, "2023-11-14T22:13:20Z"),
        (1_700_000_000_500_000_000, 0, "2023-11-14T22:13:20.5Z"),
        (1_700_000_000_000_000_001, 7200, "2023-11-15T00:13:20.000000001+02:00"),
        (1_700_000_000_120_000_000, -12_600, "2023-11-14T18:43:20.12-03:30"),
    ],
)
def test_times_are_rfc3339_with_trailing_zeros_trimmed(time_ns: int, offset_s: int, expected: str) -> None:
    assert format_time(time_ns, offset_s) == expected


@settings(max_examples=50, deadline=None)
@given(
    time_ns=st.integers(0, 4_000_000_000_000_000_000),
    minutes=st.integers(-14 * 60, 14 * 60),
)
def test_times_read_back(time_ns: int, minutes: int) -> None:
    text = format_time(time_ns, minutes * 60)
    moment = datetime.fromisoformat(re.sub(r"\.\d+", "", text))
    assert (moment - datetime.fromtimestamp(0, UTC)).total_seconds() == time_ns // 10**9
    fraction = re.search(r"\.(\d+)", text)
    assert int((fraction[1] if fraction else "0").ljust(9, "0")) == time_ns % 10**9


@pytest.mark.parametrize("length", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_long_messages_become_pieces(length: int) -> None:
    message = bytes(65 + place % 26 for place in range(length))
    lines = cri_lines(1, "stderr", message)
    assert len(lines) == max(-(-length // PIECE_BYTES), 1)
    assert all(len(line) <= PIECE_BYTES + 50 for line in lines)
    assert list(cri_messages(b"".join(lines))) == [("stderr", message)]


def test_interleaved_pieces_are_joined_per_stream() -> None:
    long = b"x" * (PIECE_BYTES + 1)
    first, last = cri_lines(1, "stdout", long)
    [short] = cri_lines(2, "stderr", b"short")
    assert list(cri_messages(first + short + last)) == [("stderr", b"short"), ("stdout", long)]


@pytest.mark.parametrize(
    "bad",
    [
        b"2026-01-31T12:00:00Z stdout F no newline",
        b"2026-01-31T12:00:00Z stdout P no end\n",
        b"2026-01-31T12:00:00.10Z stdout F zeros not trimmed\n",
        b"2026-01-31T12:00:00Z stdlog F no such stream\n",
        b"not CRI\n",
    ],
)
def test_what_containerd_would_not_write_is_an_error(bad: bytes) -> None:
    with pytest.raises(ValueError, match="not the lines of a container"):
        list(cri_messages(bad))


def test_rotation_renames_then_the_writer_goes_on_until_it_reopens(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path, ContainerName("shop", "web-0", "web", "u1", "c1"))
    log.write(b"1\n")
    assert log.rotate()
    log.write(b"2\n")
    log.reopen()
    log.write(b"3\n")
    log.close()
    link = tmp_path / "containers" / "web-0_shop_web-c1.log"
    assert link.read_bytes() == b"3\n"
    [rotated] = log.path.parent.glob("0.log.*")
    assert re.fullmatch(r"0\.log\.\d{8}-\d{6}", rotated.name)
    assert rotated.read_bytes() == b"1\n2\n"


def test_a_second_rotation_within_a_second_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    freeze(monkeypatch, 0)
    log = ContainerLog(tmp_path, ContainerName("shop", "web-0", "web", "u1", "c1"))
    assert log.rotate()
    log.reopen()
    assert not log.rotate()
    log.close()


def test_older_files_are_compressed_and_the_oldest_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ContainerLog(tmp_path, ContainerName("shop", "web-0", "web", "u1", "c1"), keep_files=4)
    for second in range(6):
        freeze(monkeypatch, second)
        log.write(b"%d\n" % second)
        assert log.rotate()
        log.reopen()
    log.close()
    names = sorted(path.name for path in log.path.parent.iterdir())
    assert names == [
        "0.log", "0.log.20260131-120003.gz", "0.log.20260131-120004.gz", "0.log.20260131-120005",
    ]  # fmt: skip
    assert read_container(log.path.parent) == b"3\n4\n5\n"


def freeze(monkeypatch: pytest.MonkeyPatch, second: int) -> None:
    class Frozen(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(2026, 1, 31, 12, 0, second, tzinfo=UTC)

    monkeypatch.setattr("logflow.testing.containers.datetime", Frozen)
