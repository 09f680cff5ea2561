"""Hides what is personal or secret in texts; what is not changed stays byte for byte as it is."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Sequence

from logflow.engine._python.detectors import DETECTORS, Span
from logflow.engine._python.entries import HEADER_SIZE, bounds
from logflow.engine._python.globs import Globs, States
from logflow.engine._python.texts import pack_bin, pack_str
from logflow.engine._python.walk import head, skip
from logflow.engine.changes import OwnPattern, RedactAction
from logflow.packing import to_text
from logflow.paths import parse_glob
from logflow.regexes import compile_regex

_PIECE = 4096
"""Longest piece, in bytes, in which patterns are searched whose time grows with the square of the text."""

_SEPARATORS = re.compile(rb".*[ \t\n\r,;&\"']", re.DOTALL)


class PythonRedaction:
    """See :class:`logflow.engine.changes.Redaction`."""

    def __init__(
        self, detectors: Sequence[str], own: Sequence[OwnPattern], fields: Sequence[str] | None,
        action: RedactAction, *, keys: bool,
    ) -> None:  # fmt: skip
        self._detectors = [DETECTORS[name] for name in detectors]
        self._own = [_own_finder(pattern) for pattern in own]
        self._names = [*detectors, *(pattern.name for pattern in own)]
        self._fields = None if fields is None else Globs(list(map(parse_glob, fields)))
        self._action = action
        self._keys = keys

    def apply(self, entries: bytes, key: bytes) -> tuple[bytes, list[int]]:
        """Return the entries, and how much each detector found."""
        counts = [0] * len(self._names)
        start = _ALL if self._fields is None else self._fields.start
        parts: list[bytes] = []
        done = 0
        for entry in bounds(entries)[:-1]:
            _, pairs, first = head(entries, entry + HEADER_SIZE)
            for at, stop in self._texts_of_map(entries, first, pairs, start, top=True):
                changed = self._redact(entries[at:stop], counts, key)
                if changed is not None:
                    parts += (entries[done:at], changed)
                    done = stop
        return (b"".join([*parts, entries[done:]]) if done else entries), counts

    # -- which texts ---------------------------------------------------------------------------------

    def _texts(self, data: bytes, at: int, states: States) -> Iterator[Span]:
        """Where the wanted texts in a value stand, with their heads."""
        if not (states.matched or states.open):
            return
        kind, count, content = head(data, at)
        if kind == "text" and states.matched:
            yield at, content + count
        elif kind == "map":
            yield from self._texts_of_map(data, content, count, states)
        elif kind == "array":
            for index in range(count):
                inner = (
                    states
                    if states.matched or self._fields is None
                    else self._fields.at(states, index, count)
                )
                yield from self._texts(data, content, inner)
                content = skip(data, content)

    def _texts_of_map(
        self, data: bytes, at: int, pairs: int, states: States, *, top: bool = False
    ) -> Iterator[Span]:
        for _ in range(pairs):
            middle = skip(data, at)
            inner = states
            if not states.matched and self._fields is not None:
                kind, _, content = head(data, at)
                text = to_text(data[content:middle]) if kind == "text" else None
                inner = self._fields.under(states, text, top=top)
            if self._keys and inner.matched:
                yield from self._texts(data, at, _ALL)
            yield from self._texts(data, middle, _ALL if inner.matched else inner)
            at = skip(data, middle)

    # -- what in them --------------------------------------------------------------------------------

    def _redact(self, packed: bytes, counts: list[int], key: bytes) -> bytes | None:
        """Write a text anew; ``None`` if nothing is found in it."""
        _, size, content = head(packed, 0)
        text = packed[content : content + size]
        found = [
            (start, number, end) for number, find in enumerate(self._detectors) for start, end in find(text)
        ]
        changed = self._replace(text, found, counts, key) if found else None
        if self._own:
            valid = to_text(text if changed is None else changed).encode()
            first = len(self._detectors)
            found = [
                (start, first + number, end)
                for number, find in enumerate(self._own)
                for start, end in find(valid)
            ]
            changed = self._replace(valid, found, counts, key) if found else changed
        if changed is None:
            return None
        return (pack_bin if packed[0] in {0xC4, 0xC5, 0xC6} else pack_str)(changed)

    def _replace(
        self, text: bytes, found: list[tuple[int, int, int]], counts: list[int], key: bytes
    ) -> bytes:
        """Write a text anew; of what overlaps, all is replaced at once."""
        parts: list[bytes] = []
        done = index = 0
        found.sort(key=lambda one: one[:2])
        while index < len(found):
            start, number, end = found[index]
            index += 1
            while index < len(found) and found[index][0] < end:
                end = max(end, found[index][2])
                index += 1
            parts += (text[done:start], self._instead(number, text[start:end], key))
            counts[number] += 1
            done = end
        return b"".join([*parts, text[done:]])

    def _instead(self, number: int, found: bytes, key: bytes) -> bytes:
        name = self._names[number].encode()
        match self._action:
            case "remove":
                return b""
            case "mask":
                return b"[" + name + b"]"
        digest = hmac.new(key, found, hashlib.sha256).hexdigest()[:16]
        return b"[" + name + b":" + digest.encode() + b"]"


_ALL = States(frozenset(), matched=True)


def _own_finder(pattern: OwnPattern) -> Callable[[bytes], Iterator[Span]]:
    spans = compile_regex(pattern.pattern).spans

    def find(text: bytes) -> Iterator[Span]:
        for at, end in _pieces(text) if pattern.in_pieces else [(0, len(text))]:
            piece = text[at:end].decode()
            for start, stop in spans(piece):
                before = at + len(piece[:start].encode())
                yield before, before + len(piece[start:stop].encode())

    return find


def _pieces(text: bytes) -> Iterator[Span]:
    """Divide a long text after characters that end words."""
    at = 0
    while at < len(text):
        end = at + _PIECE
        if end >= len(text):
            end = len(text)
        elif (match := _SEPARATORS.match(text, at, end)) is not None:
            end = match.end()
        else:
            while text[end] & 0xC0 == 0x80:
                end -= 1
        yield at, end
        at = end
