"""Globs of fields over packed records: records with or without what they match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from logflow.engine._python.fields import array_head, items_of, map_head, packed_pairs
from logflow.engine._python.walk import head
from logflow.paths import ANY_ITEM, DEEP, FieldGlob, GlobStep, Like

_State: TypeAlias = tuple[int, int]
"""A glob and how many of its steps were taken."""


class States(NamedTuple):
    """What may still match under a field, and whether the field itself does."""

    open: frozenset[_State]
    matched: bool


class Globs:
    """Several globs."""

    def __init__(self, globs: Sequence[FieldGlob]) -> None:
        self._globs = globs
        self.start = self._enter((index, 0) for index in range(len(globs)))
        """The states at the record itself."""

    def _enter(self, states: object) -> States:
        opened: set[_State] = set()
        matched = False
        for glob, first in states:  # type: ignore[attr-defined]
            steps = self._globs[glob].steps
            for step in range(first, len(steps) + 1):
                if step == len(steps):
                    matched = True
                    break
                opened.add((glob, step))
                if steps[step] != DEEP:
                    break
        return States(frozenset(opened), matched)

    def _step(self, states: States, takes: Callable[[GlobStep], bool]) -> States:
        taken: list[_State] = []
        for glob, step in states.open:
            wanted = self._globs[glob].steps[step]
            if wanted == DEEP:
                taken.append((glob, step))
            elif takes(wanted):
                taken.append((glob, step + 1))
        return self._enter(taken)

    def under(self, states: States, key: str | None, *, top: bool = False) -> States:
        """The states under a key; one that is no text is only passed by ``**``."""
        found = self._step(
            states, lambda step: isinstance(step, Like) and key is not None and step.matches(key)
        )
        whole = (
            top and key is not None and any(glob.whole and glob.whole.matches(key) for glob in self._globs)
        )
        return States(found.open, found.matched or bool(whole))

    def at(self, states: States, index: int, count: int) -> States:
        """The states at an item of an array."""
        return self._step(
            states,
            lambda step: (
                step == ANY_ITEM or (isinstance(step, int) and (step + count if step < 0 else step) == index)
            ),
        )

    # -- records with and without what matches -------------------------------------------------------

    def prune(self, record: bytes) -> bytes:
        """Take out what matches; what is not changed stays byte for byte."""
        return self._prune(record, self.start, top=True)

    def _prune(self, value: bytes, states: States, *, top: bool = False) -> bytes:
        kept: list[bytes] = []
        changed = False
        inside = list(self._inside(value, states, top=top))
        for before, packed, inner in inside:
            if inner.matched or (top and states.matched):
                changed = True
                continue
            new = self._prune(packed, inner) if inner.open else packed
            changed = changed or new != packed
            kept.append(before + new)
        return _container(value, kept) if changed else value

    def only(self, record: bytes) -> bytes:
        """Leave only what matches, and the containers on the way to it."""
        if self.start.matched:
            return record
        return self._only(record, self.start, top=True) or b"\x80"

    def _only(self, value: bytes, states: States, *, top: bool = False) -> bytes | None:
        kept: list[bytes] = []
        changed = False
        for before, packed, inner in self._inside(value, states, top=top):
            new = packed if inner.matched else self._only(packed, inner) if inner.open else None
            changed = changed or new != packed
            if new is not None:
                kept.append(before + new)
        if not kept:
            return None
        return _container(value, kept) if changed else value

    def _inside(self, value: bytes, states: States, *, top: bool) -> list[tuple[bytes, bytes, States]]:
        """What is in a container: the packed key (nothing for items), the value, and the states there."""
        kind = head(value, 0)[0]
        if kind == "map":
            return [
                (key, packed, self.under(states, text, top=top)) for key, text, packed in packed_pairs(value)
            ]
        if kind == "array":
            items = items_of(value)
            return [(b"", item, self.at(states, index, len(items))) for index, item in enumerate(items)]
        return []


def _container(value: bytes, parts: list[bytes]) -> bytes:
    """A container of other parts, of the kind of ``value``."""
    write_head = map_head if head(value, 0)[0] == "map" else array_head
    return write_head(len(parts)) + b"".join(parts)
