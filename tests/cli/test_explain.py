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
