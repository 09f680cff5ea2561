"""Changes of packed records: what is not changed stays byte for byte as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import compress, pairwise
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from typing_extensions import Buffer

from logflow.engine._python.entries import HEADER_SIZE, bounds
from logflow.engine._python.plain import plain_record, plain_records, plain_value
from logflow.engine._python.walk import head, skip
from logflow.jsontext import json_text
from logflow.packing import encode, pack_value, to_text
from logflow.regexes import compile_regex

_Search: TypeAlias = Callable[[str], bool]
_decode_fields = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")
_MISSING = object()


class _Fields(Protocol):
    """A record's top level, to be changed; values stay packed.

    A key is found by its text, whether it is a str or a bin. Of repeated keys, the first is found.
    """

    def __contains__(self, key: str) -> bool: ...
    def get(self, key: str) -> Buffer | None: ...
    def set(self, key: str, value: bytes) -> None:
        """Overwrite a key's value in place, or add it at the end."""

    def remove(self, key: str) -> None:
        """Remove a key, if it is there."""

    def rename(self, old: str, new: str) -> None:
        """Give a value another key; a new key takes the place of the old one."""

    def plain(self, path: str) -> Any:
        """Return the plain value at a path; ``_MISSING`` when there is none."""

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

    def plain(self, path: str) -> Any:
        key = path if path in self._fields else path.partition(".")[0]
        if key not in self._fields:
            return _MISSING
        return lookup({key: plain_value(self._fields[key])}, path)

    def pack(self) -> bytes:
        return encode(self._fields)


class _AnyFields:
    """Fields of any kind, as the exact way reads them."""

    def __init__(self, record: bytes) -> None:
        _, pairs, at = head(record, 0)
        self._keys: list[str | None] = []
        self._items: list[tuple[Buffer, Buffer]] = []
        for _ in range(pairs):
            kind, _, content = head(record, at)
            middle = skip(record, at)
            self._keys.append(to_text(record[content:middle]) if kind == "text" else None)
            end = skip(record, middle)
            self._items.append((record[at:middle], record[middle:end]))
            at = end

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

    def plain(self, path: str) -> Any:
        return lookup(plain_record(self.pack()), path)

    def pack(self) -> bytes:
        return _map_head(len(self._items)) + b"".join(part for item in self._items for part in item)


def _fields(record: bytes) -> _Fields:
    """Take a record apart, the fast way where packing it again gives the same bytes."""
    try:
        fields = _decode_fields(record)
        if encode(fields) == record:
            return _SimpleFields(fields)
    except ValueError:
        pass
    return _AnyFields(record)


def _map_head(pairs: int) -> bytes:
    if pairs < 16:
        return bytes((0x80 | pairs,))
    return b"\xde" + pairs.to_bytes(2, "big") if pairs < 1 << 16 else b"\xdf" + pairs.to_bytes(4, "big")


def splice(entries: bytes, fields: Mapping[str, Any]) -> bytes:
    """See :meth:`logflow.engine.api.Engine.splice`."""
    found = bounds(entries)
    packed = {key: pack_value(value) for key, value in fields.items()}
    # A key that the bytes do not even hold as text, no record has.
    if not any(key.encode() in entries for key in packed):
        heads = [entries[start + HEADER_SIZE] for start in found[:-1]]
        if max(heads, default=0x80) + len(packed) <= 0x8F:
            tail = b"".join([pack_value(key) + value for key, value in packed.items()])
            return _append(entries, found, heads, len(packed), tail)
    parts: list[bytes] = []
    for start, end in pairwise(found):
        record = _fields(entries[start + HEADER_SIZE : end])
        for key, value in packed.items():
            if key not in record:
                record.set(key, value)
        parts += (entries[start : start + HEADER_SIZE], record.pack())
    return b"".join(parts)


