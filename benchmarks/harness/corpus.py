"""Corpora: files of numbered lines, made up here, the same for every subject of a round.

Each line carries a number, ``file * 10**8 + line``, from which what was lost, doubled or disordered can
be told at the other end whatever the format: as ``"num":N`` in JSON, as ``/item/N`` in a request line.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

FILE_STEP = 10**8
_EPOCH_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
_SECONDS = 1_000_000_000


def json_message(number: int, rng: random.Random) -> str:
    """A message of 8 fields; as a CRI line it takes about 283 bytes."""
    return json.dumps(
        {
            "level": rng.choice(("info", "warn", "debug")),
            "num": number,
            "msg": "request handled and answered after the usual checks of the session",
            "method": rng.choice(("GET", "PUT")),
            "path": f"/api/v1/users/{rng.randrange(10**6)}/orders",
            "status": rng.choice((200, 201, 404)),
            "duration": round(rng.random(), 4),
            "trace": f"{rng.getrandbits(128):032x}",
        },
        separators=(",", ":"),
    )


def _time(index: int) -> tuple[str, int]:
    seconds, nanoseconds = divmod(_EPOCH_NS + index * 100_003, _SECONDS)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S"), nanoseconds


def cri_json(number: int, index: int, rng: random.Random) -> str:
    """A CRI line whose message is JSON."""
    moment, nanoseconds = _time(index)
    stream = "stderr" if index % 10 == 0 else "stdout"
    return f"{moment}.{nanoseconds:09d}Z {stream} F {json_message(number, rng)}"


def docker_json(number: int, index: int, rng: random.Random) -> str:
    """A line of docker's json-file driver whose message is JSON."""
    moment, nanoseconds = _time(index)
    line = {
        "log": json_message(number, rng) + "\n",
        "stream": "stdout",
        "time": f"{moment}.{nanoseconds:09d}Z",
    }
    return json.dumps(line, separators=(",", ":"))


def plain_json(number: int, index: int, rng: random.Random) -> str:
    """A bare JSON line."""
    del index
    return json_message(number, rng)


def nginx(number: int, index: int, rng: random.Random) -> str:
    """A line of nginx's combined access log."""
    moment = datetime.fromtimestamp((_EPOCH_NS // _SECONDS) + index // 10_000, UTC)
    return (
        f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)} - - "
        f'[{moment:%d/%b/%Y:%H:%M:%S} +0000] "GET /item/{number} HTTP/1.1" {rng.choice((200, 304, 404))} '
        f'{rng.randrange(50_000)} "https://shop.example/catalogue?page={rng.randrange(99)}" '
        '"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"'
    )


LINES: dict[str, Callable[[int, int, random.Random], str]] = {
    "cri_json": cri_json,
    "docker_json": docker_json,
    "plain_json": plain_json,
    "nginx": nginx,
}


def write_corpus(kind: str, path: Path, size_bytes: int) -> int:
    """Write a file of about ``size_bytes``; returns the number of lines. An existing one is used again."""
    count_path = path.with_suffix(".count")
    if path.exists() and count_path.exists():
        return int(count_path.read_text())
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w") as file:
        for block in _blocks(LINES[kind], size_bytes):
            file.write(block)
            count += block.count("\n")
    count_path.write_text(str(count))
    return count


def _blocks(line: Callable[[int, int, random.Random], str], size_bytes: int) -> Iterator[str]:
    """Lines in blocks. Only the numbers and times differ from block to block, so that it is quick."""
    rng = random.Random(1)
    written = index = 0
    while written < size_bytes:
        lines = [line(index + step, index + step, rng) for step in range(5000)]
        index += len(lines)
        block = "\n".join(lines) + "\n"
        written += len(block)
        yield block
