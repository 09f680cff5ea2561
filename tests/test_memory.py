"""One budget for the memory of the process: what is granted, who waits, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logflow.memory import SMALL_BYTES, TINY_BYTES, Lease, Memory

MIB = 1 << 20


def test_a_share_is_granted_up_to_its_limit() -> None:
    share = Memory(100).share(10)
    first, second = share.lease(), share.lease()
    assert first.resize(7)
    assert not second.resize(4)
    assert second.resize(3)
    assert share.held == 10
    first.release()
    assert second.resize(9)
    assert share.held == 9


def test_shares_shrink_in_proportion_when_too_much_was_asked_for() -> None:
    memory = Memory(100)
    one = memory.share(100)
    two = memory.share(300)
    assert (one.limit_bytes, two.limit_bytes) == (25, 75)
    two.close()
    two.close()
    assert one.limit_bytes == 100


def test_who_waits_is_told_in_order_when_there_is_room() -> None:
    share = Memory(10).share(10)
    held, admitted = share.lease(), list[str]()
    assert held.resize(10)
    leases = {name: share.lease() for name in "abc"}
    for name, lease in leases.items():
        assert not lease.resize(4, partial(admitted.append, name))
        assert lease.waits
    assert share.waiting == 3
    held.release()
    assert admitted == ["a", "b"]
    leases["a"].release()
    assert admitted == ["a", "b", "c"]
    assert share.grants == 3


def test_who_comes_later_does_not_overtake() -> None:
    share = Memory(10).share(10)
    held, waiting, late = share.lease(), share.lease(), share.lease()
    held.resize(6)
    assert not waiting.resize(5, lambda: None)
    assert not late.resize(1)


def test_what_is_larger_than_the_share_comes_in_alone() -> None:
    share = Memory(10).share(10)
    lease, other = share.lease(), share.lease()
    assert lease.resize(50)
    assert not other.resize(1)


def test_small_ones_have_room_of_their_own() -> None:
    share = Memory(16 * MIB).share(16 * MIB)
    large, more, small = share.lease(), share.lease(), share.lease()
    assert large.resize(12 * MIB)
    assert not more.resize(MIB, lambda: None)
    assert small.resize(SMALL_BYTES)


def test_tiny_ones_do_not_wait_behind_a_crowd_of_small_ones() -> None:
    share = Memory(16 * MIB).share(16 * MIB)
    crowd = [share.lease() for _ in range(100)]
    granted = [lease.resize(SMALL_BYTES, lambda: None) for lease in crowd]
    assert granted.count(False) > 40
    assert share.lease().resize(TINY_BYTES)


def test_who_waits_no_longer_holds_up_nobody() -> None:
    share = Memory(10).share(10)
    held, waiting, other = share.lease(), share.lease(), share.lease()
    held.resize(8)
    waiting.resize(5, lambda: pytest.fail("it was withdrawn"))
    waiting.release()
    assert other.resize(2)
    held.release()


def test_growing_leases_do_not_wait_for_each_other_for_ever() -> None:
    """Each holds a part of its frame; one at a time may use what is kept for that."""
    share = Memory(100).share(100, alone_bytes=40)
    leases = [share.lease() for _ in range(6)]
    for lease in leases:
        assert lease.resize(10)
    finished: list[Lease] = []

    def done(lease: Lease) -> None:
        finished.append(lease)
        lease.release()

    for lease in leases:
        if lease.resize(45, partial(done, lease)):
            done(lease)
    assert finished == leases
    assert share.held == 0


def test_one_that_needs_more_than_is_kept_for_that_does_not_wait_for_ever() -> None:
    share = Memory(100).share(100, alone_bytes=40)
    leases = [share.lease() for _ in range(6)]
    for lease in leases:
        assert lease.resize(10)
    granted: list[int] = []
    for number, lease in enumerate(leases):
        lease.resize(60, partial(granted.append, number))
    assert granted == [0]
    leases[0].release()
    assert granted == [0, 1]


async def test_a_block_holds_what_it_asked_for() -> None:
    share = Memory(10).share(10)
    async with share.hold(8):
        waiting = asyncio.create_task(_hold(share.hold(5)))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert share.held == 8
    await waiting
    assert share.held == 0


async def test_a_block_that_is_cancelled_while_it_waits_holds_nothing() -> None:
    share = Memory(10).share(10)
    async with share.hold(8):
        waiting = asyncio.create_task(_hold(share.hold(5)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert share.waiting == 0
    assert share.held == 0


async def _hold(block: AbstractAsyncContextManager[Lease]) -> None:
    async with block:
        pass


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=60))
def test_whatever_is_asked_for_the_sum_is_right_and_in_the_end_nobody_waits(
    steps: list[tuple[int, int]],
) -> None:
    share = Memory(100).share(100, alone_bytes=30)
    leases = [share.lease() for _ in range(6)]
    for index, size in steps:
        leases[index].resize(size, lambda: None)
        assert share.held == sum(lease.size for lease in leases)
        assert share.held <= 100 + 60
        assert share.waiting == sum(lease.waits for lease in leases)
    for lease in leases:
        lease.release()
    assert (share.held, share.waiting) == (0, 0)
