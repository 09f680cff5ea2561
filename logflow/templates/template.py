"""Where an event is written: path templates.

::

    /var/log/archive/{tag[0]}/{kubernetes.pod}/%Y-%m-%d.jsonl
    └─ static root ─┘└─ tag ─┘└── a field ───┘└─── event time ────┘

``{tag}``, ``{tag[0]}``, ``{tag[-1]}`` (parts between dots), ``{hostname}``, ``{field}`` (or ``{a.b}`` for
nested fields), ``{{`` and ``}}`` for braces, ``%Y %y %m %d %j %H %M %S`` and ``%%``.

What stands in for a placeholder never leaves its place in the path. The mapping, in this order:

1. nothing (no such field, part or text) becomes ``_``;
2. ``/``, ``%`` and every character that is not printable (NUL and newline among them) become ``%XX`` for each
   of their UTF-8 bytes, so that different values have different names;
3. a value of dots alone has its first dot written ``%2E``: ``..`` becomes ``%2E.``;
4. a value too long for a file name is cut, and ``~`` and 16 hex digits of its hash are added;
5. a file name that ends in a value, and looks like one that rotation gives (``app.20260131-120000``), has
   the dot before the digits written ``%2E``: a tag of that form is no rotated file of another tag.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import xxhash

from logflow.encoders import text_of
from logflow.event import NANOSECOND, Record

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]+)\}|%(?P<time>.?)|[^{}%]+|.", re.DOTALL)
_TAG_PART = re.compile(r"tag\[(-?\d{1,3})\]")
_PERIODS_S = {"S": 1, "M": 60, "H": 3600} | dict.fromkeys("Yymdj", 86400)
_ZONE_PERIOD_S = 900
_COMPRESSED = re.compile(r"\.(?:gz|zst)")
_ROTATED = re.compile(r"\.(\d{8}-\d{6}(?:-\d{1,9})?(?:\.gz|\.zst)?)$")
_TIME_WIDTH = 4
_NAME_BYTES = 210
"""File systems take names of 255 bytes; the rest is for the suffixes of rotation and compression."""
_LEAST_VALUE_BYTES = 32
_HASH_BYTES = 17


@dataclass(frozen=True, slots=True)
class _Value:
    """A placeholder: what it stands for, and the most bytes it may become."""

    name: str
    limit_bytes: int = 0

    def resolve(self, tag: str) -> str:
        if self.name == "tag":
            return tag
        if part := _TAG_PART.fullmatch(self.name):
            parts, index = tag.split("."), int(part[1])
            return parts[index] if -len(parts) <= index < len(parts) else ""
        return socket.gethostname()

    @property
    def is_field(self) -> bool:
        return self.name not in ("tag", "hostname") and not _TAG_PART.fullmatch(self.name)


@dataclass(frozen=True, slots=True)
class _Time:
    """A part of the event's time."""

    directive: str


_Piece: TypeAlias = str | _Value | _Time


