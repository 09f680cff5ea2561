"""Who is measured: logflow with either engine, and the peers that are there.

A peer takes part in a case when its program is on PATH, or named by its variable, and the case's folder
holds a configuration for it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from logflow.engine import load_engine


@dataclass(frozen=True)
class Subject:
    """A program with a configuration.

    Attributes:
        name: as it stands in tables.
        config: file name of its configuration in a case's folder.
        argv: makes the command for a configuration.
        env: added to its environment.
    """

    name: str
    config: str
    argv: Callable[[Path], list[str]]
    env: dict[str, str]


def _logflow(engine: str) -> Subject:
    command = [sys.executable, "-m", "logflow", "run", "-c"]
    return Subject(
        f"logflow-{engine}",
        "logflow.yaml",
        lambda config: [*command, str(config)],
        {"LOGFLOW_ENGINE": engine},
    )


_PEERS = {
    "fluent-bit": ("FLUENT_BIT", "fluent-bit.conf", ["-q", "-c"]),
    "fluentd": ("FLUENTD", "fluentd.conf", ["-q", "-c"]),
    "vector": ("VECTOR", "vector.yaml", ["-q", "-c"]),
    "otelcol": ("OTELCOL", "otelcol.yaml", ["--config"]),
}


def subjects() -> list[Subject]:
    """Everybody who can be measured here."""
    found = [_logflow("native")] if load_engine().name == "native" else []
    found.append(_logflow("python"))
    for name, (variable, config, flags) in _PEERS.items():
        program = os.environ.get(variable) or shutil.which(name)
        if program:
            found.append(_peer(name, config, program, flags))
    return found


def _peer(name: str, config: str, program: str, flags: list[str]) -> Subject:
    return Subject(name, config, lambda path: [program, *flags, str(path)], {})
