"""Files are read, put together, and everything that is wrong is said at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logflow.config.loader import Loaded, load
from logflow.errors import ConfigError

Problems = Callable[..., list[str]]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Path]]:
    """Write files (``__`` in a name stands for a slash) and return their paths."""
    monkeypatch.chdir(tmp_path)

    def write(**texts: str) -> list[Path]:
        paths = [Path(f"{name.replace('__', '/')}.yaml") for name in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return paths

    return write


FEED = "sources: {in: {type: feed}}\n"
ROUTE = "routes: [{match: '**', outputs: [out]}]\n"
OUT = "outputs: {out: {type: sink}}\n"


def failure(paths: list[Path]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(paths, {})
    return caught.value.problems


def test_a_small_configuration_has_defaults(load_text: Callable[..., Loaded]) -> None:
    loaded = load_text(OUT)
    settings, warnings = loaded.settings, loaded.warnings
    assert (settings.data_dir, settings.engine) == (Path("/var/lib/logflow"), "auto")
    assert settings.admin.listen == ("127.0.0.1", 24220)
    assert settings.sources["in"].type == "feed"
    assert warnings == []


def test_ten_mistakes_in_two_files_are_ten_lines_in_order(files: Callable[..., list[Path]]) -> None:
    one = """shutdown_timeout: many
sources:
  in: {type: fed}
  app: {type: feed, max_line: 1 mile, parse: {type: json, colour: red}}
routes:
  - {match: "{a", outputs: [out]}
  - {match: "**", outputs: [outt], filters: [{type: kep}]}
"""
    two = """outputs:
  out:
    type: sink
    servers: [{addres: "a:1"}]
    compress: lz4
    note: [x]
