"""What is remembered of the newest things."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from logflow.storage.remembered import Remembered


@given(st.integers(1, 5), st.lists(st.lists(st.integers(0, 9))))
def test_the_newest_are_known_and_no_more(most: int, calls: list[list[int]]) -> None:
    remembered, model = Remembered[int](most), list[int]()
    for keys in calls:
        remembered.add(keys)
        model += [key for key in dict.fromkeys(keys) if key not in model]
        del model[: max(0, len(model) - most)]
        assert list(remembered) == model
        assert all((key in remembered) == (key in model) for key in range(10))
