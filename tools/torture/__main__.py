"""Run the torture: ``python -m tools.torture --seconds 60 --seed 1``."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from logflow.errors import LogflowError
from logflow.testing.oracle import DeliveryVerdict, Oracle
from logflow.testing.sinks import read_deliveries, without_repeats
from logflow.testing.stage import lines_in
from tools.rig import ENDLESS, finish
from tools.torture.faults import Faults
from tools.torture.stage import TortureStage

_SMALL_DISK_BYTES = 512 << 20
_DRAIN_S = 60.0
_QUIET_S = 1.0


def build_parser() -> argparse.ArgumentParser:
    """Declare the options."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.torture",
        description="Kill, cut and fill while numbered lines flow; then count what was lost or doubled.",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults strike (default 60)")
    parser.add_argument("--strikes", type=int, help="stop after this many faults instead")
    parser.add_argument("--seed", type=int, help="repeat the faults of an earlier run")
    parser.add_argument("--rate", type=float, default=2000.0, help="lines a second (default 2000)")
    parser.add_argument("--pause", type=float, default=0.5, help="mean seconds between faults (default 0.5)")
    parser.add_argument("--faults", help=f"comma-separated, of: {', '.join(Faults.KINDS)}")
    parser.add_argument(
        "--agent-buffer", choices=("memory", "disk"), help="the agent's buffer (default: as the seed says)"
    )
    parser.add_argument("--engine", default="auto", choices=("auto", "native", "python"))
    parser.add_argument("--dir", type=Path, help="where to keep everything (default: a new temporary one)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 when every line is in the files once and, unless bits were flipped, at the sinks."""
    options = build_parser().parse_args(argv)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 31)
    directory = options.dir or Path(tempfile.mkdtemp(prefix="logflow-torture-"))
    kinds = options.faults.split(",") if options.faults else list(Faults.KINDS)
    if os.geteuid() and any(kind.startswith("fill") for kind in kinds):
        print("Disks are not filled: mounting a small one takes root.")
        kinds = [kind for kind in kinds if not kind.startswith("fill")]
    print(f"Torture with --seed {seed}; everything is kept in {directory}.", flush=True)
    try:
        passed = asyncio.run(_torture(options, seed, directory, kinds))
    except LogflowError as error:
        print(f"torture: {error}", file=sys.stderr)
        passed = False
    if not passed:
        print(f"FAILED; --seed {seed} repeats its faults.")
    return 0 if passed else 1


async def _torture(options: argparse.Namespace, seed: int, directory: Path, kinds: list[str]) -> bool:
    small = _SMALL_DISK_BYTES if any(kind.startswith("fill") for kind in kinds) else None
    directory = directory.resolve()
    rng = random.Random(seed)
    buffer = options.agent_buffer or ("memory", "disk")[seed % 2]
    print(f"The agent's buffer is of the type {buffer}.")
    stage = TortureStage(directory, small_disk_bytes=small, engine=options.engine, agent_buffer=buffer)
    async with stage:
        faults = Faults(stage, rng, kinds)
        plan = replace(ENDLESS, lines_per_s=options.rate, seed=seed, rotate_bytes=512 << 10, long_share=0.002)
        writer = stage.writer(plan)
        writer.start()
        try:
            await _wait_for_first_lines(stage)
            await _strike(faults, options, rng)
            await asyncio.to_thread(finish, writer)
        finally:
            writer.kill()
            await faults.close()
        struck = ", ".join(f"{count} × {kind}" for kind, count in sorted(faults.counts.items()))
        print(f"Struck {faults.counts.total()} times: {struck}.", flush=True)
        await stage.restore()
        written = {**stage.progress.written, **faults.written}
        drained = await _drain(stage, sum(written.values()))
        for member in stage.aggregators:
            await faults.note_corrupt(member)
        return _judge(stage, written, faults.corrupt, flipped=bool(faults.counts["corrupt"])) and drained


async def _wait_for_first_lines(stage: TortureStage) -> None:
    """Wait until the agent knows every container.

    What is rotated away before the agent has seen a container for the first time is beyond its promise.
    """
    deadline_s = time.monotonic() + _DRAIN_S
    while time.monotonic() < deadline_s:
        containers = len(list(stage.node.glob("containers/*.log")))
        archived = {path.name for archive in stage.archives for path in archive.rglob("*.jsonl")}
        if containers and len(archived) >= containers:
            return
        await asyncio.sleep(0.1)


async def _strike(faults: Faults, options: argparse.Namespace, rng: random.Random) -> None:
    deadline_s = time.monotonic() + options.seconds
    reported_s = time.monotonic()
    while faults.counts.total() < options.strikes if options.strikes else time.monotonic() < deadline_s:
        await asyncio.sleep(rng.uniform(0, 2 * options.pause))
        await faults.strike()
        if time.monotonic() - reported_s > 5:
            reported_s = time.monotonic()
            print(f"  {faults.counts.total()} faults so far", flush=True)


async def _drain(stage: TortureStage, lines: int) -> bool:
    """Wait until as many lines as were written are in the files and nothing waits any more."""
    deadline_s = time.monotonic() + _DRAIN_S
    quiet_since_s: float | None = None
    while time.monotonic() < deadline_s:
        arrived = await asyncio.to_thread(lines_in, stage.archives)
        if arrived >= lines and await asyncio.to_thread(stage.idle):
            quiet_since_s = quiet_since_s or time.monotonic()
            if time.monotonic() - quiet_since_s > _QUIET_S:
                return True
        else:
            quiet_since_s = None
        await asyncio.sleep(0.2)
    print(f"It did not drain within {_DRAIN_S:g} s.")
    return False


def _judge(
    stage: TortureStage, written: Mapping[str, int], corrupt: Mapping[str, int], *, flipped: bool
) -> bool:
    files = stage.judge_files(stage.archives, written)
    raw, deduplicated = Oracle(written), Oracle(written)
    for _, body in read_deliveries(stage.stores):
        raw.feed(body)
    for _, body in without_repeats(read_deliveries(stage.stores)):
        deduplicated.feed(body)
    print(f"Lines written: {sum(written.values())}; files rotated {stage.progress.rotations} times.")
    _print("files", files.verdict())
    _print("HTTP, as sent", raw.verdict())
    http = deduplicated.verdict()
    _print("HTTP, by idempotency key", http)
    destroyed = corrupt.get("sink", 0)  # some of it may have been delivered before
    if destroyed:
        print(f"  {destroyed} events for HTTP were reported as destroyed by flipped bits")
    # A chunk under way whose id was destroyed is delivered again, under another one.
    repeated = http.doubled and not flipped
    whole = not (repeated or http.damaged or http.unknown) and http.lost <= destroyed
    return files.verdict().exactly_once and whole


def _print(where: str, verdict: DeliveryVerdict) -> None:
    print(
        f"  {where}: {verdict.delivered} delivered, {verdict.lost} lost, {verdict.doubled} doubled, "
        f"{verdict.disordered} out of order, {verdict.damaged} damaged, {verdict.unknown} unknown"
    )
    for example in verdict.examples:
        print(f"    {example}")


if __name__ == "__main__":
    raise SystemExit(main())
