"""Sources with Fluent Bit's outputs in front of them: `FLUENT_BIT` names it, unless it is on the path."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from logflow import registry
from logflow.testing import Collector, make_context, run_source

PROGRAM = shutil.which(os.environ.get("FLUENT_BIT", "fluent-bit"))
EVENTS = 2000

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Fluent Bit is not here; FLUENT_BIT may name it")

CASES: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "es": (
        "elasticsearch_bulk",
        {},
        {"Suppress_Type_Name": "On", "Index": "shop", "Compress": "gzip", "Buffer_Size": "False"},
    ),
    "es_create": (
        "elasticsearch_bulk",
        {},
        {
            "Suppress_Type_Name": "On",
            "Generate_ID": "On",
            "Write_Operation": "create",
            "Logstash_Format": "On",
        },
    ),
    "loki": ("loki_push", {"tag": "loki.{job}"}, {"Labels": "job=shop", "Line_Format": "json"}),
    "splunk": ("splunk_hec", {"token": "let-me-in"}, {"Splunk_Token": "let-me-in", "TLS": "Off"}),
    "opentelemetry": (
        "otlp",
        {},
        {"Logs_uri": "/v1/logs", "Logs_body_key": "$message", "Logs_body_key_attributes": "true"},
    ),
}


async def send(port: int, output: str, options: dict[str, str]) -> None:
    """Have Fluent Bit send numbered events and end."""
    assert PROGRAM is not None
    arguments = ["-q", "-f", "0.2", "-i", "stdin", "-o", output, "-p", "Host=127.0.0.1", "-p", f"Port={port}"]
    for key, value in options.items():
        arguments += ["-p", f"{key}={value}"]
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *arguments, "-m", "*", stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        lines = "".join(
            json.dumps({"n": n, "message": f"é {n}", "in": {"a": [1, None]}}) + "\n" for n in range(EVENTS)
        )
        await asyncio.wait_for(process.communicate(lines.encode()), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("case", CASES)
async def test_what_fluent_bit_sends_is_taken_once(tmp_path: Path, case: str) -> None:
    kind, options, of_output = CASES[case]
    component = registry.load("source", kind)
    config = component.Config(type=kind, listen="127.0.0.1:0", **options)
    source = component(config, make_context(tmp_path))
    arrived = Collector()
    async with run_source(source, arrived):
        await send(source.port, case.partition("_")[0], of_output)
    records = arrived.records()
    assert sorted(record["n"] for record in records) == list(range(EVENTS))
    first = next(record for record in records if record["n"] == 5)
    assert first["message"] == "é 5"
    assert first["in"] == {"a": [1, None]}
