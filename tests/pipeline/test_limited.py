"""Calls of a user's code: whatever hangs, nobody waits for it longer than its timeout."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from logflow.pipeline.limited import _MOST_HANGING, LimitedCalls, TookTooLong


def forever() -> None:
    while True:
        pass


def test_results_and_errors_come_back_and_one_thread_does_it_all() -> None:
    calls = LimitedCalls(10.0, "test")
    assert calls(lambda: 1) == 1
    threads = {calls(threading.current_thread) for _ in range(3)}
    assert len(threads) == 1
    assert threads != {threading.current_thread()}
    with pytest.raises(TimeoutError, match="its own"):
        calls(lambda: (_ for _ in ()).throw(TimeoutError("its own")))
    with pytest.raises(SystemExit):
        calls(lambda: (_ for _ in ()).throw(SystemExit))
    assert calls(lambda: 2) == 2
    calls.close()
    calls.close()
    threads.pop().join(5)


def test_what_takes_too_long_is_interrupted_and_the_next_call_is_made() -> None:
    calls = LimitedCalls(0.02, "test")
    with pytest.raises(TookTooLong, match=r"longer than 0\.02 s"):
        calls(forever)
    (worker,) = calls._hanging
    worker.thread.join(5)
    assert not worker.thread.is_alive()
    assert calls(lambda: 3) == 3
    calls.close()


def test_what_cannot_be_interrupted_is_not_called_again_and_again() -> None:
    calls, over = LimitedCalls(0.01, "test"), threading.Event()
    for _ in range(_MOST_HANGING):
        with pytest.raises(TookTooLong, match="longer"):
            calls(lambda: over.wait(30))
    with pytest.raises(TookTooLong, match="not asked any more"):
        calls(lambda: pytest.fail("it was called"))
    over.set()
    for worker in list(calls._hanging):
        worker.thread.join(5)
    assert calls(lambda: 4) == 4
    calls.close()


def test_closing_ends_the_wait() -> None:
    calls, over, begun = LimitedCalls(60.0, "test"), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        over.wait(30)

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(calls, hang)
        assert begun.wait(5)
        started_s = time.monotonic()
        calls.close()
        with pytest.raises(TookTooLong, match="before the stop"):
            call.result(10)
        assert time.monotonic() - started_s < 10
    over.set()
