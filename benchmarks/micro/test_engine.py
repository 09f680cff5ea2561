"""Every engine function by itself, both engines: ``make bench-micro``, or ``pytest benchmarks/micro``.

The data are CRI lines of about 283 bytes whose message is a JSON object of 8 fields, and what becomes
of them. A table at the end shows MB/s of input, of each function's fastest round, for either engine.
``plain_loop`` is what the Python engine is measured against: msgspec decoding and encoding one message
after another.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise
from typing import Any, Protocol

import msgspec
import pytest

from logflow.component import Parser
from logflow.engine import load_engine
from logflow.engine.api import Engine
from logflow.engine.keyed import Measure
from logflow.errors import ComponentError
from logflow.expressions import compile_expression
from logflow.testing import build_parser, make_context

LINES = 400


class Speeds(Protocol):
    """What ``conftest.py`` collects."""

    def add(self, name: str, mb_per_s: int) -> None: ...


NGINX = (
    r"^(?P<remote>[^ ]*) [^ ]* (?P<user>[^ ]*) \[(?P<time>[^\]]*)\] "
    r'"(?P<method>\S+) (?P<path>[^ "]*) [^"]*" (?P<code>[0-9]+) (?P<size>[0-9]+) "(?P<referer>[^"]*)" '
    r'"(?P<agent>[^"]*)"$'
)
NGINX_PARSER = {
    "name": "regex",
    "pattern": NGINX,
    "types": {"code": "int"},
    "time_key": "time",
    "time_format": "%d/%b/%Y:%H:%M:%S %z",
}


def message(number: int, rng: random.Random) -> str:
    record = {
        "level": rng.choice(("info", "warn", "debug")),
        "number": number,
        "msg": "request handled and answered after the usual checks of the session "
        + "." * rng.randrange(20),
        "method": rng.choice(("GET", "PUT")),
        "path": f"/api/v1/users/{rng.randrange(10**6)}/orders",
        "status": rng.choice((200, 201, 404)),
        "duration": round(rng.random(), 4),
        "trace": f"{rng.getrandbits(128):032x}",
    }
    return json.dumps(record, separators=(",", ":"))


def cri_line(number: int, rng: random.Random) -> bytes:
    stream = "stderr" if number % 10 == 0 else "stdout"
    fraction = f"{number * 100_003 + 1:09d}".rstrip("0")
    return f"2026-01-31T12:00:00.{fraction}Z {stream} F {message(number, rng)}\n".encode()


def json_line(number: int, rng: random.Random) -> bytes:
    return message(number, rng).encode() + b"\n"


def text_line(number: int, rng: random.Random) -> bytes:
    return cri_line(number, rng).replace(b"{", b"text: {")


def docker_line(number: int, rng: random.Random) -> bytes:
    line = {
        "log": message(number, rng) + "\n",
        "stream": "stdout",
        "time": f"2026-01-31T12:00:00.{number:09d}Z",
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def nginx_line(number: int, rng: random.Random) -> bytes:
    return (
        f'10.0.0.{rng.randrange(256)} - - [31/Jan/2026:12:00:00 +0000] "GET /item/{number} HTTP/1.1" 200 '
        f'{rng.randrange(50_000)} "https://shop.example/catalogue?page={rng.randrange(99)}" '
        '"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126 Safari/537.36"\n'
    ).encode()


def logfmt_line(number: int, rng: random.Random) -> bytes:
    return f'level=info number={number} msg="request handled" path=/x/{rng.randrange(10**6)} ok\n'.encode()


def ltsv_line(number: int, rng: random.Random) -> bytes:
    return (
        f"host:10.0.0.1\tlevel:info\tnumber:{number}\tmsg:request handled\tpath:/x/{rng.randrange(10**6)}\n"
    ).encode()


def partial_line(number: int, rng: random.Random) -> bytes:
    head, text = cri_line(number, rng).split(b" F ")
    middle = len(text) // 2
    return head + b" P " + text[:middle] + b"\n" + head + b" F " + text[middle:]


def block(make: Callable[[int, random.Random], bytes]) -> bytes:
    rng = random.Random(1)
    return b"".join(make(number, rng) for number in range(LINES))


@pytest.fixture(scope="module", params=["python", "native"])
def engine(request: pytest.FixtureRequest) -> Engine:
    os.environ.pop("LOGFLOW_ENGINE", None)
    try:
        return load_engine(request.param)
    except ComponentError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def make_parser(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Parser]:
    return partial(build_parser, make_context(tmp_path_factory.mktemp("bench"), engine="python"))


@pytest.fixture(scope="module")
def entries(make_parser: Callable[..., Parser]) -> bytes:
    lines = load_engine("python").line_parser("cri", make_parser("json"), max_line=1 << 20)
    return lines.parse(block(cri_line), b"", 0).entries


Run = Callable[..., Any]


@pytest.fixture
def run(benchmark: Any, request: pytest.FixtureRequest, speeds: Speeds) -> Run:
    """``run(size, function, *arguments)``: measure a call that takes so many bytes."""

    def measure(size: int, function: Callable[..., Any], *arguments: Any) -> Any:
        result = benchmark(function, *arguments)
        if benchmark.stats is not None:  # None with --benchmark-disable
            speed = round(size / benchmark.stats.stats.min / 1e6)
            benchmark.extra_info["MB_per_s"] = speed
            speeds.add(request.node.name, speed)
        return result

    return measure


def test_plain_loop(run: Run) -> None:
    messages = [line.split(b" ", 3)[3] for line in block(cri_line).splitlines()]
    decode, encode = msgspec.json.Decoder().decode, msgspec.msgpack.Encoder().encode

    def loop() -> None:
        for text in messages:
            encode(decode(text))

    run(len(block(cri_line)), loop)


@pytest.mark.parametrize(
    ("line_format", "make", "parser"),
    [
        ("cri", cri_line, {"name": "json"}),
        ("cri", cri_line, {"name": "raw"}),
        ("cri", partial_line, {"name": "json"}),
        ("docker", docker_line, {"name": "json"}),
        ("plain", json_line, {"name": "json"}),
        ("plain", json_line, {"name": "json", "time_key": "x"}),
        ("cri", text_line, {"name": "json"}),
        ("plain", nginx_line, NGINX_PARSER),
        ("plain", logfmt_line, {"name": "logfmt"}),
        ("plain", ltsv_line, {"name": "ltsv"}),
    ],
    ids=["cri-json", "cri-raw", "cri-partial", "docker-json", "plain-json", "plain-json-time", "cri-text",
         "nginx-regex", "plain-logfmt", "plain-ltsv"],
)  # fmt: skip
def test_line_parser(
    run: Run, engine: Engine, make_parser: Any, line_format: Any, make: Any, parser: dict[str, Any]
) -> None:
    data = block(make)
    lines = engine.line_parser(line_format, make_parser(**parser), max_line=1 << 20)
    parsed = run(len(data), lines.parse, data, b"", 0)
    assert (parsed.events, parsed.malformed) == (LINES, 0)
    assert parsed.unparsed == (LINES if make is text_line else 0)


@pytest.mark.parametrize("name", ["count", "offsets", "time_range", "normalize"])
def test_walking(run: Run, engine: Engine, entries: bytes, name: str) -> None:
    run(len(entries), getattr(engine, name), entries)


def test_normalize_with_metadata(run: Run, engine: Engine, entries: bytes) -> None:
    starts = [*engine.offsets(entries), len(entries)]
    data = b"".join(
        b"\x92\x92" + entries[start + 1 : start + 11] + b"\x80" + entries[start + 11 : end]
        for start, end in pairwise(starts)
    )
    assert run(len(data), engine.normalize, data) == (entries, LINES)


def test_to_ndjson(run: Run, engine: Engine, entries: bytes) -> None:
    run(len(entries), engine.to_ndjson, entries, "kube.default.web.app")


def test_splice(run: Run, engine: Engine, entries: bytes) -> None:
    run(
        len(entries),
        engine.splice,
        entries,
        {"kubernetes": {"namespace": "default", "pod": "web"}},
    )


def test_grep(run: Run, engine: Engine, entries: bytes) -> None:
    run(
        len(entries),
        engine.grep([("level", "^(info|warn)$")], [("path", "^/admin")]).apply,
        entries,
    )


def test_modify(run: Run, engine: Engine, entries: bytes) -> None:
    changes = [("set", "where", "{tag}/{level}"), ("rename", "msg", "message"), ("remove", "trace", None)]
    run(len(entries), engine.modify(changes, {}).apply, entries, "kube.default.web.app")


def test_condition(run: Run, engine: Engine, entries: bytes) -> None:
    """Two fields: to be held against ``grep``."""
    condition = engine.condition(compile_expression("level in ['info', 'warn'] and status < 500"))
    run(len(entries), condition.keep, entries, "kube.default.web.app", None, 0)


def test_set(run: Run, engine: Engine, entries: bytes) -> None:
    """Two computed fields: to be held against ``modify``."""
    fields = {"duration_ms": "duration * 1000", "where": "f'{method} {path}'"}
    assignment = engine.assignment([(path, compile_expression(text)) for path, text in fields.items()])
    run(len(entries), assignment.apply, entries, "kube.default.web.app", None, 0)


def test_set_shape(run: Run, engine: Engine, entries: bytes) -> None:
    changes: list[tuple[str, str, Any]] = [("prune", "", ["tra*"]), ("nest", "http", ["method", "path"])]
    run(len(entries), engine.modify(changes, {}).apply, entries, "kube.default.web.app")


@pytest.mark.parametrize("key", ["kubernetes.pod_name", "level", "trace"])
def test_throttle(run: Run, engine: Engine, entries: bytes, key: str) -> None:
    """One group, as of a container's file; a few; one for each event."""
    grouping = engine.grouping([compile_expression(key)])

    def admit() -> None:
        groups = grouping.apply(entries, "app", None, 0)
        engine.admit(entries, groups.ids, [10] * len(groups.keys), by="events")

    run(len(entries), admit)


