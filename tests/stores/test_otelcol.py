"""A real OpenTelemetry Collector as the other end of five outputs, and as a client of the source ``otlp``."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logflow import registry
from logflow.batch import Batch, Chunk
from logflow.testing import make_context
from logflow.testing.processes import free_ports
from logflow.testing.stage import ProcessStage, start
from tools.servers.otelcol import OtelcolServer

T0 = 1_790_000_000_000_000_000
TAGS, EVENTS = 20, 50


def options(server: OtelcolServer, name: str) -> dict[str, Any]:
    match name:
        case "forward":
            return {"servers": [{"address": f"127.0.0.1:{server.ports['fluentforward']}"}]}
        case "otlp/grpc":
            return {"endpoints": [f"http://127.0.0.1:{server.ports[name]}"], "protocol": "grpc"}
        case "syslog":
            return {"address": f"127.0.0.1:{server.ports['syslog']}"}
        case "splunk_hec":
            return {"endpoints": [f"http://127.0.0.1:{server.ports[name]}"], "token": "any"}
        case _:
            return {"endpoints": [f"http://127.0.0.1:{server.ports[name]}"]}


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(300):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("name", ["otlp", "otlp/grpc", "forward", "loki", "splunk_hec", "syslog"])
async def test_every_event_arrives_once(otelcol: OtelcolServer, tmp_path: Path, name: str) -> None:
    kind = name.partition("/")[0]
    component = registry.load("output", kind)
    output = component(
        component.Config(type=kind, **options(otelcol, name)), make_context(tmp_path, kind="output")
    )
    await output.open()
    chunks = [
        Chunk(os.urandom(16), batch.tag, (batch.entries,), batch.count)
        for tag in range(TAGS)
        for batch in [
            Batch.from_events(f"app.{tag}", ((T0 + n, {"message": f"é-{tag}-{n}."}) for n in range(EVENTS)))
        ]
    ]
    assert list(await output.write_group(chunks)) == [None] * TAGS
    receiver = "fluentforward" if name == "forward" else name
    await until(lambda: len(otelcol.taken(receiver)) >= TAGS * EVENTS)
    await output.close()
    records = otelcol.taken(receiver)
    texts = Counter(
        text for record in records for tag in range(TAGS) for n in range(EVENTS)
        if (text := f"é-{tag}-{n}.") in str(record)
    )  # fmt: skip
    assert len(records) == TAGS * EVENTS
    assert texts == {f"é-{tag}-{n}.": 1 for tag in range(TAGS) for n in range(EVENTS)}


def test_what_its_exporters_send_is_taken_once(otelcol: OtelcolServer, tmp_path: Path) -> None:
    archive = tmp_path / "{tag}.jsonl"
    listening = {
        "http": {"type": "otlp", "tag": "http", "listen": f"127.0.0.1:{otelcol.port}"},
        "grpc": {
            "type": "otlp",
            "tag": "grpc",
            "protocol": "grpc",
            "listen": f"127.0.0.1:{otelcol.grpc_port}",
        },
    }
    config = {
        "sources": listening,
        "routes": [{"match": "**", "outputs": ["archive"]}],
        "outputs": {"archive": {"type": "file", "path": str(archive), "buffer": {"type": "disk"}}},
    }
    lines = [f"line {n}." for n in range(1000)]
    otelcol.followed.write_text("\n".join(lines) + "\n")
    with ProcessStage(tmp_path) as stage:
        member = stage.logflow("aggregator", config, free_ports(1)[0])
        start(member)
        member.process.wait_for(
            lambda: all(len(_lines(tmp_path / f"{tag}.jsonl")) >= 1000 for tag in listening), "take all", 60.0
        )
    for tag in listening:
        found = _lines(tmp_path / f"{tag}.jsonl")
        assert len(found) == 1000
        assert all(sum(f'"{text}"' in line for line in found) == 1 for text in lines)


def _lines(archive: Path) -> list[str]:
    return archive.read_text().splitlines() if archive.exists() else []
