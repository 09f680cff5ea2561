"""The file output: formats, paths, rotation, compression, and everything that may go wrong around it."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
from pathlib import Path

import pytest
import zstandard
from pydantic import ValidationError

from logflow import encoders
from logflow.batch import Batch, Chunk
from logflow.compression import decompress
from logflow.config.models import Settings
from logflow.errors import DeliveryError, MalformedData
from logflow.outputs.file import FileOutput, writer
from logflow.outputs.file.disk import Disk
from logflow.testing import FakeClock, make_context

T0 = 1_700_000_000_000_000_000
DAY = 86_400 * 10**9


def chunk(*records, tag="app", time=T0, chunk_id=None):
    batch = Batch.from_events(tag, [(time, record) for record in records])
    return Chunk(chunk_id or os.urandom(16), tag, (batch.entries,), batch.count)


@pytest.fixture
async def make(tmp_path):
    """Build a file output below ``tmp_path``; all are closed at the end."""
    made = []

    def build(path="{tag}.jsonl", *, disk=None, clock=None, name="files", **options):
        options = {"sync": "never"} | options  # syncing is for test_exactly_once
        config = FileOutput.Config(path=str(tmp_path / "out" / path), **options)
        output = FileOutput.__new__(type("Output", (FileOutput,), {"disk": disk or Disk()}))
        output.__init__(config, make_context(tmp_path / "data" / name, name, kind="output", clock=clock))
        made.append(output)
        return output

    yield build
    for output in made:
        await output.close()


def files(tmp_path):
    root = tmp_path / "out"
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


async def deliver(output, *chunks):
    await output.open()
    for each in chunks:
        await output.write(each)
    await output.close()


# -- formats and paths --------------------------------------------------------------------------------


async def test_events_become_json_lines_with_time_and_tag_first(make, tmp_path):
    await deliver(make(), chunk({"b": 1, "a": "x\n"}, {"message": "é"}))
    assert files(tmp_path)["app.jsonl"].decode() == (
        '{"@timestamp":"2023-11-14T22:13:20.000000000Z","@tag":"app","b":1,"a":"x\\n"}\n'
        '{"@timestamp":"2023-11-14T22:13:20.000000000Z","@tag":"app","message":"é"}\n'
    )


async def test_msgpack_files_hold_the_entries_as_they_are(make, tmp_path):
    one = chunk({"a": 1}, {"a": 2})
    await deliver(make(format="msgpack"), one)
    assert files(tmp_path)["app.jsonl"] == one.entries


async def test_a_chunk_that_crosses_midnight_goes_to_both_days(make, tmp_path):
    events = [(T0 + day * DAY, {"n": n}) for n, day in enumerate([0, 0, 1, 0, 1])]
    batch = Batch.from_events("app", events)
    await deliver(
        make("%Y-%m-%d.jsonl", time_key=None, tag_key=None), Chunk(b"i" * 16, "app", (batch.entries,), 5)
    )
    assert files(tmp_path) == {
        "2023-11-14.jsonl": b'{"n":0}\n{"n":1}\n{"n":3}\n', "2023-11-15.jsonl": b'{"n":2}\n{"n":4}\n',
    }  # fmt: skip


async def test_parts_of_a_chunk_that_lie_in_different_days_go_to_both(make, tmp_path):
    parts = tuple(Batch.from_events("app", [(T0 + n * DAY, {"n": n})]).entries for n in (1, 0, 1))
    await deliver(make("%Y-%m-%d.jsonl", time_key=None, tag_key=None), Chunk(b"i" * 16, "app", parts, 3))
    assert files(tmp_path) == {"2023-11-14.jsonl": b'{"n":0}\n', "2023-11-15.jsonl": b'{"n":1}\n{"n":1}\n'}


@pytest.mark.parametrize("slice_bytes", [1, 40, 1 << 20])
async def test_a_chunk_of_many_parts_is_written_whole_and_in_order(make, tmp_path, monkeypatch, slice_bytes):
    monkeypatch.setattr(encoders, "_SLICE_BYTES", slice_bytes)
    parts = tuple(Batch.from_events("app", [(T0, {"n": n})]).entries for n in range(9))
    await deliver(make(time_key=None, tag_key=None), Chunk(b"i" * 16, "app", parts, 9))
    assert files(tmp_path) == {"app.jsonl": b"".join(b'{"n":%d}\n' % n for n in range(9))}


async def test_a_chunk_of_which_a_part_cannot_be_formatted_leaves_nothing_behind(make, tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "_SLICE_BYTES", 1)
    output = make(time_key=None, tag_key=None)
    good = chunk({"n": 1})
    await output.open()
    with pytest.raises(MalformedData):
        await output.write(Chunk(b"i" * 16, "app", (good.entries, b"\xc1"), 2))
    await output.write(good)
    assert files(tmp_path) == {"app.jsonl": b'{"n":1}\n'}


async def test_an_hour_that_comes_again_on_another_day_is_the_same_file(make, tmp_path):
    events = [(T0, {"n": 0}), (T0 + 3600 * 10**9, {"n": 1}), (T0 + DAY, {"n": 2})]
    batch = Batch.from_events("app", events)
    await deliver(make("%H.jsonl", time_key=None, tag_key=None), Chunk(b"i" * 16, "app", (batch.entries,), 3))
    assert files(tmp_path) == {"22.jsonl": b'{"n":0}\n{"n":2}\n', "23.jsonl": b'{"n":1}\n'}


async def test_fields_choose_the_file(make, tmp_path):
    records = [{"pod": {"name": "a"}}, {"pod": {"name": "b"}}, {"n": 1}, {"pod": {"name": "a"}}]
    await deliver(make("{pod.name}/{tag[-1]}", time_key=None, tag_key=None), chunk(*records, tag="x.y"))
    assert files(tmp_path) == {
        "_/y": b'{"n":1}\n', "a/y": b'{"pod":{"name":"a"}}\n' * 2, "b/y": b'{"pod":{"name":"b"}}\n',
    }  # fmt: skip


async def test_a_chunk_for_more_files_than_may_be_open_is_written_in_groups(make, tmp_path):
    one = chunk(*({"n": n} for n in range(25)))
    output = make("{n}.jsonl", max_open_files=4, time_key=None, tag_key=None)
    await output.open()
    await output.write(one)
    await output.write(one)
    assert len(output._writer.writer._files) <= 4
    assert files(tmp_path) == {f"{n}.jsonl": b'{"n":%d}\n' % n for n in range(25)}


async def test_files_and_directories_are_not_for_everybody(make, tmp_path):
    await deliver(make("{tag}/x.jsonl"), chunk({"a": 1}, tag="t"))
    assert (tmp_path / "out/t/x.jsonl").stat().st_mode & 0o777 & ~0o640 == 0
    assert (tmp_path / "out/t").stat().st_mode & 0o777 & ~0o750 == 0
    assert (tmp_path / "data/files/journal").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "tag", ["../../etc/passwd", "/etc/passwd", "..", ".", "", "a\0b", "a\nb", "x" * 5000]
)
async def test_a_hostile_tag_stays_in_its_directory(make, tmp_path, tag):
    entries = chunk({"a": 1}).entries
    await deliver(make("{tag}/{tag}.jsonl", tag_key=None), Chunk(b"i" * 16, tag, (entries,), 1))
    assert len(files(tmp_path)) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"out", "data"}


async def test_a_symbolic_link_in_the_files_place_is_not_followed(make, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "out/app.jsonl").symlink_to(tmp_path / "target")
    output = make()
    await output.open()
    with pytest.raises(DeliveryError, match=r"app\.jsonl"):
        await output.write(chunk({"a": 1}))
    assert (tmp_path / "target").read_bytes() == b"precious"


# -- compression and rotation -------------------------------------------------------------------------


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
async def test_compressed_files_are_readable_member_by_member(make, tmp_path, compress):
    await deliver(make(compress=compress), *(chunk({"n": n}) for n in range(3)))
    ((name, data),) = files(tmp_path).items()
    assert name == {"gzip": "app.jsonl.gz", "zstd": "app.jsonl.zst"}[compress]
    if compress == "gzip":
        text = gzip.decompress(data)
    else:
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            text = reader.read()
    assert [json.loads(line)["n"] for line in text.splitlines()] == [0, 1, 2]


@pytest.mark.parametrize("compress", ["none", "gzip", "zstd"])
async def test_a_file_is_rotated_before_it_becomes_too_large(make, tmp_path, compress):
    clock = FakeClock()
    output = make(rotate_size=300, compress=compress, clock=clock)
    await output.open()
    for n in range(12):
        await output.write(chunk({"n": n, "pad": "x" * 40}))
        await clock.advance(0.4)
    found = files(tmp_path)
    assert len(found) >= 4
    assert all(len(data) <= 300 for data in found.values())
    newest = {"none": "app.jsonl", "gzip": "app.jsonl.gz", "zstd": "app.jsonl.zst"}[compress]
    rotated = sorted((name for name in found if name != newest), key=_rotation_order)
    assert all(re.fullmatch(r"app\.jsonl\.\d{8}-\d{6}(-\d+)?(\.gz|\.zst)?", name) for name in rotated)
    data = b"".join(
        found[name] if compress == "none" else decompress(found[name], compress, 1 << 20)
        for name in [*rotated, newest]
    )
    assert [json.loads(line)["n"] for line in data.splitlines()] == list(range(12))


def _rotation_order(name):
    stamp, number = re.search(r"(\d{8}-\d{6})(?:-(\d+))?", name).groups()
    return stamp, int(number or 0)


async def test_only_the_newest_rotated_files_are_kept(make, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/app.jsonl.20230101-000000").write_bytes(b"old")
    (tmp_path / "out/app.jsonl.bak").write_bytes(b"not ours")
    output = make(rotate_size=1, keep=2, clock=FakeClock())
    await deliver(output, *(chunk({"n": n}) for n in range(5)))
    found = files(tmp_path)
    assert found.keys() == {
        "app.jsonl", "app.jsonl.bak", "app.jsonl.20231114-221320-2", "app.jsonl.20231114-221320-3",
    }  # fmt: skip
    assert b'"n":4' in found["app.jsonl"]


async def test_a_file_of_another_period_is_rotated(make, tmp_path):
    clock = FakeClock()
    output = make(rotate_every="1h", idle_close="1d", clock=clock)
    await output.open()
    await output.write(chunk({"n": 0}))
    await clock.advance(60)
    await output.write(chunk({"n": 1}))
    assert files(tmp_path).keys() == {"app.jsonl"}
    await clock.advance(3600)
    await output.write(chunk({"n": 2}))
    assert files(tmp_path).keys() == {"app.jsonl", "app.jsonl.20231114-231420"}


async def test_the_period_of_a_file_is_known_after_a_restart(make, tmp_path):
    clock = FakeClock()
    await deliver(make(rotate_every="1h", clock=clock), chunk({"n": 0}))
    os.utime(tmp_path / "out/app.jsonl", ns=(T0 - DAY, T0 - DAY))
    await deliver(make(rotate_every="1h", clock=clock), chunk({"n": 1}))
    assert len(files(tmp_path)) == 2


# -- others at work -----------------------------------------------------------------------------------


async def test_a_file_that_was_moved_away_is_made_again(make, tmp_path):
    output = make(time_key=None, tag_key=None)
    await output.open()
    await output.write(chunk({"n": 0}))
    (tmp_path / "out/app.jsonl").rename(tmp_path / "out/app.jsonl.1")
    await output.write(chunk({"n": 1}))
    (tmp_path / "out/app.jsonl").unlink()
    await output.write(chunk({"n": 2}))
    assert files(tmp_path) == {"app.jsonl": b'{"n":2}\n', "app.jsonl.1": b'{"n":0}\n'}


async def test_a_file_that_was_cut_or_lengthened_goes_on_at_its_end(make, tmp_path):
    output = make(time_key=None, tag_key=None)
    await output.open()
    await output.write(chunk({"n": 0}))
    os.truncate(tmp_path / "out/app.jsonl", 0)
    await output.write(chunk({"n": 1}))
    with (tmp_path / "out/app.jsonl").open("ab") as file:
        file.write(b"somebody else's\n")
    await output.write(chunk({"n": 2}))
    assert files(tmp_path)["app.jsonl"] == b'{"n":1}\nsomebody else\'s\n{"n":2}\n'


async def test_a_line_without_an_end_is_ended_first(make, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/app.jsonl").write_bytes(b'{"torn')
    await deliver(make(time_key=None, tag_key=None), chunk({"n": 0}), chunk({"n": 1}))
    assert files(tmp_path)["app.jsonl"] == b'{"torn\n{"n":0}\n{"n":1}\n'


async def test_two_outputs_do_not_write_to_one_file(make, tmp_path):
    first, second = make(), make(name="others")
    await first.open()
    await second.open()
    await first.write(chunk({"n": 0}))
    with pytest.raises(DeliveryError, match="by another output or process"):
        await second.write(chunk({"n": 1}))
    await first.close()
    await second.write(chunk({"n": 1}))
    assert len(files(tmp_path)["app.jsonl"].splitlines()) == 2


@pytest.mark.parametrize("sync", ["batch", "never"])
async def test_what_was_synced_long_ago_need_not_stay_in_memory(make, tmp_path, monkeypatch, sync):
    """All of it but the end and what was there before; only what is on the disk can be given up."""

    class Recording(Disk):
        def uncache(self, fd, start, end):
            given_up.append((start, end))
            super().uncache(fd, start, end)

    given_up = []
    monkeypatch.setattr(writer, "CACHED_BYTES", 100)
    monkeypatch.setattr(writer, "_UNCACHE_BYTES", 50)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "app.jsonl").write_bytes(b"before\n")
    output = make(disk=Recording(), time_key=None, tag_key=None, sync=sync)
    await deliver(output, *(chunk({"n": "." * 21}) for _ in range(10)))  # 30 bytes each
    assert given_up == ([] if sync == "never" else [(7, 57), (57, 117), (117, 177)])


async def test_something_that_is_no_file_is_refused(make, tmp_path):
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out/app.jsonl")
    output = make()
    await output.open()
    with pytest.raises(DeliveryError, match="not a regular file"):
        await output.write(chunk({"n": 0}))


async def test_a_directory_that_cannot_be_made_is_a_clear_error(make, tmp_path):
    (tmp_path / "out").write_bytes(b"a file")
    with pytest.raises(DeliveryError, match=r"cannot make the directory .*out"):
        await make().open()


async def test_idle_files_are_closed_and_opened_again(make, tmp_path):
    clock = FakeClock()
    output = make(idle_close="10s", clock=clock)
    await output.open()
    await output.write(chunk({"n": 0}))
    for _ in range(5):
        await clock.advance(5)
        await asyncio.to_thread(output._threads.submit(lambda: None).result)
    assert not output._writer.writer._files
    await output.write(chunk({"n": 1}))
    assert len(files(tmp_path)["app.jsonl"].splitlines()) == 2


async def test_the_files_used_longest_ago_are_closed_first(make):
    output = make(max_open_files=2)
    await output.open()
    for tag in ["a", "b", "a", "c"]:
        await output.write(chunk({"n": 0}, tag=tag))
    assert [Path(path).name for path in output._writer.writer._files] == ["a.jsonl", "c.jsonl"]


class CountingDisk(Disk):
    def __init__(self):
        self.syncs = 0

    def sync(self, fd):
        self.syncs += 1

    def sync_directory(self, path):
        self.syncs += 1


async def test_many_tags_are_written_together_with_few_syncs(make, tmp_path):
    """One of the data of each file, one of their directory; the journal's come once for all."""
    disk = CountingDisk()
    output = make(disk=disk, sync="batch", max_open_files=500)
    await output.open()
    group = [chunk({"n": n}, tag=f"tag-{n}") for n in range(200)]
    disk.syncs = 0
    assert await output.write_group(group) == [None] * 200
    assert disk.syncs <= 200 + 1
    assert len(files(tmp_path)) == 200
    assert await output.write_group(group) == [None] * 200
    assert all(text.count(b"\n") == 1 for text in files(tmp_path).values()), "a repeat writes nothing"


