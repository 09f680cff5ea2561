"""A service that systemd starts when the first agent connects."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ACTIVATE = shutil.which("systemd-socket-activate")

CONFIG = """
data_dir: {directory}/data
admin: {{listen: null}}
sources: {{peers: {{type: syslog, listen: "127.0.0.1:{port}", tag: t}}}}
routes: [{{match: "**", outputs: [files]}}]
outputs: {{files: {{type: file, path: "{directory}/out.jsonl"}}}}
"""


@pytest.mark.slow
@pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate is not installed")
def test_what_was_sent_before_the_start_arrives(tmp_path: Path, unused_tcp_port: int) -> None:
    config = tmp_path / "logflow.yaml"
    config.write_text(CONFIG.format(directory=tmp_path, port=unused_tcp_port))
    argv = [ACTIVATE, "-l", f"127.0.0.1:{unused_tcp_port}", sys.executable, "-m", "logflow"]
    process = subprocess.Popen([*argv, "run", "-c", config], stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 60
    try:
        while True:
            try:
                client = socket.create_connection(("127.0.0.1", unused_tcp_port))
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
        with client:
            client.sendall(b"<14>1 2026-01-01T00:00:00Z host app - - - hello\n")
        written = tmp_path / "out.jsonl"
        while not (written.exists() and b"hello" in written.read_bytes()):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
    finally:
        process.terminate()
        assert process.wait(30) == 0
