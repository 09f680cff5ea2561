"""Attacks on the HTTP source and on the admin endpoint."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress
from random import Random

from tools.attack.target import GONE, Attack, Target, connect, send


def _request(path: str, body: bytes, *headers: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


async def large_bodies(target: Target, rng: Random) -> None:
    """Bodies of the largest size, plain or as a few kilobytes of gzip, several at once."""
    line = rng.choice([b"{}\n", b'{"a":1}\n', b'{"a":{"b":[1,2,3]}}\n'])
    body = line * ((8 << 20) // len(line))
    if rng.random() < 0.5:
        request = _request("/app", gzip.compress(body, 1), "Content-Encoding: gzip")
    else:
        request = _request("/app", body)
    await asyncio.gather(*(send(target.http_port, request, 4.0) for _ in range(rng.randint(1, 8))))


async def bad_requests(target: Target, rng: Random) -> None:
    """What is not HTTP, or not quite, also at the admin endpoint."""
    requests = [
        rng.randbytes(2000),
        b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        _request("/app", b"{" * 100_000),
        _request("/app", b"[" * 100_000),
        _request("/../../etc/passwd", b"{}"),
        b"POST /app HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
    ]
    for _ in range(30):
        port = rng.choice([target.http_port, target.admin_port])
        await send(port, rng.choice(requests), 0.05)


async def slow_requests(target: Target, rng: Random) -> None:
    """Heads that never end."""
    opened = []
    for _ in range(rng.randint(50, 300)):
        with suppress(*GONE):
            reader, writer = await connect(rng.choice([target.http_port, target.admin_port]))
            writer.write(b"POST /app HTTP/1.1\r\nHost: a\r\n")
            opened.append((reader, writer))
    await asyncio.sleep(max(0.0, min(target.left_s, 3.0)))
    for _, writer in opened:
        writer.transport.abort()


ATTACKS: dict[str, Attack] = {
    "http-large-bodies": large_bodies,
    "http-bad-requests": bad_requests,
    "http-slow-requests": slow_requests,
}
