"""Who is measured: logflow with either engine, and the peers that are there.

A peer takes part in a case when its program is on PATH, or named by its variable, and the case's folder
holds a configuration for it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.machine import commit, said_by
from logflow.engine import load_engine


@dataclass(frozen=True)
class Subject:
    """A program with a configuration.

    Attributes:
        name: as it stands in tables.
        config: file name of its configuration in a case's folder.
        argv: makes the command for a configuration.
        env: added to its environment.
        version_argv: the command that prints its version.
        most_mb: megabytes of input that tell enough of it; more would only take longer.
    """

    name: str
    config: str
    argv: Callable[[Path], list[str]]
    env: dict[str, str]
    version_argv: tuple[str, ...]
    most_mb: int

    @property
    def short(self) -> str:
        """The name that is enough on the command line."""
        return self.name.removeprefix("logflow-")

    @cached_property
    def version(self) -> str:
        """What it says of its version; for logflow with the commit."""
        said = said_by(list(self.version_argv)) or "unknown"
        if self.name.startswith("logflow") and (found := commit()):
            return f"{said.partition(' (')[0]} at {found}"
        return said


def _logflow(engine: str, most_mb: int) -> Subject:
    command = (sys.executable, "-m", "logflow")
    return Subject(
        f"logflow-{engine}",
        "logflow.yaml",
        lambda config: [*command, "run", "-c", str(config)],
        # Byte-compiled, as an installed package is.
        {"LOGFLOW_ENGINE": engine, "PYTHONDONTWRITEBYTECODE": ""},
        (*command, "--version"),
        most_mb,
    )


_PEERS = {
    "fluent-bit": ("FLUENT_BIT", "fluent-bit.conf", ["-q", "-c"], 200),
    "fluentd": ("FLUENTD", "fluentd.conf", ["--no-supervisor", "-q", "-c"], 50),
    "vector": ("VECTOR", "vector.yaml", ["--dangerously-allow-env-var-interpolation", "-q", "--config"], 200),
    "otelcol": ("OTELCOL", "otelcol.yaml", ["--config"], 200),
}


def subjects() -> list[Subject]:
    """Everybody who can be measured here."""
    found = [_logflow("native", 2000)] if load_engine().name == "native" else []
    found.append(_logflow("python", 200))
    for name, (variable, config, flags, most_mb) in _PEERS.items():
        program = shlex.split(os.environ.get(variable, "")) or [shutil.which(name) or ""]
        if program[0]:
            found.append(_peer(name, config, program, flags, most_mb))
    return found


def choose(names: str, here: Sequence[Subject]) -> list[Subject]:
    """Those of ``here`` that a comma-separated list names, short names included.

    Raises:
        ValueError: there is no such subject here; the text lists those that are.
    """
    known = {name: subject for subject in here for name in (subject.name, subject.short)}
    wanted = [name.strip() for name in names.split(",")]
    if missing := [name for name in wanted if name not in known]:
        absent = [f"{name} ({variable})" for name, (variable, *_) in _PEERS.items() if name not in known]
        hint = f"; not here, but could be named by a variable: {', '.join(absent)}" if absent else ""
        raise ValueError(
            f"there is no subject {', '.join(map(repr, missing))}; "
            f"there are {', '.join(subject.name for subject in here)}{hint}"
        )
    return [subject for subject in here if subject.name in wanted or subject.short in wanted]


def input_bytes(subject: Subject, sizes_mb: Sequence[str]) -> int:
    """How much input a subject gets.

    Args:
        subject: who.
        sizes_mb: as on the command line: ``N`` for all, which a slow subject gets no more of than its
            ``most_mb``, or ``SUBJECT=N`` for one, as it stands. The last one counts.

    Raises:
        ValueError: not such a size.
    """
    size_mb = 0.0
    for text in sizes_mb:
        name, _, number = text.rpartition("=")
        if not name:
            size_mb = min(_positive(number), subject.most_mb)
        elif name in (subject.name, subject.short):
            size_mb = _positive(number)
    return int(size_mb * 1e6)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise ValueError(f"{text!r} is not a size; write megabytes, such as 500")
    return value


def _peer(name: str, config: str, program: list[str], flags: list[str], most_mb: int) -> Subject:
    return Subject(
        name, config, lambda path: [*program, *flags, str(path)], {}, (*program, "--version"), most_mb
    )
