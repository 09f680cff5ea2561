"""Another server is used when one cannot be reached, and which one."""

from __future__ import annotations

import asyncio

import pytest

from logflow.errors import DeliveryError
from logflow.testing import FakeClock
from logflow.testing.forwarding import scripted_server
from tests.outputs.forward.bench import make_chunk, where


async def test_another_server_is_used_at_once_when_one_cannot_be_reached(open_pair, caplog):
    async with open_pair() as (output, first, second):
        await first.stop()
        await output.write(make_chunk(1))
        assert len(second.requests) == 1
        assert not output.server(first).up
        assert output.counted("failovers") == 1
        assert "thought to be down" in caplog.text
        await output.write(make_chunk(2))
        assert output.counted("failovers") == 1, "the one that is down is not tried again"


async def test_a_server_comes_back_and_gets_its_tags_back(open_pair):
    clock = FakeClock()
    async with open_pair(clock=clock, heartbeat="tcp") as (output, first, second):
        await first.stop()
        await output.write(make_chunk(1))
        await first.start()
        up = output.server(first)
        for _ in range(30):
            await clock.advance(1)
            await asyncio.sleep(0.005)
            if up.up:
                break
        assert clock.monotonic() >= 10, "it must have been fine for recover_wait"
        await output.write(make_chunk(2))
        assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_heartbeats_find_a_dead_server_before_a_chunk_does(open_output):
    clock = FakeClock()
    async with (
        scripted_server() as server,
        open_output(where(server), clock=clock, heartbeat="tcp") as output,
    ):
        await clock.advance(1)
        await server.wait_for(connections=1)
        assert output.server(server).up
        await server.stop()
        for _ in range(1000):
            await clock.advance(1)
            await asyncio.sleep(0.005)
            if not output.server(server).up:
                break
        assert not output.server(server).up


async def test_without_heartbeats_time_brings_a_server_back(open_pair):
    clock = FakeClock()
    async with open_pair(clock=clock) as (output, first, _):
        await first.stop()
        await output.write(make_chunk(1))
        await first.start()
        await clock.advance(10)
        await output.write(make_chunk(2))
        assert len(first.requests) == 1


async def test_a_standby_server_is_used_only_when_no_other_is_up(open_output):
    async with (
        scripted_server() as one,
        scripted_server() as two,
        scripted_server() as spare,
        open_output(where(one), where(two), where(spare, standby=True, weight=5000)) as output,
    ):
        for number in range(20):
            await output.write(make_chunk(number, f"tag-{number}"))
        assert not spare.requests
        await one.stop()
        await two.stop()
        await output.write(make_chunk(99))
        assert len(spare.requests) == 1


async def test_when_all_are_down_each_is_named(open_pair):
    async with open_pair() as (output, first, second):
        await first.stop()
        await second.stop()
        for _ in range(2):
            with pytest.raises(DeliveryError) as failure:
                await output.write(make_chunk())
            assert str(first.port) in str(failure.value)
            assert str(second.port) in str(failure.value)
        await second.start()
        await output.write(make_chunk())
        assert output.server(second).up, "a chunk that was taken is proof enough"


async def test_tags_are_spread_by_weight_and_stay_where_they_are(open_output):
    async with (
        scripted_server() as one,
        scripted_server() as two,
        open_output(where(one, weight=30), where(two, weight=90)) as output,
    ):
        tags = [f"tag-{number}" for number in range(120)]
        for turn in range(2):
            for number, tag in enumerate(tags):
                await output.write(make_chunk(turn * 1000 + number, tag))
        homes = [{request.tag for request in server.requests} for server in (one, two)]
        assert not homes[0] & homes[1]
        assert 15 <= len(homes[0]) <= 45


async def test_chunks_of_one_tag_can_be_spread(open_pair):
    async with open_pair(balance="chunk") as (output, first, second):
        for number in range(40):
            await output.write(make_chunk(number))
        assert min(len(first.requests), len(second.requests)) >= 8
