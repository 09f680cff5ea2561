"""What becomes of single events of a chunk."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from logflow.batch import Batch, Chunk, PartialDelivery
from logflow.engine import load_engine
from logflow.errors import DeliveryError, PermanentError
from logflow.outputs.outcomes import joined, outcome, split
from logflow.pipeline.pieces import cut, letter_id

ENGINE = load_engine("python")


def chunk(count: int) -> Chunk:
    batch = Batch.from_events("t", [(n, {"n": n}) for n in range(count)])
    return Chunk(b"c" * 16, "t", (batch.entries,), count)


def numbers(part: Chunk) -> list[int]:
    return [record["n"] for _, record in part.events()]


def test_all_taken_is_delivered():
    assert outcome(chunk(3), {}, [], "", ENGINE) is None


def test_what_a_store_may_take_later_is_all_that_is_tried_again():
    result = outcome(chunk(5), {}, [1, 2, 4], "busy", ENGINE)
    assert isinstance(result, PartialDelivery)
    assert numbers(result.rest) == [1, 2, 4]
    assert result.rest.places.indices == [1, 2, 4]
    assert isinstance(outcome(chunk(2), {}, [0, 1], "busy", ENGINE), DeliveryError)


def test_events_refused_for_one_reason_share_a_letter():
    result = outcome(chunk(5), {0: "bad", 3: "worse", 4: "bad"}, [], "", ENGINE)
    assert isinstance(result, PartialDelivery)
    assert [(numbers(part), why) for part, why in result.rejected] == [([0, 4], "bad"), ([3], "worse")]
    assert isinstance(outcome(chunk(2), {0: "bad", 1: "bad"}, [], "", ENGINE), PermanentError)


def test_the_letters_of_one_answer_are_bounded():
    result = outcome(chunk(100), {n: f"reason {n}" for n in range(99)}, [], "", ENGINE)
    assert isinstance(result, PartialDelivery)
    assert len(result.rejected) == 16
    assert sorted(n for part, _ in result.rejected for n in numbers(part)) == list(range(99))


@given(st.integers(2, 40), st.data())
def test_an_event_keeps_its_place_however_a_chunk_is_taken_apart(count, data):
    parts = cut(chunk(count), data.draw(st.integers(1, 200)), ENGINE)
    for _ in range(4):
        at = data.draw(st.integers(0, len(parts) - 1))
        if parts[at].count > 1:
            parts[at : at + 1] = split(parts[at], ENGINE)
    for part in parts:
        assert list(part.places.indices) == numbers(part)
        assert part.places.chunk == b"c" * 16
    assert list(joined(parts).places.indices) == numbers(joined(parts)) == list(range(count))


def test_equal_events_that_are_refused_for_different_reasons_have_different_letters():
    batch = Batch.from_events("t", [(0, {"n": 1})] * 3)
    three = Chunk(b"c" * 16, "t", (batch.entries,), 3)
    result = outcome(three, {0: "a", 1: "b"}, [], "", ENGINE)
    assert isinstance(result, PartialDelivery)
    assert len({letter_id(three, part) for part, _ in result.rejected}) == 2
