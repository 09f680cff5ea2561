"""Templates of messages, found as Drain finds them.

::

    message ─ blanks ─▶ words, those with digits masked ─▶ leaf by (number of words, first word)
                                                             └─▶ the most similar template there, or a new one
"""

from __future__ import annotations

import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import xxhash

from logflow.engine._python.groups import each_value
from logflow.expressions import Event, Expression
from logflow.expressions.values import Value

ANY = b"<*>"
"""What stands for a word that differs."""

_MOST_BYTES = 2048
_MOST_WORDS = 100
_MOST_LEAVES = 64
"""Leaves of one number of words; beyond that, messages share the leaf of any first word."""
_MOST_OF_LEAF = 64
"""Templates of a leaf; beyond that, the one that was not seen for the longest time is forgotten."""

_DIGIT = re.compile(rb"[0-9]")

_Leaf: TypeAlias = tuple[int, bytes]


@dataclass(slots=True)
class _Template:
    id: int
    words: list[bytes]
    leaf: _Leaf
    used: int

    @property
    def text(self) -> bytes:
        return b" ".join(self.words)


def _masked(word: bytes) -> bytes:
    digit = _DIGIT.search(word)
    if digit is None:
        return word
    sign = word.find(b"=")
    return word[: sign + 1] + ANY if 0 <= sign < digit.start() else ANY


def _words(message: Value) -> list[bytes]:
    if not isinstance(message, str):
        return []
    text = message[:_MOST_BYTES].encode()
    if len(text) > _MOST_BYTES:
        text = text[:_MOST_BYTES].decode("utf-8", "ignore").encode()
    return [_masked(word) for word in text.split()[:_MOST_WORDS]]


class PythonMiner:
    """See :class:`logflow.engine.keyed.Miner`."""

    def __init__(self, message: Expression, most: int, similarity: float) -> None:
        self._message = message
        self._most = most
        self._similarity = round(similarity * 100)
        self._templates: OrderedDict[int, _Template] = OrderedDict()
        """By their numbers; those that were used last at the end."""
        self._leaves: dict[_Leaf, list[int]] = {}
        self._widths: Counter[int] = Counter()
        self._uses = self._made = self._forgotten = 0
        self._lock = threading.Lock()

    def apply(
        self, entries: bytes, tag: str, source: str | None, now_ns: int
    ) -> tuple[bytes, list[tuple[int, bytes]]]:
        """Find the template of each event."""
        event = Event({}, tag, 0, source, now_ns)
        groups: list[tuple[int, bytes]] = [(0, b"")]
        known: dict[int, int] = {}
        ids = bytearray()
        with self._lock:
            for _, _, (message,) in each_value([self._message], entries, event):
                words, group = _words(message), 0
                if words:
                    number = self._learn(words)
                    group = known.setdefault(number, len(groups))
                    template = self._templates[number]
                    groups[group : group + 1] = [(template.id, template.text)]
                ids += group.to_bytes(4, "little")
        return bytes(ids), groups

    def dump(self) -> list[tuple[int, list[bytes]]]:
        """All templates, those that were used last at the end."""
        with self._lock:
            return [(template.id, list(template.words)) for template in self._templates.values()]

    def load(self, kept: Sequence[tuple[int, Sequence[bytes]]]) -> None:
        """Know templates that were kept, in this order, as far as there is room."""
        with self._lock:
            for template_id, words in kept:
                if 0 < len(words) <= _MOST_WORDS:
                    self._add(list(words), template_id)

    def counts(self) -> tuple[int, int]:
        """How many templates were found so far, and how many of them were forgotten."""
        return self._made, self._forgotten

    def _learn(self, words: list[bytes]) -> int:
        best, most_same = 0, -1
        for number in self._leaves.get(self._leaf(words), ()):
            same = sum(map(bytes.__eq__, self._templates[number].words, words))
            if same > most_same:
                best, most_same = number, same
        if most_same < 0 or most_same * 100 < self._similarity * len(words):
            return self._add(words, xxhash.xxh3_64_intdigest(b" ".join(words)))
        self._merge(best, words)
        return best

    def _leaf(self, words: Sequence[bytes]) -> _Leaf:
        leaf = (len(words), words[0])
        full = self._widths[len(words)] >= _MOST_LEAVES - 1
        return (len(words), ANY) if full and leaf not in self._leaves else leaf

    def _merge(self, number: int, words: list[bytes]) -> None:
        template = self._templates[number]
        self._templates.move_to_end(number)
        self._uses += 1
        template.used = self._uses
        if template.words != words:
            template.words = [
                known if known == word else ANY for known, word in zip(template.words, words, strict=True)
            ]

    def _add(self, words: list[bytes], template_id: int) -> int:
        leaf = self._leaf(words)
        numbers = self._leaves.get(leaf, [])
        if len(numbers) >= _MOST_OF_LEAF:
            self._forget(min(numbers, key=lambda number: self._templates[number].used))
        if len(self._templates) >= self._most:
            self._forget(next(iter(self._templates)))
        self._made += 1
        self._uses += 1
        if leaf not in self._leaves:
            self._widths[leaf[0]] += 1
        self._leaves.setdefault(leaf, []).append(self._made)
        self._templates[self._made] = _Template(template_id, words, leaf, self._uses)
        return self._made

    def _forget(self, number: int) -> None:
        template = self._templates.pop(number)
        self._forgotten += 1
        numbers = self._leaves[template.leaf]
        numbers.remove(number)
        if not numbers:
            del self._leaves[template.leaf]
            self._widths[template.leaf[0]] -= 1