async def test_a_bad_destination_in_a_group_harms_no_other(make, tmp_path):
    output = make(max_open_files=4)
    await output.open()
    (tmp_path / "out" / "bad.jsonl").mkdir()
    tags = ["a", "bad", "c", "d", "e", "f"]
    results = await output.write_group([chunk({"n": 1}, tag=tag) for tag in tags])
    assert [type(result) for result in results] == [type(None), DeliveryError, *[type(None)] * 4]
    assert sorted(files(tmp_path)) == ["a.jsonl", "c.jsonl", "d.jsonl", "e.jsonl", "f.jsonl"]


async def test_chunks_of_one_group_for_one_file_keep_their_order(make, tmp_path):
    output = make("all.jsonl", tag_key=None, time_key=None)
    await output.open()
    await output.write_group([chunk({"n": n}, tag=f"tag-{n}") for n in range(50)])
    text = files(tmp_path)["all.jsonl"]
    assert text == b"".join(b'{"n":%d}\n' % n for n in range(50))


async def test_modes_can_be_chosen_and_hold_whatever_the_umask(make, tmp_path):
    """For the directories above as well."""
    output = make("a/b/{tag}.jsonl", file_mode="0644", directory_mode="0755")
    before = os.umask(0o077)
    try:
        await deliver(output, chunk({"n": 1}))
    finally:
        os.umask(before)
    out = tmp_path / "out"
    modes = [path.stat().st_mode & 0o777 for path in (out, out / "a", out / "a/b", out / "a/b/app.jsonl")]
    assert modes == [0o755, 0o755, 0o755, 0o644]


