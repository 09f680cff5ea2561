"""Each ready configuration runs as it is, as a real process, and delivers what it is fed."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest

from logflow.cli.main import main
from logflow.testing.containers import ContainerLog, ContainerName, cri_lines
from logflow.testing.processes import Process, free_ports
from logflow.testing.sinks import read_deliveries
from logflow.testing.stage import ProcessStage, ready_config, start

ROOT = Path(__file__).parents[2]
CONFIGS = (
    "agent", "aggregator", "host", "kubernetes-agent", "kubernetes-aggregator", "sidecar", "standalone",
)  # fmt: skip
_TIMEOUT_S = 20.0


class Runner(ProcessStage):
    """Starts processes that end with the test."""

    def run(self, config: str, env: dict[str, str], *, stdin: bytes | None = None) -> Process:
        """Run a ready configuration; without ``stdin``, wait until it is up."""
        [port] = free_ports(1)
        env = {
            "LOGFLOW_DATA_DIR": str(self.directory / config),
            "LOGFLOW_ADMIN": f"127.0.0.1:{port}",
            **env,
        }
        process = self.logflow(config, ready_config(config), port, env=env).process
        if stdin is None:
            process.start()
            process.wait_for_http(port, "/readyz", _TIMEOUT_S)
        else:
            (self.directory / "stdin").write_bytes(stdin)
            with (self.directory / "stdin").open("rb") as file:
                process.start(file)
        return process

    def aggregator(self) -> tuple[Process, str]:
        """Run the aggregator's configuration with one sink for both endpoints; returns its address too."""
        port, sink_port = free_ports(2)
        sink = self.sink("sink", sink_port)
        start(sink)
        env = {
            "LOGFLOW_LISTEN": f"127.0.0.1:{port}",
            "LOGFLOW_ARCHIVE_DIR": str(self.directory / "archive"),
            "LOGFLOW_SINK_0": f"http://{sink.address}/0",
            "LOGFLOW_SINK_1": f"http://{sink.address}/1",
        }
        return self.run("aggregator", env), f"127.0.0.1:{port}"

    def archived(self, count: int) -> dict[str, list[dict[str, Any]]]:
        """Records by tag, once ``count`` of them are in the archive."""
        return self._wait(self._archive, count)

    def sent(self, count: int) -> dict[str, list[dict[str, Any]]]:
        """Records by tag, once ``count`` of them are at the sink."""
        return self._wait(self._sink, count)

    def _archive(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.directory.glob("archive/*/*.jsonl")))

    def _sink(self) -> bytes:
        return b"".join(body for _, body in read_deliveries([self.directory / "sink"]))

    @staticmethod
    def _wait(read: Any, count: int) -> dict[str, list[dict[str, Any]]]:
        deadline_s = time.monotonic() + _TIMEOUT_S
        while (content := read()).count(b"\n") < count and time.monotonic() < deadline_s:
            time.sleep(0.02)
        by_tag: dict[str, list[dict[str, Any]]] = {}
        for record in msgspec.json.Decoder().decode_lines(content):
            by_tag.setdefault(record.pop("@tag"), []).append(record)
        return by_tag


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    """Starts processes that end with the test."""
    with Runner(tmp_path) as runner:
        yield runner


