"""The fields of packed records, also of maps and arrays within them; what is not changed stays byte for byte.

A key is found by its text, whether it is a str or a bin. Of repeated keys, the first is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec
from typing_extensions import Buffer

from logflow.engine._python.walk import head, skip
from logflow.errors import LimitExceeded
from logflow.jsontext import MAX_DEPTH
from logflow.packing import encode, pack_value, to_text
from logflow.paths import FieldPath, Step

_decode_fields = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode


class Fields(Protocol):
    """A map, to be changed; values stay packed."""

    def __contains__(self, key: str) -> bool: ...
    def get(self, key: str) -> Buffer | None: ...
    def set(self, key: str, value: bytes) -> None:
        """Overwrite a key's value in place, or add it at the end."""

    def remove(self, key: str) -> None:
        """Remove a key, if it is there."""

    def rename(self, old: str, new: str) -> None:
        """Give a value another key; a new key takes the place of the old one."""

    def pack(self) -> bytes: ...


class _SimpleFields:
    """Fields whose keys are str and differ, in msgpack's shortest form."""

    def __init__(self, fields: dict[str, msgspec.Raw]) -> None:
        self._fields = fields

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    def get(self, key: str) -> Buffer | None:
        return self._fields.get(key)

    def set(self, key: str, value: Buffer) -> None:
        self._fields[key] = msgspec.Raw(value)

    def remove(self, key: str) -> None:
        self._fields.pop(key, None)

    def rename(self, old: str, new: str) -> None:
        if old not in self._fields or old == new:
            return
        if new in self._fields:
            self._fields[new] = self._fields.pop(old)
        else:
            self._fields = {new if key == old else key: value for key, value in self._fields.items()}

    def pack(self) -> bytes:
        return encode(self._fields)


def packed_pairs(packed: bytes) -> Iterator[tuple[bytes, str | None, bytes]]:
    """The pairs of a packed map: key, the key's text if it is text, value."""
    _, count, at = head(packed, 0)
    for _ in range(count):
        kind, _, content = head(packed, at)
        middle = skip(packed, at)
        text = to_text(packed[content:middle]) if kind == "text" else None
        end = skip(packed, middle)
        yield packed[at:middle], text, packed[middle:end]
        at = end


class AnyFields:
    """Fields of any kind, as the exact way reads them."""

    def __init__(self, record: bytes) -> None:
        self._keys: list[str | None] = []
        self._items: list[tuple[Buffer, Buffer]] = []
        for key, text, value in packed_pairs(record):
            self._keys.append(text)
            self._items.append((key, value))

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def get(self, key: str) -> Buffer | None:
        return self._items[self._keys.index(key)][1] if key in self._keys else None

    def set(self, key: str, value: Buffer) -> None:
        if key in self._keys:
            index = self._keys.index(key)
            self._items[index] = (self._items[index][0], value)
        else:
            self._keys.append(key)
            self._items.append((pack_value(key), value))

    def remove(self, key: str) -> None:
        if key in self._keys:
            index = self._keys.index(key)
            del self._keys[index], self._items[index]

    def rename(self, old: str, new: str) -> None:
        value = self.get(old)
        if value is None or old == new:
            return
        if new in self._keys:
            self.set(new, value)
            self.remove(old)
        else:
            index = self._keys.index(old)
            self._keys[index] = new
            self._items[index] = (pack_value(new), value)

    def pairs(self) -> Iterator[tuple[str, bytes]]:
        """Every key that is text, with its value."""
        for key, (_, value) in zip(self._keys, self._items, strict=True):
            if key is not None:
                yield key, bytes(value)

    def pack(self) -> bytes:
        return map_head(len(self._items)) + b"".join(part for item in self._items for part in item)


def take_apart(record: bytes) -> Fields:
    """Take a record apart, the fast way where packing it again gives the same bytes."""
    try:
        fields = _decode_fields(record)
        if encode(fields) == record:
            return _SimpleFields(fields)
    except ValueError:
        pass
    return AnyFields(record)


def find(fields: Fields, path: FieldPath) -> bytes | None:
    """Find the packed value at a path."""
    steps = effective(fields, path)
    value = None if isinstance(steps[0], int) else fields.get(steps[0])
    for step in steps[1:]:
        if value is None:
            return None
        value = _child(bytes(value), step)
    return None if value is None else bytes(value)


