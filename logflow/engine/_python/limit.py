"""Cuts what is too long, too deep or too many; what is within the limits stays byte for byte as it is."""

from __future__ import annotations

from itertools import pairwise

from logflow.engine._python.entries import HEADER_SIZE, bounds
from logflow.engine._python.fields import array_head, items_of, map_head, packed_pairs
from logflow.engine._python.plain import plain_value
from logflow.engine._python.texts import pack_bin, pack_str
from logflow.engine._python.walk import head
from logflow.engine.changes import Limited
from logflow.jsontext import json_text
from logflow.packing import pack_value


class PythonLimits:
    """See :class:`logflow.engine.changes.Limiter`."""

    def __init__(self, most_bytes: int, depth: int, fields: int, mark: str) -> None:
        self._bytes = most_bytes
        self._depth = depth
        self._fields = fields
        self._mark = mark

    def apply(self, entries: bytes) -> Limited:
        """Return the entries, and how much was cut."""
        counts = [0, 0, 0]
        parts: list[bytes] = []
        for start, end in pairwise(bounds(entries)):
            record = entries[start + HEADER_SIZE : end]
            before = list(counts)
            pairs = list(packed_pairs(record))
            kept = [key + self._value(value, 2, counts) for key, _, value in pairs[: self._fields]]
            counts[2] += max(len(pairs) - self._fields, 0)
            if counts != before:
                if all(text != self._mark for _, text, _ in pairs[: self._fields]):
                    kept.append(pack_value(self._mark) + b"\xc3")
                record = map_head(len(kept)) + b"".join(kept)
            parts += (entries[start : start + HEADER_SIZE], record)
        return Limited(b"".join(parts) if any(counts) else entries, *counts)

    def _value(self, value: bytes, level: int, counts: list[int]) -> bytes:
        kind, size, content = head(value, 0)
        if kind == "text":
            if size <= self._bytes:
                return value
            counts[0] += 1
            text = self._cut(value[content : content + size])
            return pack_bin(text) if value[0] in {0xC4, 0xC5, 0xC6} else pack_str(text)
        if kind not in {"map", "array"}:
            return value
        if level > self._depth:
            counts[1] += 1
            return pack_str(self._cut(json_text(plain_value(value)).encode()))
        before = list(counts)
        if kind == "map":
            kept = [
                key + self._value(inner, level + 1, counts)
                for key, _, inner in list(packed_pairs(value))[: self._fields]
            ]
        else:
            kept = [self._value(item, level + 1, counts) for item in items_of(value)[: self._fields]]
        counts[2] += max(size - self._fields, 0)
        if counts == before:
            return value
        return (map_head if kind == "map" else array_head)(len(kept)) + b"".join(kept)

    def _cut(self, text: bytes) -> bytes:
        """The first bytes of a text, up to the end of a character."""
        end = self._bytes
        if len(text) <= end:
            return text
        while end > 0 and self._bytes - end < 3 and text[end] & 0xC0 == 0x80:
            end -= 1
        return text[:end]
