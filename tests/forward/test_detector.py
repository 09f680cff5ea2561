"""The phi accrual failure detector."""

from __future__ import annotations

import math

import pytest

from logflow.forward.detector import FailureDetector


def test_suspicion_is_the_silence_over_the_mean_interval():
    detector = FailureDetector(1.0, now_s=0.0)
    for second in range(1, 20):
        detector.heard(float(second))
    assert detector.phi(19.0) == 0.0
    assert detector.phi(29.0) == pytest.approx(10 / math.log(10))


def test_an_irregular_server_is_given_more_time():
    regular, irregular = FailureDetector(1.0, 0.0), FailureDetector(1.0, 0.0)
    for step in range(1, 50):
        regular.heard(step * 1.0)
        irregular.heard(step * 3.0)
    assert irregular.phi(147.0 + 10) < regular.phi(49.0 + 10)


def test_recent_intervals_weigh_more():
    slower, faster = FailureDetector(1.0, 0.0), FailureDetector(1.0, 0.0)
    now = 0.0
    for gap in [1.0] * 50 + [5.0] * 50:
        slower.heard(now := now + gap)
    now = 0.0
    for gap in [5.0] * 50 + [1.0] * 50:
        faster.heard(now := now + gap)
    assert slower.phi(now + 10) < faster.phi(now + 10)


def test_a_burst_does_not_make_the_usual_interval_suspicious():
    detector = FailureDetector(1.0, 0.0)
    for step in range(1000):
        detector.heard(step * 0.001)
    assert detector.phi(2.0) < 1.0


def test_after_an_outage_it_starts_afresh():
    detector = FailureDetector(1.0, 0.0)
    detector.heard(500.0)
    detector.restart(501.0)
    assert detector.phi(511.0) == pytest.approx(10 / math.log(10))


def test_a_clock_that_stands_still_is_no_problem():
    detector = FailureDetector(1.0, 0.0)
    detector.heard(0.0)
    assert detector.phi(0.0) == 0.0
