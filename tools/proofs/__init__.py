"""Proofs of one promise each, with real processes: short ones in the tests, full ones from the command line.

``python -m tools.proofs --help``. Each strikes at the one place where a line is easily
lost or doubled, again and again:

================= ======================================================================================
lost-acks         agent → proxy → aggregator: the ack is swallowed after the chunk was stored
resends           a client that resends as Fluentd does, the aggregator killed between store and resend
full-agent        the agent's disk is full for a while
full-aggregator   the aggregator's disk is full for a while
flipped-bits      bits are flipped in the segments of a stopped aggregator
sink-down         an HTTP sink is down while a file output of the same aggregator goes on
================= ======================================================================================
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from logflow.testing.oracle import DeliveryVerdict
from logflow.testing.processes import free_ports
from tools.client import Client, packed_request
from tools.disks import fill_disk, flip_bit, small_disk
from tools.rig import RETRY, Rig, file_output, launch, until
from tools.torture.proxy import CruelProxy

_SMALL_DISK_BYTES = 128 << 20


@dataclass(frozen=True)
class Proof:
    """What was seen.

    Attributes:
        verdict: what became of the written lines in the files.
        figures: what was counted and measured.
    """

    verdict: DeliveryVerdict
    figures: Mapping[str, float]


async def lost_acks(directory: Path, *, count: int, lines_per_s: float = 1000.0) -> Proof:
    """Swallow ``count`` acks between an agent and an aggregator."""
    with Rig(directory) as rig:
        proxy = CruelProxy(rig.forward_port)
        await proxy.open()
        aggregator, agent = rig.aggregator(), rig.agent(proxy.port)
        writer = rig.endless_writer(lines_per_s)
        await launch(aggregator, agent)
        writer.start()
        for lost in range(count):
            proxy.swallow_answers(1)
            await until(lambda lost=lost: proxy.swallowed > lost, "an ack was lost")  # type: ignore[misc]
        progress = rig.finish(writer)
        await until(lambda: rig.archived_lines() >= progress.lines and not agent.waiting(), "all arrived")
        await proxy.close()
        repeats = aggregator.dropped("duplicate").total()
        return Proof(rig.verdict(progress.written), {"acks_lost": proxy.swallowed, "repeated_lines": repeats})


async def resends(directory: Path, *, count: int, kill_every: int) -> Proof:
    """Swallow the acks of ``count`` chunks of a hand-made client; kill the aggregator before some resends."""
    with Rig(directory) as rig:
        proxy = CruelProxy(rig.forward_port)
        await proxy.open()
        aggregator, client = rig.aggregator(), Client(proxy.port)
        await launch(aggregator)
        kills = repeats = 0

        def kill() -> None:
            nonlocal kills, repeats
            repeats += aggregator.dropped("duplicate").total()
            aggregator.process.kill()
            aggregator.process.start()
            kills += 1

        for number in range(count):
            proxy.swallow_answers(1)
            strikes = iter([kill] if number % kill_every == 0 else [])
            await client.send(lambda strikes=strikes: next(strikes, lambda: None)())  # type: ignore[misc]
        await until(lambda: rig.archived_lines() >= client.sent, "all arrived")
        await proxy.close()
        figures = {
            "acks_lost": proxy.swallowed,
            "resends": client.resends,
            "kills": kills,
            "repeated_lines": repeats + aggregator.dropped("duplicate").total(),
        }
        client.cut()
        return Proof(rig.verdict({client.SERIES: client.sent}), figures)


async def full_disk(directory: Path, who: str, *, full_s: float, lines_per_s: float = 2000.0) -> Proof:
    """Let the disk of ``agent`` or ``aggregator`` be full for ``full_s`` seconds in the middle of a run.

    Raises:
        ComponentError: no small disk can be mounted here.
    """
    with Rig(directory) as rig:
        rig.enter_context(small_disk(rig.directory / who, _SMALL_DISK_BYTES))
        aggregator, agent, writer = (
            rig.aggregator(),
            rig.agent(rig.forward_port),
            rig.endless_writer(lines_per_s),
        )
        await launch(aggregator, agent)
        writer.start()
        await until(lambda: rig.archived_lines() > lines_per_s, "lines flow")
        ballast = rig.directory / who / "ballast"
        await asyncio.to_thread(fill_disk, ballast)
        await asyncio.sleep(full_s)
        stood_at = rig.archived_lines()
        ballast.unlink()
        resumed_s = await until(lambda: rig.archived_lines() > stood_at, "lines flow again")
        await asyncio.sleep(1.0)
        progress = rig.finish(writer)
        await until(lambda: rig.archived_lines() >= progress.lines and not agent.waiting(), "all arrived")
        figures = {"full_s": full_s, "resumed_after_s": round(resumed_s, 2), "lines_when_full": stood_at}
        return Proof(rig.verdict(progress.written), figures)


async def flipped_bits(directory: Path, *, rounds: int, flips: int, chunks: int = 40, seed: int = 1) -> Proof:
    """Flip ``flips`` bits in the segments of a stopped aggregator, ``rounds`` times, and let it deliver.

    Each round sends new chunks while the file output cannot write, stops, flips, starts, lets it write.
    """
    rng = random.Random(seed)
    with Rig(directory) as rig:
        aggregator, client = rig.aggregator(), Client(rig.forward_port)
        buffer = aggregator.directory / "data" / "buffers" / "archive"
        lost = unreported = 0
        for _ in range(rounds):
            earlier = rig.archived_lines()
            rig.archive.parent.mkdir(exist_ok=True)
            archive = _put_away(rig.archive)
            rig.archive.touch()  # a file where the directory should be: nothing can be written
            await launch(aggregator)
            for _ in range(chunks):
                await client.send()
            client.cut()
            aggregator.process.send(signal.SIGTERM)
            await asyncio.to_thread(aggregator.process.wait, 30.0)
            for _ in range(flips):
                flip_bit(rng, sorted(buffer.glob("*.segment")))
            rig.archive.unlink()
            archive.rename(rig.archive)
            said, aside = len(aggregator.process.log.read_text()), len(list(buffer.glob("corrupt/*")))
            await launch(aggregator)
            await until(lambda: aggregator.waiting() == 0, "the rest was delivered")
            corrupt = aggregator.dropped("corrupt").total()
            await until(
                lambda e=earlier, c=corrupt: rig.archived_lines() >= e + chunks * 50 - c,  # type: ignore[misc]
                "the lines that the ledger calls delivered are in the files",
                timeout_s=5.0,
            )
            lost += corrupt
            is_reported = "damaged" in aggregator.process.log.read_text()[said:]
            unreported += not (is_reported and len(list(buffer.glob("corrupt/*"))) > aside)
            aggregator.process.send(signal.SIGTERM)
            await asyncio.to_thread(aggregator.process.wait, 30.0)
        verdict = rig.verdict({client.SERIES: client.sent})
        figures = {"flips": rounds * flips, "reported_corrupt": lost, "rounds_without_a_report": unreported}
        return Proof(verdict, figures)


def _put_away(archive: Path) -> Path:
    away = archive.with_name("archive-away")
    archive.mkdir(exist_ok=True)
    archive.rename(away)
    return away


async def sink_down(directory: Path, *, down_s: float, up_s: float) -> Proof:
    """Feed as fast as it goes with the sink up, then down for ``down_s``; compare the file output's rate."""
    with Rig(directory) as rig:
        [port] = free_ports(1)
        sink = rig.sink("sink", port)
        buffer = {"type": "disk", "limit": "64GiB"}
        http = {"type": "http", "endpoints": [f"http://127.0.0.1:{port}/"], "buffer": buffer, "retry": RETRY}
        aggregator = rig.aggregator({"archive": file_output(rig.archive), "sink": http})
        await launch(aggregator, sink)
        feeder = _Feeder(rig)
        await feeder.feed(1.0)
        before = await feeder.feed(up_s)
        sink.process.kill()
        during = await feeder.feed(down_s)
        await launch(sink)
        await until(lambda: aggregator.waiting() == 0, "the sink has caught up", 180.0)
        after = await feeder.feed(up_s)
        written = feeder.lines
        feeder.stop()
        await until(lambda: aggregator.waiting() == 0, "all arrived", 120.0)
        figures = {
            "down_s": down_s,
            "up_bytes_per_s": round(before),
            "down_bytes_per_s": round(during),
            "up_again_bytes_per_s": round(after),
            "ratio": round(during / ((before + after) / 2), 3),
        }
        return Proof(rig.verdict({Client.SERIES: written}), figures)


class _Feeder:
    """Keeps an aggregator busy with one client and measures how fast its files grow."""

    _LINES = 2000

    def __init__(self, rig: Rig) -> None:
        self.lines = 0
        self._rig = rig
        self._client = Client(rig.forward_port)
        self._requests = 0

    async def feed(self, seconds: float) -> float:
        """Feed for a while; returns bytes a second that came into the files."""
        started_s, before = time.monotonic(), self._archived_bytes()
        while time.monotonic() - started_s < seconds:
            self._requests += 1
            await self._client.deliver(packed_request("app.client", self._LINES, self._requests, self.lines))
            self.lines += self._LINES
        return (self._archived_bytes() - before) / (time.monotonic() - started_s)

    def stop(self) -> None:
        """Drop the connection."""
        self._client.cut()

    def _archived_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._rig.archive.glob("*.jsonl"))
