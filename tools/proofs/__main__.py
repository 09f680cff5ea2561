"""Run proofs in full size: ``python -m tools.proofs lost-acks resends``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from logflow.errors import LogflowError
from tools.proofs import Proof, flipped_bits, full_disk, lost_acks, resends, sink_down

_FULL_SIZE: dict[str, Callable[[Path], Coroutine[Any, Any, Proof]]] = {
    "lost-acks": partial(lost_acks, count=100),
    "resends": partial(resends, count=100, kill_every=5),
    "full-agent": partial(full_disk, who="agent", full_s=10.0),
    "full-aggregator": partial(full_disk, who="aggregator", full_s=10.0),
    "flipped-bits": partial(flipped_bits, rounds=100, flips=1),
    "sink-down": partial(sink_down, down_s=60.0, up_s=15.0),
}


def main(argv: list[str] | None = None) -> int:
    """Run proofs in full size; 0 when nothing was lost, but for what was reported, and nothing doubled."""
    parser = argparse.ArgumentParser(description="Prove single promises with real processes, in full size.")
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(_FULL_SIZE)} (default: all)")
    parser.add_argument("--dir", type=Path, help="where to keep everything (default: a new temporary one)")
    options = parser.parse_args(argv)
    if unknown := set(options.names) - set(_FULL_SIZE):
        parser.error(f"there is no proof {', '.join(sorted(unknown))}")
    directory = options.dir or Path(tempfile.mkdtemp(prefix="logflow-proofs-"))
    passed = [_prove(name, directory / name) for name in options.names or _FULL_SIZE]
    return 0 if all(passed) else 1


def _prove(name: str, directory: Path) -> bool:
    try:
        proof = asyncio.run(_FULL_SIZE[name](directory))
    except LogflowError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    verdict = proof.verdict
    figures = ", ".join(f"{key} {value}" for key, value in proof.figures.items())
    print(
        f"{name}: {verdict.written} written, {verdict.lost} lost, {verdict.doubled} doubled, "
        f"{verdict.disordered} out of order; {figures}",
        flush=True,
    )
    for example in verdict.examples:
        print(f"    {example}")
    reported = proof.figures.get("reported_corrupt", 0)
    return verdict.lost == reported and not (verdict.doubled or verdict.damaged or verdict.unknown)


if __name__ == "__main__":
    raise SystemExit(main())
