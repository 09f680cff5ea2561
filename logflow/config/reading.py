"""From YAML text to a tree that knows its lines.

Mappings, lists and scalars are built from PyYAML's events, not by its constructors, because these
would forget where things stand, let the last of two equal keys win, and expand aliases without
bound. Scalars follow YAML 1.2's core schema: only ``true`` and ``false`` are booleans, so that
``tag: no`` is text, and ``0755`` is a number in decimal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import yaml
from yaml import events as ev

from logflow.config.substitution import Substitution
from logflow.config.tree import Items, KeyPath, Mapping, Node, Place, Problem, Scalar, shorten

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_NODES = 100_000
"""Values in one file, those repeated by aliases counted each time."""

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,64}|0o[0-7]{1,64}|0x[0-9a-fA-F]{1,64}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,64}|[0-9]{1,64}(?:\.[0-9]{0,64})?)(?:[eE][-+]?[0-9]{1,4})?", re.ASCII)
_SPECIAL_FLOATS = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
_RETYPED = {"int", "float", "bool", "null"}
_PREFIX = "tag:yaml.org,2002:"


class _Abandon(Exception):
    """The rest of the file cannot be read."""


def read_scalar(text: str) -> str | int | float | bool | None:
    """Read an unquoted scalar by YAML 1.2's core schema."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    special = _SPECIAL_FLOATS.get(text.lower())
    return text if special is None else float(special)