def _append(entries: bytes, found: list[int], heads: list[int], pairs: int, tail: bytes) -> bytes:
    """Append packed pairs to every record, all of which have, and keep, a header of one byte."""
    longer = [bytes((count + pairs,)) for count in heads]
    inside = HEADER_SIZE + 1
    parts: list[bytes] = []
    for (start, end), head_byte in zip(pairwise(found), longer, strict=True):
        parts += (entries[start : start + HEADER_SIZE], head_byte, entries[start + inside : end], tail)
    return b"".join(parts)


def lookup(record: Mapping[str, Any], path: str) -> Any:
    """Find a field by its exact key, or by keys joined by dots; ``_MISSING`` when it is not there."""
    if path in record or "." not in path:
        return record.get(path, _MISSING)
    found: Any = record
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            return _MISSING
        found = found[key]
    return found


class PythonGrep:
    """See :class:`logflow.engine.api.Grep`."""

    def __init__(
        self,
        keep: Sequence[tuple[str, str]],
        exclude: Sequence[tuple[str, str]],
        mode: Literal["and", "or"],
    ) -> None:
        self._keep = [(path, compile_regex(pattern).found) for path, pattern in keep]
        self._exclude = [(path, compile_regex(pattern).found) for path, pattern in exclude]
        self._quantify = all if mode == "and" else any

    def apply(self, entries: bytes) -> tuple[bytes, int]:
        """Return the kept entries and their number."""
        found = bounds(entries)
        wanted = list(map(self._wanted, plain_records(entries, found)))
        if all(wanted):
            return entries, len(wanted)
        kept = [entries[start:end] for start, end in compress(pairwise(found), wanted)]
        return b"".join(kept), len(kept)

    def _wanted(self, record: dict[str, Any]) -> bool:
        if self._keep and not self._quantify([_matches(record, *rule) for rule in self._keep]):
            return False
        return not any(_matches(record, *rule) for rule in self._exclude)


def _matches(record: dict[str, Any], path: str, search: _Search) -> bool:
    value = lookup(record, path)
    return value is not _MISSING and search(json_text(value))


class PythonModify:
    """See :class:`logflow.engine.api.Modify`."""

    def __init__(self, changes: Sequence[tuple[str, str, Any]], variables: Mapping[str, str]) -> None:
        self._changes = [_Change(action, key, argument, variables) for action, key, argument in changes]

    def apply(self, entries: bytes, tag: str) -> bytes:
        """Return the entries with every record changed."""
        parts: list[bytes] = []
        for start, end in pairwise(bounds(entries)):
            record = _fields(entries[start + HEADER_SIZE : end])
            for change in self._changes:
                change.apply(record, tag)
            parts += (entries[start : start + HEADER_SIZE], record.pack())
        return b"".join(parts)


class _Change:
    """One change, checked and ready."""

    def __init__(self, action: str, key: str, argument: Any, variables: Mapping[str, str]) -> None:
        if action not in {"set", "default", "remove", "rename", "copy"}:
            raise ValueError(f"{action!r} is not a change; write set, default, remove, rename or copy")
        self._action, self._key, self._argument = action, key, argument
        self._variables = dict(variables)
        is_template = isinstance(argument, str) and _TEMPLATE.search(argument) is not None
        self._packed = None if is_template else pack_value(argument)

    def apply(self, record: _Fields, tag: str) -> None:
        """Make the change."""
        key = self._key
        match self._action:
            case "set":
                record.set(key, self._value(record, tag))
            case "default" if key not in record:
                record.set(key, self._value(record, tag))
            case "remove":
                record.remove(key)
            case "rename":
                record.rename(key, self._argument)
            case "copy" if (value := record.get(key)) is not None:
                record.set(self._argument, bytes(value))

    def _value(self, record: _Fields, tag: str) -> bytes:
        """Pack the constant, or what the template gives for a record."""
        if self._packed is not None:
            return self._packed

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name is None:
                return match[0][0]
            if name == "tag":
                return tag
            if name in self._variables:
                return self._variables[name]
            value = record.plain(name)
            return "" if value is _MISSING else json_text(value)

        return pack_value(_TEMPLATE.sub(replace, self._argument))
