"""Progress while the suite runs."""

from __future__ import annotations

import io

import pytest
from harness.display import Display, expected_s, minutes

PLAN = [("a", "native"), ("a", "slow"), ("a", "native"), ("a", "slow"), ("b", "slow")]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_expected_before_a_run_has_ended() -> None:
    assert expected_s([], PLAN, 3.0) is None


def test_the_same_run_is_expected_to_take_as_long_again() -> None:
    """A case that has not run yet takes as long as its subject did elsewhere."""
    durations = [(PLAN[0], 2.0), (PLAN[1], 10.0)]
    assert expected_s(durations, PLAN[2:], 0.5) == pytest.approx(1.5 + 10.0 + 10.0)


def test_an_unknown_subject_takes_as_long_as_the_others() -> None:
    assert expected_s([(PLAN[0], 2.0)], PLAN[1:2], 0.0) == pytest.approx(2.0)


def test_a_run_that_is_late_is_not_expected_to_end_in_the_past() -> None:
    assert expected_s([(PLAN[0], 2.0)], PLAN[2:3], 30.0) == 0.0


def test_a_pipe_gets_plain_lines() -> None:
    """One when a run begins, one every ten seconds, one with its outcome."""
    stream, clock = io.StringIO(), Clock()
    display = Display(stream, PLAN[:2], clock)
    display.begin("a: native")
    clock.now_s = 1.0
    display.update(0.1)
    clock.now_s = 11.0
    display.update(0.5)
    clock.now_s = 20.0
    display.end("well")
    display.begin("a: slow")
    assert stream.getvalue().splitlines() == [
        "[1/2] 0:00 elapsed: a: native",
        "[1/2]  50%, 0:11 elapsed: a: native",
        "[1/2] a: native: well",
        "[2/2] 0:20 elapsed, about 0:20 to go: a: slow",
    ]


def test_a_terminal_gets_one_line_that_is_kept_fresh() -> None:
    """It is written over, and ends only with the run."""
    stream, clock = Terminal(), Clock()
    display = Display(stream, PLAN[:1], clock)
    display.begin("a: native")
    clock.now_s = 1.0
    display.update(0.25)
    display.end("well")
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert written.count("\r") == 3
    assert "25%, 0:01 elapsed" in written


def test_minutes() -> None:
    assert [minutes(seconds) for seconds in (0, 59.9, 61, 3600)] == ["0:00", "0:59", "1:01", "60:00"]
