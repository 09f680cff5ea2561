"""From when on a missing ack is suspicious."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from logflow.forward.acktimes import AckTimes


def test_a_second_is_always_granted():
    times = AckTimes()
    assert times.patience_s == 1.0
    for _ in range(100):
        times.took(0.002)
    assert times.patience_s == 1.0


def test_slow_acks_are_waited_for_longer_and_fast_ones_make_that_forgotten():
    times = AckTimes()
    times.took(5.0)
    assert times.patience_s >= 20
    for _ in range(40):
        times.took(0.01)
    assert times.patience_s == 1.0


def test_one_late_ack_among_many_does_not_make_it_patient_for_long():
    times = AckTimes()
    for _ in range(100):
        times.took(0.01)
    times.took(30.0)
    for _ in range(60):
        times.took(0.01)
    assert times.patience_s < 2.0


@given(st.floats(0.001, 100.0))
def test_what_always_takes_the_same_is_never_overdue(seconds):
    times = AckTimes()
    for _ in range(200):
        assert times.patience_s > seconds or times.patience_s == 1.0
        times.took(seconds)
