"""A process that may open few files follows many, and goes on to answer."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from logflow.testing.processes import Process, free_ports, stop_all

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed"),
]

FILES = 300
DESCRIPTORS = 128


@pytest.mark.parametrize("buffer", ["memory", "disk"])
def test_128_descriptors_are_enough_for_300_files(tmp_path: Path, buffer: str) -> None:
    """All lines arrive, also later ones; the admin endpoint answers; there is no traceback."""
    (tmp_path / "in").mkdir()
    files = [tmp_path / "in" / f"{number}.log" for number in range(FILES)]
    for number, path in enumerate(files):
        path.write_text(f'{{"n":{number}}}\n')
    (port,) = free_ports(1)
    archive = tmp_path / "o.ndjson"
    tail = {"type": "tail", "paths": [f"{tmp_path}/in/*.log"], "format": "plain", "tag": "t.{name}"}
    settings = {
        "data_dir": str(tmp_path / "data"),
        "admin": {"listen": f"127.0.0.1:{port}"},
        "sources": {"a": {**tail, "rotate_wait": "1s"}},
        "routes": [{"match": "**", "outputs": ["o"]}],
        "outputs": {"o": {"type": "file", "path": str(archive), "buffer": {"type": buffer}}},
    }
    config = tmp_path / "agent.yaml"
    config.write_text(yaml.safe_dump(settings))
    limit = f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"
    argv = ["prlimit", limit, sys.executable, "-m", "logflow", "run", "-c", str(config)]
    process = Process("agent", argv, log=tmp_path / "agent.log")

    def arrived() -> list[int]:
        lines = archive.read_text().splitlines() if archive.exists() else []
        return sorted(json.loads(line)["n"] for line in lines)

    process.start()
    try:
        process.wait_for(lambda: len(arrived()) >= FILES, "deliver what is there", 60)
        for number, path in enumerate(files):
            with path.open("a") as file:
                file.write(f'{{"n":{FILES + number}}}\n')
            if number % 50 == 0:
                path.rename(f"{path}.1")
                path.write_text("")
        process.wait_for(lambda: len(arrived()) >= 2 * FILES, "deliver what was added", 90)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            assert answer.status == 200
    finally:
        stop_all([process], 30)
    assert arrived() == list(range(2 * FILES))
    assert "Traceback" not in process.log.read_text()
