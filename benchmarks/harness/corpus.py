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


def cri_mixed(number: int, index: int, rng: random.Random) -> str:
    """CRI lines of several services: objects of different shapes, plain text, traces, 40 bytes to 20 KB.

    A message above 16 KiB is in two pieces, as a container runtime writes it.
    """
    moment, nanoseconds = _time(index)
    head = f"{moment}.{nanoseconds:09d}Z {'stderr' if rng.random() < 0.2 else 'stdout'}"
    message = rng.choices(_MESSAGES, _SHARES)[0](number, rng)
    pieces = [message[start : start + _PIECE] for start in range(0, len(message), _PIECE)]
    return "\n".join(f"{head} {'F' if piece is pieces[-1] else 'P'} {piece}" for piece in pieces)


def _access(number: int, rng: random.Random) -> str:
    return json.dumps(
        {
            "ts": 1767225600 + rng.random() * 86400,
            "num": number,
            "request": {
                "method": rng.choice(("GET", "PUT", "POST")),
                "url": f"/shop/{rng.randrange(10**6)}?q={rng.choice(_WORDS)}",
                "headers": {"host": "shop.example", "accept": ["text/html", "*/*"], "x-retry": None},
            },
            "response": {"status": rng.choice((200, 304, 404, 500)), "bytes": rng.randrange(10**7)},
            "tls": rng.random() < 0.5,
        }
    )


def _worker(number: int, rng: random.Random) -> str:
    return json.dumps(
        {
            "severity": rng.choice(("DEBUG", "INFO", "ERROR")),
            "message": rng.choice((" ", "\n\t")).join(rng.choices(_WORDS, k=rng.randrange(3, 40))),
            "num": number,
            "job": f"{rng.getrandbits(64):016x}",
            "attempt": rng.randrange(-3, 9),
            "progress": rng.choice((0, 0.5, 1e-7, -12.25, 6.02e23, 2**53 + 1)),
            **{rng.choice(_WORDS[:12]): rng.randrange(1000) for _ in range(rng.randrange(4))},
        },
        ensure_ascii=rng.random() < 0.3,
        separators=(",", ":"),
    )


def _dump(number: int, rng: random.Random) -> str:
    rows = [{"id": rng.randrange(10**9), "name": rng.choice(_WORDS)} for _ in range(rng.randrange(5, 520))]
    return json.dumps({"num": number, "rows": rows, "text": 'said: "no"\n' * rng.randrange(9)})


def _text(number: int, rng: random.Random) -> str:
    words = " ".join(rng.choices(_WORDS, k=rng.randrange(12)))
    return f"{rng.choice(('INFO', 'WARN'))} /item/{number} {words}"


def _frame(number: int, rng: random.Random) -> str:
    return f"    at com.example.{rng.choice(_WORDS)}.run(Shop.java:{rng.randrange(900)}) /item/{number} "


def _short(number: int, rng: random.Random) -> str:
    del rng
    return f'{{"num":{number}}}'


_PIECE = 16 << 10
_WORDS = (
    "order", "user", "cart", "price", "stock", "cache", "queue", "batch", "shard", "retry", "session",
    "token", "größe", "naïve", "東京", "цена", "🙂", 'a "quoted" word', "https://shop.example/a/b", "{brace}",
    "id=42", "timeout", "connection", "refused", "handled", "after", "while", "the", "of", "and", "50%",
)  # fmt: skip
_MESSAGES = (_access, json_message, _worker, _text, _frame, _short, _dump)
_SHARES = (25, 20, 25, 12, 10, 6, 2)

LINES: dict[str, Callable[[int, int, random.Random], str]] = {
    "cri_json": cri_json,
    "cri_mixed": cri_mixed,
    "docker_json": docker_json,
    "plain_json": plain_json,
    "nginx": nginx,
}


def write_corpus(kind: str, path: Path, size_bytes: int) -> int:
    """Write a file of about ``size_bytes``; returns the number of messages. An existing one is used again."""
    count_path = path.with_suffix(".count")
    if path.exists() and count_path.exists():
        return int(count_path.read_text())
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w") as file:
        for messages in _blocks(LINES[kind], size_bytes):
            file.writelines(f"{message}\n" for message in messages)
            count += len(messages)
    count_path.write_text(str(count))
    return count


def _blocks(line: Callable[[int, int, random.Random], str], size_bytes: int) -> Iterator[list[str]]:
    rng = random.Random(1)
    written = index = 0
    while written < size_bytes:
        messages = [line(number, number, rng) for number in range(index, index + 5000)]
        index += len(messages)
        written += sum(len(message.encode()) + 1 for message in messages)
        yield messages
