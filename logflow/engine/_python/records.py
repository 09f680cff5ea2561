"""Changes of packed records: what is not changed stays byte for byte as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress, pairwise
from typing import Any, Literal, TypeAlias

from logflow.component import Parse, Parser
from logflow.engine._python import fields as packed_fields
from logflow.engine._python.entries import HEADER_SIZE, bounds
from logflow.engine._python.fields import Fields, take_apart
from logflow.engine._python.globs import Globs
from logflow.engine._python.plain import plain_record, plain_records
from logflow.engine._python.reshape import flatten, nest
from logflow.engine._python.walk import head
from logflow.errors import LimitExceeded
from logflow.event import EventTime
from logflow.jsontext import json_text
from logflow.packing import ENTRY_HEADER, pack_value, to_text
from logflow.paths import FieldPath, parse_glob, parse_name, parse_path
from logflow.regexes import compile_regex

_Search: TypeAlias = Callable[[str], bool]
_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")
_MISSING = object()


def splice(entries: bytes, fields: Mapping[str, Any]) -> bytes:
    """See :meth:`logflow.engine.api.Engine.splice`."""
    return splice_packed(entries, {key: pack_value(value, 2) for key, value in fields.items()})


def splice_packed(entries: bytes, packed: Mapping[str, bytes]) -> bytes:
    """The same for values that are packed already."""
    found = bounds(entries)
    # A key that the bytes do not even hold as text, no record has.
    if not any(key.encode() in entries for key in packed):
        heads = [entries[start + HEADER_SIZE] for start in found[:-1]]
        if max(heads, default=0x80) + len(packed) <= 0x8F:
            tail = b"".join([pack_value(key) + value for key, value in packed.items()])
            return _append(entries, found, heads, len(packed), tail)
    parts: list[bytes] = []
    for start, end in pairwise(found):
        record = take_apart(entries[start + HEADER_SIZE : end])
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


class _Rule:
    """A pattern that is searched in the text of a field."""

    def __init__(self, path: str, pattern: str) -> None:
        self._path = parse_path(path)
        self._found: _Search = compile_regex(pattern).found
        self.present = 0

    def matches(self, record: dict[str, Any]) -> bool:
        value = self._path.find(record, _MISSING)
        if value is _MISSING:
            return False
        self.present += 1
        return self._found(json_text(value))


class PythonGrep:
    """See :class:`logflow.engine.changes.Grep`."""

    def __init__(
        self,
        keep: Sequence[tuple[str, str]],
        exclude: Sequence[tuple[str, str]],
        mode: Literal["and", "or"],
    ) -> None:
        self._keep = [_Rule(*rule) for rule in keep]
        self._exclude = [_Rule(*rule) for rule in exclude]
        self._quantify = all if mode == "and" else any

    def apply(self, entries: bytes) -> tuple[bytes, int]:
        """Return the kept entries and their number."""
        found = bounds(entries)
        wanted = list(map(self._wanted, plain_records(entries, found)))
        if all(wanted):
            return entries, len(wanted)
        kept = [entries[start:end] for start, end in compress(pairwise(found), wanted)]
        return b"".join(kept), len(kept)

    def present(self) -> list[int]:
        """In how many events each rule's field was there."""
        return [rule.present for rule in (*self._keep, *self._exclude)]

    def _wanted(self, record: dict[str, Any]) -> bool:
        # All rules are asked, so that each sees whether its field is there.
        kept = [rule.matches(record) for rule in self._keep]
        excluded = [rule.matches(record) for rule in self._exclude]
        return (not kept or self._quantify(kept)) and not any(excluded)


class PythonModify:
    """See :class:`logflow.engine.changes.Modify`."""

    def __init__(self, changes: Sequence[tuple[str, str, Any]], variables: Mapping[str, str]) -> None:
        self._changes = [_Change(action, key, argument, variables) for action, key, argument in changes]

    def apply(self, entries: bytes, tag: str) -> bytes:
        """Return the entries with every record changed."""
        parts: list[bytes] = []
        for start, end in pairwise(bounds(entries)):
            record = take_apart(entries[start + HEADER_SIZE : end])
            for change in self._changes:
                record = change.apply(record, tag)
            parts += (entries[start : start + HEADER_SIZE], record.pack())
        return b"".join(parts)

    def present(self) -> list[int]:
        """In how many events each change found what it changes, or could be made."""
        return [change.present for change in self._changes]


