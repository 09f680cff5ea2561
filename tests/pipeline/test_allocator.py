"""Large blocks go back to the system."""

from __future__ import annotations

import ctypes

import pytest

from logflow.pipeline.allocator import give_back_large_blocks


def test_other_c_libraries_go_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    give_back_large_blocks()


def test_the_sizes_are_set_and_the_allocator_adapts_them_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    class Library:
        @staticmethod
        def mallopt(what: int, value: int) -> None:
            asked.append((what, value))

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library)
    give_back_large_blocks()
    assert asked == [(-3, 4 << 20), (-1, 4 << 20)]
