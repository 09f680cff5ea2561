"""``logflow check``: a summary and 0, or every mistake and 2; ``--schema``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from logflow.cli.main import main
from logflow.engine import load_engine

UNIT = "write a number and a unit"
TEN_LINES = [
    "agent.yaml:1: data_dr: unknown key; did you mean 'data_dir'?",
    f"agent.yaml:2: shutdown_timeout: 'many' is not a duration; {UNIT}, such as 5s",
    "agent.yaml:3: log.level: 'loud' is not one of debug, info, warning, error",
    "agent.yaml:4: admin.listen: 24220 is not an address; write host:port, such as 127.0.0.1:24224",
    "agent.yaml:6: sources.peers.type: there is no source of type 'forwrd'; did you mean 'forward'?",
    "agent.yaml:8: routes[0].match: unbalanced braces in '{a,b'",
    "agent.yaml:9: routes[0].outputs[0]: there is no output 'nowhre'; did you mean 'nowhere'?",
    f"agent.yaml:14: outputs.nowhere.buffer.limit: '5 parsecs' is not a size; {UNIT}, such as 8MiB",
    f"agent.yaml:15: outputs.nowhere.buffer.flush_interval: 'soon' is not a duration; {UNIT}, such as 5s",
    "agent.yaml:16: outputs.nowhere.retry.factor: must be at least 1.0, not '0.5'",
]


@pytest.mark.parametrize("command", ["check", "run"])
def test_ten_mistakes_are_ten_lines_with_place_path_and_hint(
    ten_mistakes: str, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "-c", ten_mistakes]) == 2
    assert capsys.readouterr() == ("", "\n".join(TEN_LINES) + "\n")


def test_a_file_that_can_be_used_is_summed_up(valid: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", valid]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[:-1] == [
        "ok",
        "  sources  peers (forward)",
        "  routes   noise.** → dropped, on purpose",
        "           ** → nowhere",
        "  outputs  nowhere (null, memory buffer)",
    ]
    assert out.splitlines()[-1].startswith(f"  engine   {load_engine().name}")


def test_warnings_are_on_stderr_and_do_not_fail(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(
        "sources: {in: {type: forward}}\nroutes: [{match: a, outputs: []}]\noutputs:\n  x: {type: null}\n"
    )
    assert main(["check", "-c", file]) == 0
    assert capsys.readouterr().err == "warning: agent.yaml:4: outputs.x: no route uses this output\n"


def test_paths_that_match_nothing_now_are_told(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "there.log").touch()
    path = config(
        "sources:\n"
        f"  a: {{type: tail, tag: t, paths: ['{tmp_path}/there.log', '{tmp_path}/misspelled/*.log']}}\n"
        "outputs: {x: {type: 'null'}}\n"
        "routes: [{match: '**', outputs: [x]}]\n"
    )
    assert main(["check", "-c", path]) == 0
    assert capsys.readouterr().err == f"warning: sources.a: no file matches {tmp_path}/misspelled/*.log now\n"


def test_a_table_that_is_not_there_is_told_and_chains_have_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "a.yaml"
    config.write_text(
        f"data_dir: {tmp_path}\nsources: {{a: {{type: forward}}}}\noutputs: {{o: {{type: stdout}}}}\n"
        "filters: {clean: [{type: redact, detectors: [email]}]}\n"
        "routes:\n  - match: '**'\n    outputs: [o]\n    filters:\n      - {use: clean}\n"
        f"      - {{type: lookup, file: {tmp_path}/hosts.csv, key: host, fields: {{team: team}}}}\n"
    )
    assert main(["check", "-c", str(config)]) == 0
    told = capsys.readouterr()
    assert told.err.startswith(
        f"warning: filter lookup: there is no file {tmp_path}/hosts.csv on this machine"
    )
    assert "** → clean → lookup → o" in told.out


def test_what_only_a_component_finds_out_is_a_mistake_too(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGFLOW_ENGINE", "rust")
    file = config("sources: {in: {type: forward}}\nroutes: [{match: a, outputs: []}]\n")
    assert main(["check", "-c", file]) == 2
    assert capsys.readouterr().err.startswith("agent.yaml: there is no engine 'rust'")


@pytest.mark.skipif(load_engine().name == "python", reason="the native engine was not built")
def test_what_the_native_engine_cannot_express_is_told_with_the_reason(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = config("""
sources:
  one: {type: tail, paths: ["/nowhere/*"], tag: one, parse: {type: cri}}
  two: {type: tail, paths: ["/nowhere/*"], tag: two, parse: {type: docker}}
  three: {type: tail, paths: ["/nowhere/*"], tag: three, parse: {type: regex, pattern: '(?P<a>x)'}}
routes:
  - {match: "**", outputs: []}
""")
    assert main(["check", "-c", file]) == 0
    *_, one, two = capsys.readouterr().out.splitlines()
    assert one.startswith("  python   sources.one.parse: ")
    assert two.startswith("           sources.two.parse: ")
    assert "cri" in one


def test_a_pattern_that_takes_too_long_without_the_native_engine_is_refused(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGFLOW_ENGINE", "python")
    file = config("""
sources: {one: {type: tail, paths: ["/nowhere/*"], tag: one, parse: {type: regex, pattern: "(?P<a>(b+)+c)"}}}
routes: [{match: "**", outputs: [], filters: [{type: grep, keep: {a: "(a|aa)+b"}}]}]
""")
    assert main(["check", "-c", file]) == 2
    assert "may take time that grows exponentially on hostile text" in capsys.readouterr().err


def test_a_file_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert capsys.readouterr().err == "logflow check: -c FILE is missing\n"


@pytest.mark.slow
def test_the_schema_is_valid_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
