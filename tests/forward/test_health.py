"""Up, down, and on the way back."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from logflow.forward.health import Health, HealthOptions

WATCHED = HealthOptions(heartbeat_s=1.0, phi_threshold=16.0, recover_wait_s=10.0)
BLIND = HealthOptions(heartbeat_s=None, phi_threshold=16.0, recover_wait_s=10.0)


def test_a_failure_brings_it_down_at_once():
    health = Health(WATCHED, 0.0)
    assert health.up(0.0)
    assert health.failed(1.0, "refused")
    assert not health.up(1.0)
    assert health.reason == "refused"
    assert not health.failed(2.0, "refused"), "it was down already"


def test_it_comes_back_when_it_was_heard_for_long_enough():
    health = Health(WATCHED, 0.0)
    health.failed(1.0, "refused")
    assert not health.heard(5.0)
    assert not health.up(10.9)
    assert health.heard(11.0)
    assert health.up(11.0)


def test_another_failure_starts_the_wait_again():
    health = Health(WATCHED, 0.0)
    health.failed(1.0, "refused")
    health.failed(9.0, "refused")
    assert not health.heard(11.0)
    assert health.heard(19.0)


def test_a_delivered_chunk_brings_it_back_at_once():
    health = Health(WATCHED, 0.0)
    health.failed(1.0, "refused")
    assert health.delivered(2.0)
    assert health.up(2.0)
    assert not health.delivered(3.0)


def test_silence_brings_it_down():
    health = Health(WATCHED, 0.0)
    for second in range(1, 10):
        health.heard(float(second))
    assert not health.check(20.0)
    assert health.check(9 + 16 * 2.31)
    assert not health.up(46.0)
    assert not health.check(60.0), "it is down already"


def test_without_heartbeats_time_brings_it_back():
    health = Health(BLIND, 0.0)
    assert not health.check(1e9), "silence means nothing"
    health.failed(1.0, "refused")
    assert not health.up(10.0)
    assert health.up(11.0)
    assert health.failed(11.0, "refused")
    assert not health.up(20.0)


class Lives(RuleBasedStateMachine):
    """Any order of events: never up while a failure is recent and nothing was delivered since."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.failed_at = -1e9
        self.health = Health(WATCHED, 0.0)

    @rule(seconds=st.floats(0.01, 20.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def fail(self) -> None:
        self.health.failed(self.now, "x")
        self.failed_at = self.now

    @rule()
    def hear(self) -> None:
        self.health.heard(self.now)

    @rule()
    def check(self) -> None:
        if self.health.check(self.now):
            self.failed_at = self.now

    @rule()
    def deliver(self) -> None:
        self.health.delivered(self.now)
        self.failed_at = -1e9
        assert self.health.up(self.now)

    @invariant()
    def is_not_up_too_early(self) -> None:
        if self.now - self.failed_at < WATCHED.recover_wait_s:
            assert not self.health.up(self.now)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_suspicion_is_told_apart_and_heartbeats_do_not_lift_it():
    """A stopped process still accepts connections."""
    health = Health(WATCHED, 0.0)
    assert health.suspect("no acks")
    assert not health.suspect("no acks")
    for second in range(1, 30):
        assert not health.heard(float(second))
        assert health.state(float(second)) == "suspect"
        assert not health.up(float(second))
    assert health.suspect(None)
    assert health.state(30.0) == "up"


def test_what_is_down_stays_down_whatever_its_acks():
    health = Health(BLIND, 0.0)
    health.suspect("no acks")
    health.failed(1.0, "refused")
    assert health.state(2.0) == "down"
    health.suspect(None)
    assert health.state(2.0) == "down"
    assert health.state(11.0) == "up"
