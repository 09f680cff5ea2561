"""What is remembered of the newest things, such as the ids of chunks that are stored."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Remembered(Generic[Key]):
    """The newest keys, in the order in which they came; the oldest are forgotten."""

    def __init__(self, most: int) -> None:
        """Remember ``most`` of them."""
        self._most = most
        self._keys: dict[Key, None] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def add(self, keys: Iterable[Key]) -> None:
        """Remember these too; one that is known keeps its place."""
        self._keys.update(dict.fromkeys(keys))
        for old in list(islice(self._keys, max(0, len(self._keys) - self._most))):
            del self._keys[old]
