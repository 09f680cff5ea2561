"""Fields moved into a map, and maps divided into fields."""

from __future__ import annotations

from collections.abc import Sequence

from logflow.engine._python.fields import (
    Fields,
    effective,
    find,
    fits,
    map_head,
    packed_pairs,
    put,
    take_apart,
)  # fmt: skip
from logflow.engine._python.plain import plain_key
from logflow.engine._python.walk import head
from logflow.packing import pack_value
from logflow.paths import FieldPath, Like

MAX_NAMES = 64 << 10
"""Most bytes that the names of fields may take which one map is divided into."""


class _Merged:
    """Pairs of a map, where what comes later takes the place of what has the same key."""

    def __init__(self) -> None:
        self._pairs: list[tuple[bytes, bytes]] = []
        self._places: dict[str, int] = {}

    def put(self, key: bytes, text: str | None, value: bytes) -> None:
        if text in self._places:
            place = self._places[text]
            self._pairs[place] = (self._pairs[place][0], value)
            return
        if text is not None:
            self._places[text] = len(self._pairs)
        self._pairs.append((key, value))

    def keep(self, key: bytes, text: str | None, value: bytes) -> None:
        """Put a pair that was there before: of repeated keys the first one is meant."""
        if text is not None:
            self._places.setdefault(text, len(self._pairs))
        self._pairs.append((key, value))

    def pack(self) -> bytes:
        return map_head(len(self._pairs)) + b"".join(key + value for key, value in self._pairs)


def nest(record: Fields, into: FieldPath, likes: Sequence[Like]) -> tuple[Fields, bool]:
    """Move fields of the top level into the map at a path; says whether there were any."""
    steps = effective(record, into)
    pairs = list(packed_pairs(record.pack()))
    itself = next((index for index, (_, text, _) in enumerate(pairs) if text == steps[0]), None)
    names = [
        None if index == itself or not fits(value, len(steps) + 1) else _short(text, likes)
        for index, (_, text, value) in enumerate(pairs)
    ]
    there = find(record, into)
    if all(name is None for name in names) or (there is not None and head(there, 0)[0] != "map"):
        return record, False
    merged = _Merged()
    for pair in packed_pairs(there) if there is not None else ():
        merged.keep(*pair)
    rest = []
    for (key, _, value), name in zip(pairs, names, strict=True):
        if name is None:
            rest.append(key + value)
        else:
            merged.put(pack_value(name), name, value)
    changed = take_apart(map_head(len(rest)) + b"".join(rest))
    return (changed, True) if put(changed, into, merged.pack()) else (record, False)


def _short(text: str | None, likes: Sequence[Like]) -> str | None:
    """The name of a field inside the map; ``None`` if it does not go there."""
    if text is None:
        return None
    like = next((like for like in likes if like.matches(text)), None)
    return None if like is None else text[len(like.prefix) :] or text


def flatten(record: Fields, likes: Sequence[Like], separator: str) -> tuple[Fields, bool]:
    """Divide maps of the top level into fields; says whether there were any."""
    merged = _Merged()
    found = False
    for key, text, value in packed_pairs(record.pack()):
        wanted = text is not None and any(like.matches(text) for like in likes)
        leaves = _divide(text or "", value, separator) if wanted else None
        if leaves is None:
            merged.put(key, text, value)
            continue
        found = True
        for name, leaf in leaves:
            merged.put(pack_value(name), name, leaf)
    return (take_apart(merged.pack()), True) if found else (record, False)


def _divide(name: str, value: bytes, separator: str) -> list[tuple[str, bytes]] | None:
    """What is inside a map, by names; ``None`` if it is no map, empty, or its names would take too much."""
    kind, count, _ = head(value, 0)
    if kind != "map" or not count:
        return None
    leaves: list[tuple[str, bytes]] = []
    room = MAX_NAMES

    def collect(name: str, value: bytes) -> bool:
        nonlocal room
        kind, count, _ = head(value, 0)
        if kind == "map" and count:
            for key, _, inner in packed_pairs(value):
                longer = f"{name}{separator}{plain_key(key)}"
                if room < len(longer.encode()) or not collect(longer, inner):
                    return False
            return True
        # Also a name without characters takes something, as there may be very many.
        room -= len(name.encode()) + 1
        if room < 0:
            return False
        leaves.append((name, value))
        return True

    return leaves if collect(name, value) else None
