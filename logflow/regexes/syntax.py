r"""The dialect of regular expressions: text to a tree, and the tree to the syntax of a matcher.

::

    pattern = [flags] choice                     flags: (?i) ASCII letters in either case, (?m), (?s)
    choice  = row {"|" row}
    row     = {piece}
    piece   = atom [("*" | "+" | "?" | "{n}" | "{n,}" | "{,n}" | "{n,m}") ["?"]]
    atom    = character | . | [class] | \d \w \s \D \W \S | ^ $ \A \Z \z \b | group
    group   = "(" choice ")" | "(?:" choice ")" | "(?i-s:" choice ")"
            | "(?P<name>" choice ")" | "(?<name>" choice ")"

It is Python's syntax without what cannot be matched in linear time (looking ahead and behind, references to
groups, atomic groups), and the same for every engine:

- ``\d \w \s \b`` and ``(?i)`` are about ASCII; ``.`` is any character but ``\n``;
- ``$`` is the very end of the text (or of a line after ``(?m)``), not the place before a last ``\n``;
- named groups do not stand inside a repeat, where only the last round would count;
- what is repeated is never empty, as matchers differ in what that means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NoReturn, TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Sorted ranges of code points that do not touch, first and last included; no surrogates."""

Target: TypeAlias = Literal["re", "re2", "native"]
"""Whose syntax a tree is written in."""

MAX_SIZE = 20_000
"""Most single characters that a pattern may ask for, with repeats of a fixed number written out."""

_MAX_GROUPS_OPEN = 60
_LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)


@dataclass(frozen=True, slots=True)
class One:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Look:
    """A condition on a place between characters."""

    kind: Literal["start", "end", "line_start", "line_end", "word"]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same several times; ``most`` is ``None`` where there is no limit."""

    body: Node
    least: int
    most: int | None
    greedy: bool


@dataclass(frozen=True, slots=True)
class Group:
    """What a group holds; groups without a name are known by their number only."""

    name: str | None
    number: int
    body: Node


@dataclass(frozen=True, slots=True)
class Concatenation:
    """One after another."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternation:
    """One of several; an earlier one is preferred."""

    branches: tuple[Node, ...]


