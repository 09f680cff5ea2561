"""The stage ``multiline``: the same events as where files are read, held no longer than they may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from logflow.batch import Batch, DeliveryKey, Span
from logflow.engine import load_engine
from logflow.engine.api import Engine
from logflow.multiline import PRESETS, of_presets
from logflow.packing import unpack_entries
from logflow.stages.multiline import MultilineStage
from logflow.telemetry.metrics import Metrics
from logflow.testing import FakeClock, build_parser, make_context

JAVA = ["java.lang.IllegalStateException: no", "\tat com.example.App.main(App.java:3)", "\t... 4 more"]
PYTHON = [
    "Traceback (most recent call last):",
    '  File "/app/a.py", line 3, in <module>',
    "    f()",
    "KeyError: 'x'",
    "",
    "During handling of the above exception, another exception occurred:",
    "",
    "Traceback (most recent call last):",
    '  File "/app/a.py", line 5, in <module>',
    "ValueError: y",
]
GO = ["panic: no", "", "goroutine 1 [running]:", "main.main()", "\t/app/main.go:12 +0x1d", "exit status 2"]
MS = 1_000_000


class Bench:
    def __init__(self, engine: str, directory: Path = Path("/nonexistent"), **options: Any) -> None:
        self.clock, self.metrics = FakeClock(), Metrics()
        context = make_context(
            directory, "test", kind="filter", engine=engine, clock=self.clock, metrics=self.metrics
        )
        options = options or {"presets": ["java", "python", "go"]}
        self.stage = MultilineStage(MultilineStage.Config(**options), context)
        self.time_ns = 0

    def send(self, *records: str | dict[str, Any], source: str = "s", origin: Any = None) -> list[Any]:
        """Send events a millisecond apart; returns what goes on at once."""
        events = []
        for record in records:
            self.time_ns += MS
            events.append((self.time_ns, {"message": record} if isinstance(record, str) else record))
        batch = Batch.from_events("app", events, origin, {"source": source})
        return self.messages(self.stage.apply(batch))

    def flush(self, now_s: float | None = None) -> list[Any]:
        return self.messages(self.stage.flush(now_s))

    @staticmethod
    def messages(batches: Any) -> list[Any]:
        for batch in batches:
            assert batch.count == len(list(batch.events()))
        return [record.get("message") for batch in batches for _, record in batch.events()]

    @property
    def early(self) -> int:
        return sum(cell.value for cell in self.metrics.counters())


@pytest.fixture
def bench(engine: Engine) -> Any:
    return lambda **options: Bench(engine.name, **options)


def joined(lines: list[str]) -> str:
    return "\n".join(lines)


def test_a_trace_is_one_event_and_its_neighbours_stay_as_they_are(bench: Any) -> None:
    it = bench()
    assert it.send("before", *JAVA, "after", *PYTHON, "end") == [
        "before", joined(JAVA), "after", joined(PYTHON), "end",
    ]  # fmt: skip
    assert it.flush() == []


def test_it_goes_on_over_batches_and_has_the_first_lines_other_fields_and_time(bench: Any) -> None:
    it = bench(presets=["java"], field="log.text")
    records = [{"log": {"text": line, "n": n}, "k": n} for n, line in enumerate(JAVA)]
    assert it.send(records[0]) == it.send(records[1]) == []
    it.send(records[2])
    (batch,) = it.stage.flush(None)
    assert list(batch.events()) == [(MS, {"log": {"text": joined(JAVA), "n": 0}, "k": 0})]


def test_streams_containers_and_peers_are_never_joined_with_each_other(bench: Any) -> None:
    it = bench()
    mixed = [
        {"message": line, **identity}
        for line in JAVA
        for identity in (
            {"stream": "stdout"}, {"stream": "stderr"}, {"container_id": "a"},
            {"kubernetes": {"pod_id": "u", "container_name": "b"}}, {"_PID": "1"},
        )
    ]  # fmt: skip
    assert it.send(*mixed) == []
    assert it.send(JAVA[0], source="other") == []
    assert sorted(it.flush()) == sorted([joined(JAVA)] * 5 + [JAVA[0]])


def test_by_names_the_fields_that_tell_streams_apart(bench: Any) -> None:
    it = bench(presets=["java"], by=["thread"])
    mixed = [{"message": line, "thread": n % 2, "stream": n} for n, line in enumerate(JAVA)]
    assert it.send(*mixed) == [JAVA[1]]
    assert it.flush() == [f"{JAVA[0]}\n{JAVA[2]}"]


async def test_nothing_is_held_for_longer_than_the_timeout(bench: Any) -> None:
    it = bench(presets=["java"], timeout="2s")
    assert it.send(*JAVA) == []
    assert it.flush(1.9) == []
    assert it.flush(2.0) == [joined(JAVA)]


def test_a_line_that_is_late_by_its_own_time_is_not_joined(bench: Any) -> None:
    it = bench(presets=["java"])
    it.send(*JAVA[:2])
    it.time_ns += 3_000 * MS
    assert it.send(JAVA[2]) == [joined(JAVA[:2]), JAVA[2]]


def test_events_without_text_end_what_is_open(bench: Any) -> None:
    it = bench()
    assert it.send(JAVA[0], {"message": 5}, JAVA[1]) == [JAVA[0], 5, JAVA[1]]
    assert it.send(JAVA[0], {"other": 5}) == [JAVA[0], None]
    assert it.send({"message": b"java.lang.Error: \xff"}, "x")[1:] == ["x"]


def test_own_patterns(bench: Any) -> None:
    it = bench(start=r"^\d", end="^;")
    assert it.send("x", "1 a", "b", "2 c", ";", "y", "3") == ["x", "1 a\nb", "2 c\n;", "y"]
    assert it.flush() == ["3"]
    it = bench(**{"continue": r"^\s"})
    assert it.send("a", " b", "c") == ["a\n b"]


def test_a_trace_without_end_is_divided(bench: Any) -> None:
    """By lines and by bytes; nothing of it is lost, and little is held."""
    it = bench(presets=["java"], max_lines=3, max_bytes="64")
    frames = ["\tat " + "x" * (n % 40) for n in range(100)]
    made = [*it.send("a.B.Error: e", *frames), *it.flush()]
    assert joined(made) == joined(["a.B.Error: e", *frames])
    assert all(text.count("\n") < 3 and len(text) <= 64 for text in made)


def test_what_was_begun_first_goes_on_when_too_many_are_open(bench: Any) -> None:
    """Of other peers too; it is counted."""
    it = bench(presets=["java"], max_open=2)
    assert it.send({"message": "a.Error: 1", "stream": 1}, source="other") == []
    assert it.send({"message": "a.Error: 2", "stream": 2}, {"message": "a.Error: 3", "stream": 3}) == [
        "a.Error: 1"
    ]
    assert it.send({"message": "z"}, {"message": "a.Error: 4", "stream": 4}) == ["z", "a.Error: 2"]
    assert it.early == 2
    assert sorted(it.flush()) == ["a.Error: 3", "a.Error: 4"]


def test_a_hundred_thousand_streams_hold_no_more_than_they_may() -> None:
    it = Bench("python", presets=["java"], max_open=10)
    for start in range(0, 3000, 500):
        it.send(*({"message": f"a.Error: {n}", "stream": n} for n in range(start, start + 500)))
    assert it.early == 2990
    assert len(it.flush()) == 10


def test_all_that_is_held_together_is_bounded(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logflow.stages.multiline._MOST_BYTES", 50)
    it = bench()
    first = it.send(*({"message": f"a.Error: {'x' * 10}", "stream": n} for n in range(5)))
    assert len(first) == 3
    assert len(it.flush()) == 2


def test_it_says_of_which_deliveries_it_holds_something(bench: Any) -> None:
    it = bench()
    a, b, c = (DeliveryKey(bytes([n])) for n in range(3))
    stream = Batch("app", b"", 0, a, {"source": "s"}).stream
    it.send(JAVA[0], origin=a)
    it.send(JAVA[1], origin=b)
    assert list(it.stage.holds(stream)) == [a, b]
    it.send("x", JAVA[0], origin=c)
    assert list(it.stage.holds(stream)) == [c]
    assert it.stage.holds("another") == []
    assert it.messages(it.stage.flush_stream("another")) == []
    assert it.messages(it.stage.flush_stream(stream)) == [JAVA[0]]
    assert it.stage.holds(stream) == []


def test_a_batch_in_which_nothing_begins_is_handed_on_itself(bench: Any) -> None:
    it = bench()
    batch = Batch.from_events("app", [(1, {"message": "fine"})], Span("f", 0, 9))
    assert list(it.stage.apply(batch)) == [batch]


@pytest.mark.parametrize("options", [{}, {"presets": ["cobol"]}, {"presets": ["go"], "start": "x"}])
def test_rules_are_checked_at_load(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MultilineStage.Config(**options)


STEPS_MS = st.sampled_from([1, 1, 1, 3000])
ALL_LINES = [*JAVA, *PYTHON, *GO, "plain", "", "  indented", '{"a": "Error"}', "x.Error: y"]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lines=st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from(ALL_LINES), STEPS_MS),
        max_size=30,
    ),
    cuts=st.sets(st.integers(0, 30)),
    limits=st.sampled_from([{}, {"max_lines": 3}, {"max_bytes": 70}]),
)  # fmt: skip
def test_it_joins_what_the_parser_of_lines_joins(lines: Any, cuts: set[int], limits: dict[str, Any]) -> None:
    """However the lines are cut into batches, and wherever two streams alternate."""
    engine = load_engine("python")
    parser = engine.line_parser(
        "cri", build_parser(make_context(Path("/nonexistent"), "p"), "raw"), max_line=1 << 20,
        multiline=of_presets(sorted(PRESETS), **limits),
    )  # fmt: skip
    it = Bench("python", presets=sorted(PRESETS), **limits)
    block, made, time_ms, batch = "", list[Any](), 0, list[Any]()
    for index, (stream, text, step_ms) in enumerate(lines):
        time_ms += step_ms
        seconds, rest_ms = divmod(time_ms, 1000)
        block += f"1970-01-01T00:{seconds // 60:02}:{seconds % 60:02}.{rest_ms:03}Z {stream} F {text}\n"
        batch.append((time_ms * MS, {"message": text, "stream": stream}))
        if index in cuts or index == len(lines) - 1:
            made += it.stage.apply(Batch.from_events("app", batch))
            batch = []
    made += it.stage.flush(None)
    parsed = parser.parse(block.encode(), b"", 0)
    rest = parser.flush(parsed.carry, 0)
    for stream in ("stdout", "stderr"):
        expected = list(unpack_entries(parsed.entries + rest.entries))
        found = [event for part in made for event in part.events()]
        assert [e for e in found if e[1]["stream"] == stream] == [
            e for e in expected if e[1]["stream"] == stream
        ]