async def test_no_directory_is_open_to_everybody_by_itself(make, tmp_path):
    before = os.umask(0)
    try:
        await deliver(make("a/b/{tag}.jsonl"), chunk({"n": 1}))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*") if path.is_dir()} == {0o750}


async def test_the_time_zone_of_paths_can_be_chosen(make, tmp_path):
    """T0 is 22:13 UTC: in Kolkata it is the next day already, and midnight is at half past in UTC."""
    output = make("%Y-%m-%d.jsonl", timezone="Asia/Kolkata")
    midnight = T0 - T0 % DAY + 18 * 3600 * 10**9 + 1800 * 10**9
    events = [(midnight - 1, {"n": 1}), (midnight, {"n": 2}), (T0, {"n": 3})]
    batch = Batch.from_events("app", events)
    await deliver(output, Chunk(os.urandom(16), "app", (batch.entries,), 3))
    assert {name: text.count(b"\n") for name, text in files(tmp_path).items()} == {
        "2023-11-14.jsonl": 1,
        "2023-11-15.jsonl": 2,
    }


async def test_a_tag_that_looks_like_a_rotated_file_of_another_is_not_deleted(make, tmp_path):
    output = make("{tag}", rotate_size=50, keep=1)
    await output.open()
    await output.write(chunk({"n": 1}, tag="app.20201127-000000"))
    for n in range(5):
        await output.write(chunk({"n": n, "pad": "x" * 60}, tag="app"))
    assert "app%2E20201127-000000" in files(tmp_path)
    assert len(files(tmp_path)) == 3


