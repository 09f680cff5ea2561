"""Messages of several lines: the same events in both engines, however the lines are cut into blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from logflow.component import Parser
from logflow.engine.api import Engine
from logflow.multiline import PRESETS, Multiline, custom, of_presets
from logflow.packing import unpack_entries

from .conftest import MakeLineParser

ALL = of_presets(sorted(PRESETS))


def cri(lines: list[str], stream: str = "stdout", step_ms: int = 1) -> bytes:
    return b"".join(
        f"2026-01-31T12:00:{n * step_ms // 1000:02}.{n * step_ms % 1000:03}Z {stream} F {line}\n".encode()
        for n, line in enumerate(lines)
    )


def events(engine_lines: Any, blocks: list[bytes], *, flush: bool = True) -> list[str]:
    """Messages that come of blocks, and of what is open at the end."""
    found, carry = [], b""
    for block in blocks:
        parsed = engine_lines.parse(block, carry, 7)
        carry = parsed.carry
        found += [record["message"] for _, record in unpack_entries(parsed.entries)]
    if flush:
        rest = engine_lines.flush(carry, 7)
        assert rest.carry == b""
        found += [record["message"] for _, record in unpack_entries(rest.entries)]
    return found


TRACES = {
    "java": """Exception in thread "main" java.lang.RuntimeException: A test exception
\tat com.example.stacktrace.StackTraceExample.methodB(StackTraceExample.java:13)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.sql.SQLException: no connection
\tat com.example.Db.open(Db.java:5)
\t... 4 more
\tSuppressed: java.lang.Exception: closing
\t\tat com.example.Db.close(Db.java:9)""",
    "java behind a head": """2026-01-31 12:00:00 ERROR c.e.App - java.lang.IllegalStateException: no
\tat com.example.App.main(App.java:3)""",
    "python": """Traceback (most recent call last):
  File "/app/a.py", line 3, in <module>
    f()
  File "/app/a.py", line 2, in f
    raise KeyError("x")
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/a.py", line 5, in <module>
    raise ValueError("y") from None
ValueError: y""",
    "python group": """  + Exception Group Traceback (most recent call last):
  |   File "/app/a.py", line 1, in <module>
  | ExceptionGroup: several (1 sub-exception)
  +-+---------------- 1 ----------------
    | ValueError: x
    +------------------------------------""",
    "go": """panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.f(...)
\t/app/main.go:8
main.main()
\t/app/main.go:12 +0x1d

