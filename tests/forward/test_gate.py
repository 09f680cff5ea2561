"""The bound on the memory of large frames."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.forward.gate import Gate, Pass


def test_frames_are_admitted_up_to_the_limit_and_the_others_in_order():
    gate, order = Gate(100), []
    passes = [gate.enter(40, lambda number=number: order.append(number)) for number in range(5)]
    assert [entry.admitted for entry in passes] == [True, True, False, False, False]
    passes[1].leave()
    assert order == [2]
    passes[3].leave()  # gives up waiting
    passes[0].leave()
    assert order == [2, 4]
    assert gate.held == 80


def test_a_frame_larger_than_the_limit_comes_in_alone():
    gate, order = Gate(100), []
    small = gate.enter(10, lambda: order.append("small"))
    large = gate.enter(1000, lambda: order.append("large"))
    after = gate.enter(10, lambda: order.append("after"))
    assert (large.admitted, after.admitted) == (False, False), "nobody overtakes the large one"
    small.leave()
    assert order == ["large"]
    large.leave()
    assert order == ["large", "after"]
    after.leave()
    after.leave()
    assert gate.held == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 200), st.booleans()), max_size=30))
def test_all_come_in_at_last_and_never_too_many_at_once(steps):
    gate = Gate(100)
    passes: list[Pass] = []
    for size, leave in steps:
        passes.append(gate.enter(size, lambda: None))
        inside = [entry for entry in passes if entry.admitted]
        assert gate.held == sum(entry.size for entry in inside)
        assert gate.held <= 100 or len(inside) == 1
        if leave:
            inside[0].leave()
            passes.remove(inside[0])
    while passes:
        inside = [entry for entry in passes if entry.admitted]
        assert inside
        inside[0].leave()
        passes.remove(inside[0])
    assert gate.held == 0
