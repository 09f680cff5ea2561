"""The conditions of a measurement: the machine, and the versions of those who are measured."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Machine:
    """What figures depend on; only those of one machine are compared.

    Attributes:
        cpu: the processor's name.
        cores: how many this process may use.
        memory_gb: of the machine, in 10**9 bytes.
        kernel: name and release.
        python: version of the interpreter.
    """

    cpu: str
    cores: int
    memory_gb: int
    kernel: str
    python: str

    @classmethod
    def here(cls) -> Machine:
        """The machine at hand."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(
            cpu=cpu_name(Path("/proc/cpuinfo").read_text()) or platform.machine(),
            cores=len(os.sched_getaffinity(0)),
            memory_gb=round(memory / 1e9),
            kernel=f"{platform.system()} {platform.release().split('-')[0]}",
            python=platform.python_version(),
        )

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gb} GB of memory, {self.kernel}, "
            f"Python {self.python}"
        )


def cpu_name(cpuinfo: str) -> str:
    """The processor's name as the kernel tells it; empty where it does not."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return " ".join(value.split())
    return ""


def said_by(argv: list[str]) -> str:
    """The first line that a command prints, or nothing when it fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout.strip().splitlines() or [""])[0].strip()


def commit() -> str:
    """The project's commit, with a ``+`` when its program differs from it; empty outside of a repository."""
    git = ["git", "-C", str(_ROOT)]
    found = said_by([*git, "rev-parse", "--short", "HEAD"])
    changed = said_by([*git, "status", "--porcelain", "--untracked-files=no", "--", "logflow", "native"])
    return f"{found}{'+' if changed else ''}"