@pytest.mark.parametrize(
    ("kind", "problem"),
    [("directory", "outside of"), ("file", "outside of"), ("hard", "another name")],
)
async def test_links_that_lead_elsewhere_are_not_followed(make, tmp_path, kind, problem):
    """Neither as a directory on the way, nor as the file; the root itself may be a link."""
    output = make("{tag}/x.jsonl")
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    (elsewhere / "x.jsonl").write_text("precious\n")
    (tmp_path / "real").mkdir()
    out.symlink_to(tmp_path / "real")
    if kind == "directory":
        (out / "app").symlink_to(elsewhere)
    else:
        (out / "app").mkdir()
        link = (
            (out / "app" / "x.jsonl").symlink_to if kind == "file" else (out / "app" / "x.jsonl").hardlink_to
        )
        link(elsewhere / "x.jsonl")
    await output.open()
    with pytest.raises(DeliveryError, match=problem):
        await output.write(chunk({"n": 1}))
    assert (elsewhere / "x.jsonl").read_text() == "precious\n"
    await output.write(chunk({"n": 1}, tag="good"))


async def test_a_link_within_the_directory_is_followed_and_its_file_has_everything_once(make, tmp_path):
    """The file may be written under its own name too, even with the same chunk; it need not be there yet."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "current.jsonl").symlink_to("day/one.jsonl")
    (out / "day").mkdir()
    output = make("{where}.jsonl", time_key=None, tag_key=None)
    output_of_day = {"where": "current"}, {"where": "day/one"}, {"where": "current"}
    await output.open()
    await output.write(chunk({"where": "current"}))
    await output.write(chunk(*output_of_day))
    (out / "current.jsonl").unlink()
    (out / "current.jsonl").symlink_to(out / "two.jsonl")  # as one does at midnight
    await output.write(chunk({"where": "current"}))
    assert (out / "current.jsonl").is_symlink()
    lines = {name: data.count(b"\n") for name, data in files(tmp_path).items()}
    assert lines == {"current.jsonl": 1, "two.jsonl": 1, "day%2Fone.jsonl": 1, "day/one.jsonl": 3}


async def test_two_names_of_one_file_do_not_wait_for_each_other(make, tmp_path):
    """Both in one group, whatever their order."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.jsonl").symlink_to("b.jsonl")
    (out / "c.jsonl").symlink_to("b.jsonl")
    output = make(time_key=None, tag_key=None)
    await output.open()
    chunks = [chunk({"n": n}, tag=tag) for n, tag in enumerate("abcabc")]
    assert await asyncio.wait_for(output.write_group(chunks), 5) == [None] * 6
    assert [json.loads(line)["n"] for line in (out / "b.jsonl").read_text().splitlines()] == list(range(6))