"""
    assert [problem.split(": ")[:2] for problem in failure(files(one=one, two=two))] == [
        ["one.yaml:1", "shutdown_timeout"],
        ["one.yaml:3", "sources.in.type"],
        ["one.yaml:4", "sources.app.parse.colour"],
        ["one.yaml:4", "sources.app.max_line"],
        ["one.yaml:6", "routes[0].match"],
        ["one.yaml:7", "routes[1].outputs[0]"],
        ["one.yaml:7", "routes[1].filters[0].type"],
        ["two.yaml:4", "outputs.out.servers[0].addres"],
        ["two.yaml:5", "outputs.out.compress"],
        ["two.yaml:6", "outputs.out.note"],
    ]


def test_mappings_are_merged_scalars_and_lists_replaced_and_routes_joined(
    files: Callable[..., list[Path]],
) -> None:
    one = FEED + "shutdown_timeout: 2s\nlog: {level: debug, format: json}\n"
    one += "routes: [{match: a, outputs: [out]}]\n"
    two = OUT + "shutdown_timeout: 3s\nlog: {level: error}\nroutes: [{match: b, outputs: [out]}]\n"
    settings = load(files(one=one, two=two), {}).settings
    assert settings.shutdown_timeout == 3
    assert (settings.log.level, settings.log.format) == ("error", "json")
    assert [route.match for route in settings.routes] == ["a", "b"]


def test_a_component_defined_twice_names_both_places(files: Callable[..., list[Path]]) -> None:
    assert failure(files(one=FEED + ROUTE + OUT, two="\n" + OUT)) == [
        "two.yaml:2: outputs.out: defined twice; the other one is at one.yaml:3"
    ]


def test_a_section_with_nothing_in_it_is_left_out(files: Callable[..., list[Path]]) -> None:
    assert (
        load(files(one=FEED + ROUTE + OUT, two="outputs:\nroutes:\nsources:\ninclude:\n"), {}).warnings == []
    )


def test_what_is_included_comes_first_sorted_and_relative_to_the_file(
    files: Callable[..., list[Path]],
) -> None:
    main, *_ = files(
        etc__main=OUT + ROUTE + "include: ['conf.d/*.yaml']\nshutdown_timeout: 2s\n",
        etc__conf__d=FEED,
    )
    Path("etc/conf.d").mkdir()
    Path("etc/conf.d/b.yaml").write_text("routes: [{match: b, outputs: []}]")
    Path("etc/conf.d/a.yaml").write_text(FEED + "shutdown_timeout: 4s\nroutes: [{match: a, outputs: []}]")
    settings = load([main], {}).settings
    assert [route.match for route in settings.routes] == ["a", "b", "**"]
    assert settings.shutdown_timeout == 2


def test_files_that_include_each_other_are_read_once(files: Callable[..., list[Path]]) -> None:
    one, _ = files(one=FEED + "include: [two.yaml, one.yaml]\n", two=OUT + ROUTE + "include: ['*.yaml']\n")
    assert load([one, one], {}).settings.outputs.keys() == {"out"}


def test_a_name_that_is_included_must_exist_but_a_glob_may_match_nothing(
    files: Callable[..., list[Path]],
) -> None:
    (one,) = files(one=FEED + ROUTE + OUT + "include:\n  - none/*.yaml\n  - none.yaml\n")
    assert failure([one]) == ["one.yaml:6: the file none.yaml does not exist; check -c and include"]


def test_a_problem_in_an_included_file_names_that_file(files: Callable[..., list[Path]]) -> None:
    one, _ = files(one=FEED + ROUTE + OUT + "include: [sub/two.yaml]\n", sub__two="\nshutdown_timeout: x\n")
    assert failure([one]) == [
        "sub/two.yaml:2: shutdown_timeout: 'x' is not a duration; write a number and a unit, such as 5s"
    ]


def test_a_file_that_cannot_be_read_does_not_hide_the_mistakes_of_others(
    files: Callable[..., list[Path]],
) -> None:
    """What may stand in it (outputs, whole sections) is not missed."""
    paths = files(broken="a: b: c\n", one=FEED + ROUTE + "shutdown_timeout: x\n")
    assert [problem.split(": ")[:2] for problem in failure([*paths, Path("gone.yaml")])] == [
        ["broken.yaml:1", "not valid YAML"],
        ["one.yaml:3", "shutdown_timeout"],
        ["gone.yaml:1", "the file gone.yaml does not exist; check -c and include"],
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n", "one.yaml:1: a configuration is a mapping (key: value), not a list"),
        ("x" * 2_000_000, "one.yaml:1: one.yaml is larger than 1MiB; split it"),
    ],
)
def test_a_file_that_is_no_configuration(files: Callable[..., list[Path]], text: str, problem: str) -> None:
    assert failure(files(one=text)) == [problem]


def test_a_device_is_not_a_file_and_a_loop_of_links_is_none(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "is not a regular file" in failure([Path("/dev/null")])[0]
    assert "does not exist" in failure([tmp_path / "loop"])[0]


def test_unknown_chains_are_found_beside_other_mistakes_each_in_its_line(problems_of: Problems) -> None:
    filters = "    filters:\n      - {use: cleen}\n      - {type: limit, depht: 9}\n"
    text = FEED + "filters: {clean: []}\nroutes:\n  - match: a\n" + filters + "    outputs: [out]\n" + OUT
    chain, option = problems_of(text, whole=True)
    assert chain == (
        "agent.yaml:6: routes[0].filters[0].use: there is no chain of filters 'cleen'; did you mean 'clean'?"
    )
    assert option.startswith("agent.yaml:7: routes[0].filters[1].depht: unknown key; did you mean 'depth'?")


def test_unknown_outputs_are_found_and_unused_ones_and_dead_routes_are_warned_of(
    problems_of: Problems, load_text: Callable[..., Loaded]
) -> None:
    assert problems_of(FEED + "routes:\n  - match: a\n    outputs: [outt, ~, out]\n" + OUT, whole=True) == [
        "agent.yaml:4: routes[0].outputs[0]: there is no output 'outt'; did you mean 'out'?",
        "agent.yaml:4: routes[0].outputs[1]: expected text, not nothing",
    ]
    text = FEED + "routes:\n  - {match: '**', outputs: []}\n  - {match: a, outputs: []}\n" + OUT
    assert load_text(text, whole=True).warnings == [
        "agent.yaml:5: outputs.out: no route uses this output",
        "agent.yaml:4: routes[1]: never reached, as the route at agent.yaml:3 matches every tag",
    ]


def test_a_broken_substitution_is_told_once(problems_of: Problems) -> None:
    (problem,) = problems_of(OUT + "shutdown_timeout: ${PATIENCE}\n")
    assert problem.startswith("agent.yaml:2: shutdown_timeout: the environment variable PATIENCE is not set")


def test_of_a_directory_the_yaml_files_are_read_in_order(files: Callable[..., list[Path]]) -> None:
    files(conf__b=FEED + "engine: python\n", conf__a=OUT + "engine: native\n", conf__sub__c="x: [\n")
    Path("conf/routes.yml").write_text(ROUTE)
    Path("conf/notes.txt").write_text("not: [yaml")
    assert load([Path("conf")], {}).settings.engine == "python"
    Path("conf/empty").mkdir()
    assert failure([Path("conf/empty")]) == ["conf/empty:1: the directory holds no *.yaml or *.yml; check -c"]


def test_nothing_on_stdin_is_told_what_is_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        load([Path("-")], {}, lambda: b"")
    assert caught.value.problems[0].startswith("stdin:1: sources: missing; ")


def test_a_dash_is_stdin(files: Callable[..., list[Path]]) -> None:
    paths = [*files(one=OUT), Path("-")]
    loaded = load(paths, {}, (FEED + ROUTE).encode)
    assert list(loaded.settings.sources) == ["in"]
    with pytest.raises(ConfigError) as caught:
        load(paths, {}, (FEED + ROUTE + "colour: red\n").encode)
    assert caught.value.problems[0].startswith("stdin:3: colour: unknown key; known keys: ")
    with pytest.raises(ConfigError) as caught:
        load(paths, {}, lambda: b"#" * (1 << 20) + b"#")
    assert "stdin:1: it is larger than 1MiB; use files" in caught.value.problems


def test_keys_for_anchors_mean_nothing(load_text: Callable[..., Loaded]) -> None:
    text = "x-sink: &sink {type: sink, note: a}\noutputs: {out: {<<: *sink, compress: gzip}}\n"
    assert load_text(text).settings.outputs["out"].model_dump(include={"note"}) == {"note": "a"}


def test_below_a_mistyped_key_things_are_checked_as_what_was_meant(problems_of: Problems) -> None:
    route = "route:\n  - {match: '{a', outputs: [outt]}\n"
    output = "output:\n  out: {type: sink, retri: {maxx: 1, factor: x}}\n"
    assert problems_of(FEED + route + output, whole=True) == [
        "agent.yaml:2: route: unknown key; did you mean 'routes'?",
        "agent.yaml:3: routes[0].outputs[0]: there is no output 'outt'; did you mean 'out'?",
        "agent.yaml:3: routes[0].match: unbalanced braces in '{a'",
        "agent.yaml:4: output: unknown key; did you mean 'outputs'?",
        "agent.yaml:5: outputs.out.retri: unknown key; did you mean 'retry'?",
        "agent.yaml:5: outputs.out.retry.maxx: unknown key; did you mean 'max'?",
        "agent.yaml:5: outputs.out.retry.factor: expected a number, not 'x'",
    ]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("match: app.**, outputs: []", "match: app.**", "matches the same tags"),
        ("match: app.**, outputs: []", "match: app.web.*", "matches all of its tags"),
        ("match: '{app,db}.*', outputs: []", "match: '{db.x,app.y}'", "matches all of its tags"),
        ("match: app.*, outputs: []", "match: app.**", None),
        ("match: app.web, outputs: []", "match: app.*", None),
    ],
)
def test_routes_that_nothing_reaches_are_warned_of(
    load_text: Callable[..., Loaded], first: str, second: str, said: str | None
) -> None:
    text = FEED + OUT + f"routes:\n  - {{{first}}}\n  - {{{second}, outputs: [out]}}\n"
    expected = (
        [f"agent.yaml:5: routes[1]: never reached, as the route at agent.yaml:4 {said}"] if said else []
    )
    assert load_text(text, whole=True).warnings == expected


@pytest.mark.parametrize(
    ("tag", "warned"),
    [("app.wbe", True), ("app.web.x", False), ("kube.{namespace}.{pod}", True), ("app.{path}", False),
     ("{path}", False), ("app.web-{path}", False), ("app.db-1.{path}", True)],
)  # fmt: skip
def test_tags_that_no_route_matches_are_warned_of(
    load_text: Callable[..., Loaded], tag: str, warned: bool
) -> None:
    text = f"sources:\n  in:\n    type: tail\n    paths: [/x]\n    tag: '{tag}'\n" + OUT
    text += "routes: [{match: app.web*.**, outputs: [out]}, {match: db, outputs: []}]\n"
    expected = f"agent.yaml:5: sources.in.tag: no route matches the tag {tag!r}; its events would be dropped"
    assert load_text(text, whole=True).warnings == ([expected] if warned else [])


@pytest.mark.parametrize(
    ("output", "warned"),
    [
        ("{type: file, path: /tmp/a, format: parquet}", True), ("{type: s3, bucket: a}", True),
        ("{type: s3, bucket: a, buffer: {type: disk}}", False), ("{type: file, path: /tmp/a}", False),
        ("{type: s3, bucket: a, batch: {max_wait: 2s}}", False),
    ],
)  # fmt: skip
def test_outputs_for_which_events_gather_in_memory_are_warned_of(
    load_text: Callable[..., Loaded], output: str, warned: bool
) -> None:
    found = load_text(
        "sources: {in: {type: forward}}\nroutes: [{match: '**', outputs: [x]}]\n"
        f"outputs: {{x: {output}}}\n",
        whole=True,
    )
    assert [("gather in memory" in warning) for warning in found.warnings] == [True] * warned
