"""``logflow test``: what comes out for given lines or records; nothing is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from logflow.cli.main import main

CONFIG = """
data_dir: /nonexistent/data
sources:
  containers:
    type: tail
    paths: ["/var/log/containers/*.log"]
    tag: "kube.{namespace}.{pod}.{container}"
  app: {type: stdin, tag: app}
  peers: {type: forward, listen: "127.0.0.1:1"}
routes:
  - {match: "kube.kube-system.**", outputs: []}
  - match: "kube.**"
    filters: [{type: grep, exclude: {level: "^debug$"}}]
    outputs: [central, archive]
  - {match: never, outputs: [archive]}
outputs:
  central: {type: forward, servers: [{address: "192.0.2.1:1"}], buffer: {type: disk}}
  archive: {type: file, path: "/nonexistent/archive/{tag}.jsonl"}
"""

CASES = r"""
tests:
  - name: debug lines of the shop are dropped, errors keep their trace
    source: containers
    file: /var/log/containers/web-1_shop_app-0123.log
    input: |
      2026-01-01T00:00:00.1Z stdout F {"level":"debug","msg":"x"}
      2026-01-01T00:00:00.2Z stderr P {"level":"error",
      2026-01-01T00:00:00.3Z stderr F "msg":"${y}"}
    expect:
      central: [{level: error, msg: "${y}", "@tag": kube.shop.web-1.app}]
      archive: [{"@timestamp": "2026-01-01T00:00:00.200000000Z"}]
    dropped: {"filter:grep": 1}
  - name: the system's events are dropped on purpose
    tag: kube.kube-system.dns
    records: [{a: 1}, {a: 2}]
    expect: {archive: []}
    dropped: {discarded: 2}
  - name: lines of a pipe have the time of the clock, and no route
    source: app
    input: plain
    at: 2026-02-03T04:05:06Z
    expect: {central: []}
    dropped: {unrouted: 1}
"""


@pytest.fixture
def run(config: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the tests of a text; returns the status and what was said."""
    path = config(CONFIG)

    def run_one(text: str, *options: str) -> tuple[int, str]:
        Path("cases.yaml").write_text(text)
        status = main(["test", "-c", path, "cases.yaml", *options])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run_one


def case(body: str) -> str:
    return f"tests:\n  - name: one\n    {body}\n"


def test_tests_that_hold_and_what_they_did_not_reach(run: Callable[..., tuple[int, str]]) -> None:
    status, out = run(CASES)
    assert status == 0, out
    assert "ok      cases.yaml:3  debug lines of the shop are dropped, errors keep their trace\n" in out
    assert out.endswith(
        "3 tests, 0 failed\n3 of 4 routes and filters were reached\n  not reached: routes[2] (never)\n"
    )
    assert not Path("/nonexistent").exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("expect: {central: [{a: {b: 2}}]}", ["central: event 1 of 1 is", "a.b: expected 2, got 1"]),
        ("expect: {central: [{a: {b: '1'}}]}", ['a.b: expected "1", got 1']),
        ("expect: {central: [{a: {b: true}}]}", ["a.b: expected true, got 1"]),
        ("expect: {central: [{x: 1}]}", ["x: expected 1, but the field is missing"]),
        ("expect: {central: []}", ["central: expected no events, got 1 event", "not expected: {"]),
        ("expect: {central: [{}, {c: 1}]}", ["central: expected 2 events, got 1 event", 'missing: {"c": 1}']),
        ("exact: true\n    expect: {central: [{a: {}}]}", ["a.b: not expected"]),
        ("dropped: {'filter:grep': 1}", ['dropped: expected {"filter:grep": 1}, got {}']),
    ],
)
def test_a_difference_can_be_read(run: Callable[..., tuple[int, str]], body: str, said: list[str]) -> None:
    status, out = run(case(f"tag: kube.a\n    records: [{{a: {{b: 1}}}}]\n    {body}"))
    assert status == 1
    assert "FAILED  cases.yaml:2  one\n" in out
    assert all(text in out for text in said), out


