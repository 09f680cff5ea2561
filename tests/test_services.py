"""Shared tasks: one for all that ask for it, started again when it fails, ended by the host."""

from __future__ import annotations

import asyncio

from logflow.services import Services
from logflow.testing import FakeClock


class Watch:
    """Something that several components need once."""

    def __init__(self, failures: int = 0) -> None:
        self.runs = 0
        self.ended = False
        self._failures = failures

    async def run(self) -> None:
        self.runs += 1
        if self.runs <= self._failures:
            raise RuntimeError("a bug")
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


async def test_what_is_shared_is_made_and_run_once() -> None:
    """Who asks for the same key gets the same object; closing ends its task, also when called twice."""
    services = Services()
    first = services.share("pods", Watch)
    assert services.share("pods", Watch) is first
    assert services.share("nodes", Watch) is not first
    await asyncio.sleep(0)
    assert first.runs == 1
    await services.close()
    await services.close()
    assert first.ended


async def test_a_shared_task_that_fails_is_started_again() -> None:
    """A bug in it is a line in the log, and a new start after a pause."""
    clock = FakeClock()
    services = Services(clock)
    watch = services.share("pods", lambda: Watch(failures=1))
    await clock.advance(1)
    assert watch.runs == 1
    await clock.advance(5)
    assert watch.runs == 2
    await services.close()
