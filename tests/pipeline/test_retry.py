"""Back-off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from logflow.config.options import RetryOptions
from logflow.pipeline.retry import Backoff


def test_grows_by_the_factor_up_to_the_maximum() -> None:
    """Without jitter the waits are initial, doubled, ... and then the maximum."""
    backoff = Backoff(RetryOptions(initial=1, factor=2, max=5, jitter=0))
    assert [backoff.next_delay_s() for _ in range(5)] == [1, 2, 4, 5, 5]


def test_starts_again_after_a_success() -> None:
    """Reset brings the initial wait back."""
    backoff = Backoff(RetryOptions(initial=1, factor=2, max=5, jitter=0))
    backoff.next_delay_s()
    backoff.next_delay_s()
    backoff.reset()
    assert backoff.next_delay_s() == 1


@given(st.integers(0, 2000))
def test_jitter_stays_within_its_share(attempts: int) -> None:
    """Every wait is within jitter of what it would be; thousands of attempts do not overflow."""
    backoff = Backoff(RetryOptions(initial=1, factor=10, max=60, jitter=0.2))
    for _ in range(attempts):
        assert 0.8 <= backoff.next_delay_s() <= 72