async def test_a_file_that_becomes_a_link_while_it_is_open_is_followed_at_the_next_try(make, tmp_path):
    output = make(time_key=None, tag_key=None)
    await output.open()
    await output.write(chunk({"n": 1}))
    path = tmp_path / "out/app.jsonl"
    path.rename(tmp_path / "out/old.jsonl")
    path.symlink_to("old.jsonl")
    late = chunk({"n": 2})
    with pytest.raises(DeliveryError, match="has just become a symbolic link"):
        await output.write(late)
    await output.write(late)
    assert (tmp_path / "out/old.jsonl").read_text() == '{"n":1}\n{"n":2}\n'


async def test_chunks_of_many_tags_may_be_written_at_once(make, tmp_path):
    output = make("all.jsonl", time_key=None, sync="never")
    await output.open()
    chunks = [chunk(*({"n": n} for n in range(20)), tag=f"t{tag}") for tag in range(20)]
    await asyncio.gather(*(output.write(each) for each in chunks + chunks))
    lines = [json.loads(line) for line in files(tmp_path)["all.jsonl"].splitlines()]
    assert [line["n"] for line in lines] == list(range(20)) * 20
    assert len({line["@tag"] for line in lines}) == 20


# -- configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"path": "/var/log/%Q"}, "'%Q' is not known"),
        ({"path": "/var/log/x%"}, "'%' is not known"),
        ({"path": "/var/log/"}, "must name a file"),
        ({"path": ""}, "must name a file"),
        ({"path": "/var/log/../{tag}"}, "not allowed"),
        ({"path": "/var/{tag"}, "unbalanced '{'"),
        ({"path": "/var/{tag[x]}"}, "not a part of the tag"),
        ({"path": "/var/" + "x" * 300 + "{tag}"}, "too long"),
        ({"path": "/var/" + "{a}" * 20}, "too many placeholders"),
        ({"path": "x", "keep": 3}, "rotate_size or rotate_every"),
        ({"path": "x", "format": "csv"}, "columns"),
        ({"path": "x", "columns": ["a"]}, "columns"),
        ({"path": "x", "format": "json"}, "format"),
    ],
)
def test_a_mistake_in_the_configuration_is_explained(options, problem):
    with pytest.raises(ValidationError, match=re.escape(problem)):
        FileOutput.Config(**options)


@pytest.mark.parametrize("other", ["/x/{tag}.jsonl", "/x/./{tag}.jsonl"])
def test_two_outputs_with_one_path_are_a_mistake(other):
    """They would lock each other out of their files."""
    settings = {
        "sources": {"in": {"type": "stdin", "tag": "app"}},
        "routes": [{"match": "**", "outputs": ["a", "b"]}],
        "outputs": {"a": {"type": "file", "path": "/x/{tag}.jsonl"}, "b": {"type": "file", "path": other}},
    }
    with pytest.raises(ValidationError, match="the outputs a and b both write to"):
        Settings.model_validate(settings)
    settings["outputs"]["b"]["path"] = "/x/{tag}.log"
    Settings.model_validate(settings)


async def test_close_is_safe_without_open_and_twice(make):
    output = make()
    await output.close()
    await output.open()
    await output.close()
    await output.close()
