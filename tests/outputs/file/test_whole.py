"""Parquet from the output `file`: whole files, each for a group of chunks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logflow.batch import Batch, Chunk
from logflow.errors import DeliveryError
from logflow.outputs.file import FileOutput
from logflow.outputs.file.disk import Disk
from logflow.testing import FakeClock, make_context

T0 = 1_700_000_000_000_000_000
DAY_S = 86_400

parquet = pytest.importorskip("pyarrow.parquet")


class Archive:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock(T0)
        self.disk = Disk()

    def make(self, **options: Any) -> FileOutput:
        path = str(self.root / "out" / options.pop("path", "{tag}/%Y-%m-%d"))
        output = FileOutput.__new__(type("Output", (FileOutput,), {"disk": self.disk}))
        output.__init__(  # type: ignore[misc]
            FileOutput.Config(path=path, format="parquet", **options),
            make_context(self.root / "data", "archive", kind="output", clock=self.clock),
        )
        return output

    def files(self) -> list[Path]:
        return sorted(path for path in (self.root / "out").rglob("*") if path.is_file())

    def rows(self) -> list[dict[str, Any]]:
        return [row for path in self.files() for row in parquet.read_table(path).to_pylist()]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def chunk(number: int, tag: str = "app", *records: dict[str, Any], time_ns: int = T0) -> Chunk:
    batch = Batch.from_events(tag, [(time_ns, record) for record in records or ({"n": number},)])
    return Chunk(bytes([number]) * 16, tag, (batch.entries,), batch.count)


async def test_a_group_is_one_file_for_each_path_and_types_stay_over_days(archive: Archive) -> None:
    output = archive.make()
    await output.open()
    tomorrow = T0 + DAY_S * 10**9
    assert await output.write_group([chunk(1), chunk(2), chunk(3, "db")]) == [None] * 3
    assert await output.write_group([chunk(4, "app", {"n": "four"}, time_ns=tomorrow)]) == [None]
    await output.close()
    names = [str(path.relative_to(archive.root / "out")) for path in archive.files()]
    assert [name.partition("-2")[0].partition("/")[0] for name in names] == ["app", "app", "db"]
    assert all(name.endswith(".parquet") for name in names)
    assert [row.get("n") for row in archive.rows()] == [1, 2, None, 3]
    assert archive.rows()[2]["n_text"] == "four"


async def test_a_repeat_adds_nothing(archive: Archive) -> None:
    for _ in range(2):  # the second time after a restart
        output = archive.make()
        await output.open()
        await output.write_group([chunk(1), chunk(2)])
        await output.write_group([chunk(2), chunk(3)])
        await output.close()
    assert sorted(row["n"] for row in archive.rows()) == [1, 2, 3]


async def test_a_place_that_cannot_be_written_holds_its_chunks_alone(archive: Archive) -> None:
    output = archive.make()
    await output.open()
    (archive.root / "out" / "bad").write_text("in the way of a directory")
    across = chunk(2, "bad")
    answers = await output.write_group([chunk(1), across, chunk(3, "db")])
    assert [isinstance(answer, DeliveryError) for answer in answers] == [False, True, False]
    (archive.root / "out" / "bad").unlink()
    assert await output.write_group([across]) == [None]
    await output.close()
    assert sorted(row["n"] for row in archive.rows()) == [1, 2, 3]


class Unmovable(Disk):
    """Files cannot be renamed."""

    def rename(self, old: str, new: str) -> None:
        raise OSError(5, "Input/output error")


async def test_what_cannot_get_its_place_is_held_and_gets_it_later(archive: Archive) -> None:
    archive.disk = Unmovable()
    output = archive.make()
    await output.open()
    (answer,) = await output.write_group([chunk(1)])
    assert "in its place: Input/output error" in str(answer)
    (hidden,) = archive.files()
    assert hidden.name.startswith(".")
    await output.close()
    archive.disk = Disk()
    output = archive.make()
    await output.open()
    assert await output.write_group([chunk(1)]) == [None]
    await output.close()
    assert [row["n"] for row in archive.rows()] == [1]


async def test_old_files_are_removed(archive: Archive) -> None:
    output = archive.make(retain={"age": "1d"})
    await output.open()
    await output.write_group([chunk(1)])
    await archive.clock.advance(2 * DAY_S)
    await output.write_group([chunk(2)])
    assert output._retention is not None
    await asyncio.to_thread(output._retention.sweep, archive.clock.time_ns(), output._writer)
    await output.close()
    assert [row["n"] for row in archive.rows()] == [2]


async def test_the_suffix_need_not_be_in_the_path(archive: Archive) -> None:
    for path in ("a/all.parquet", "b/all"):
        output = archive.make(path=path)
        await output.open()
        await output.write(chunk(ord(path[0])))
        await output.close()
    assert [path.name.partition("-")[0] for path in archive.files()] == ["all", "all"]
    assert [path.name.count(".parquet") for path in archive.files()] == [1, 1]


@pytest.mark.parametrize(
    "options",
    [
        {"format": "parquet", "rotate_size": "1MiB"}, {"format": "parquet", "rotate_every": "1h"},
        {"format": "parquet", "compress": "gzip"}, {"format": "parquet", "max_open_files": 3},
        {"format": "ndjson", "batch": {"max_wait": "1s"}},
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"parquet|Parquet"):
        FileOutput.Config(path="/tmp/a-%Y", **options)


def test_events_gather_for_a_file_of_parquet_and_for_no_other() -> None:
    assert FileOutput.Config(path="/tmp/a", format="parquet").grouping().max_wait == 60
    assert FileOutput.Config(path="/tmp/a").grouping().max_wait < 1