def put(fields: Fields, path: FieldPath, value: bytes) -> bool:
    """Put a packed value at a path: over what is there, or at the end; maps that are missing are made.

    Says whether that was possible: not where something else than a map or array is on the way, where an
    array has no such item, or where the value would stand too deep.
    """
    steps = effective(fields, path)
    first = steps[0]
    if isinstance(first, int) or not fits(value, len(steps)):
        return False
    changed = _with(fields.get(first), steps[1:], value)
    if changed is not None:
        fields.set(first, changed)
    return changed is not None


def take_out(fields: Fields, path: FieldPath) -> bool:
    """Remove what is at a path; says whether something was there."""
    steps = effective(fields, path)
    if isinstance(steps[0], int) or find(fields, path) is None:
        return False
    if len(steps) == 1:
        fields.remove(steps[0])
    else:
        fields.set(steps[0], _without(bytes(fields.get(steps[0]) or b""), steps[1:]))
    return True


def move(fields: Fields, old: FieldPath, new: FieldPath) -> tuple[Fields, bool]:
    """Move a value; says whether it was there. A new key at the top level takes the place of the old one."""
    source, target = effective(fields, old), effective(fields, new)
    value = find(fields, old)
    if value is None:
        return fields, False
    if len(source) == len(target) == 1:
        fields.rename(str(source[0]), str(target[0]))
        return fields, True
    if source == target:
        return fields, True
    changed = take_apart(fields.pack())
    take_out(changed, old)
    return (changed, True) if put(changed, new, value) else (fields, False)


def effective(fields: Fields, path: FieldPath) -> tuple[Step, ...]:
    """The steps of a path, or the one key that is meant in their place."""
    return (path.exact,) if path.exact is not None and path.exact in fields else path.steps


def fits(value: bytes, level: int) -> bool:
    """Whether a value that stands inside so many containers is not too deep."""
    try:
        skip(value, 0, MAX_DEPTH - level)
    except LimitExceeded:
        return False
    return True


def _child(value: bytes, step: Step) -> bytes | None:
    kind = head(value, 0)[0]
    if isinstance(step, str):
        found = take_apart(value).get(step) if kind == "map" else None
        return None if found is None else bytes(found)
    items = items_of(value) if kind == "array" else []
    return items[step] if -len(items) <= step < len(items) else None


def items_of(array: bytes) -> list[bytes]:
    """The packed items of a packed array."""
    _, count, at = head(array, 0)
    items = []
    for _ in range(count):
        end = skip(array, at)
        items.append(array[at:end])
        at = end
    return items


def _with(container: Buffer | None, steps: tuple[Step, ...], value: bytes) -> bytes | None:
    """Return the container with a value put into it; ``None`` if that cannot be."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if container is None:
        inner = _with(None, rest, value)
        return None if isinstance(step, int) or inner is None else b"\x81" + pack_value(step) + inner
    packed = bytes(container)
    kind = head(packed, 0)[0]
    if isinstance(step, str):
        if kind != "map":
            return None
        fields = take_apart(packed)
        inner = _with(fields.get(step), rest, value)
        if inner is not None:
            fields.set(step, inner)
        return None if inner is None else fields.pack()
    items = items_of(packed) if kind == "array" else []
    if not -len(items) <= step < len(items):
        return None
    inner = _with(items[step], rest, value)
    if inner is None:
        return None
    items[step] = inner
    return array_head(len(items)) + b"".join(items)


def _without(container: bytes, steps: tuple[Step, ...]) -> bytes:
    """Return the container without what is at a path in it, which is there."""
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        fields = take_apart(container)
        if rest:
            fields.set(step, _without(bytes(fields.get(step) or b""), rest))
        else:
            fields.remove(step)
        return fields.pack()
    items = items_of(container)
    if rest:
        items[step] = _without(items[step], rest)
    else:
        del items[step]
    return array_head(len(items)) + b"".join(items)


def array_head(items: int) -> bytes:
    """The shortest head of an array."""
    if items < 16:
        return bytes((0x90 | items,))
    return b"\xdc" + items.to_bytes(2, "big") if items < 1 << 16 else b"\xdd" + items.to_bytes(4, "big")


def map_head(pairs: int) -> bytes:
    """The shortest head of a map."""
    if pairs < 16:
        return bytes((0x80 | pairs,))
    return b"\xde" + pairs.to_bytes(2, "big") if pairs < 1 << 16 else b"\xdf" + pairs.to_bytes(4, "big")
