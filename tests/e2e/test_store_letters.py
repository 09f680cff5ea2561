"""A rejected document among ten thousand, as a user meets it: a letter, a mended mapping, a replay."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tools.stores.bulk import BulkStore, start


async def logflow(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "logflow", *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


@pytest.mark.slow
async def test_one_of_ten_thousand_is_rejected_and_replayed_once_the_mapping_is_mended(
    tmp_path: Path,
) -> None:
    store = BulkStore(keep_requests=False)
    runner, port = await start(store)
    lines = [json.dumps({"n": n if n != 5000 else {"not": "a number"}, "line": n}) for n in range(10_000)]
    (tmp_path / "app.log").write_text("\n".join(lines) + "\n")
    config = tmp_path / "agent.yaml"
    config.write_text(json.dumps({
        "data_dir": str(tmp_path / "data"),
        "sources": {"app": {
            "type": "tail", "paths": [str(tmp_path / "app.log")], "format": "plain", "tag": "app",
        }},
        "routes": [{"match": "**", "outputs": ["search"]}],
        "outputs": {"search": {
            "type": "elasticsearch", "endpoints": [f"http://127.0.0.1:{port}"], "index": "logs",
            "buffer": {"type": "disk"},
        }},
    }))  # fmt: skip
    stored = store.docs.setdefault("logs", {})
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "logflow", "run", "-c", str(config))
    try:
        async with asyncio.timeout(30):
            while len(stored) < 9999 or not list((tmp_path / "data" / "dead-letters").rglob("*")):
                await asyncio.sleep(0.1)
        assert "failed to parse field [n] of type [long]" in await logflow(
            "dead-letter", "list", "-c", str(config)
        )
        shown = await logflow("dead-letter", "show", "-c", str(config), "--all")
        assert [json.loads(line)["line"] for line in shown.splitlines() if line.startswith("{")] == [5000]
        store.mappings["logs"]["n"] = "object"
        await logflow("dead-letter", "replay", "-c", str(config), "--all")
        async with asyncio.timeout(30):
            while len(stored) < 10_000:
                await asyncio.sleep(0.1)
    finally:
        process.terminate()
        assert await process.wait() == 0
        await runner.cleanup()
    assert sorted(document["line"] for document in stored.values()) == list(range(10_000))
