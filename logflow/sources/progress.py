"""Progress that is a word, not a number of bytes: of a journal or of a container's log.

A place is saved once everything before it is safe, in the order in which it was read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from logflow.receipt import Receipt

T = TypeVar("T")


class SavedProgress(Generic[T]):
    """Saves the latest place before which everything is safe."""

    def __init__(self, save: Callable[[T], None]) -> None:
        self._save = save
        self._open: deque[tuple[Receipt, T]] = deque()

    def add(self, receipt: Receipt, place: T) -> None:
        """A batch was admitted, and ``place`` is where the next one begins."""
        self._open.append((receipt, place))
        receipt.add_done_callback(self._settle)

    def _settle(self) -> None:
        place: T | None = None
        while self._open and self._open[0][0].done:
            place = self._open.popleft()[1]
        if place is not None:
            self._save(place)