goroutine 6 [chan receive]:
main.worker(0xc000012345)
\t/app/main.go:20 +0x45
created by main.main
\t/app/main.go:11 +0x30
exit status 2""",
    "ruby": """/app/a.rb:2:in `f': no such thing (ArgumentError)
\tfrom /app/a.rb:5:in `g'
\tfrom /app/a.rb:8:in `<main>'""",
    "node": """TypeError: Cannot read properties of undefined (reading 'x')
    at f (/app/a.js:2:5)
    at Object.<anonymous> (/app/a.js:5:1) {
  [cause]: Error: why
      at g (/app/a.js:9:3)
}""",
    "dotnet": """Unhandled exception. System.InvalidOperationException: outer
 ---> System.ArgumentException: inner
   at App.Program.F() in /app/Program.cs:line 5
   --- End of inner exception stack trace ---
   at App.Program.Main(String[] args) in /app/Program.cs:line 12""",
    "php": """PHP Fatal error:  Uncaught Exception: no in /app/a.php:3
Stack trace:
#0 /app/a.php(6): f()
#1 {main}
  thrown in /app/a.php on line 3""",
    "rust": """thread 'main' panicked at src/main.rs:2:5:
called `Option::unwrap()` on a `None` value
stack backtrace:
   0: rust_begin_unwind
             at /rustc/library/std/src/panicking.rs:645:5
   1: core::panicking::panic_fmt
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.""",
}


@pytest.mark.parametrize("name", sorted(TRACES))
@pytest.mark.parametrize("presets", ["own", "all"])
def test_a_trace_is_one_event_and_its_neighbours_are_their_own(
    make_lines: MakeLineParser, name: str, presets: str
) -> None:
    multiline = ALL if presets == "all" else of_presets([name.split(maxsplit=1)[0]])
    lines = make_lines("cri", "raw", multiline=multiline)
    trace = TRACES[name]
    written = ["before", *trace.split("\n"), "after", '{"level":"info"}', *trace.split("\n")]
    expected = ["before", trace, "after", '{"level":"info"}', trace]
    assert events(lines, [cri(written)]) == expected
    each = cri(written).splitlines(keepends=True)
    assert events(lines, each) == expected


def test_streams_and_containers_are_kept_apart(make_lines: MakeLineParser) -> None:
    lines = make_lines("cri", "raw", multiline=ALL)
    trace = TRACES["java"].split("\n")
    out, err = cri(trace).splitlines(keepends=True), cri(trace, "stderr").splitlines(keepends=True)
    mixed = [line for pair in zip(out, err, strict=True) for line in pair]
    assert events(lines, [b"".join(mixed)]) == [TRACES["java"]] * 2


@pytest.mark.parametrize(
    ("patterns", "written", "expected"),
    [
        ((r"^\d", None, None), ["x", "1 a", "b", "2 c"], ["x", "1 a\nb", "2 c"]),
        ((None, r"^\s", None), ["a", " b", " c", "d"], ["a\n b\n c", "d"]),
        ((None, None, ";$"), ["a", "b;", "c;", "d"], ["a\nb;", "c;", "d"]),
        (("^<", None, ">$"), ["x", "<a", "b>", "y", "<c", "<d"], ["x", "<a\nb>", "y", "<c", "<d"]),
        (("^<", "^ ", None), ["<a", " b", "c", " d"], ["<a\n b", "c", " d"]),
    ],
)
def test_patterns_of_ones_own(
    make_lines: MakeLineParser, patterns: tuple[Any, Any, Any], written: list[str], expected: list[str]
) -> None:
    for line_format, block in (("cri", cri(written)), ("plain", "".join(f"{x}\n" for x in written).encode())):
        lines = make_lines(line_format, "raw", multiline=custom(*patterns))
        assert events(lines, [block]) == expected
        assert events(lines, block.splitlines(keepends=True)) == expected


def test_an_event_has_the_time_and_stream_of_its_first_line(make_lines: MakeLineParser) -> None:
    lines = make_lines("cri", "raw", multiline=custom(r"^\S", None, None))
    parsed = lines.flush(lines.parse(cri(["a", " b"], "stderr"), b"", 7).carry, 7)
    assert parsed.events == 1
    ((time, record),) = unpack_entries(parsed.entries)
    assert time.isoformat() == "2026-01-31T12:00:00.000000000Z"
    assert record == {"message": "a\n b", "stream": "stderr"}


def test_an_event_is_not_held_longer_than_its_timeout(make_lines: MakeLineParser) -> None:
    """By the times of lines, of any stream, so that reading them again gives the same events."""
    lines = make_lines("cri", "raw", multiline=custom(r"^\S", None, None, timeout_ns=1_500_000_000))
    assert events(lines, [cri(["a", " b", " c"], step_ms=1000)], flush=False) == []
    assert events(lines, [cri(["a", " b"], step_ms=2000)]) == ["a", " b"]
    late = cri(["x"] * 5, "stderr", step_ms=1000)
    assert events(lines, [cri(["a"]), late], flush=False)[0] == "x"
    assert "a" in events(lines, [cri(["a"]), late], flush=False)


def test_an_event_without_end_is_divided(make_lines: MakeLineParser) -> None:
    """Nothing of it is lost."""
    lines = make_lines("cri", "raw", multiline=custom(r"^a", None, None, max_lines=3, max_bytes=12))
    assert events(lines, [cri(["a", "1", "2", "3", "4", "5", "6"])]) == ["a\n1\n2", "3\n4\n5", "6"]
    assert events(lines, [cri(["a", "12345", "67890", "x" * 20, "y"])]) == [
        "a\n12345",
        "67890",
        "x" * 20,
        "y",
    ]


def test_lines_come_after_the_join_of_partial_ones(make_lines: MakeLineParser) -> None:
    lines = make_lines("cri", "raw", multiline=custom(r"^a", None, None))
    block = cri(["a", " b", "a"]).replace(b"F  b", b"P  b") + b"2026-01-31T12:00:00.003Z stdout F c\n"
    assert events(lines, [block]) == ["a\n ba\nc"]


def test_docker_lines_keep_their_attributes(make_lines: MakeLineParser) -> None:
    lines = make_lines("docker", "raw", multiline=custom(r"^a", None, None))
    block = b"".join(
        b'{"log":"%s\\n","stream":"stdout","attrs":{"n":%d},"time":"2026-01-31T12:00:00Z"}\n' % (text, n)
        for n, text in enumerate([b"a", b"b", b"a"])
    )
    parsed = lines.parse(block, b"", 7)
    rest = lines.flush(parsed.carry, 7)
    assert [record for _, record in unpack_entries(parsed.entries + rest.entries)] == [
        {"message": "a\nb", "attrs": {"n": 0}, "stream": "stdout"},
        {"message": "a", "attrs": {"n": 2}, "stream": "stdout"},
    ]


def test_the_offset_of_an_event_of_several_lines_is_that_of_its_first(make_lines: MakeLineParser) -> None:
    """Also where it is cut into two for its size, and of what is held."""
    lines = make_lines("plain", "raw", multiline=custom("^a", "^ ", None, max_lines=2), offset_key="at")
    parsed = lines.parse(b"x\na\n 1\n 2\n 3\nb\na\n", b"", 7, 100)
    rest = lines.parse(b" 4\n", parsed.carry, 7, 100 + parsed.consumed)
    flushed = lines.flush(rest.carry, 7)
    entries = parsed.entries + rest.entries + flushed.entries
    assert [(record["message"], record["at"]) for _, record in unpack_entries(entries)] == [
        ("x", 100), ("a\n 1", 102), (" 2\n 3", 107), ("b", 113), ("a\n 4", 115),
    ]  # fmt: skip


def test_what_was_open_comes_out_when_events_are_not_joined_any_more(make_lines: MakeLineParser) -> None:
    open_event = make_lines("cri", "raw", multiline=custom("^a", None, None)).parse(cri(["a", "b"]), b"", 7)
    assert open_event.events == 0
    parsed = make_lines("cri", "raw").parse(cri(["c"]), open_event.carry, 7)
    assert [record["message"] for _, record in unpack_entries(parsed.entries)] == ["a\nb", "c"]
    assert parsed.carry == b""


def test_json_lines_take_the_fast_way(engine: Engine, make_parser: Callable[..., Parser]) -> None:
    """And give what they give without the option."""
    block = b"".join(
        b'2026-01-31T12:00:00.%09dZ stdout F {"n":%d,"msg":"java.lang.Error: x"}\n' % (n, n)
        for n in range(500)
    )
    plain = engine.line_parser("cri", make_parser("json"), max_line=1 << 20)
    joining = engine.line_parser("cri", make_parser("json"), max_line=1 << 20, multiline=ALL)
    assert joining.parse(block, b"", 7) == plain.parse(block, b"", 7)


@pytest.mark.parametrize("multiline", [ALL, custom("^a", None, None)])
def test_the_rules_are_for_lines_not_for_records(multiline: Multiline) -> None:
    assert multiline.native()["rules"]


@pytest.mark.parametrize("name", sorted(TRACES))
def test_first_lines_hold_a_hint(name: str) -> None:
    """Blocks without any of these words are not looked at line by line."""
    first = TRACES[name].split("\n")[0]
    assert any(hint in first for hint in PRESETS[name.split(maxsplit=1)[0]].hints)
