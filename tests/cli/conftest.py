"""Configurations for the commands that read one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

VALID = """
data_dir: {directory}/data
admin: {{listen: null}}
sources:
  peers: {{type: forward, listen: "127.0.0.1:0"}}
routes:
  - {{match: "noise.**", outputs: []}}
  - {{match: "**", outputs: [nowhere]}}
outputs:
  nowhere: {{type: null}}
"""

TEN_MISTAKES = """data_dr: /tmp
shutdown_timeout: many
log: {level: loud}
admin: {listen: 24220}
sources:
  peers: {type: forwrd}
routes:
  - match: "{a,b"
    outputs: [nowhre]
outputs:
  nowhere:
    type: null
    buffer:
      limit: 5 parsecs
      flush_interval: soon
    retry: {factor: 0.5}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write ``agent.yaml`` in an empty working directory; ``{directory}`` stands for it."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        Path("agent.yaml").write_text(text)
        return "agent.yaml"

    return write


@pytest.fixture
def valid(config: Callable[[str], str], tmp_path: Path) -> str:
    """A file that can be used: a forward source and a null output."""
    return config(VALID.format(directory=tmp_path))


@pytest.fixture
def ten_mistakes(config: Callable[[str], str]) -> str:
    """A file with ten different mistakes."""
    return config(TEN_MISTAKES)