Node: TypeAlias = One | Look | Repeat | Group | Concatenation | Alternation


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that was read."""

    text: str
    tree: Node
    names: tuple[str, ...]
    """Named groups, in order."""

    def write(self, target: Target, *, whole: bool = False) -> str:
        """Write it in the syntax of a matcher; ``whole``: bound to the start and end of the text.

        Named groups are kept, the others only hold together what they enclose.
        """
        written = _Writer(target, numbered=False).write(self.tree)
        return f"\\A(?:{written}){_ENDS[target]}" if whole else written

    def write_numbered(self, target: Target) -> str:
        """Write it with all groups kept but those that are repeated: the n-th is named ``gn``."""
        return _Writer(target, numbered=True).write(self.tree)

    def groups(self) -> dict[int | str, str]:
        """The names that :meth:`write_numbered` gives to groups, by their numbers and names."""
        return dict(_groups(self.tree))


@lru_cache(maxsize=1024)
def parse_pattern(text: str) -> Pattern:
    """Read a pattern.

    Raises:
        ValueError: it is not of the dialect; the text says where and why.
    """
    parser = _Parser(text)
    tree = parser.pattern()
    return Pattern(text, tree, tuple(parser.names))


def _ranges(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Sort and merge ranges, and leave out surrogates, which text does not hold."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pairs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    low, high = _SURROGATES
    clean: list[tuple[int, int]] = []
    for first, last in merged:
        pieces = ((first, min(last, low - 1)), (max(first, high + 1), last))
        clean += [piece for piece in pieces if piece[0] <= piece[1]] if last >= low else [(first, last)]
    return tuple(clean)


def _others(ranges: Ranges) -> Ranges:
    gaps: list[tuple[int, int]] = []
    start = 0
    for first, last in ranges:
        if start < first:
            gaps.append((start, first - 1))
        start = last + 1
    if start <= _LAST:
        gaps.append((start, _LAST))
    return _ranges(gaps)


def _either_case(ranges: Ranges) -> Ranges:
    """Add the other case of ASCII letters."""
    found = list(ranges)
    for first, last in ranges:
        for low, shift in ((ord("A"), 32), (ord("a"), -32)):
            start, end = max(first, low), min(last, low + 25)
            if start <= end:
                found.append((start + shift, end + shift))
    return _ranges(found)


def _chars(text: str) -> Ranges:
    return _ranges((ord(char), ord(char)) for char in text)


_DIGITS = _ranges([(ord("0"), ord("9"))])
_UPPER, _LOWER = _ranges([(ord("A"), ord("Z"))]), _ranges([(ord("a"), ord("z"))])
_WORD = _ranges([*_DIGITS, *_UPPER, *_LOWER, (ord("_"), ord("_"))])
_SPACE = _chars(" \t\n\r\f\v")
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_CLASSES |= {name.upper(): _others(ranges) for name, ranges in _CLASSES.items()}
_POSIX = {
    "alpha": _ranges([*_UPPER, *_LOWER]), "digit": _DIGITS, "alnum": _ranges([*_DIGITS, *_UPPER, *_LOWER]),
    "upper": _UPPER, "lower": _LOWER, "space": _SPACE, "blank": _chars(" \t"), "word": _WORD,
    "punct": _ranges([(33, 47), (58, 64), (91, 96), (123, 126)]), "cntrl": _ranges([(0, 31), (127, 127)]),
    "xdigit": _ranges([*_DIGITS, (ord("a"), ord("f")), (ord("A"), ord("F"))]),
    "print": _ranges([(32, 126)]), "graph": _ranges([(33, 126)]),
}  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_ALL_BUT_NEWLINE, _ALL = _others(_chars("\n")), _others(())
_LINEAR = "matching takes linear time here, and"
_REFUSED_GROUPS = {
    "?=": f"it looks ahead with (?=; {_LINEAR} cannot do that",
    "?!": f"it looks ahead with (?!; {_LINEAR} cannot do that; write [^...], or use two rules",
    "?<=": f"it looks behind with (?<=; {_LINEAR} cannot do that; match what comes before",
    "?<!": f"it looks behind with (?<!; {_LINEAR} cannot do that",
    "?>": f"it has an atomic group (?>...); {_LINEAR} needs none: write (?:...)",
    "?P=": f"it refers to a group with (?P=name); {_LINEAR} cannot do that",
    "?(": f"it asks for a group with (?(...)...); {_LINEAR} cannot do that",
}


@dataclass(frozen=True, slots=True)
class _Flags:
    ignore_case: bool = False
    dot_all: bool = False


class _Parser:
    """Reads a pattern from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._multi_line = False
        self._open = 0
        self._groups = 0
        self.names: list[str] = []

    def pattern(self) -> Node:
        flags = _Flags()
        while (letters := self._global_flags()) is not None:
            self._multi_line = self._multi_line or "m" in letters
            flags = _with_flags(flags, letters, on=True)
        tree = self._choice(flags)
        if self._at < len(self._text):
            self._fail("there is a ) without its (")
        if _size(tree) > MAX_SIZE:
            self._fail(f"it asks for more than {MAX_SIZE} characters in all")
        _check_repeats(tree, self._fail, repeated=False)
        return tree

    def _fail(self, why: str) -> NoReturn:
        shown = self._text if len(self._text) <= 200 else self._text[:200] + "..."
        raise ValueError(f"{shown!r} is not a regular expression that can be used: {why}")

    def _take(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) * found
        return found

    def _next(self) -> str:
        if self._at >= len(self._text):
            self._fail("it ends in the middle of something")
        self._at += 1
        return self._text[self._at - 1]

    def _until(self, end: str, what: str) -> str:
        stop = self._text.find(end, self._at)
        if stop < 0:
            self._fail(f"{what} has no {end}")
        text = self._text[self._at : stop]
        self._at = stop + len(end)
        return text

    def _global_flags(self) -> str | None:
        stop = self._text.find(")", self._at)
        letters = self._text[self._at + 2 : stop]
        if not self._text.startswith("(?", self._at) or stop < 0 or not letters.isalpha():
            return None
        self._check_flags(letters)
        self._at = stop + 1
        return letters

    def _check_flags(self, letters: str) -> None:
        if unknown := set(letters) - set("imsa"):
            self._fail(f"the flag {min(unknown)} is not known; i, m and s are")

    def _choice(self, flags: _Flags) -> Node:
        branches = [self._row(flags)]
        while self._take("|"):
            branches.append(self._row(flags))
        return branches[0] if len(branches) == 1 else Alternation(tuple(branches))

    def _row(self, flags: _Flags) -> Node:
        parts: list[Node] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            if self._take("(?#"):
                self._until(")", "a comment")
                continue
            parts.append(self._repeat(self._atom(flags)))
        return parts[0] if len(parts) == 1 else Concatenation(tuple(parts))

    def _atom(self, flags: _Flags) -> Node:
        char = self._next()
        match char:
            case "(":
                return self._group(flags)
            case "[":
                return One(self._class(flags))
            case ".":
                return One(_ALL if flags.dot_all else _ALL_BUT_NEWLINE)
            case "^":
                return Look("line_start" if self._multi_line else "start")
            case "$":
                return Look("line_end" if self._multi_line else "end")
            case "\\":
                return self._escape(flags)
            case "*" | "+" | "?":
                self._fail(f"there is nothing before the {char} at {self._at} that it could repeat")
        return self._one(_chars(char), flags)

    def _one(self, ranges: Ranges, flags: _Flags) -> One:
        return One(_either_case(ranges) if flags.ignore_case else ranges)

    def _escape(self, flags: _Flags) -> Node:
        char = self._next()
        looks: dict[str, Node] = {"A": Look("start"), "Z": Look("end"), "z": Look("end"), "b": Look("word")}
        if char in looks:
            return looks[char]
        if char in _CLASSES:
            return One(_CLASSES[char])
        if char in "123456789":
            self._fail(f"it refers to a group with \\{char}; {_LINEAR} cannot do that")
        return self._one(self._escaped(char), flags)

    def _escaped(self, char: str) -> Ranges:
        r"""Read what stands for one character, after ``\`` and ``char``."""
        if char in _ESCAPES:
            return _chars(_ESCAPES[char])
        if char in _HEX_DIGITS:
            width = _HEX_DIGITS[char]
            digits = self._text[self._at : self._at + width]
            self._at += width
            code = int(digits, 16) if len(digits) == width and digits.isalnum() and _is_hex(digits) else -1
            if not 0 <= code <= _LAST or _SURROGATES[0] <= code <= _SURROGATES[1]:
                self._fail(f"\\{char}{digits} is not a character")
            return ((code, code),)
        if char == "0":
            digits = self._text[self._at : self._at + 2]
            digits = digits[: next((i for i, digit in enumerate(digits) if digit not in "01234567"), 2)]
            self._at += len(digits)
            return _chars(chr(int("0" + digits, 8)))
        if char.isascii() and char.isalnum():
            self._fail(f"\\{char} is not known")
        return _chars(char)

    def _class(self, flags: _Flags) -> Ranges:
        start = self._at
        negated = self._take("^")
        found: list[tuple[int, int]] = []
        first = True
        while not self._take("]") or first:
            if self._at >= len(self._text) and not first:
                self._fail(f"the [ at {start} has no ]")
            item = _chars("]") if first and self._text[self._at - 1 : self._at] == "]" else self._class_item()
            first = False
            found += self._class_range(item)
        ranges = _ranges(found)
        if flags.ignore_case:
            ranges = _either_case(ranges)
        return _others(ranges) if negated else ranges

    def _class_range(self, first: Ranges) -> Ranges:
        """Read ``-z`` after the first character of a range, if that comes."""
        text, at = self._text, self._at
        if not text.startswith("-", at) or text.startswith("]", at + 1) or at + 1 >= len(text):
            return first
        self._at += 1
        last = self._class_item()
        single = all(len(ranges) == 1 and ranges[0][0] == ranges[0][1] for ranges in (first, last))
        if not single or first[0][0] > last[0][0]:
            self._fail(f"the range that ends at {self._at} is empty or reversed")
        return ((first[0][0], last[0][0]),)

    def _class_item(self) -> Ranges:
        if self._at >= len(self._text):
            self._fail("a [ has no ]")
        if self._text.startswith("[:", self._at) and (stop := self._text.find(":]", self._at)) > 0:
            name = self._text[self._at + 2 : stop]
            if name.removeprefix("^") in _POSIX:
                self._at = stop + 2
                ranges = _POSIX[name.removeprefix("^")]
                return _others(ranges) if name.startswith("^") else ranges
        char = self._next()
        if char != "\\":
            return _chars(char)
        char = self._next()
        if char == "b":
            return _chars("\b")
        return _CLASSES[char] if char in _CLASSES else self._escaped(char)

    def _group(self, flags: _Flags) -> Node:
        name: str | None = None
        start = self._at
        number = 0
        for prefix, why in _REFUSED_GROUPS.items():
            if self._text.startswith(prefix, start):
                self._fail(why)
        if self._take("?P<") or self._take("?<"):
            name = self._until(">", "the name of a group")
            self._check_name(name)
        elif self._take("?"):
            flags = self._local_flags(flags)
            number = -1
        if not number:
            self._groups += 1
            number = self._groups
        self._open += 1
        if self._open > _MAX_GROUPS_OPEN:
            self._fail(f"its groups are nested deeper than {_MAX_GROUPS_OPEN} levels")
        body = self._choice(flags)
        self._open -= 1
        if not self._take(")"):
            self._fail(f"the ( at {start} has no )")
        return body if number < 0 else Group(name, number, body)

    def _check_name(self, name: str) -> None:
        word = name.replace("_", "a")
        if not (name.isidentifier() and word[0].isalpha() and word.isalnum()):
            self._fail(f"{name!r} is not the name of a group: write letters, digits and _")
        if name in self.names:
            self._fail(f"two groups are named {name!r}")
        self.names.append(name)

    def _local_flags(self, flags: _Flags) -> _Flags:
        letters = self._until(":", "a group that begins with (? but is not known, or flags within a pattern,")
        on, _, off = letters.partition("-")
        if not all(part.isalpha() or not part for part in (on, off)):
            self._fail(f"(?{letters[:10]} is not known, or flags stand in the middle")
        self._check_flags(on + off)
        if "m" in on + off:
            self._fail("the flag m stands at the start of a pattern only")
        return _with_flags(_with_flags(flags, on, on=True), off, on=False)

    def _repeat(self, atom: Node) -> Node:
        counts = self._counts()
        if counts is None:
            return atom
        if isinstance(atom, Look):
            self._fail(f"what ends at {self._at} repeats a place, not a character")
        greedy = not self._take("?")
        if greedy and self._take("+"):
            self._fail(f"it has a possessive repeat; {_LINEAR} needs none: leave out the second +")
        if self._text[self._at : self._at + 1] in {"*", "+"} or (
            self._text.startswith(("?", "{"), self._at) and self._counts() is not None
        ):
            self._fail(f"there are two repeats in a row at {self._at}")
        return Repeat(atom, *counts, greedy)

    def _counts(self) -> tuple[int, int | None] | None:
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return counts
        if not self._text.startswith("{", self._at):
            return None
        stop = self._text.find("}", self._at)
        low, comma, high = self._text[self._at + 1 : max(stop, 0)].partition(",")
        numbers = [part for part in (low, high) if part]
        if stop < 0 or not numbers or not all(part.isascii() and part.isdigit() for part in numbers):
            return None  # a brace like any other character
        self._at = stop + 1
        if any(len(part) > 5 for part in numbers):
            self._fail("it repeats something too often")
        least = int(low or 0)
        most = (int(high) if high else None) if comma else least
        if most is not None and most < least:
            self._fail(f"{{{low},{high}}} is no number of repeats")
        return least, most


