"""What is the same file, what is another: content first, the place on disk is a hint."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from logflow.sources.tail.identity import FileState, Known, Mark, Sight, Verdict, judge
from logflow.sources.tail.listing import bases

LINES = "".join(f"line {index:04d}\n" for index in range(200)).encode()


def state(offset: int, **fields: Any) -> FileState:
    return FileState(
        offset=offset,
        carry=b"",
        path="/x/app.log",
        real="/x/app.log",
        order=0,
        device=1,
        inode=2,
        head=Mark.of(LINES[: min(offset, 1024)]),
        tail=Mark.of(LINES[max(offset - 256, 0) : offset]),
        mtime_ns=5,
    ) if not fields else msgspec.structs.replace(state(offset), **fields)  # fmt: skip


def sight(known: FileState, data: bytes, place: tuple[int, int] = (1, 2), mtime_ns: int = 6) -> Sight:
    tail = data[known.offset - known.tail.size : known.offset]
    return Sight(place, len(data), mtime_ns, data[:1024], tail)


@pytest.mark.parametrize(
    ("offset", "data", "place", "named", "verdict"),
    [
        (2000, LINES, (1, 2), False, Verdict.SAME),
        (2000, LINES[:2000], (1, 2), False, Verdict.SAME),
        (2000, LINES[:1990], (1, 2), False, Verdict.OTHER),
        (2000, b"x" + LINES, (1, 2), False, Verdict.OTHER),
        (2000, LINES[:1980] + b"another text than before", (1, 2), False, Verdict.OTHER),
        (2000, LINES, (1, 3), False, Verdict.COPY),
        (2000, LINES[:1990], (1, 3), True, Verdict.BEGINNING),
        (2000, LINES[:1990], (1, 3), False, Verdict.OTHER),
        (10, LINES, (1, 3), False, Verdict.OTHER),
        (10, LINES, (1, 3), True, Verdict.COPY),
        (0, LINES, (1, 3), True, Verdict.OTHER),
    ],
)
def test_content_decides_and_the_place_is_a_hint(
    offset: int, data: bytes, place: tuple[int, int], named: bool, verdict: Verdict
) -> None:
    known = state(offset)
    assert judge(known, sight(known, data, place), named=named) is verdict


def test_a_short_file_is_a_copy_when_its_times_were_kept() -> None:
    known = state(10)
    assert judge(known, sight(known, LINES, (1, 3), mtime_ns=5)) is Verdict.COPY


def test_what_was_seen_but_not_read_may_be_another_text_in_the_same_place_only() -> None:
    known = state(100, glimpse=Mark.of(LINES[:500]))
    data = LINES[:100] + b"y" * 900
    assert judge(known, sight(known, data)) is Verdict.REWRITTEN
    assert judge(known, sight(known, data, (1, 3)), named=True) is Verdict.OTHER


def test_the_inode_of_a_file_of_which_nothing_was_read_tells_nothing_unless_both_begin_the_same() -> None:
    known = state(0, glimpse=Mark.of(LINES[:500]))
    assert judge(known, sight(known, LINES[:800])) is Verdict.SAME
    assert judge(known, sight(known, b"y" * 900)) is Verdict.OTHER


def test_files_that_are_away_are_kept_for_a_week_and_bounded() -> None:
    known = Known()
    for index in range(8):
        assert known.add(f"s{index}", state(100, order=index, left_ns=index)) == []
    assert known.add("s8", state(100, order=8, left_ns=8)) == ["s0"]
    assert next(iter(known.candidates("/x/app.log", "/x/app.log", (1, 2))))[0] == "s8"
    latest = known.latest("/x/app.log")
    assert latest is not None
    assert latest.order == 8
    week_ns = 7 * 24 * 3600 * 10**9
    assert known.expire(week_ns + 4) == ["s1", "s2", "s3"]
    assert "s4" in known
    total = 5
    for index in range(5000):
        total += 1 - len(known.add(f"t{index}", state(1, path=f"/{index}", real=f"/{index}", inode=index)))
    assert total == 4096


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("app.log.1", "app.log"),
        ("app.log.12.gz", "app.log"),
        ("0.log.20260131-120000", "0.log"),
        ("app.log-20260101", "app.log"),
        ("app-2026-01-01.log", "app.log"),
    ],
)
def test_the_name_says_of_what_it_is_a_rotation(name: str, base: str) -> None:
    assert f"/x/{base}" in bases(f"/x/{name}")
    assert bases("/x/app.log") == []


def fill(path: Path, *numbers: int) -> None:
    with path.open("a") as file:
        file.writelines(f"this is line number {number:06d}\n" for number in numbers)


def numbers(tail: Any) -> list[int]:
    return [int(message.split()[-1]) for message in tail.messages()]


async def test_a_directory_that_is_away_at_the_start_is_gone_on_with(tail: Any) -> None:
    fill(tail.log, 1, 2)
    async with tail.running():
        await tail.lines(2)
    away = tail.root / "away"
    tail.logs.rename(away)
    fill(away / "app.log", 3)
    async with tail.running():
        await tail.rest(15)
        away.rename(tail.logs)
        await tail.lines(3)
        await tail.rest(5)
    assert numbers(tail) == [1, 2, 3]


async def test_it_is_gone_on_with_although_it_was_rotated_while_it_was_away(tail: Any) -> None:
    fill(tail.log, 1, 2)
    async with tail.running(read_from="end"):
        pass
    async with tail.running():
        fill(tail.log, 3)
        await tail.until(lambda: numbers(tail)[-1:] == [3])
    read = numbers(tail)
    away = tail.root / "away"
    tail.logs.rename(away)
    async with tail.running():
        await tail.rest(2)
    fill(away / "app.log", 4)
    (away / "app.log").rename(away / "app.log.1")
    fill(away / "app.log", 5)
    async with tail.running():
        await tail.rest(2)
        away.rename(tail.logs)
        await tail.until(lambda: numbers(tail)[-1:] == [5])
        await tail.rest(5)
    assert numbers(tail) == [*read, 4, 5]


async def test_a_file_that_cannot_be_read_at_the_start_is_gone_on_with(tail: Any, monkeypatch: Any) -> None:
    fill(tail.log, 1, 2)
    async with tail.running():
        await tail.lines(2)
    fill(tail.log, 3)
    opened, refused = os.open, True

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if refused and str(path) == str(tail.log):
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    async with tail.running():
        await tail.rest(5)
        assert numbers(tail) == [1, 2]
        refused = False
        await tail.lines(3)
        await tail.rest(5)
    assert numbers(tail) == [1, 2, 3]


@pytest.mark.parametrize("running", [False, True])
async def test_a_copy_that_takes_the_place_of_a_file_is_that_file(tail: Any, running: bool) -> None:
    """As ``cp -a``, ``rsync`` and editors do."""
    fill(tail.log, 1, 2)
    copy = tail.logs / "copy"

    def replace(*more: int) -> None:
        shutil.copy2(tail.log, copy)
        if more:
            fill(copy, *more)
        copy.rename(tail.log)

    if running:
        async with tail.running():
            await tail.lines(2)
            for number in range(3, 8):
                replace(number)
                await tail.lines(number)
                await tail.rest(2)
            replace()
            await tail.rest(20)
    else:
        for number in range(3, 8):
            async with tail.running():
                await tail.lines(number - 1)
                await tail.rest(2)
            replace(number)
        async with tail.running():
            await tail.lines(7)
            await tail.rest(2)
        replace()
    async with tail.running():
        await tail.rest(10)
    assert numbers(tail) == list(range(1, 8))


@pytest.mark.parametrize("restart", [False, True])
async def test_a_copy_beside_a_truncated_file_is_not_read_again(tail: Any, restart: bool) -> None:
    paths = [f"{tail.logs}/app.log*"]
    fill(tail.log, 0)
    async with tail.running(paths=paths):
        await tail.lines(1)
        for index in range(1, 7):
            fill(tail.log, index)
            if index % 2:
                await tail.lines(index + 1)
            for number in (3, 2, 1):
                if (old := Path(f"{tail.log}.{number}")).exists():
                    old.rename(f"{tail.log}.{number + 1}")
            shutil.copyfile(tail.log, f"{tail.log}.1")
            if index == 3:
                await tail.rest(2)
            os.truncate(tail.log, 0)
            await tail.rest(2)
        if not restart:
            fill(tail.log, 7)
            await tail.lines(8)
            await tail.rest(20)
    if restart:
        fill(tail.log, 7)
        async with tail.running(paths=paths):
            await tail.lines(8)
            await tail.rest(20)
    assert sorted(numbers(tail)) == list(range(8))


@pytest.mark.parametrize("restart", [False, True])
async def test_a_link_that_is_switched_back_leads_to_what_was_read(tail: Any, restart: bool) -> None:
    for number in (1, 2, 3):
        (tail.logs / f"v{number}").mkdir()
        fill(tail.logs / f"v{number}" / "app.log", number)
    current = tail.logs / "current"

    def switch(number: int) -> None:
        (tail.logs / "new").symlink_to(f"v{number}")
        (tail.logs / "new").rename(current)

    switch(1)
    paths = [f"{current}/*.log"]
    async with tail.running(paths=paths):
        for number in (1, 2, 3):
            switch(number)
            await tail.lines(number)
            await tail.rest(12)
    if restart:
        async with tail.running(paths=paths):
            await tail.rest(2)
    async with tail.running(paths=paths):
        switch(1)
        await tail.rest(12)
        fill(tail.logs / "v1" / "app.log", 4)
        await tail.lines(4)
        await tail.rest(12)
    assert numbers(tail) == [1, 2, 3, 4]


async def test_inotify_tells_that_a_link_was_switched(tail: Any) -> None:
    for number in (1, 2):
        (tail.logs / f"v{number}").mkdir()
        fill(tail.logs / f"v{number}" / "app.log", number)
    current = tail.logs / "current"
    current.symlink_to("v1")
    async with tail.running(paths=[f"{current}/*.log"], inotify=True):
        await tail.collector.wait_for(1)
        (tail.logs / "new").symlink_to("v2")
        (tail.logs / "new").rename(current)
        await tail.until(lambda: tail.collector.count == 2, step_s=0.06)
    assert numbers(tail) == [1, 2]


async def test_a_new_file_with_the_same_text_is_a_new_file_where_the_old_one_lies_beside(tail: Any) -> None:
    """Lines without times: what tells the two apart is that the first is there under its rotated name."""
    async with tail.running():
        for turn in range(1, 5):
            fill(tail.log, 1, 2)
            await tail.lines(2 * turn)
            await tail.rest(2)
            rotate(tail.log, turn)
        await tail.rest(20)
    assert numbers(tail) == [1, 2] * 4


def rotate(path: Path, number: int) -> None:
    with gzip.open(f"{path}.2026010{number}-000000.gz", "wb") as packed:
        packed.write(path.read_bytes())
    path.unlink()
