"""What strikes a pipeline, in an order that a seed decides."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from logflow.errors import ComponentError
from logflow.testing.containers import ContainerLog, ContainerName, cri_lines
from logflow.testing.oracle import Text, numbered_line
from logflow.testing.stage import Member
from tools.client import Client
from tools.disks import fill_disk, flip_bit
from tools.rig import up
from tools.torture.stage import TortureStage

_BALLAST = "ballast"
_ACK_S = 30.0
_ARRIVAL_S = 3.0
_NEW_LINES = 20
_TEXT = Text.of("the first words of a new container")


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
        self._client = Client(stage.forward_ports[0])
        self._new: dict[str, int] = {}

    @property
    def written(self) -> dict[str, int]:
        """Lines of the series that faults themselves wrote or sent."""
        return {**self._new, Client.SERIES: self._client.sent}

    KINDS = (
        "kill-agent",
        "kill-aggregator",
        "kill-sink",
        "cut",
        "lose-acks",
        "fill-agent-disk",
        "fill-aggregator-disk",
        "corrupt",
        "stop-member",
        "bad-event",
        "logs-away",
        "new-file",
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
            "stop-member": self._stop,
            "bad-event": self._send_bad_event,
            "logs-away": self._take_logs_away,
            "new-file": self._kill_after_new_file,
        }
        await actions[kind]()
        self.counts[kind] += 1

    async def close(self) -> None:
        """Let go of the connection over which frames were sent."""
        self._client.cut()
        await asyncio.sleep(0)  # sockets are closed by the event loop's next turn

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

    async def _stop(self) -> None:
        """Stop a process and let it go on, as a frozen virtual machine does."""
        stage = self._stage
        member = self._rng.choice([stage.agent, *stage.aggregators, *stage.sinks])
        member.process.send(signal.SIGSTOP)
        await asyncio.sleep(self._rng.uniform(0.3, 3.0))
        member.process.send(signal.SIGCONT)

    async def _send_bad_event(self) -> None:
        """Send a frame in which one event is none: the others arrive, and the frame is acknowledged."""
        bad = self._rng.choice([(1, "text"), (1, None), ("never", {"a": 1}), (1, [1, 2])])
        try:
            async with asyncio.timeout(_ACK_S):
                await self._client.send(among=[bad])
        except TimeoutError:
            raise ComponentError(
                f"a frame with the event {bad} among good ones was not acknowledged"
            ) from None

    async def _take_logs_away(self) -> None:
        """Restart the agent while its log directory is away; then it comes back."""
        agent, containers = self._stage.agent, self._stage.node / "containers"
        away = containers.with_name("containers-away")
        agent.process.kill()
        containers.rename(away)
        agent.process.start()
        await up(agent)
        await asyncio.sleep(self._rng.uniform(0.5, 5.0))
        away.rename(containers)

    async def _kill_after_new_file(self) -> None:
        """Kill the agent within milliseconds of the delivery of a new file's first line."""
        agent, name = self._stage.agent, f"new-{len(self._new)}"
        await up(agent)
        container = ContainerName(
            "shop", name, "app", f"{self._rng.getrandbits(128):032x}", f"{name[4:]:0>64}"
        )
        log = ContainerLog(self._stage.node, container)
        self._new[f"{name}/stdout"] = _NEW_LINES
        for seq in range(_NEW_LINES):
            message = numbered_line(name, seq, time.time_ns(), _TEXT)
            log.write(b"".join(cri_lines(time.time_ns(), "stdout", message)))
            if seq == 0:
                await self._arrived(f"kube.shop.{name}.app.jsonl")
                await asyncio.sleep(self._rng.uniform(0.0, 0.05))
                agent.process.kill()
                agent.process.start()
        log.close()

    async def _arrived(self, name: str) -> None:
        """Wait until a file is in an archive, but not for ever: an earlier fault may hold it up."""
        deadline_s = time.monotonic() + _ARRIVAL_S
        while time.monotonic() < deadline_s:
            if any(any(archive.rglob(name)) for archive in self._stage.archives):
                return
            await asyncio.sleep(0.001)