def test_fields_that_are_not_named_do_not_matter_unless_exact(run: Callable[..., tuple[int, str]]) -> None:
    body = "tag: kube.a\n    records: [{a: {b: 1, c: 2.0}, d: 3}]\n    expect: {central: [{a: {c: 2}}]}"
    assert run(case(body))[0] == 0
    assert run(case(body + "\n    exact: true"))[0] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tests: [{name: a, tag: t, records: [], expct: {}}]", "cases.yaml:1: tests[0].expct: unknown key;"),
        ("tests: [{name: a, tag: t, expect: {}}]", "a test has either source and input, or tag and records"),
        ("tests: [{name: a, tag: t, records: []}]", "a test expects something: set expect, dropped or both"),
        ("tests:\n- {name: a, tag: t, records: [], expect: {centrl: []}}",
         "cases.yaml:2: there is no output 'centrl'; did you mean 'central'?"),
        (case("source: containrs\n    input: x\n    expect: {}\n    dropped: {}"),
         "there is no source 'containrs'; did you mean 'containers'?"),
        (case("tag: t\n    records: []\n    at: soon\n    dropped: {}"), "'soon' is not a time; write"),
        ("tests: {", "not valid YAML"),
    ],
)  # fmt: skip
def test_mistakes_in_tests_are_lines_with_their_place(
    run: Callable[..., tuple[int, str]], text: str, said: str
) -> None:
    status, out = run(text)
    assert status == 2
    assert said in out


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "source: containers\n    file: /tmp/x.log\n    input: x\n    dropped: {}",
            "reads /var/log/containers",
        ),
        ("source: containers\n    input: x\n    dropped: {}", "give file a path of these"),
        ("source: peers\n    input: x\n    dropped: {}", "a source of type forward reads no such bytes"),
    ],
)
def test_what_a_source_would_not_read_fails(
    run: Callable[..., tuple[int, str]], body: str, said: str
) -> None:
    status, out = run(case(body))
    assert status == 1
    assert said in out


def test_results_can_be_written_for_ci(run: Callable[..., tuple[int, str]]) -> None:
    failing = case('tag: kube.a\n    records: [{a: 1}]\n    expect: {central: [{a: "\\0"}]}')
    assert run(CASES + failing.removeprefix("tests:\n"), "--junit", "out.xml")[0] == 1
    suite = ET.parse("out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
    names = [element.get("name") for element in suite if element.find("failure") is not None]
    assert names == ["one"]


def test_a_filter_that_fails_fails_the_test(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.py").write_text("def change(record):\n    return record['a']['b']\n")
    path = config(
        CONFIG.replace('{type: grep, exclude: {level: "^debug$"}}', "{type: python, path: 'mine.py:change'}")
    )
    Path("cases.yaml").write_text(case("tag: kube.a\n    records: [{c: 1}]\n    expect: {central: [{c: 1}]}"))
    assert main(["test", "-c", path, "cases.yaml"]) == 1
    out = capsys.readouterr().out
    assert "filters failed for 1 event\n" in out
    assert "KeyError" in out
    assert not Path("/nonexistent").exists()


def test_directories_and_what_is_missing(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(CONFIG)
    Path("cases").mkdir()
    Path("cases/a.yaml").write_text(CASES)
    assert main(["test", "-c", path, "cases"]) == 0
    assert main(["test", "cases", "-c", path]) == 0
    assert main(["test", "-c", path]) == 2
    assert main(["test", "-c", "cases/a.yaml"]) == 2
    assert "which tests?" in capsys.readouterr().err


def test_filters_of_outputs_count_as_reached_or_not(
    run: Callable[..., tuple[int, str]], config: Callable[[str], str]
) -> None:
    """With the filters that sample, hide and cut among them."""
    own = (
        'archive: {type: "null", filters: [{type: sample, rate: 1}, {type: redact, detectors: [ip]}, '
        "{type: select, drop: 'True'}, {type: limit, depth: 3}]}"
    )
    config(CONFIG.replace('archive: {type: file, path: "/nonexistent/archive/{tag}.jsonl"}', own))
    body = (
        'tag: kube.a\n    records: [{a: "10.0.0.1"}]\n    expect: {archive: [], central: [{a: "10.0.0.1"}]}'
    )
    status, out = run(case(body))
    assert status == 0, out
    assert out.endswith(
        "5 of 8 routes and filters were reached\n  not reached: routes[0] (kube.kube-system.**)\n"
        "  not reached: routes[2] (never)\n  not reached: outputs.archive.filters[3] (archive: limit)\n"
    ), out
