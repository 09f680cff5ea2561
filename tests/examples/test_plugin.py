"""The example package: its components work, and the project's own tests do not mind that it is installed."""

from __future__ import annotations

import asyncio
import json
import os
import site
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from logflow.batch import Batch, Chunk
from logflow.errors import ComponentError
from logflow.testing import Collector, FakeClock, make_context, run_source
from logflow.testing.processes import free_ports

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "examples" / "plugin"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PLUGIN)


def component(module: str, name: str) -> Any:
    return getattr(import_module(f"logflow_example.{module}"), name)


@pytest.mark.parametrize(
    "path", sorted((PLUGIN / "logflow_example").glob("*.py")), ids=lambda path: path.stem
)
def test_each_is_short_and_uses_public_names_only(path: Path) -> None:
    lines = [
        line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    assert len(lines) < 60
    assert not [
        line for line in lines if line.startswith(("from logflow", "import logflow")) and "._" in line
    ]


async def test_the_source_emits_the_lines_of_datagrams(tmp_path: Path) -> None:
    source_type, [port] = component("udp_lines", "UdpLinesSource"), free_ports(1)
    source = source_type(source_type.Config(listen=f"127.0.0.1:{port}", tag="udp"), make_context(tmp_path))
    emit = Collector()
    async with run_source(source, emit):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for datagram in (b"one\ntwo\n", b"\n", b"caf\xe9"):
                sender.sendto(datagram, ("127.0.0.1", port))
        await emit.wait_for(3)
    await source.close()
    assert emit.records() == [{"message": "one"}, {"message": "two"}, {"message": "caf\ufffd"}]


async def test_the_toy_of_syslog_takes_lines_and_datagrams_of_many_peers(tmp_path: Path) -> None:
    source_type, emit = component("toy_syslog", "ToySyslogSource"), Collector()
    source = source_type(source_type.Config(listen="127.0.0.1:0", max_message=480), make_context(tmp_path))
    async with run_source(source, emit):
        writers = [(await asyncio.open_connection("127.0.0.1", source.port))[1] for _ in range(2)]
        for number, writer in enumerate(writers):
            writer.write(b"12 is no length here\n" + b"x" * 1000 + b"\n<14>last %d" % number)
            await writer.drain()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"<11>datagram", ("127.0.0.1", source.port))
        await emit.wait_for(5)
        peers = {"{}:{}".format(*writer.get_extra_info("sockname")) for writer in writers}
    for writer in writers:
        writer.close()
    records = sorted(emit.records(), key=lambda record: record["message"])
    assert records[:3] == [{"message": "12 is no length here"}] * 2 + [{"severity": 3, "message": "datagram"}]
    assert records[3:5] == [{"severity": 6, "message": f"last {number}"} for number in (0, 1)]
    assert records[5:] == [{"message": "x" * 480}] * 2
    assert peers < {batch.attributes["peer"] for batch in emit.batches}


async def test_the_filter_adds_who_sent_a_batch(tmp_path: Path) -> None:
    filter_type = component("add_peer", "AddPeerFilter")
    (tmp_path / "teams.json").write_text('{"192.0.2.1": "shop"}')
    add = filter_type(filter_type.Config(teams=tmp_path / "teams.json"), make_context(tmp_path))
    await add.open()
    events = [(1, {"n": 1}), (2, {"sender": "own"})]
    batch = Batch.from_events("app", events, attributes={"peer": "192.0.2.1:7"})
    expected = [{"n": 1, "sender": {"address": "192.0.2.1", "team": "shop"}}, {"sender": "own"}]
    assert [record for _, record in add.apply(batch).events()] == expected
    unchanged = Batch.from_events("app", events)
    assert add.apply(unchanged) is unchanged
    (tmp_path / "teams.json").write_text("{")
    with pytest.raises(ComponentError, match="mend the file"):
        await add.open()


def lines(*messages: str) -> list[tuple[int, dict[str, Any]]]:
    return [(time, {"message": message}) for time, message in enumerate(messages)]


