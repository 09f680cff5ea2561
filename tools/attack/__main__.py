"""Run the attack: ``python -m tools.attack --seconds 120 --seed 1``."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from logflow.errors import LogflowError
from logflow.testing.oracle import percentile
from logflow.testing.processes import answers
from logflow.testing.stage import Member
from tools.attack import forward, http
from tools.attack.target import SHUTDOWN_S, AttackStage, resident_bytes
from tools.client import Client
from tools.rig import launch, until

ATTACKS = {**forward.ATTACKS, **http.ATTACKS}
_ATTACK_S = 5.0
_PAUSE_S = 0.05
_SLOW_S = 2.0
_HEALTH_S = 1.0
_LOG_BYTES = 1_000_000


@dataclass
class Seen:
    """What was measured beside the attacks."""

    acks_s: list[float] = field(default_factory=list)
    health_s: list[float] = field(default_factory=list)
    sick: int = 0
    peak_bytes: int = 0


def build_parser() -> argparse.ArgumentParser:
    """Declare the options."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.attack",
        description="Attack an aggregator while sane clients use it; then say how they fared.",
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="how long (default 120)")
    parser.add_argument("--seed", type=int, help="repeat the attacks of an earlier run")
    parser.add_argument("--attacks", help=f"comma-separated, of: {', '.join(ATTACKS)}")
    parser.add_argument("--memory", type=int, default=406, help="most resident MiB (default 406: 256 + 150)")
    parser.add_argument("--engine", default="auto", choices=("auto", "native", "python"))
    parser.add_argument("--dir", type=Path, help="where to keep everything (default: a new temporary one)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 if the sane fared well."""
    options = build_parser().parse_args(argv)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 31)
    directory = options.dir or Path(tempfile.mkdtemp(prefix="logflow-attack-"))
    print(f"Attack with --seed {seed}; everything is kept in {directory}.", flush=True)
    try:
        problems = asyncio.run(_attack(options, seed, directory))
    except LogflowError as error:
        problems = [str(error)]
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)
    print(f"FAILED; --seed {seed} repeats its attacks." if problems else "The sane fared well.")
    return 1 if problems else 0


async def _attack(options: argparse.Namespace, seed: int, directory: Path) -> list[str]:
    rng, seen, over = random.Random(seed), Seen(), asyncio.Event()
    names = options.attacks.split(",") if options.attacks else list(ATTACKS)
    with AttackStage(directory, options.engine) as stage:
        aggregator, client = stage.aggregator(), Client(stage.forward_port, tag="sane", lines=20)
        await launch(aggregator)
        beside = [
            asyncio.create_task(work)
            for work in (
                _use(client, seen, over),
                _watch_health(aggregator, seen),
                _watch_memory(aggregator, seen),
            )
        ]
        # In a loop of their own, so that what attackers do is not what the sane wait for.
        await asyncio.to_thread(lambda: asyncio.run(_play(stage, names, rng, options.seconds)))
        over.set()
        await beside[0]
        await until(lambda: _arrived(stage, client.sent), "what the sane client sent is in the files")
        for task in beside[1:]:
            task.cancel()
        stopped_s = await _stop(aggregator)
        verdict = stage.judge_files([stage.archive / "sane"], {Client.SERIES: client.sent}).verdict()
    p99_s = percentile([round(each * 1e9) for each in seen.acks_s], 0.99) / 1e9
    slowest_s, log_bytes = max(seen.health_s, default=0.0), aggregator.process.log.stat().st_size
    print(
        f"Sane: {client.sent} lines, {verdict.lost} lost, {verdict.doubled} doubled, p99 {p99_s:.2f} s. "
        f"Memory: peak {seen.peak_bytes >> 20} MiB. Health: slowest {slowest_s:.2f} s, {seen.sick} failed. "
        f"Stop: {stopped_s:.1f} s. Log: {log_bytes >> 10} KiB.",
        flush=True,
    )
    checks = {
        "lines of the sane client were lost or doubled": verdict.exactly_once,
        f"99 of 100 chunks of the sane client took {p99_s:.2f} s": p99_s <= _SLOW_S,
        f"memory was above {options.memory} MiB": seen.peak_bytes <= options.memory << 20,
        "health did not answer within a second": slowest_s <= _HEALTH_S and not seen.sick,
        f"the stop took {stopped_s:.1f} s": stopped_s <= SHUTDOWN_S + 2.0,
        "the log is larger than a megabyte": log_bytes <= _LOG_BYTES,
    }
    return [problem for problem, held in checks.items() if not held]


async def _play(stage: AttackStage, names: list[str], rng: random.Random, seconds: float) -> None:
    """Attack, one or two at a time, each kind once before any comes again."""
    until_s, waiting = time.monotonic() + seconds, list[str]()
    while time.monotonic() < until_s:
        waiting = waiting or rng.sample(names, len(names))
        chosen = [waiting.pop() for _ in range(min(rng.randint(1, 2), len(waiting)))]
        print(f"  {' and '.join(chosen)}", flush=True)
        target = stage.target(_ATTACK_S)
        works: list[Coroutine[Any, Any, None]] = [
            asyncio.wait_for(ATTACKS[name](target, random.Random(rng.random())), 2 * _ATTACK_S)
            for name in chosen
        ]
        await asyncio.gather(*works, return_exceptions=True)


async def _use(client: Client, seen: Seen, over: asyncio.Event) -> None:
    while not over.is_set():
        started_s = time.monotonic()
        await client.send()
        seen.acks_s.append(time.monotonic() - started_s)
        await asyncio.sleep(_PAUSE_S)


async def _watch_health(aggregator: Member, seen: Seen) -> None:
    while True:
        started_s = time.monotonic()
        seen.sick += not await asyncio.to_thread(answers, aggregator.port, "/healthz")
        seen.health_s.append(time.monotonic() - started_s)
        await asyncio.sleep(0.5)


async def _watch_memory(aggregator: Member, seen: Seen) -> None:
    while True:
        seen.peak_bytes = max(seen.peak_bytes, resident_bytes(aggregator.process.pid))
        await asyncio.sleep(0.05)


def _arrived(stage: AttackStage, lines: int) -> bool:
    paths = (stage.archive / "sane").rglob("*.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in paths) >= lines


async def _stop(aggregator: Member) -> float:
    started_s = time.monotonic()
    aggregator.process.send(signal.SIGTERM)
    await asyncio.to_thread(aggregator.process.wait, 60.0)
    return time.monotonic() - started_s


if __name__ == "__main__":
    raise SystemExit(main())
