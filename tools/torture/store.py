"""Torture with a store at the end: numbered lines go through an agent into a store with a bulk interface.

::

    writer -> file -> logflow run (tail, disk buffer, elasticsearch) -> tools.stores.bulk -> its log

Both programs are killed at random. The store is slow, answers 429, 500 and HTML, refuses documents for now,
and cuts connections before and after it stores.

``python -m tools.torture.store --seconds 20 --seed 1`` prints how many lines were lost and doubled; the exit
status is 1 if any was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from pathlib import Path

from logflow.testing.processes import free_ports

_LINES_PER_S = 2000
_SETTLE_S = 90.0


class Torture:
    """One run in a directory."""

    def __init__(self, directory: Path, seed: int, seconds: float) -> None:
        self.directory = directory
        self.random = random.Random(seed)
        self.seed = seed
        self.seconds = seconds
        (self.port,) = free_ports(1)
        self.stored = directory / "stored.jsonl"
        self.written = 0
        self.kills: Counter[str] = Counter()
        (directory / "logs").mkdir()
        (directory / "logflow.yaml").write_text(json.dumps(self._configuration()))

    def _configuration(self) -> dict[str, object]:
        return {
            "data_dir": str(self.directory / "data"),
            "sources": {"lines": {
                "type": "tail", "paths": [f"{self.directory}/logs/*.log"], "tag": "app.{path}",
                "format": "plain",
            }},
            "routes": [{"match": "**", "outputs": ["store"]}],
            "outputs": {"store": {
                "type": "elasticsearch", "endpoints": [f"http://127.0.0.1:{self.port}"], "timeout": "5s",
                "buffer": {"type": "disk"}, "retry": {"initial": "100ms", "max": "500ms"},
            }},
        }  # fmt: skip

    async def run(self) -> int:
        """Write, kill and wait; returns how many lines were lost or doubled."""
        writer = asyncio.create_task(self._write())
        killers = [asyncio.create_task(self._keep_killing(name, command)) for name, command in (
            ("store", ("tools.stores.bulk", str(self.port), str(self.stored), str(self.seed))),
            ("logflow", ("logflow", "run", "-c", str(self.directory / "logflow.yaml"))),
        )]  # fmt: skip
        await writer
        deadline_s = time.monotonic() + _SETTLE_S
        while len(self.found()) < self.written and time.monotonic() < deadline_s:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.5)
        await asyncio.sleep(1.0)  # for what would be doubled
        for killer in killers:
            killer.cancel()
        await asyncio.gather(*killers, return_exceptions=True)
        found = self.found()
        lost = sum(n not in found for n in range(self.written))
        doubled = sum(times - 1 for times in found.values())
        kills = ", ".join(f"{name} {times}" for name, times in sorted(self.kills.items()))
        print(f"seed {self.seed}: {self.written} lines, killed: {kills}; {lost} lost, {doubled} doubled")
        return lost + doubled

    async def _write(self) -> None:
        files = [(self.directory / "logs" / f"{n}.log").open("w") for n in range(5)]
        end_s = time.monotonic() + self.seconds
        while time.monotonic() < end_s:
            for _ in range(_LINES_PER_S // 20):
                files[self.written % len(files)].write(json.dumps({"n": self.written}) + "\n")
                self.written += 1
            for file in files:
                file.flush()
            await asyncio.sleep(0.05)
        for file in files:
            file.close()

    async def _keep_killing(self, name: str, arguments: tuple[str, ...]) -> None:
        """Run a program; kill and start it again at random while lines are written."""
        end_s = time.monotonic() + self.seconds
        while True:
            log = (self.directory / f"{name}.log").open("ab")
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *arguments, stdin=DEVNULL, stdout=log, stderr=log
            )
            try:
                await self._leave(process, end_s)
                self.kills[name] += 1
            finally:
                if process.returncode is None:
                    process.send_signal(signal.SIGKILL)
                    await process.wait()
                log.close()

    async def _leave(self, process: Process, end_s: float) -> None:
        left_s = end_s - time.monotonic()
        try:
            async with asyncio.timeout(self.random.uniform(1.5, 5.0) if left_s > 0 else None):
                await process.wait()
        except TimeoutError:
            pass

    def found(self) -> Counter[int]:
        """How often each number stands in the store: what it acknowledged, by its index and id."""
        documents: dict[tuple[str, str], int] = {}
        if self.stored.exists():
            for line in self.stored.read_text().splitlines(keepends=True):
                if line.endswith("}]\n"):
                    index, name, document = json.loads(line)
                    documents[index, name] = document["n"]
        return Counter(documents.values())


async def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        return await Torture(Path(directory), options.seed, options.seconds).run()


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(_main()) else 0)