def messages(batches: Any) -> list[str]:
    return [record["message"] for batch in batches for _, record in batch.events()]


async def test_the_stage_joins_lines_and_lets_go_in_time(tmp_path: Path) -> None:
    stage_type, clock = component("join_lines", "JoinLinesStage"), FakeClock()
    stage = stage_type(stage_type.Config(timeout="2s"), make_context(tmp_path, clock=clock))
    batch = Batch.from_events("app", lines("Error: x", "  at a", "next", "\tat b"))
    assert messages(stage.apply(batch)) == ["Error: x\n  at a"]
    assert messages(stage.flush(clock.monotonic())) == []
    assert messages(stage.apply(Batch.from_events("app", lines("  at c")))) == []
    await clock.advance(2.0)
    assert messages(stage.flush(clock.monotonic())) == ["next\n\tat b\n  at c"]
    assert messages(stage.flush(None)) == []


async def test_the_output_pushes_several_tags_in_one_request(tmp_path: Path) -> None:
    received: list[dict[str, Any]] = []

    async def push(request: web.Request) -> web.Response:
        received.append(await request.json())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/push", push)
    runner = web.AppRunner(app)
    await runner.setup()
    [port] = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    output_type = component("loki", "LokiOutput")
    config = output_type.Config(endpoints=[f"http://127.0.0.1:{port}/push"], labels={"job": "x"})
    output = output_type(config, make_context(tmp_path, kind="output"))
    await output.open()
    chunks = [
        Chunk(bytes(16), tag, (Batch.from_events(tag, [(7, {"a": 1})]).entries,), 1) for tag in ("a", "b")
    ]
    assert list(await output.write_group(chunks)) == [None, None]
    await output.close()
    await runner.cleanup()
    assert received == [
        {
            "streams": [
                {"stream": {"job": "x", "tag": tag}, "values": [["7", '{"a":1}']]} for tag in ("a", "b")
            ]
        }
    ]


@pytest.mark.parametrize(
    ("kind", "module", "name"),
    [
        ("source", "udp_lines", "UdpLinesSource"),
        ("source", "toy_syslog", "ToySyslogSource"),
        ("filter", "add_peer", "AddPeerFilter"),
        ("filter", "join_lines", "JoinLinesStage"),
        ("output", "loki", "LokiOutput"),
    ],
)
def test_the_examples_on_the_classes_can_be_used(kind: str, module: str, name: str) -> None:
    model = component(module, name).Config
    model.model_validate({"type": model.model_fields["type"].default, **model.example})


@pytest.mark.slow
def test_installed_in_an_environment_of_its_own_the_suite_and_the_command_know_it(tmp_path: Path) -> None:
    """Conformance tests pick its components up; those of the built-in ones and the reference do not mind."""
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    [packages] = (tmp_path / "env").glob("lib/python*/site-packages")
    # What the tests need is taken from here, the project itself from its checkout.
    (packages / "developers.pth").write_text("\n".join([*site.getsitepackages(), str(ROOT)]))
    source = tmp_path / "plugin"
    subprocess.run(["cp", "-r", PLUGIN, source], check=True)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"]
    install = [*pip, "--no-deps", "--no-build-isolation", "--disable-pip-version-check", source]
    if subprocess.run(install, check=False, capture_output=True).returncode:
        pytest.skip("pip cannot install into another environment here")
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    schema = subprocess.run(
        [python, "-m", "logflow", "check", "--schema"], check=True, capture_output=True, env=env, cwd=tmp_path
    )
    assert {
        "source.udp_lines",
        "source.toy_syslog",
        "filter.join_lines",
        "filter.add_peer",
        "output.loki",
    } <= json.loads(schema.stdout)["$defs"].keys()
    suites = [
        "tests/conformance",
        "tests/config/test_reference.py",
        "tests/test_layering.py",
        "tests/test_docs.py",
    ]
    tests = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *suites], check=False,
        capture_output=True, text=True, env=env, cwd=ROOT,
    )  # fmt: skip
    assert tests.returncode == 0, tests.stdout[-4000:] + tests.stderr[-2000:]
