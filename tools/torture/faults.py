"""What strikes a pipeline, in an order that a seed decides."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from logflow.testing.stage import Member
from tools.disks import fill_disk, flip_bit
from tools.rig import up
from tools.torture.stage import TortureStage

_BALLAST = "ballast"


class Faults:
    """Strikes a stage; every choice comes from the seed."""

    def __init__(self, stage: TortureStage, rng: random.Random, kinds: list[str]) -> None:
        """Use the faults named ``kinds`` only; see :attr:`KINDS`."""
        self._stage = stage
        self._rng = rng
        self._kinds = kinds
        self._round: list[str] = []
        self.counts: Counter[str] = Counter()
        self.corrupt: Counter[str] = Counter()
        """Events that aggregators reported as destroyed, by output, in the lives that are over."""

    KINDS = (
        "kill-agent",
        "kill-aggregator",
        "kill-sink",
        "cut",
        "lose-acks",
        "fill-agent-disk",
        "fill-aggregator-disk",
        "corrupt",
    )

    async def strike(self) -> None:
        """Let one fault happen, and mend it again."""
        if not self._round:  # each kind once, in any order, so that a short run has them all
            self._round = self._rng.sample(self._kinds, len(self._kinds))
        kind = self._round.pop()
        actions: dict[str, Callable[[], Awaitable[None]]] = {
            "kill-agent": lambda: self._kill(self._stage.agent),
            "kill-aggregator": lambda: self._kill(self._rng.choice(self._stage.aggregators)),
            "kill-sink": lambda: self._kill(self._rng.choice(self._stage.sinks)),
            "cut": self._cut,
            "lose-acks": self._lose_acks,
            "fill-agent-disk": lambda: self._fill(self._stage.agent),
            "fill-aggregator-disk": lambda: self._fill(self._rng.choice(self._stage.aggregators)),
            "corrupt": self._corrupt,
        }
        await actions[kind]()
        self.counts[kind] += 1

    async def _end(self, member: Member) -> None:
        """Kill a process; what it reported as destroyed is noted first, as its ledger ends with it."""
        if "corrupt" in self._kinds and member in self._stage.aggregators and member.process.running:
            await self.note_corrupt(member)
        member.process.kill()

    async def note_corrupt(self, member: Member) -> None:
        """Add up what an aggregator says was destroyed in its disk buffers."""
        await up(member)
        self.corrupt += await asyncio.to_thread(member.dropped, "corrupt")

    async def _kill(self, member: Member) -> None:
        await self._end(member)
        await asyncio.sleep(self._rng.uniform(0.0, 0.3))
        member.process.start()
        # Half of the time it is left to come up by itself, so that the next fault may strike meanwhile.
        if self._rng.random() < 0.5:
            await up(member)

    async def _cut(self) -> None:
        self._rng.choice(self._stage.proxies).cut_connections()
        await asyncio.sleep(0.05)

    async def _lose_acks(self) -> None:
        self._rng.choice(self._stage.proxies).swallow_answers(self._rng.randint(1, 3))
        await asyncio.sleep(0.1)

    async def _fill(self, member: Member) -> None:
        ballast = member.directory / _BALLAST
        await asyncio.to_thread(fill_disk, ballast)
        await asyncio.sleep(self._rng.uniform(0.2, 1.0))
        if self._rng.random() < 0.3:
            await self._end(member)
            member.process.start()
            await asyncio.sleep(0.2)
        ballast.unlink()
        if not member.process.running:  # it may refuse to start on a full disk, but must say so
            member.process.start()

    async def _corrupt(self) -> None:
        """Flip a bit in what waits at an aggregator for the sinks, while it is down."""
        member = self._rng.choice(self._stage.aggregators)
        await up(member)
        for sink in self._stage.sinks:
            await self._end(sink)
        await asyncio.sleep(self._rng.uniform(0.3, 1.0))  # now lines wait
        await self._end(member)
        flip_bit(self._rng, sorted((member.directory / "data" / "buffers" / "sink").glob("*.segment")))
        for struck in (member, *self._stage.sinks):
            struck.process.start()
