"""What a process has used so far: CPU seconds and peak memory, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Of one process with its threads.

    Attributes:
        cpu_s: user and system seconds.
        peak_bytes: highest resident memory.
    """

    cpu_s: float
    peak_bytes: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu_s + other.cpu_s, self.peak_bytes + other.peak_bytes)


def usage(pid: int) -> Usage:
    """Read the usage of a running process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, peak_kib * 1024)
