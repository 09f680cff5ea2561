"""How many requests at once a server bears."""

from __future__ import annotations

from logflow.net.http_client.pressure import Pressure
from logflow.testing import FakeClock


async def rounds(pressure, clock, number, took_s, *, too_much=False):
    for _ in range(number):
        with pressure.request():
            await clock.advance(took_s)
            if too_much:
                pressure.too_much()


async def test_it_begins_with_the_most_and_never_exceeds_it():
    clock = FakeClock()
    pressure = Pressure(4, clock)
    await rounds(pressure, clock, 50, 0.1)
    assert pressure.limit == 4


async def test_refusals_halve_it_down_to_one_and_good_answers_bring_it_back():
    clock = FakeClock()
    pressure = Pressure(16, clock)
    await rounds(pressure, clock, 20, 0.1, too_much=True)
    assert pressure.limit == 1
    for _ in range(400):
        requests = [pressure.request() for _ in range(pressure.limit)]
        for request in requests:
            request.__enter__()
        await clock.advance(0.1)
        for request in requests:
            request.__exit__(None, None, None)
    assert pressure.limit == 16


async def test_a_burst_of_refusals_counts_once():
    clock = FakeClock()
    pressure = Pressure(16, clock)
    await rounds(pressure, clock, 5, 1.0)
    for _ in range(8):
        pressure.too_much()
    assert pressure.limit == 8


async def test_answers_that_take_far_longer_than_usual_lower_it():
    clock = FakeClock()
    pressure = Pressure(10, clock)
    await rounds(pressure, clock, 20, 0.1)
    await rounds(pressure, clock, 1, 5.0)
    assert pressure.limit == 9
