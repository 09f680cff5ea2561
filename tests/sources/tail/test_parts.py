"""The parts of tail that need no running source: tags, globs, rotated names, gzip, identity, notices."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.sources.tail import inotify
from logflow.sources.tail.content import GzipContent, PlainContent, open_content
from logflow.sources.tail.discovery import Finder, expand_braces
from logflow.sources.tail.file import LogFile
from logflow.sources.tail.identity import NOTHING, FileState, Mark
from logflow.sources.tail.inotify import Inotify, Notice
from logflow.sources.tail.listing import rotated
from logflow.sources.tail.rotated import locate, newer
from logflow.sources.tail.tags import TagTemplate, path_parts, safe_part, shown

ID = "0123456789abcdef" * 4

# -- tags ------------------------------------------------------------------------------------------


def render(template: str, path: Path | str) -> str:
    return TagTemplate(template).render(str(path), os.path.realpath(path))


def test_links_are_followed_for_the_parts_of_a_containers_path(tmp_path: Path) -> None:
    docker = tmp_path / "docker" / ID / f"{ID}-json.log"
    pod = tmp_path / "pods" / "shop_web-1_0a-1b" / "app" / "3.log"
    link = tmp_path / "containers" / "web-1_shop_app-0123456789ab.log"
    for path in (docker, pod, link):
        path.parent.mkdir(parents=True)
    docker.write_text("")
    pod.symlink_to(docker)
    link.symlink_to(pod)
    parts = path_parts(str(link), str(docker))
    names = ("namespace", "pod", "container", "uid", "restart", "container_id")
    assert [parts[name] for name in names] == ["shop", "web-1", "app", "0a-1b", "3", ID]
    assert render("k.{namespace}.{pod}.{container}", link) == "k.shop.web-1.app"


def test_a_link_that_leads_nowhere_gives_the_parts_of_its_own_name() -> None:
    assert (
        render("{pod}/{namespace}/{container}/{container_id}", "/x/p-0_ns_a-b-c0ffee.log")
        == "p-0/ns/a-b/c0ffee"
    )


@pytest.mark.parametrize(
    ("config", "name"),
    [('{"Name":"/web-1","ID":"x"}', "web-1"), ('{"Name":""}', f"{ID}-json"), ("{", f"{ID}-json")],
)
def test_docker_tells_a_containers_name_beside_its_log(tmp_path: Path, config: str, name: str) -> None:
    path = tmp_path / ID / f"{ID}-json.log"
    path.parent.mkdir()
    path.write_text("")
    (path.parent / "config.v2.json").write_text(config)
    assert render("{container}", path) == name


def test_other_files_have_fallbacks() -> None:
    tag = "{namespace}.{pod}.{container}.{container_id}.{uid}.{restart}"
    assert render(tag, "/nowhere/nginx/access.log") == "host.nginx.access.none.none.none"
    assert render("x.{path}", "/nowhere/nginx/access.log") == "x.nowhere.nginx.access.log"
    assert render("x.{path}", "/a//b..c/.hidden") == "x.a.b.c.hidden"
    assert render("{{{name}}}", "/a/b.log") == "{b}"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30))
def test_a_part_never_breaks_routing_or_leaves_a_directory(text: str) -> None:
    part = safe_part(text)
    assert part
    assert not set(part) & set("./\\*{} \0\n")
    assert ".." not in path_parts(f"/x/{text}", f"/x/{text}")["path"]


# -- globs -----------------------------------------------------------------------------------------


def test_globs_find_files_below_existing_directories(tmp_path: Path) -> None:
    for name in ("a/x.log", "a/b/y.log", "a/.hidden.log", "a/z.log.gz", "a/dir.log/deep.log", "c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "a" / "dangling.log").symlink_to("nowhere")

    def found(*paths: str, exclude: tuple[str, ...] = ()) -> list[str]:
        finder = Finder([f"{tmp_path}/{path}" for path in paths], exclude)
        names = [file.path for file in finder.search().files]
        assert all(finder.wants(name) for name in names)
        return [name.removeprefix(f"{tmp_path}/") for name in names]

    assert found("a/*.log") == ["a/x.log"]
    assert found("**/*.log") == ["a/b/y.log", "a/dir.log/deep.log", "a/x.log"]
    assert found("a/*.log", "*.txt", "a/[x-z].log") == ["a/x.log", "c.txt"]
    assert found("**/*.log", exclude=("x*", f"{tmp_path}/a/b/**")) == ["a/dir.log/deep.log"]
    finder = Finder([f"{tmp_path}/*/*/*.log", f"{tmp_path}/missing/*.log"], ())
    assert finder.search().directories == {
        str(tmp_path),
        f"{tmp_path}/a",
        f"{tmp_path}/a/b",
        f"{tmp_path}/a/dir.log",
    }
    assert not finder.wants(f"{tmp_path}/a/b.log")
    assert not finder.wants(f"{tmp_path}/a/b/c.log.gz")


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not Finder(["/" + "**/" * 30 + "x.log"], ()).wants("/" + "a/" * 500 + "y.log")


# -- rotated files ---------------------------------------------------------------------------------


def put(directory: Path, *names: str) -> None:
    for index, name in enumerate(names):
        (directory / name).write_text(f"{name}\n" * 30)
        os.utime(directory / name, (1000 + index, 1000 + index))


@pytest.mark.parametrize(
    ("current", "oldest_first"),
    [
        ("0.log", ["0.log.20260131-115950.gz", "0.log.20260131-120000", "0.log.20260201-000000"]),
        ("app.log", ["app.log.10.gz", "app.log.2.gz", "app.log.1"]),
        ("app.log", ["app.log-20251231", "app.log-20260101.gz"]),
        ("app.log", ["app-2026-01-01T00-00-00.log", "app-2026-01-02T00-00-00.log.gz"]),
        ("syslog", ["syslog.2", "syslog.1"]),
    ],
)
def test_rotated_files_are_ordered_by_what_their_names_say(
    tmp_path: Path, current: str, oldest_first: list[str]
) -> None:
    put(
        tmp_path,
        *sorted(oldest_first),
        current,
        "app-1.log",
        "0.log.20260131-120000.gz.tmp",
        "app.log.bak",
        "x.log.1",
    )
    names = [Path(sibling.path).name for sibling in rotated(f"{tmp_path}/{current}")]
    assert names == oldest_first


def test_of_a_file_that_is_being_compressed_the_plain_one_counts(tmp_path: Path) -> None:
    put(tmp_path, "0.log.20260131-120000", "0.log.20260131-120000.gz")
    assert [sibling.path for sibling in rotated(f"{tmp_path}/0.log")] == [f"{tmp_path}/0.log.20260131-120000"]


def state_of(path: Path, offset: int, real: Path) -> FileState:
    data, status = path.read_bytes(), path.stat()
    return FileState(
        offset=offset,
        carry=b"",
        path=str(real),
        real=str(real),
        order=0,
        device=status.st_dev,
        inode=status.st_ino,
        head=Mark.of(data[:1024]),
        tail=Mark.of(data[max(offset - 256, 0) : offset]),
        mtime_ns=status.st_mtime_ns,
    )


def test_a_known_file_is_found_in_any_form_and_no_other_is_taken_for_it(tmp_path: Path) -> None:
    current = tmp_path / "app.log"
    put(tmp_path, "app.log.2", "app.log.1", "app.log")
    state = state_of(current, 60, current)
    current.rename(tmp_path / "any-name-at-all")
    again = locate(state)
    assert again is not None
    assert (Path(again.sibling.path).name, again.content.grows) == ("any-name-at-all", True)
    again.content.close()
    with gzip.open(tmp_path / "app.log.3.gz", "wb") as packed:
        packed.write((tmp_path / "any-name-at-all").read_bytes())
    (tmp_path / "any-name-at-all").unlink()
    again = locate(state)
    assert again is not None
    assert (Path(again.sibling.path).name, again.content.grows, len(again.tail)) == (
        "app.log.3.gz",
        False,
        60,
    )
    again.content.close()
    assert [Path(sibling.path).name for sibling in newer(state)] == ["app.log.2", "app.log.1"]
    (tmp_path / "app.log.3.gz").unlink()
    assert locate(state) is None
    os.utime(tmp_path / "app.log.1", (2e9, 2e9))
    assert [Path(sibling.path).name for sibling in newer(state)] == ["app.log.1"], "written to after it"


def test_a_state_survives_the_journal() -> None:
    state = FileState(
        offset=5, carry=b"\x00\xff", path="/a", real="/b", order=3, device=1, inode=2, head=Mark.of(b"x"),
        tail=NOTHING, mtime_ns=7, handed=4, format="cri",
    )  # fmt: skip
    assert FileState.load(state.dump()) == state


# -- content ---------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 5000)), max_size=6),
)
def test_gzip_members_read_at_any_offset_are_what_they_hold(
    tmp_path_factory: pytest.TempPathFactory, members: list[bytes], reads: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("gz") / "x.log.1.gz"
    path.write_bytes(b"".join(map(gzip.compress, members)))
    content, _ = open_content(str(path))
    assert isinstance(content, GzipContent)
    whole = b"".join(members)
    for offset, size in reads:
        assert content.read(offset, size) == whole[offset : offset + size]
    content.close()
    content.close()


def test_a_gzip_file_that_was_cut_gives_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(os.urandom(100_000))[:50_000])
    content, _ = open_content(str(path))
    assert 49_000 < len(content.read(0, 200_000)) < 50_000
    content.close()


def test_a_gzip_bomb_is_read_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(50 << 20)))
    content, _ = open_content(str(path))
    assert content.read(40 << 20, 10) == bytes(10)
    assert isinstance(content, GzipContent)
    assert len(content._input) <= 64 * 1024
    content.close()


def test_plain_bytes_end_where_the_file_ends(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    content, status = open_content(str(tmp_path / "x"))
    assert isinstance(content, PlainContent)
    assert status.st_size == 10
    assert (content.read(8, 5), content.read(20, 5)) == (b"89", b"")
    content.close()


# -- inotify ---------------------------------------------------------------------------------------


def test_notices_tell_what_happened_where(tmp_path: Path) -> None:
    notices = Inotify()
    directory = notices.watch(str(tmp_path), inotify.IN_CREATE | inotify.IN_MOVED_TO)
    (tmp_path / "ä.log").write_text("")
    file = notices.watch(str(tmp_path / "ä.log"), inotify.IN_MODIFY)
    with (tmp_path / "ä.log").open("w") as writer:
        writer.write("x")
    (tmp_path / "ä.log").rename(tmp_path / "b.log")
    assert notices.read() == [
        Notice(directory, inotify.IN_CREATE, "ä.log"),
        Notice(file, inotify.IN_MODIFY, ""),
        Notice(directory, inotify.IN_MOVED_TO, "b.log"),
    ]
    assert notices.read() == []
    notices.unwatch(file)
    assert notices.read() == [Notice(file, inotify.IN_IGNORED, "")]
    with pytest.raises(FileNotFoundError):
        notices.watch(str(tmp_path / "none"), inotify.IN_MODIFY)
    notices.close()
    notices.close()


# -- names that nobody expects -----------------------------------------------------------------------


def test_directories_that_link_to_each_other_are_visited_once(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.log").write_text("x\n")
        for other in ("a", "b", "c"):
            (tmp_path / name / f"to-{other}").symlink_to(tmp_path / other)
    (tmp_path / "l0").symlink_to(".")
    (tmp_path / "l1").symlink_to(".")
    search = Finder([f"{tmp_path}/**/*.log"], ()).search()
    assert [file.path for file in search.files] == [f"{tmp_path}/{name}/x.log" for name in ("a", "b", "c")]
    assert not search.incomplete


def test_a_search_ends_when_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("")
    search = Finder([f"{tmp_path}/**/*.log"], ()).search(lambda: True)
    assert (search.files, search.incomplete) == ([], True)


def test_links_on_the_way_and_those_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "app.log").write_text("")
    (tmp_path / "current").symlink_to("v1")
    (tmp_path / "v1" / "lost.log").symlink_to("nowhere")
    search = Finder([f"{tmp_path}/current/*.log"], ()).search()
    assert [file.path for file in search.files] == [f"{tmp_path}/current/app.log"]
    assert search.links == {f"{tmp_path}/current"}
    assert str(tmp_path) in search.directories
    assert search.dangling == [f"{tmp_path}/current/lost.log"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/x/{a,b}.log", ["/x/a.log", "/x/b.log"]),
        ("/{a,b{1,2}}/{c,}x", ["/a/cx", "/a/x", "/b1/cx", "/b1/x", "/b2/cx", "/b2/x"]),
        ("/{a}/}{b", ["/{a}/}{b"]),
        ("/{{a,b}}", ["/{a}", "/{b}"]),
    ],
)
def test_braces_stand_for_each_of_their_texts(pattern: str, expected: list[str]) -> None:
    assert sorted(expand_braces(pattern)) == expected


def test_braces_that_stand_for_too_much_are_refused() -> None:
    with pytest.raises(ValueError, match="stand for more than 1000 paths"):
        expand_braces("/" + "{a,b}" * 20)


def test_names_in_any_script_have_tags_of_their_own() -> None:
    names = ["日本", "中文", "हिन्दी", "caf\udce9", "caf\udce8", "café"]
    parts = [safe_part(name) for name in names]
    assert parts == ["日本", "中文", "हिन्दी", "caf_xE9", "caf_xE8", "café"]


def test_a_path_is_saved_and_shown_whatever_its_bytes_are() -> None:
    path = os.fsdecode(b"/x/caf\xe9\x1b[1m\n.log")
    state = FileState(
        offset=0, carry=b"", path=path, real=path, order=0, device=1, inode=2, head=NOTHING, tail=NOTHING,
        mtime_ns=0,
    )  # fmt: skip
    packed = msgspec.msgpack.encode(state.dump())
    assert FileState.load(msgspec.msgpack.decode(packed)) == state
    assert shown(path) == r"/x/caf\xe9\x1b[1m\n.log"


def test_a_head_that_reached_beyond_the_offset_is_a_glimpse() -> None:
    state = FileState(
        offset=1, carry=b"", path="/a", real="/a", order=0, device=1, inode=2, head=Mark.of(b"abc"),
        tail=Mark.of(b"a"), mtime_ns=0,
    )  # fmt: skip
    loaded = FileState.load(state.dump())
    assert (loaded.head, loaded.glimpse) == (NOTHING, Mark.of(b"abc"))


def test_joins_that_come_to_a_place_where_others_were_taken_for_whole_are_kept(tmp_path: Path) -> None:
    """The predecessor of an empty file was found only then, and hands its own on."""
    path = tmp_path / "app.log"
    path.write_text("")
    content, _ = open_content(str(path))
    file = LogFile("stream", msgspec.structs.replace(state_of(path, 0, path), carry=b"one"), content, b"")
    assert file.flush_carry().state().carry == b"one"
    assert file.state(file.point).carry == b""
    file.take_carry(b"two")
    assert file.state().carry == b"two"