def _is_hex(digits: str) -> bool:
    return all(digit in "0123456789abcdefABCDEF" for digit in digits)


def _with_flags(flags: _Flags, letters: str, *, on: bool) -> _Flags:
    return _Flags(on if "i" in letters else flags.ignore_case, on if "s" in letters else flags.dot_all)


def _check_repeats(node: Node, fail: Callable[[str], NoReturn], *, repeated: bool) -> None:
    """Check what stands inside repeats."""
    match node:
        case Repeat(body, _, most, _):
            several = most != 1
            if several and may_be_empty(body):
                fail("it repeats what may be empty, as in (?:a*)*; write (?:a|b)* in place of (?:a*b?)*")
            _check_repeats(body, fail, repeated=repeated or several)
        case Group(name, _, body):
            if repeated and name is not None:
                fail(f"the group {name!r} is inside a repeat; put it around the repeat: (?P<{name}>(?:...)*)")
            _check_repeats(body, fail, repeated=repeated)
        case Concatenation(parts) | Alternation(parts):
            for part in parts:
                _check_repeats(part, fail, repeated=repeated)


def may_be_empty(node: Node) -> bool:
    """Whether a part can match without taking a character."""
    match node:
        case One():
            return False
        case Look():
            return True
        case Repeat(body, least, _, _):
            return least == 0 or may_be_empty(body)
        case Group(_, _, body):
            return may_be_empty(body)
        case Concatenation(parts):
            return all(map(may_be_empty, parts))
        case Alternation(branches):
            return any(map(may_be_empty, branches))


