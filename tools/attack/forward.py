"""Attacks on the Forward source."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

import msgpack
import zstandard

from tools.attack.target import GONE, Attack, Target, connect, send


async def garbage(target: Target, rng: Random) -> None:
    """Random bytes, and frames that end in the middle."""
    frame = msgpack.packb(["app", [[1, {"a": "b" * 100}]], {"chunk": "x"}])
    for _ in range(50):
        data = rng.choice([rng.randbytes(rng.randint(1, 4096)), frame[: rng.randrange(1, len(frame))]])
        await send(target.forward_port, data, 0.02)


async def idle_connections(target: Target, rng: Random) -> None:
    """Hundreds of connections that say nothing."""
    opened = []
    for _ in range(rng.randint(200, 1500)):
        with suppress(*GONE):
            opened.append(await connect(target.forward_port))
    await asyncio.sleep(max(0.0, min(target.left_s, 3.0)))
    for _, writer in opened:
        writer.transport.abort()


async def slow_giants(target: Target, rng: Random) -> None:
    """Clients that announce a large frame and then send a few bytes now and then."""

    async def drip() -> None:
        with suppress(*GONE):
            _, writer = await connect(target.forward_port)
            try:
                writer.write(b"\x93\xa3app\xc6" + (48 << 20).to_bytes(4, "big"))
                while target.left_s > 0:
                    writer.write(b"\x00" * 30)
                    await writer.drain()
                    await asyncio.sleep(0.5)
            finally:
                writer.transport.abort()

    await asyncio.gather(*(drip() for _ in range(rng.randint(2, 20))))


async def bombs(target: Target, rng: Random) -> None:
    """A few kilobytes that unpack to many millions of empty events."""
    events = rng.randint(1, 20) * 1_000_000
    payload = zstandard.compress(b"\x92\x00\x80" * events)
    frame = msgpack.packb(["bomb", payload, {"compressed": "zstd", "chunk": "b"}])
    await asyncio.gather(*(send(target.forward_port, frame, 4.0) for _ in range(rng.randint(1, 8))))


async def many_tags(target: Target, rng: Random) -> None:
    """Each event under a tag of its own."""
    for _ in range(20):
        frames = [
            msgpack.packb([f"t{rng.getrandbits(48):x}", [[1, {}]], {"chunk": f"{rng.getrandbits(64):x}"}])
            for _ in range(200)
        ]
        await send(target.forward_port, b"".join(frames), 0.1)
        if target.left_s < 0:
            return


async def nesting(target: Target, rng: Random) -> None:
    """Values within values, far beyond what any record has."""
    depth = rng.choice([100, 1000, 100_000])
    opener = rng.choice([b"\x91", b"\x81\xa1a"])
    body = b"\x93\xa3app\x91\x92\x01\x81\xa1a" + opener * depth + b"\xc0" + b"\x80"
    for _ in range(20):
        await send(target.forward_port, body, 0.05)


def _tiny_frames(kind: str, rng: Random) -> bytes:
    """A few thousand of the smallest frames that there are."""
    if kind == "nil":
        return b"\xc0" * 65_536
    event = [1, {"a": 1}]
    tags = [f"tiny{number}" for number in range(2)]
    if kind == "message":  # of two tags in turn, so that none is put together with its neighbour
        return b"".join(msgpack.packb([tag, *event]) for tag in tags) * 2_000
    return b"".join(
        msgpack.packb([rng.choice(tags), [event], {"chunk": f"{rng.getrandbits(64):x}"}])
        for _ in range(2_000)
    )


async def tiny_frames(target: Target, rng: Random) -> None:
    """Many connections, each with as many of the smallest frames as are taken."""

    async def flood(frames: bytes) -> None:
        with suppress(*GONE):
            reader, writer = await connect(target.forward_port)
            reading = asyncio.create_task(reader.read())  # acks
            try:
                while target.left_s > 0:
                    writer.write(frames)
                    await asyncio.wait_for(writer.drain(), max(target.left_s, 0.01))
            finally:
                reading.cancel()
                writer.transport.abort()

    frames = _tiny_frames(rng.choice(["nil", "message", "forward"]), rng)
    await asyncio.gather(*(flood(frames) for _ in range(rng.choice([1, 8, 64, 512]))))


ATTACKS: dict[str, Attack] = {
    "forward-garbage": garbage,
    "forward-idle-connections": idle_connections,
    "forward-slow-giants": slow_giants,
    "forward-bombs": bombs,
    "forward-many-tags": many_tags,
    "forward-nesting": nesting,
    "forward-tiny-frames": tiny_frames,
}
