"""Run a node and kill its agent: ``python -m tools.kubelet --pods 200 --kills 10 --seeds 1 2 3``."""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from logflow.errors import ComponentError
from logflow.testing.processes import free_ports
from logflow.testing.stage import ProcessStage, start, stop
from tools.kubelet.judge import Verdict, judge
from tools.kubelet.node import Node, Plan

_TICK_S = 0.02
_QUIET_S = 8.0
_DRAIN_S = 120.0
_UNREAD = re.compile(r"and (\d+) bytes of it had not been read")


def agent_config(node: Path, archive: Path) -> dict[str, Any]:
    """An agent that joins stack traces and writes files."""
    tail = {
        "type": "tail",
        "paths": [f"{node}/containers/*.log"],
        "tag": "kube.{namespace}.{pod}.{container}",
        "multiline": {"presets": ["java", "python", "go", "node"]},
    }
    archived = {"type": "file", "path": str(archive / "{tag}.jsonl"), "buffer": {"type": "memory"}}
    return {
        "sources": {"containers": tail},
        "routes": [{"match": "**", "outputs": ["archive"]}],
        "outputs": {"archive": archived},
        "shutdown_timeout": "10s",
    }


def run(directory: Path, plan: Plan, seconds: float, kills: int) -> tuple[Verdict, Node, int]:
    """Play a node for a while and kill its agent at random moments.

    Returns:
        What arrived, the node, and the bytes that the agent said were deleted unread.

    Raises:
        ComponentError: the agent ended by itself, or does not come to an end.
    """
    rng = random.Random(plan.seed)
    (port,) = free_ports(1)
    archive = directory / "archive"
    moments = sorted(rng.uniform(1.0, seconds) for _ in range(kills))
    with ProcessStage(directory) as stage:
        node = Node(directory / "node", plan)
        agent = stage.logflow("agent", agent_config(node.directory, archive), port)
        start(agent)
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < seconds:
            node.tick()
            if moments and passed_s >= moments[0]:
                del moments[0]
                agent.process.kill()
                agent.process.start()
            agent.process.check_running()
            time.sleep(_TICK_S)
        node.close()
        agent.wait_until_up()
        _drain(archive, node)
        stop(agent, timeout_s=20.0)
        verdict = judge(node.written(), texts(archive))
        unread = sum(map(int, _UNREAD.findall(agent.process.log.read_text())))
    return verdict, node, unread


def _drain(archive: Path, node: Node) -> None:
    """Wait until nothing is missing that must arrive, or nothing comes any more."""
    quiet_since_s = until_s = time.monotonic()
    until_s += _DRAIN_S
    size = -1
    while time.monotonic() - quiet_since_s < _QUIET_S and judge(node.written(), texts(archive)).lost:
        if time.monotonic() > until_s:
            raise ComponentError(f"the agent still writes after {_DRAIN_S:g} s")
        now = sum(path.stat().st_size for path in archive.rglob("*.jsonl"))
        if now != size:
            size, quiet_since_s = now, time.monotonic()
        time.sleep(0.5)


def texts(archive: Path) -> Iterator[str]:
    """What arrived."""
    for path in archive.rglob("*.jsonl"):
        with path.open() as file:
            for line in file:
                if line.endswith("\n"):
                    yield str(json.loads(line).get("message"))


def main(argv: list[str] | None = None) -> int:
    """Run it for each seed; 0 if all went well."""
    parser = argparse.ArgumentParser(prog="python -m tools.kubelet", description=__doc__)
    parser.add_argument("--pods", type=int, default=200)
    parser.add_argument("--rate", type=float, default=1000.0, help="events a second (default 1000)")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--keep", type=int, default=5, help="files of a container that are kept (default 5)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--dir", type=Path, help="where to keep everything (default: a new temporary one)")
    options = parser.parse_args(argv)
    directory = options.dir or Path(tempfile.mkdtemp(prefix="logflow-kubelet-"))
    failed = False
    for seed in options.seeds:
        plan = Plan(pods=options.pods, events_per_s=options.rate, seed=seed, keep_files=options.keep)
        verdict, node, unread = run(directory / f"seed-{seed}", plan, options.seconds, options.kills)
        happened = f"{node.rotations} rotations, {len(node.deleted)} pods deleted, {options.kills} kills"
        print(f"seed {seed}: {happened}")
        print(f"{verdict}; the agent says that {unread} bytes were deleted unread", flush=True)
        failed |= not verdict.fine
    print(f"Everything is kept in {directory}.")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