def read_tree(data: bytes, file: str, substitution: Substitution, problems: list[Problem]) -> Node | None:
    """Read one file; ``None`` when it is empty or cannot be read at all.

    Args:
        data: the file's content.
        file: its path, as messages name it; ``${file:...}`` is relative to its directory.
        substitution: replaces ``${...}`` in scalars.
        problems: every mistake is added here.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problems.append(Problem(Place(file, line), (), "not UTF-8 text; save the file as UTF-8"))
        return None
    builder = _Builder(text, file, substitution, problems)
    try:
        return builder.document()
    except yaml.reader.ReaderError as error:
        place = Place(file, text.count("\n", 0, error.position) + 1)
        problems.append(Problem(place, (), f"the character U+{ord(text[error.position]):04X} is not allowed"))
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(error, text, file))
    except _Abandon:
        pass
    return None


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    what = " ".join((error.problem or "it cannot be read").split())
    if "${" in "".join(text.splitlines()[line : line + 1]):
        what = "text with ${...} must be quoted between braces"
    elif "'\\t'" in what:
        what = "a tab in the indentation; indent with spaces"
    elif what == "mapping values are not allowed here":
        what = "a ':' that is not expected here; check the indentation, or quote the text"
    elif error.context:
        what = f"{what} {error.context}"
    return Problem(Place(file, line + 1), (), f"not valid YAML: {shorten(what)}")


class _Builder:
    """Builds the tree of one document."""

    def __init__(self, text: str, file: str, substitution: Substitution, problems: list[Problem]) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._file = file
        self._substitution = substitution
        self._problems = problems
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._nodes = 0

    def document(self) -> Node | None:
        """Build the only document of the file."""
        root: Node | None = None
        for event in self._events:
            if isinstance(event, ev.DocumentStartEvent):
                first = next(self._events)
                if root is not None:
                    self._abandon(first, (), "a second document; use one file for each")
                root = self._build(first, (), self._place(first))
        return None if isinstance(root, Scalar) and root.text == "" else root

    def _build(self, event: yaml.Event, path: KeyPath, place: Place) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._abandon(event, path, f"more than {MAX_NODES} values; aliases are counted each time")
        if len(path) > MAX_DEPTH:
            self._abandon(event, path[:3], f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, ev.AliasEvent):
            return self._alias(event, path, place)
        before = self._nodes
        node: Node
        match event:
            case ev.ScalarEvent():
                node = self._scalar(event, path, place)
            case ev.SequenceStartEvent():
                node = self._items(event, path, place)
            case ev.MappingStartEvent():
                node = self._mapping(event, path, place)
            case _:
                raise AssertionError(f"PyYAML gave {event} where a value begins")
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._nodes - before + 1)
        return node

    def _alias(self, event: ev.AliasEvent, path: KeyPath, place: Place) -> Node:
        """Repeat an anchor's value, at the place of the alias."""
        if event.anchor is None or event.anchor not in self._anchors:
            self._abandon(event, path, f"there is no anchor &{event.anchor} above")
        node, size = self._anchors[event.anchor]
        self._nodes += size
        if self._nodes > MAX_NODES:
            self._abandon(event, path, f"more than {MAX_NODES} values; aliases are counted each time")
        match node:
            case Mapping(items=items):
                return Mapping(place, items)
            case Items(items=elements):
                return Items(place, elements)
            case Scalar():
                return Scalar(place, node.value, node.text, node.written)

    def _items(self, start: ev.CollectionStartEvent, path: KeyPath, place: Place) -> Items:
        self._check_tag(start, path, "seq")
        result = Items(place)
        for event in self._until(ev.SequenceEndEvent):
            result.items.append(self._build(event, (*path, len(result.items)), self._place(event)))
        return result

    def _mapping(self, start: ev.CollectionStartEvent, path: KeyPath, place: Place) -> Mapping:
        self._check_tag(start, path, "map")
        result = Mapping(place)
        merged: list[Node] = []
        for event in self._until(ev.MappingEndEvent):
            key_place = self._place(event)
            if not isinstance(event, ev.ScalarEvent):
                self._abandon(event, path, "a key must be plain text")
            key = event.value
            value = self._build(next(self._events), (*path, key), key_place)
            if key == "<<" and event.style is None:
                merged += value.items if isinstance(value, Items) else [value]
            elif key in result.items:
                first = result.items[key].place.line
                self._problem(key_place, (*path, key), f"defined twice; the first one is on line {first}")
            else:
                result.items[key] = value
        for mapping in merged:
            if isinstance(mapping, Mapping):
                result.items = {**mapping.items, **result.items}
            else:
                self._problem(mapping.place, (*path, "<<"), "'<<' takes a mapping or a list of mappings")
        return result

    def _scalar(self, event: ev.ScalarEvent, path: KeyPath, place: Place) -> Scalar:
        tag = self._check_tag(event, path, "str", *_RETYPED)
        try:
            text = self._substitution.apply(event.value, Path(self._file).parent)
        except ValueError as error:
            self._problem(place, path, str(error))
            return Scalar(place, event.value, event.value, event.value, broken=True)
        plain = event.style is None and tag is None
        # What `${...}` left empty must not turn into `null`, which leaves a key out: a secret, say.
        emptied = not text and event.value
        value = read_scalar(text) if (plain and not emptied) or tag in _RETYPED else text
        return Scalar(place, value, text, event.value)

    def _check_tag(
        self, event: ev.ScalarEvent | ev.CollectionStartEvent, path: KeyPath, *allowed: str
    ) -> str | None:
        """Return the short name of an explicit tag; report one that means nothing here."""
        if event.tag in {None, "!"}:
            return None
        name = str(event.tag).removeprefix(_PREFIX)
        if name not in allowed:
            self._problem(self._place(event), path, f"the tag !{name.lstrip('!')} is not known; remove it")
        return name

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        while not isinstance(event := next(self._events), end):
            yield event

    def _place(self, event: yaml.Event) -> Place:
        return Place(self._file, event.start_mark.line + 1 if event.start_mark else 1)

    def _problem(self, place: Place, path: KeyPath, text: str) -> None:
        self._problems.append(Problem(place, path, text))

    def _abandon(self, event: yaml.Event, path: KeyPath, text: str) -> NoReturn:
        self._problem(self._place(event), path, text)
        raise _Abandon
