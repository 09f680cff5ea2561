"""``logflow explain``: which route, what filters do, where values come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logflow.cli.main import main

CONFIG = """
sources:
  containers: {type: tail, paths: ["/var/log/containers/*.log"], tag: "kube.{namespace}.{pod}"}
routes:
  - {match: "kube.kube-system.**", outputs: []}
  - match: "**"
    filters:
      - {type: grep, exclude: {level: "^debug$"}}
      - {type: modify, set: {host: here}, rename: {msg: message}}
    outputs: [central]
outputs:
  central:
    type: forward
    shared_key: ${KEY}
    servers: [{address: "a:1", username: "${file:name}"}]
    compress: ${COMPRESS:-gzip}
"""


@pytest.fixture
def explain(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, list[str]]]:
    """Explain with options; returns the status and the lines."""
    path = config(CONFIG)
    monkeypatch.setenv("KEY", "hunter2")
    Path("name").write_text("somebody")

    def run(*options: str) -> tuple[int, list[str]]:
        status = main(["explain", "-c", path, *options])
        captured = capsys.readouterr()
        return status, (captured.out + captured.err).splitlines()

    return run


def test_a_tag_is_followed_through_the_routes(explain: Callable[..., tuple[int, list[str]]]) -> None:
    status, lines = explain("--tag", "kube.shop.web")
    assert status == 0
    assert lines[:6] == [
        "tag kube.shop.web",
        "routes[0] at agent.yaml:5: match kube.kube-system.**: does not match kube.shop.web",
        "routes[1] at agent.yaml:6: match **: matches",
        "  filters[0] grep at agent.yaml:8",
        "  filters[1] modify at agent.yaml:9",
        "  → central",
    ]
    assert explain("--tag", "kube.kube-system.dns")[1][-1] == "  → dropped, on purpose"


def test_values_say_where_they_come_from_and_secrets_are_masked(
    explain: Callable[..., tuple[int, list[str]]],
) -> None:
    _, lines = explain("--tag", "kube.shop.web")
    values = {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line.startswith("  ")}
    assert values["compress"] == "gzip (agent.yaml:16, from ${COMPRESS:-gzip})"
    assert values["shared_key"] == "********** (agent.yaml:14, from ${KEY})"
    assert values["servers[0].address"] == "a:1 (agent.yaml:15)"
    assert values["servers[0].username"] == "${file:name} (agent.yaml:15, from ${file:name})"
    assert values["buffer.chunk_limit"] == "8MiB (default)"
    assert values["ack_timeout"] == "1m (default)"
    assert "hunter2" not in "\n".join(lines)
    assert "somebody" not in "\n".join(lines)


def test_each_filter_s_effect_on_a_record(explain: Callable[..., tuple[int, list[str]]]) -> None:
    _, lines = explain("--tag", "kube.a", "--record", '{"level": "info", "msg": "x"}')
    start = lines.index("  filters[0] grep at agent.yaml:8: lets it pass")
    assert lines[start + 1] == "  filters[1] modify at agent.yaml:9: changes it"
    assert sorted(lines[start + 2 : start + 5]) == [
        '    + host: "here"', '    + message: "x"', '    - msg: "x"',
    ]  # fmt: skip
    assert lines[start + 5] == '  = {"level": "info", "message": "x", "host": "here"}'
    _, lines = explain("--tag", "kube.a", "--record", '{"level": "debug"}')
    assert "  filters[0] grep at agent.yaml:8: drops it" in lines


def test_a_file_has_a_source_and_a_tag(explain: Callable[..., tuple[int, list[str]]]) -> None:
    status, lines = explain("--file", "/var/log/containers/web-1_shop_app-0123.log")
    assert status == 0
    assert lines[0] == "source containers (tail) at agent.yaml:3"
    assert "  → tag kube.shop.web-1" in lines
    assert explain("--file", "/tmp/x.log") == (1, ["no source reads /tmp/x.log"])


@pytest.mark.parametrize("options", [[], ["--tag", "a", "--record", "x"], ["--tag", "a", "--record", "[1]"]])
def test_mistakes_on_the_command_line(
    explain: Callable[..., tuple[int, list[str]]], options: list[str]
) -> None:
    status, (line,) = explain(*options)
    assert status == 2
    assert line.startswith("logflow explain: ")


SPLIT = """
sources:
  containers: {type: tail, paths: ["/var/log/containers/*.log"], tag: app}
filters:
  clean: [{type: redact, detectors: [email]}, {type: limit, field_bytes: 20}]
routes:
  - match: "**"
    filters:
      - {use: clean}
      - {type: set, fields: {slow: "True"}, where: ms > 100}
    outputs: [archive, vendor]
outputs:
  archive: {type: "null"}
  vendor:
    type: "null"
    filters:
      - {type: select, keep: slow}
      - {type: set, remove: [mail]}
"""


@pytest.mark.parametrize(("ms", "last"), [(5, "drops it"), (500, "lets it pass")])
def test_filters_of_named_chains_and_of_outputs_are_shown(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str], ms: int, last: str
) -> None:
    """With their places, what `where` leaves out, and what each changes."""
    record = f'{{"mail": "a@b.de", "ms": {ms}}}'
    assert main(["explain", "-c", config(SPLIT), "--tag", "app", "--record", record]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("  filters[0] clean[0] redact at agent.yaml:5: changes it")
    assert lines[start + 1 : start + 4] == [
        '    ~ mail: "[email]"',
        "  filters[0] clean[1] limit at agent.yaml:5: lets it pass",
        f"  filters[1] set-2 at agent.yaml:10: {'changes it' if ms > 100 else 'lets it pass'}",
    ]
    assert "  → archive, vendor" in lines
    own = lines.index("  → vendor, by its own filters")
    assert lines[own + 1] == f"    filters[0] select at agent.yaml:17: {last}"
    assert ('      - mail: "[email]"' in lines) == (ms > 100)


def test_filters_of_outputs_are_named_without_a_record(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "-c", config(SPLIT), "--tag", "app"]) == 0
    lines = capsys.readouterr().out.splitlines()
    own = lines.index("  → vendor, by its own filters")
    assert lines[own + 1 : own + 3] == [
        "    filters[0] select at agent.yaml:17",
        "    filters[1] set at agent.yaml:18",
    ]
