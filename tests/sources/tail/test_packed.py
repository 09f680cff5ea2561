"""Compressed files that a glob names: read once and whole, by whoever is there."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
import zstandard

from logflow.storage.checkpoints import Checkpoints
from logflow.testing import Collector

PACK = {".gz": gzip.compress, ".zst": zstandard.compress}


def lines(start: int, end: int) -> bytes:
    return b"".join(b"line %d\n" % n for n in range(start, end))


def texts(start: int, end: int) -> list[str]:
    return [f"line {n}" for n in range(start, end)]


def pack(path: Path, data: bytes) -> Path:
    """Write a compressed file beside ``path``, as ``gzip`` does, and remove that."""
    packed = Path(f"{path}.gz")
    packed.write_bytes(gzip.compress(data))
    path.unlink(missing_ok=True)
    return packed


@pytest.mark.parametrize("suffix", sorted(PACK))
@pytest.mark.parametrize("engine", ["python", "native"])
async def test_a_compressed_file_is_read_once_and_whole(tail: Any, suffix: str, engine: str) -> None:
    """Also its last line without a newline; not at later scans, and not after a restart."""
    tail.engine = engine
    (tail.logs / f"old.log{suffix}").write_bytes(PACK[suffix](lines(0, 300) + b"end"))
    paths = [f"{tail.logs}/*{suffix}"]
    async with tail.running(paths=paths):
        await tail.read(*texts(0, 300), "end")
        await tail.rest(20)
    async with tail.running(paths=paths):
        await tail.rest(20)
    assert len(tail.messages()) == 301
    assert tail.collector.batches[0].tag == "old_log"


async def test_only_a_glob_that_ends_so_names_compressed_files(tail: Any) -> None:
    for suffix, packs in PACK.items():
        (tail.logs / f"app.log.1{suffix}").write_bytes(packs(lines(0, 3)))
    async with tail.running(paths=[f"{tail.logs}/*", f"{tail.logs}/app.log*"]):
        await tail.rest(10)
    assert tail.messages() == []


@pytest.mark.parametrize("name", ["app.log", "app.log.1"])
async def test_what_was_read_before_it_was_compressed_is_not_read_again(tail: Any, name: str) -> None:
    paths = [f"{tail.logs}/app.log", f"{tail.logs}/*.gz"]
    tail.log.write_bytes(lines(0, 100))
    async with tail.running(paths=paths):
        await tail.lines(100)
        old = tail.log.rename(tail.logs / name)
        pack(old, lines(0, 100))
        tail.log.write_bytes(lines(100, 103))
        await tail.read(*texts(0, 103))
        await tail.rest(20)
    async with tail.running(paths=paths):
        await tail.rest(20)
    assert tail.messages() == texts(0, 103)


@pytest.mark.parametrize("name", ["app.log", "app.log.1"])
async def test_the_rest_of_what_was_compressed_while_nobody_was_there_is_read(tail: Any, name: str) -> None:
    paths = [f"{tail.logs}/app.log", f"{tail.logs}/*.gz"]
    tail.log.write_bytes(lines(0, 100))
    async with tail.running(paths=paths):
        await tail.lines(100)
    old = tail.log.rename(tail.logs / name)
    pack(old, lines(0, 150))
    tail.log.write_bytes(lines(150, 153))
    async with tail.running(paths=paths):
        await tail.lines(153)
        await tail.rest(20)
    assert sorted(tail.messages()) == sorted(texts(0, 153))


async def test_a_kill_in_the_middle_neither_loses_nor_doubles(tail: Any) -> None:
    """What was safe is not read again, the rest is: from a place between two lines."""
    (tail.logs / "old.log.gz").write_bytes(gzip.compress(lines(0, 60_000)))
    paths = [f"{tail.logs}/*.gz"]
    tail.checkpoints = Checkpoints(tail.root / "checkpoints")
    tail.checkpoints.open()
    tail.collector = first = Collector(settle=False)
    async with tail.running(paths=paths):
        await tail.until(lambda: len(first.batches) >= 2)
        for receipt in first.receipts[:1]:
            receipt.settle()
        await tail.rest(3)
    tail.checkpoints.close()
    tail.checkpoints.open()
    tail.collector = second = Collector()
    safe = sum(batch.count for batch in first.batches[:1])
    async with tail.running(paths=paths):
        await tail.lines(60_000 - safe)
        await tail.rest(5)
    whole = [batch for batch in (*first.batches[:1], *second.batches) if batch.count]
    assert [r["message"] for batch in whole for _, r in batch.events()] == texts(0, 60_000)
    tail.checkpoints.close()


async def test_a_file_that_is_being_compressed_is_waited_for(tail: Any) -> None:
    data = gzip.compress(lines(0, 2000), 0)
    path = tail.logs / "old.log.gz"
    async with tail.running(paths=[f"{tail.logs}/*.gz"]):
        for size in range(2000, len(data), 2000):
            path.write_bytes(data[:size])
            await tail.rest(0.5)
        assert tail.messages() == []
        path.write_bytes(data)
        await tail.read(*texts(0, 2000))


async def test_reading_from_the_end_leaves_them_out(tail: Any) -> None:
    (tail.logs / "old.log.gz").write_bytes(gzip.compress(lines(0, 3)))
    async with tail.running(paths=[f"{tail.logs}/*.gz"], read_from="end"):
        await tail.rest(5)
        (tail.logs / "new.log.gz").write_bytes(gzip.compress(lines(3, 5)))
        await tail.read(*texts(3, 5))


async def test_a_damaged_one_holds_up_nobody(tail: Any) -> None:
    whole = gzip.compress(lines(0, 3000))
    (tail.logs / "a.log.gz").write_bytes(whole[:200] + bytes(100) + whole[300:])
    (tail.logs / "b.log.gz").write_bytes(gzip.compress(lines(0, 3)))
    async with tail.running(paths=[f"{tail.logs}/*.gz"]):
        await tail.rest(10)
    assert tail.messages()[-3:] == texts(0, 3) or texts(0, 3) == [
        record["message"]
        for batch in tail.collector.batches
        if batch.tag == "b_log"
        for _, record in batch.events()
    ]