def _size(node: Node) -> int:
    match node:
        case One() | Look():
            return 1
        case Repeat(body, least, most, _):
            return max(least, most or 0, 1) * _size(body)
        case Group(_, _, body):
            return _size(body)
        case Concatenation(parts) | Alternation(parts):
            return 1 + sum(map(_size, parts))


def _groups(node: Node) -> Iterator[tuple[int | str, str]]:
    match node:
        case Group(name, number, body):
            yield number, f"g{number}"
            if name is not None:
                yield name, f"g{number}"
            yield from _groups(body)
        case Repeat(body, _, 1, _):
            yield from _groups(body)
        case Concatenation(parts) | Alternation(parts):
            for part in parts:
                yield from _groups(part)


_ENDS: dict[Target, str] = {"re": r"\Z", "re2": r"\z", "native": r"\z"}


class _Writer:
    """Writes a tree with everything spelled out that depends on flags and matchers."""

    def __init__(self, target: Target, *, numbered: bool) -> None:
        self._numbered = numbered
        self._looks = {
            "start": r"\A", "end": _ENDS[target], "line_start": "(?m:^)", "line_end": "(?m:$)",
            "word": r"(?-u:\b)" if target == "native" else r"\b",
        }  # fmt: skip

    def write(self, node: Node) -> str:
        match node:
            case One(ranges):
                return _write_set(ranges)
            case Look(kind):
                return self._looks[kind]
            case Repeat(body, least, most, greedy):
                outside, self._numbered = self._numbered, self._numbered and most == 1
                written = f"(?:{self.write(body)}){_write_counts(least, most)}{'' if greedy else '?'}"
                self._numbered = outside
                return written
            case Group(name, number, body):
                kept = f"P<g{number}>" if self._numbered else ":" if name is None else f"P<{name}>"
                return f"(?{kept}{self.write(body)})"
            case Concatenation(parts):
                return "".join(
                    f"(?:{self.write(part)})" if isinstance(part, Alternation) else self.write(part)
                    for part in parts
                )
            case Alternation(branches):
                return "|".join(map(self.write, branches))


def _write_counts(least: int, most: int | None) -> str:
    known = {(0, None): "*", (1, None): "+", (0, 1): "?"}
    if (least, most) in known:
        return known[least, most]
    return f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"


def _write_set(ranges: Ranges) -> str:
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _write_char(ranges[0][0])
    if not ranges:
        return r"[^\x00-" + chr(_LAST) + "]"
    inside = "".join(
        _write_char(first) if first == last else f"{_write_char(first)}-{_write_char(last)}"
        for first, last in ranges
    )
    return f"[{inside}]"


def _write_char(code: int) -> str:
    char = chr(code)
    return char if code > 0x7F or (char.isalnum() and char.isascii()) else f"\\x{code:02x}"
