"""What a disk buffer costs: recovery of a large one, and throughput beside a memory buffer.

``python -m benchmarks.buffers --help``. Both parts run a real aggregator on loopback:

recovery    fill the disk buffer of an output that cannot write, kill the process, start it again: seconds
            until it knows all its waiting events, and its resident memory then and after the first second
throughput  feed the same requests over several connections to a file output with a memory buffer and with
            a disk buffer (``sync: batch``), in turns; what counts is the ratio of the two
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from logflow.testing.stage import Member
from tools.client import Client, packed_request
from tools.rig import Rig, file_output, launch, until

_LINES = 4000
"""Lines of a request, unless told otherwise."""
_CONNECTIONS = 4


async def recovery(directory: Path, size_bytes: int, lines: int = _LINES) -> dict[str, float]:
    """Fill, kill, start; returns what was measured."""
    with Rig(directory) as rig:
        rig.archive.parent.mkdir(parents=True)
        rig.archive.touch()  # a file where the directory should be: nothing can be written
        buffer = {"type": "disk", "limit": 2 * size_bytes}
        aggregator = rig.aggregator({"archive": file_output(rig.archive, buffer=buffer)})
        empty_s, empty_cpu_s = await _start(aggregator, 0)
        client, sent = Client(rig.forward_port), 0
        request = packed_request("app.client", lines, 0)
        for number in range(size_bytes // len(request) + 1):
            await client.deliver(packed_request("app.client", lines, number, sent))
            sent += lines
        client.cut()
        filled = sum(path.stat().st_size for path in aggregator.directory.glob("data/buffers/archive/*"))
        aggregator.process.kill()
        recovered_s, cpu_s = await _start(aggregator, sent)
        memory = _resident_bytes(aggregator.process.pid)
        await asyncio.sleep(1.0)
        later = _resident_bytes(aggregator.process.pid)
        return {
            "buffer_mb": round(filled / 1e6),
            "batches": sent // lines,
            "events": sent,
            "empty_start_s": round(empty_s, 2),
            "empty_start_cpu_s": round(empty_cpu_s, 2),
            "start_and_recovery_s": round(recovered_s, 2),
            "start_and_recovery_cpu_s": round(cpu_s, 2),
            "memory_mb": round(memory / 1e6),
            "memory_later_mb": round(later / 1e6),
        }


async def _start(member: Member, events: int) -> tuple[float, float]:
    """Start it and wait until it knows of ``events`` waiting ones; returns seconds, and CPU seconds."""
    started_s = time.monotonic()
    member.process.start()
    await until(lambda: member.waiting() == events, "all events were recovered")
    took_s = time.monotonic() - started_s
    fields = Path(f"/proc/{member.process.pid}/stat").read_text().rpartition(")")[2].split()
    return took_s, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def throughput(directory: Path, seconds: float, rounds: int) -> dict[str, float]:
    """Memory and disk in turns; returns events a second and the ratio of the two."""
    rates: dict[str, list[float]] = {"memory": [], "disk": []}
    for number in range(rounds):
        for kind, measured in rates.items():
            measured.append(await _rate(directory / f"{kind}-{number}", kind, seconds))
    memory, disk = (sorted(measured)[len(measured) // 2] for measured in rates.values())
    return {
        "memory_events_per_s": round(memory),
        "disk_events_per_s": round(disk),
        "ratio": round(disk / memory, 3),
    }


async def _rate(directory: Path, kind: str, seconds: float) -> float:
    """Events a second from the first request until all of them are in the file."""
    with Rig(directory) as rig:
        buffer: dict[str, Any] = {"type": kind, "limit": "1GiB"}
        aggregator = rig.aggregator({"archive": file_output(rig.archive, buffer=buffer)})
        await launch(aggregator)
        started_s = time.monotonic()
        feeds = [_feed(rig.forward_port, index, started_s + seconds) for index in range(_CONNECTIONS)]
        sent = sum(await asyncio.gather(*feeds))
        await until(lambda: aggregator.waiting() == 0, "all was written")
        return sent / (time.monotonic() - started_s)


async def _feed(port: int, index: int, until_s: float) -> int:
    """One client with a tag of its own; the same entries over and over, so that it costs little."""
    client, sent, number = Client(port), 0, 0
    request = packed_request(f"app.{index}", _LINES, 0)
    while time.monotonic() < until_s:
        number += 1
        await client.deliver(request.replace(b"0" * 32, f"{number:032x}".encode()))
        sent += _LINES
    client.cut()
    return sent


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(argv: list[str] | None = None) -> int:
    """Run one part or both, and print what was measured."""
    parser = argparse.ArgumentParser(description="Measure what a disk buffer costs.")
    parser.add_argument("part", nargs="?", choices=("recovery", "throughput"), help="default: both")
    parser.add_argument("--megabytes", type=int, default=1000, help="what is recovered (default 1000)")
    parser.add_argument("--lines", type=int, default=_LINES, help=f"in a recovered batch (default {_LINES})")
    parser.add_argument("--seconds", type=float, default=4.0, help="of feeding, each time (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of memory and disk (default 3)")
    parser.add_argument("--dir", type=Path, help="where the buffers are (default: a temporary directory)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="logflow-buffers-", dir=options.dir) as name:
        directory = Path(name)
        if options.part in (None, "recovery"):
            filled = recovery(directory / "recovery", options.megabytes * 1_000_000, options.lines)
            _print("recovery", asyncio.run(filled))
        if options.part in (None, "throughput"):
            measured = throughput(directory / "throughput", options.seconds, options.rounds)
            _print("throughput", asyncio.run(measured))
    return 0


def _print(part: str, figures: dict[str, float]) -> None:
    print(f"{part}: " + ", ".join(f"{name} {value}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
