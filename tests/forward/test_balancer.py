"""Which server a chunk goes to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.forward.balancer import rank, score


@dataclass
class Fake:
    name: str
    weight: int = 60
    standby: bool = False
    up: bool = True


A, B, C = Fake("a:1"), Fake("b:1"), Fake("c:1")
KEYS = [f"kube.ns.pod-{number}.app".encode() for number in range(3000)]


def firsts(servers: list[Fake]) -> Counter[str]:
    return Counter(rank(key, servers)[0].name for key in KEYS)


def test_shares_follow_the_weights():
    shares = firsts([A, Fake("b:1", weight=120), C])
    assert abs(shares["b:1"] / len(KEYS) - 0.5) < 0.03
    assert abs(shares["a:1"] / len(KEYS) - 0.25) < 0.03


def test_a_key_goes_to_the_same_server_whatever_the_order_of_the_servers():
    for key in KEYS[:50]:
        assert rank(key, [A, B, C]) == rank(key, [C, A, B])


def test_when_one_fails_only_its_keys_move_and_they_spread():
    down = Fake("b:1", up=False)
    moved = Counter()
    for key in KEYS:
        before, after = rank(key, [A, B, C])[0], rank(key, [A, down, C])[0]
        if before is B:
            moved[after.name] += 1
        else:
            assert before is after
    assert abs(moved["a:1"] / moved.total() - 0.5) < 0.06


def test_standby_servers_come_after_all_active_ones():
    spare = Fake("spare:1", weight=10_000, standby=True)
    assert {rank(key, [A, spare, B])[2].name for key in KEYS[:20]} == {"spare:1"}
    assert rank(b"k", [Fake("a", up=False), spare]) == [spare]


def test_when_none_is_up_all_are_tried():
    down = [Fake("s", standby=True, up=False), Fake("a", up=False)]
    assert [server.name for server in rank(b"k", down)] == ["a", "s"]


def test_weight_zero_takes_nothing():
    assert rank(b"k", [Fake("a", weight=0), B]) == [B]
    assert rank(b"k", [Fake("a", weight=0, up=True), Fake("b", up=False)])[0].name == "b"


@settings(max_examples=200, deadline=None)
@given(st.binary(), st.text(), st.integers(1, 10_000))
def test_a_score_is_a_positive_number(key, name, weight):
    assert 0 < score(key, name, weight) < float("inf")
