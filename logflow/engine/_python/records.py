"""Changes of packed records: what is not changed stays byte for byte as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from logflow.engine._python.entries import HEADER_SIZE, offsets
from logflow.engine._python.plain import json_text, plain_record
from logflow.engine._python.walk import head, skip
from logflow.packing import pack_value, to_text
from logflow.regexes import compile_regex

_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")
_MISSING = object()


class PackedRecord:
    """A record's top level: keys as text, and both keys and values as they are packed.

    A key is found by its text, whether it is a str or a bin. Of repeated keys, the first is found.
    """

    def __init__(self, data: bytes, start: int) -> None:
        _, pairs, at = head(data, start)
        self.keys: list[str | None] = []
        self.items: list[tuple[bytes, bytes]] = []
        for _ in range(pairs):
            kind, _, content = head(data, at)
            middle = skip(data, at)
            self.keys.append(to_text(data[content:middle]) if kind == "text" else None)
            end = skip(data, middle)
            self.items.append((data[at:middle], data[middle:end]))
            at = end

    def get(self, key: str) -> bytes | None:
        """Packed value of a key."""
        return self.items[self.keys.index(key)][1] if key in self.keys else None

    def set(self, key: str, value: bytes) -> None:
        """Overwrite a key's value in place, or add it at the end."""
        if key in self.keys:
            index = self.keys.index(key)
            self.items[index] = (self.items[index][0], value)
        else:
            self.keys.append(key)
            self.items.append((pack_value(key), value))

    def remove(self, key: str) -> None:
        """Remove a key, if it is there."""
        if key in self.keys:
            index = self.keys.index(key)
            del self.keys[index], self.items[index]

    def rename(self, old: str, new: str) -> None:
        """Give a value another key; a new key takes the place of the old one."""
        value = self.get(old)
        if value is None or old == new:
            return
        if new in self.keys:
            self.set(new, value)
            self.remove(old)
        else:
            index = self.keys.index(old)
            self.keys[index] = new
            self.items[index] = (pack_value(new), value)

    def pack(self) -> bytes:
        """Pack the record again."""
        return _map_head(len(self.items)) + b"".join(part for item in self.items for part in item)


def _map_head(pairs: int) -> bytes:
    if pairs < 16:
        return bytes((0x80 | pairs,))
    return b"\xde" + pairs.to_bytes(2, "big") if pairs < 1 << 16 else b"\xdf" + pairs.to_bytes(4, "big")


def splice(entries: bytes, fields: Mapping[str, Any]) -> bytes:
    """See :meth:`logflow.engine.api.Engine.splice`."""
    packed = [(key, pack_value(value)) for key, value in fields.items()]
    parts: list[bytes] = []
    for start in offsets(entries):
        record = PackedRecord(entries, start + HEADER_SIZE)
        for key, value in packed:
            if key not in record.keys:
                record.set(key, value)
        parts += (entries[start : start + HEADER_SIZE], record.pack())
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
        self._keep = [(path, compile_regex(pattern).search) for path, pattern in keep]
        self._exclude = [(path, compile_regex(pattern).search) for path, pattern in exclude]
        self._quantify = all if mode == "and" else any

    def apply(self, entries: bytes) -> tuple[bytes, int]:
        """Return the kept entries and their number."""
        starts = offsets(entries)
        view = memoryview(entries)
        kept = [
            view[start:end]
            for start, end in zip(starts, (*starts[1:], len(entries)), strict=False)
            if self._wanted(plain_record(view[start + HEADER_SIZE : end]))
        ]
        return (entries if len(kept) == len(starts) else b"".join(kept)), len(kept)

    def _wanted(self, record: dict[str, Any]) -> bool:
        def matches(rule: tuple[str, Any]) -> bool:
            path, search = rule
            value = lookup(record, path)
            return value is not _MISSING and search(json_text(value)) is not None

        if self._keep and not self._quantify(map(matches, self._keep)):
            return False
        return not any(map(matches, self._exclude))


class PythonModify:
    """See :class:`logflow.engine.api.Modify`."""

    def __init__(self, changes: Sequence[tuple[str, str, Any]], variables: Mapping[str, str]) -> None:
        self._changes = [_Change(action, key, argument, variables) for action, key, argument in changes]

    def apply(self, entries: bytes, tag: str) -> bytes:
        """Return the entries with every record changed."""
        parts: list[bytes] = []
        for start in offsets(entries):
            record = PackedRecord(entries, start + HEADER_SIZE)
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

    def apply(self, record: PackedRecord, tag: str) -> None:
        """Make the change."""
        key = self._key
        match self._action:
            case "set":
                record.set(key, self._value(record, tag))
            case "default" if key not in record.keys:
                record.set(key, self._value(record, tag))
            case "remove":
                record.remove(key)
            case "rename":
                record.rename(key, self._argument)
            case "copy" if (value := record.get(key)) is not None:
                record.set(self._argument, value)

    def _value(self, record: PackedRecord, tag: str) -> bytes:
        """Pack the constant, or what the template gives for a record."""
        if self._packed is not None:
            return self._packed
        plain = plain_record(record.pack())

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name is None:
                return match[0][0]
            if name == "tag":
                return tag
            if name in self._variables:
                return self._variables[name]
            value = lookup(plain, name)
            return "" if value is _MISSING else json_text(value)

        return pack_value(_TEMPLATE.sub(replace, self._argument))
