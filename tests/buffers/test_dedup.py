"""The window of accepted keys."""

from logflow.buffers.dedup import AcceptedKeys
from logflow.testing import FakeClock


def test_a_key_is_seen_only_after_it_was_added() -> None:
    keys = AcceptedKeys(FakeClock(), 60)
    assert not keys.seen(b"a")
    keys.add(b"a")
    assert keys.seen(b"a")
    assert not keys.seen(b"b")


async def test_a_key_is_forgotten_after_the_window() -> None:
    clock = FakeClock()
    keys = AcceptedKeys(clock, 60)
    keys.add(b"a")
    await clock.advance(59)
    assert keys.seen(b"a")
    await clock.advance(2)
    assert not keys.seen(b"a")
    assert list(keys.items()) == []


async def test_expired_keys_leave_memory_when_others_come() -> None:
    clock = FakeClock()
    keys = AcceptedKeys(clock, 60)
    for number in range(100):
        keys.add(b"%d" % number)
    await clock.advance(61)
    keys.add(b"new")
    assert len(keys) == 1


def test_the_oldest_keys_go_when_there_are_too_many() -> None:
    keys = AcceptedKeys(FakeClock(), 60, max_keys=3)
    for key in (b"a", b"b", b"c", b"d"):
        keys.add(key)
    assert [key for key, _ in keys.items()] == [b"b", b"c", b"d"]


async def test_a_key_that_was_forgotten_can_be_added_again() -> None:
    clock = FakeClock()
    keys = AcceptedKeys(clock, 60)
    keys.add(b"a")
    await clock.advance(61)
    keys.add(b"a")
    assert keys.seen(b"a")
    assert len(keys) == 1


def test_a_key_that_is_added_twice_is_kept_once() -> None:
    keys = AcceptedKeys(FakeClock(), 60, max_keys=2)
    for key in (b"a", b"a", b"b"):
        keys.add(key)
    assert [key for key, _ in keys.items()] == [b"a", b"b"]


def test_keys_that_are_read_back_keep_their_age() -> None:
    clock = FakeClock()
    keys = AcceptedKeys(clock, 60)
    keys.add(b"old", clock.time_ns() - 61 * 10**9)
    keys.add(b"young", clock.time_ns() - 59 * 10**9)
    assert [key for key, _ in keys.items()] == [b"young"]