class _Change:
    """One change, checked and ready."""

    def __init__(self, action: str, key: str, argument: Any, variables: Mapping[str, str]) -> None:
        self._action = action
        self.present = 0
        match action:
            case "prune" | "only":
                self._globs = Globs(list(map(parse_glob, argument)))
            case "flatten":
                names, self._separator = argument
                self._likes = list(map(parse_name, names))
            case "nest":
                self._path, self._likes = parse_path(key), list(map(parse_name, argument))
            case "rename" | "copy":
                self._path, self._target = parse_path(key), parse_path(argument)
            case "set" | "default" | "remove":
                self._path, self._value = parse_path(key), _Value(argument, variables)
            case _:
                raise ValueError(f"{action!r} is not a change; write set, default, remove, rename or copy")

    def apply(self, record: Fields, tag: str) -> Fields:
        """Make the change."""
        if self._action in {"prune", "only", "nest", "flatten"}:
            record, done = self._reshape(record)
            self.present += done
            return record
        path, done = self._path, True
        match self._action:
            case "remove":
                done = packed_fields.take_out(record, path)
            case "rename":
                record, done = packed_fields.move(record, path, self._target)
            case "copy":
                value = packed_fields.find(record, path)
                done = value is not None and packed_fields.put(record, self._target, value)
            case action if action == "set" or packed_fields.find(record, path) is None:
                done = packed_fields.put(record, path, self._value.pack(record, tag))
        self.present += done
        return record

    def _reshape(self, record: Fields) -> tuple[Fields, bool]:
        match self._action:
            case "nest":
                return nest(record, self._path, self._likes)
            case "flatten":
                return flatten(record, self._likes, self._separator)
            case "only":
                kept = self._globs.only(record.pack())
                return take_apart(kept), kept != b"\x80"
        packed = record.pack()
        pruned = self._globs.prune(packed)
        return (record, False) if pruned == packed else (take_apart(pruned), True)


class _Value:
    """The value of a ``set`` or ``default``: a constant, or text with fields in it."""

    def __init__(self, value: Any, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)
        self._parts = self._split(value) if isinstance(value, str) else None
        self._packed = pack_value(value, 2)

    def _split(self, text: str) -> list[str | FieldPath | None] | None:
        """Take a template apart: text, fields, and ``None`` for the tag; ``None`` if it is plain text."""
        parts: list[str | FieldPath | None] = []
        at, found = 0, False
        for match in _TEMPLATE.finditer(text):
            part = self._part(match[1]) if match[1] is not None else match[0][0]
            if part is _MISSING:
                continue
            found = True
            parts += [text[at : match.start()], part]
            at = match.end()
        return [*parts, text[at:]] if found else None

    def _part(self, name: str) -> Any:
        if name == "tag":
            return None
        if name in self._variables:
            return self._variables[name]
        try:
            return parse_path(name)
        except ValueError:
            return _MISSING  # braces like any other characters

    def pack(self, record: Fields, tag: str) -> bytes:
        """Pack the constant, or what the template gives for a record."""
        if self._parts is None:
            return self._packed
        plain: dict[str, Any] | None = None
        text = ""
        for part in self._parts:
            if isinstance(part, FieldPath):
                plain = plain_record(record.pack()) if plain is None else plain
                value = part.find(plain, _MISSING)
                text += "" if value is _MISSING else json_text(value)
            else:
                text += tag if part is None else part
        return pack_value(text)


class PythonFieldParser:
    """See :class:`logflow.engine.changes.FieldParser`."""

    def __init__(
        self, parser: Parser, field: str, *, into: str | None, keep_original: bool, drop_unparsed: bool
    ) -> None:
        self._parser = parser
        self._path = parse_path(field)
        self._into = None if into is None else parse_path(into)
        self._keep_original = keep_original
        self._drop_unparsed = drop_unparsed
        self._present = 0

    def apply(self, entries: bytes) -> tuple[bytes, int, int]:
        """Return the entries, their number, and how many fields did not parse."""
        found = bounds(entries)
        records = [take_apart(entries[start + HEADER_SIZE : end]) for start, end in pairwise(found)]
        values = [packed_fields.find(record, self._path) for record in records]
        texts = [None if value is None else _text(value) for value in values]
        results = iter(self._parser.parse_many([text for text in texts if text is not None]))
        parts: list[bytes] = []
        count = unparsed = 0
        for (start, end), record, value, text in zip(pairwise(found), records, values, texts, strict=True):
            parsed = None if text is None else next(results)
            merged = None if parsed is None else self._merge(record, parsed)
            self._present += value is not None
            unparsed += value is not None and merged is None
            if merged is not None:
                time = entries[start : start + HEADER_SIZE]
                if parsed is not None and parsed[0] is not None:
                    time = ENTRY_HEADER + EventTime(parsed[0]).to_ext()
                parts += (time, merged)
            elif value is None or not self._drop_unparsed:
                parts.append(entries[start:end])
            else:
                continue
            count += 1
        return b"".join(parts), count, unparsed

    def present(self) -> list[int]:
        """In how many events the field was there."""
        return [self._present]

    def _merge(self, record: Fields, parsed: Parse) -> bytes | None:
        """Put what was found into the record; ``None`` if it would nest too deep."""
        try:
            found = pack_value(parsed[1])
        except LimitExceeded:
            return None
        if not self._keep_original:
            packed_fields.take_out(record, self._path)
        if self._into is None:
            for key, value in _pairs(found):
                if key not in record:
                    record.set(key, value)
        elif packed_fields.find(record, self._into) is None and not packed_fields.put(
            record, self._into, found
        ):
            return None
        return record.pack()


def _pairs(record: bytes) -> Iterator[tuple[str, bytes]]:
    fields = packed_fields.AnyFields(record)
    return fields.pairs()


def _text(value: bytes) -> bytes | None:
    """The text of a packed str or bin, as valid UTF-8 if it is a str."""
    kind, size, content = head(value, 0)
    if kind != "text":
        return None
    text = value[content : content + size]
    return text if value[0] in {0xC4, 0xC5, 0xC6} else to_text(text).encode()
