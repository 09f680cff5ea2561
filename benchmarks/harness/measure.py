"""What processes have used so far: CPU seconds, memory and switches between threads, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_STILL_S = 0.5
_STILL_CPU_S = 0.02


@dataclass(frozen=True)
class Usage:
    """Of one process with its threads, or of several together.

    Attributes:
        cpu_s: user and system seconds.
        peak_bytes: highest resident memory.
        resident_bytes: resident memory now.
    """

    cpu_s: float
    peak_bytes: int
    resident_bytes: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.cpu_s + other.cpu_s,
            self.peak_bytes + other.peak_bytes,
            self.resident_bytes + other.resident_bytes,
        )


def usage(pid: int) -> Usage:
    """Read the usage of a process; memory is 0 once it has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in status if line.startswith(("VmHWM", "VmRSS"))}
    return Usage(
        (int(fields[11]) + int(fields[12])) / _TICKS, kib.get("VmHWM", 0) * 1024, kib.get("VmRSS", 0) * 1024
    )


def usage_of(pids: Iterable[int]) -> Usage:
    """The usage of several processes together."""
    return sum((usage(pid) for pid in pids), Usage(0.0, 0, 0))


def switches_of(pids: Iterable[int]) -> int:
    """How often the threads that several processes have now were switched to or waited."""
    return sum(
        int(line.split()[1])
        for pid in pids
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if "ctxt_switches" in line
    )


def settle(pids: list[int], least_s: float, most_s: float = 15.0) -> Usage:
    """Wait until processes have done with starting, so that they use next to no CPU; returns their usage."""
    begun_s = time.monotonic()
    before = usage_of(pids)
    while True:
        time.sleep(_STILL_S)
        now = usage_of(pids)
        waited_s = time.monotonic() - begun_s
        if (now.cpu_s - before.cpu_s <= _STILL_CPU_S and waited_s >= least_s) or waited_s > most_s:
            return now
        before = now
