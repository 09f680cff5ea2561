"""Adaptive flushing."""

from __future__ import annotations

from logflow.buffers.pacing import Pacer


def test_a_quiet_queue_is_served_at_once() -> None:
    """The first chunk of a queue is due now."""
    assert Pacer(1.0).due("a", 10.0) == 10.0


def test_a_busy_queue_waits_a_little() -> None:
    """One busy queue may have a chunk every 20 milliseconds."""
    pacer = Pacer(1.0)
    pacer.took("a", 10.0)
    assert 10.0 < pacer.due("a", 10.0) <= 10.02


def test_many_busy_queues_share_the_rate() -> None:
    """A hundred of them are given two hundred chunks a second in all."""
    pacer = Pacer(1.0)
    for queue in range(100):
        pacer.took(queue, 10.0)
    assert abs(pacer.due(0, 10.0) - 10.5) < 1e-9


def test_never_waits_longer_than_the_flush_interval() -> None:
    """However many queues are busy, flush_interval is the limit."""
    pacer = Pacer(0.5)
    for queue in range(10_000):
        pacer.took(queue, 10.0)
    assert pacer.due(0, 10.0) == 10.5


def test_forgets_queues_that_went_quiet() -> None:
    """Queues that had no chunk for a second count no more."""
    pacer = Pacer(1.0)
    for queue in range(100):
        pacer.took(queue, 10.0)
    pacer.took("new", 20.0)
    assert pacer.due("new", 20.0) <= 20.02
    assert pacer.due(0, 20.0) == 20.0