def send(address: str, tag: str, record: dict[str, Any]) -> Any:
    """Send one event as a Forward client does; returns what the aggregator answers."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
        connection.sendall(msgpack.packb([tag, [[1_700_000_000, record]], {"chunk": "abc"}]))
        return msgpack.unpackb(connection.recv(1024))


def stop(process: Process) -> int:
    process.send(signal.SIGTERM)
    return process.wait(_TIMEOUT_S)


@pytest.mark.parametrize("name", CONFIGS)
def test_check_finds_nothing_wrong(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", str(ready_config(name))]) == 0
    # Whether there are containers, or log files, depends on the machine.
    said = [line for line in capsys.readouterr().err.splitlines() if "no file matches" not in line]
    assert "warning" not in "\n".join(said)


@pytest.mark.parametrize("name", CONFIGS)
def test_its_own_tests_hold_and_reach_every_route(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["test", "-c", str(ready_config(name)), str(ROOT / "config" / "tests" / f"{name}.yaml")])
    out = capsys.readouterr().out
    assert status == 0, out
    assert "not reached" not in out


@pytest.mark.parametrize("name", CONFIGS)
def test_every_variable_has_a_default_and_is_documented(name: str) -> None:
    text = ready_config(name).read_text()
    settings = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    used = dict(re.findall(r"\$\{(\w+):-([^}]+)\}", settings))
    assert settings.count("${") == len(used)
    head = text[: text.index("\ndata_dir")]
    documented = (ROOT / "docs" / "deployment.md").read_text()
    for variable in used:
        assert variable in head
        assert variable in documented or variable.removesuffix("_1") + "_0`, `_1`" in documented


@pytest.mark.slow
def test_the_agent_delivers_to_the_aggregator_that_is_up(runner: Runner) -> None:
    log = ContainerLog(runner.directory / "node", ContainerName("shop", "web-0", "web", "u1", "c" * 64))
    log.write(b"".join(cri_lines(1_700_000_000_000_000_001, "stdout", b'{"n": 1}')))
    aggregator, address = runner.aggregator()
    [nobody] = free_ports(1)
    agent = runner.run(
        "agent",
        {
            "LOGFLOW_CONTAINER_LOGS": f"{runner.directory}/node/containers/*.log",
            "LOGFLOW_AGGREGATOR_0": f"127.0.0.1:{nobody}",
            "LOGFLOW_AGGREGATOR_1": address,
        },
    )
    log.write(b"".join(cri_lines(1_700_000_000_500_000_000, "stderr", "caf\u00e9 ".encode() * 5000)))
    log.close()
    expected = {
        "kube.shop.web-0.web": [
            {"@timestamp": "2023-11-14T22:13:20.000000001Z", "n": 1, "stream": "stdout"},
            {
                "@timestamp": "2023-11-14T22:13:20.500000000Z",
                "message": "caf\u00e9 " * 5000,
                "stream": "stderr",
            },
        ]
    }
    assert runner.archived(2) == expected
    assert runner.sent(2) == expected
    assert [stop(agent), stop(aggregator)] == [0, 0]


@pytest.mark.slow
def test_the_aggregator_takes_what_other_clients_forward(runner: Runner) -> None:
    aggregator, address = runner.aggregator()
    assert send(address, "app.web", {"n": 1}) == {"ack": "abc"}
    expected = {"app.web": [{"@timestamp": "2023-11-14T22:13:20.000000000Z", "n": 1}]}
    assert runner.archived(1) == expected
    assert runner.sent(1) == expected
    assert stop(aggregator) == 0


@pytest.mark.slow
def test_the_sidecar_forwards_its_stdin_and_passes_it_through(runner: Runner) -> None:
    _, address = runner.aggregator()
    lines = b'{"n": 1}\nplain\n'
    env = {"LOGFLOW_AGGREGATOR_0": address, "LOGFLOW_TAG": "app.shop"}
    sidecar = runner.run("sidecar", env, stdin=lines)
    assert sidecar.wait(_TIMEOUT_S) == 0
    [records] = runner.archived(2).values()
    assert [{k: v for k, v in record.items() if k != "@timestamp"} for record in records] == [
        {"n": 1}, {"message": "plain"},
    ]  # fmt: skip
    assert list(runner.archived(2)) == ["app.shop"]
    assert b'{"n": 1}\nplain\n' in sidecar.log.read_bytes()


@pytest.mark.slow
def test_standalone_writes_files_from_files(runner: Runner) -> None:
    logs = runner.directory / "app"
    logs.mkdir()
    (logs / "web.log").write_bytes(b'{"n": 1}\nplain\n')
    env = {
        "LOGFLOW_LOGS": f"{logs}/*.log",
        "LOGFLOW_ARCHIVE_DIR": str(runner.directory / "archive"),
    }
    standalone = runner.run("standalone", env)
    [(tag, records)] = runner.archived(2).items()
    assert tag.startswith("host.")
    assert tag.endswith("app.web.log")
    assert [record.get("n", record.get("message")) for record in records] == [1, "plain"]
    assert stop(standalone) == 0
