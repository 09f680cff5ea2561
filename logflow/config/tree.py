"""A configuration as it was written: a tree in which every value knows its file and line.

::

    Mapping ── items: name -> Node        place: the line of its own key (or list item)
    Items   ── items: [Node, ...]
    Scalar  ── value, text, written       `factor: ${N:-2}` has the value 2, the text "2"
                                          and was written "${N:-2}"
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the top of the configuration."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_@-]+")
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file, as problems name it."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(eq=False, slots=True)
class Scalar:
    """One value.

    Attributes:
        place: where it stands.
        value: what YAML makes of it.
        text: its characters, after substitution: what is meant where text is expected.
        written: its characters in the file, for messages.
        broken: a mistake in it was reported already.
    """

    place: Place
    value: str | int | float | bool | None
    text: str
    written: str
    broken: bool = False

    @property
    def substituted(self) -> bool:
        """Whether a part of it came from the environment or a file, and must not be shown."""
        return self.text != self.written


@dataclass(eq=False, slots=True)
class Items:
    """A list."""

    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Mapping:
    """Keys and values, in order."""

    place: Place
    items: dict[str, Node] = field(default_factory=dict)


Node: TypeAlias = Scalar | Items | Mapping


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it stands, the path of the value, what is wrong and what to do."""

    place: Place
    path: KeyPath
    text: str

    def __str__(self) -> str:
        path = f"{format_path(self.path)}: " if self.path else ""
        return f"{self.place}: {path}{self.text}"


def format_path(path: KeyPath) -> str:
    """Write a path as users know it: ``outputs.central.servers[0].address``."""
    parts: list[str] = []
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        elif _BARE_KEY.fullmatch(part):
            parts.append(f".{part}" if parts else part)
        else:
            parts.append(f"[{json.dumps(shorten(part), ensure_ascii=False)}]")
    return "".join(parts)


def shorten(text: str) -> str:
    """Cut what is too long to be shown."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def show(node: Node) -> str:
    """Name a value in a message, as it was written: secrets stay ``${...}``."""
    match node:
        case Mapping():
            return "a mapping"
        case Items():
            return "a list"
        case Scalar(value=None, substituted=False):
            return "nothing"
        case Scalar(written=written):
            return repr(shorten(written))


def to_data(node: Node, as_text: set[int] | None = None) -> Any:
    """Make plain Python data; scalars whose ``id`` is in ``as_text`` become their text."""
    match node:
        case Mapping(items=items):
            return {key: to_data(value, as_text) for key, value in items.items()}
        case Items(items=elements):
            return [to_data(element, as_text) for element in elements]
        case Scalar():
            return node.text if as_text and id(node) in as_text else node.value


def child(node: Node, part: str | int) -> Node | None:
    """Go down by one key or index; ``None`` where there is no such thing."""
    match node, part:
        case Mapping(items=items), str():
            return items.get(part)
        case Items(items=elements), int() if 0 <= part < len(elements):
            return elements[part]
    return None


def scalars(node: Node) -> Iterator[Scalar]:
    """Yield every scalar below a node."""
    match node:
        case Mapping(items=items):
            for value in items.values():
                yield from scalars(value)
        case Items(items=elements):
            for element in elements:
                yield from scalars(element)
        case Scalar():
            yield node