def test_tally(run: Run, engine: Engine, entries: bytes) -> None:
    level = compile_expression("level")
    measures = [
        Measure([level, compile_expression("status")]),
        Measure([level], compile_expression("duration"), bounds=[0.1, 0.5, 1.0]),
    ]
    run(len(entries), engine.tally(measures).apply, entries, "app", None, 0)


def test_repeats(run: Run, engine: Engine, entries: bytes) -> None:
    memory = engine.repeats([compile_expression("trace")], 1e-9, 1000, tells=False)
    at_ns = count()
    run(len(entries), lambda: memory.apply(entries, "app", None, 0, next(at_ns)))


def test_miner(run: Run, engine: Engine, entries: bytes) -> None:
    miner = engine.miner(compile_expression("msg"), 1000, 0.5)
    run(len(entries), miner.apply, entries, "app", None, 0)


def test_redact(run: Run, engine: Engine, entries: bytes) -> None:
    """Three detectors, which find nothing."""
    redaction = engine.redaction(["email", "card", "bearer"], [], None, "mask", keys=False)
    run(len(entries), redaction.apply, entries, b"")


def test_limits(run: Run, engine: Engine, entries: bytes) -> None:
    run(len(entries), engine.limits(1 << 15, 10, 200, "truncated").apply, entries)


@pytest.mark.parametrize("mode", ["packed", "forward", "message"])
def test_scan_frames(run: Run, engine: Engine, entries: bytes, mode: str) -> None:
    starts = [*engine.offsets(entries), len(entries)]
    data = {
        "packed": b"\x92\xa3tag\xc6" + len(entries).to_bytes(4, "big") + entries,
        "forward": b"\x92\xa3tag\xdd" + LINES.to_bytes(4, "big") + entries,
        "message": b"".join(b"\x93\xa3tag" + entries[start + 1 : end] for start, end in pairwise(starts)),
    }[mode]
    run(len(data), engine.scan_frames, data, 1 << 30)
