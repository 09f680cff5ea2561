"""Turns: what many connections do in one turn of the event loop is bounded, and the light ones come first."""

from __future__ import annotations

import asyncio

import pytest

from logflow.net import turns as module
from logflow.net.turns import Turn, Turns


async def test_nobody_waits_while_there_are_few():
    turns = Turns()
    for _ in range(5):
        waiting = turns.take(busy=False)
        with pytest.raises(StopIteration):
            waiting.send(None)


async def test_who_is_busy_lets_the_event_loop_come_round():
    turns, order = Turns(), []
    asyncio.get_running_loop().call_soon(order.append, "others")
    await turns.take(busy=True)
    order.append("busy")
    assert order == ["others", "busy"]


async def test_each_turn_of_the_loop_serves_a_few_and_goes_on_with_the_rest():
    turns, served, rounds = Turns(), [], []

    async def connection(number: int) -> None:
        await turns.take(busy=False)
        served.append(number)

    tasks = [asyncio.create_task(connection(number)) for number in range(50)]
    while len(served) < 50:
        before = len(served)
        await asyncio.sleep(0)
        rounds.append(len(served) - before)
    assert served == list(range(50))
    assert max(rounds) <= module._AT_ONCE
    await asyncio.gather(*tasks)


async def test_who_sends_little_comes_before_those_who_send_much_and_those_are_not_starved():
    turns, served = Turns(), []

    async def connection(kind: str) -> None:
        await turns.take(busy=kind == "busy")
        served.append(kind)

    tasks = [asyncio.create_task(connection(kind)) for kind in ["busy"] * 100 + ["new"] * 40]
    await asyncio.gather(*tasks)
    first = served[:50]
    assert first.count("new") == 40
    assert first.count("busy") >= 4


async def test_a_task_that_was_cancelled_takes_no_turn_from_others():
    turns, served = Turns(), []

    async def connection(number: int) -> None:
        await turns.take(busy=False)
        served.append(number)

    tasks = [asyncio.create_task(connection(number)) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[10:15]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served == [*range(10), *range(15, 20)]


async def test_who_has_used_up_a_turn_with_many_requests_is_busy_for_a_while(monkeypatch):
    now_s, kinds = 100.0, []

    async def take(*, busy: bool) -> None:
        kinds.append(busy)

    monkeypatch.setattr(module.time, "perf_counter", lambda: now_s)
    turns = Turns()
    monkeypatch.setattr(turns, "take", take)
    turn = Turn(turns)
    await turn.begin()
    now_s += 1.0
    await turn.go_on()  # slow, but that may be the fault of others
    assert kinds == [False, False]
    for _ in range(5):
        now_s += 0.01
        await turn.go_on()
    assert kinds[-1]
    await turn.begin()
    assert kinds[-1]
    now_s += 2.0
    await turn.begin()
    assert not kinds[-1]