class PathTemplate:
    """A compiled template.

    Attributes:
        root: the directory before the first placeholder.
        needs_record: whether fields of the record are used.
        period_s: events whose times are in the same period of so many seconds since the epoch differ
            in the path only by tag and fields; 0 when the time is not used.
    """

    def __init__(self, text: str, timezone: tzinfo = UTC) -> None:
        """Compile; times are those of ``timezone``.

        Raises:
            ValueError: the template cannot be used; the text says why.
        """
        components = [_with_limits(component) for component in _components(text)]
        if not text.strip() or not components[-1]:
            raise ValueError("a path must name a file, not a directory")
        fixed = 0
        while fixed < len(components) - 1 and all(isinstance(piece, str) for piece in components[fixed]):
            fixed += 1
        names = ["".join(piece for piece in c if isinstance(piece, str)) for c in components[:fixed]]
        self.root = Path("/".join(names) or ("/" if fixed else ".")).absolute()
        self._components = components[fixed:]
        pieces = [piece for component in components for piece in component]
        self._fields = sorted(
            {piece.name for piece in pieces if isinstance(piece, _Value) and piece.is_field}
        )
        self.needs_record = bool(self._fields)
        self.period_s = min(
            (_PERIODS_S[piece.directive] for piece in pieces if isinstance(piece, _Time)), default=0
        )
        self._timezone = timezone
        if timezone is not UTC:  # days and hours begin at any quarter of an hour of UTC
            self.period_s = min(self.period_s, _ZONE_PERIOD_S)
        last = [p for p in components[-1] if not (isinstance(p, str) and _COMPRESSED.fullmatch(p))]
        self._may_look_rotated = isinstance(last[-1], _Value)

    def render(self, tag: str, time_ns: int, record: Record) -> str:
        """The absolute path for an event; always below :attr:`root`."""
        return self._fill(tag, time_ns, tuple(text_of(_field(record, name)) for name in self._fields))

    def render_all(self, tag: str, events: Iterable[tuple[int, Record]]) -> Iterator[str]:
        """The paths of many events: each combination of period and fields is rendered once."""
        known: dict[tuple[int, tuple[str, ...]], str] = {}
        period_ns = max(self.period_s, 1) * NANOSECOND
        for time_ns, record in events:
            texts = tuple([text_of(_field(record, name)) for name in self._fields])
            key = (time_ns // period_ns if self.period_s else 0, texts)
            path = known.get(key)
            if path is None:
                path = known[key] = self._fill(tag, time_ns, texts)
            yield path

    def _fill(self, tag: str, time_ns: int, texts: tuple[str, ...]) -> str:
        moment = datetime.fromtimestamp(time_ns // NANOSECOND, self._timezone)
        fields = dict(zip(self._fields, texts, strict=True))

        def fill(piece: _Piece) -> str:
            match piece:
                case str():
                    return piece
                case _Time(directive):
                    return moment.strftime(f"%{directive}")
                case _Value(name, limit_bytes):
                    text = fields[name] if piece.is_field else piece.resolve(tag)
                    return safe_name(text, limit_bytes)

        names = ["".join(map(fill, component)) for component in self._components]
        if self._may_look_rotated:
            names[-1] = _ROTATED.sub(r"%2E\1", names[-1])
        return str(self.root.joinpath(*names))


@lru_cache(maxsize=4096)
def safe_name(text: str, limit_bytes: int) -> str:
    """Map any text to a part of a file name, by the rules at the top of this module."""
    name = "".join(c if c.isprintable() and c not in "/%" else _percent(c) for c in text) or "_"
    if not name.strip("."):
        name = "%2E" + name[1:]
    data = name.encode()
    if len(data) <= limit_bytes:
        return name
    digest = xxhash.xxh3_64_hexdigest(text.encode("utf-8", "surrogatepass"))
    return data[: limit_bytes - _HASH_BYTES].decode("utf-8", "ignore") + "~" + digest


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _field(record: Record, path: str) -> object:
    """Look up a field; an exact key with dots wins over nested maps."""
    if path in record:
        return record[path]
    value: object = record
    for key in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _components(text: str) -> list[list[_Piece]]:
    """Split a template at the slashes between its placeholders."""
    components: list[list[_Piece]] = [[]]
    for token in _TOKEN.finditer(text):
        piece = _piece(token)
        if not isinstance(piece, str):
            components[-1].append(piece)
            continue
        first, *others = piece.split("/")
        components[-1] += [first] if first else []
        components += [[other] if other else [] for other in others]
    for component in components:
        if all(isinstance(piece, str) for piece in component) and "".join(map(str, component)) == "..":
            raise ValueError("'..' is not allowed in a path")
    return components


def _piece(token: re.Match[str]) -> _Piece:
    if name := token["name"]:
        if name.startswith("tag[") and not _TAG_PART.fullmatch(name):
            raise ValueError(f"{{{name}}} is not a part of the tag; write {{tag[0]}} or {{tag[-1]}}")
        return _Value(name)
    if (directive := token["time"]) is not None:
        if directive == "%":
            return "%"
        if directive not in _PERIODS_S or not directive:
            raise ValueError(f"'%{directive}' is not known; use %Y %y %m %d %j %H %M %S, or %% for %")
        return _Time(directive)
    if token[0] in ("{", "}"):
        raise ValueError(f"unbalanced {token[0]!r} in the path; write {token[0] * 2} for a brace")
    if "\0" in token[0]:
        raise ValueError("a path cannot contain NUL")
    return token[0][0] if token[0] in ("{{", "}}") else token[0]


def _with_limits(component: Sequence[_Piece]) -> list[_Piece]:
    """Share what room a file name has among the placeholders of one component."""
    values = sum(isinstance(piece, _Value) for piece in component)
    taken = sum(
        len(p.encode()) if isinstance(p, str) else _TIME_WIDTH * isinstance(p, _Time) for p in component
    )
    limit_bytes = (_NAME_BYTES - taken) // max(values, 1)
    if limit_bytes < (_LEAST_VALUE_BYTES if values else 0):
        raise ValueError("a part of the path between slashes is too long or has too many placeholders")
    return [_Value(piece.name, limit_bytes) if isinstance(piece, _Value) else piece for piece in component]
