"""Where an event is written: path templates.

::

    /var/log/archive/{tag[0]}/{kubernetes.pod}/%Y-%m-%d.jsonl
    └─ static root ─┘└─ tag ─┘└── a field ───┘└─── event time ────┘

:mod:`logflow.templates.pieces` has the language.

The value of a placeholder never leaves its place in the path. The mapping, in this order:

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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import xxhash

from logflow.encoders import text_of
from logflow.event import NANOSECOND, Record
from logflow.paths import parse_path
from logflow.templates.pieces import Piece, Placeholder, fields_of, parse, period_of

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
    """A placeholder whose text is made safe, and the most bytes that this may become."""

    placeholder: Placeholder
    limit_bytes: int


_Part: TypeAlias = str | Placeholder | _Value
"""Text, a part of the time, or a value."""


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
        pieces = parse(text)
        components = [_with_limits(component) for component in _components(pieces)]
        if not text.strip() or not components[-1]:
            raise ValueError("a path must name a file, not a directory")
        fixed = 0
        while fixed < len(components) - 1 and all(isinstance(piece, str) for piece in components[fixed]):
            fixed += 1
        names = ["".join(piece for piece in c if isinstance(piece, str)) for c in components[:fixed]]
        self.root = Path("/".join(names) or ("/" if fixed else ".")).absolute()
        self._components = components[fixed:]
        self._fields = fields_of(pieces)
        self._paths = [parse_path(field) for field in self._fields]
        self.needs_record = bool(self._fields)
        self.period_s = period_of(pieces)
        self._timezone = timezone
        if timezone is not UTC:  # days and hours begin at any quarter of an hour of UTC
            self.period_s = min(self.period_s, _ZONE_PERIOD_S)
        last = [p for p in components[-1] if not (isinstance(p, str) and _COMPRESSED.fullmatch(p))]
        self._may_look_rotated = isinstance(last[-1], _Value)

    def render(self, tag: str, time_ns: int, record: Record) -> str:
        """The absolute path for an event; always below :attr:`root`."""
        return self._fill(tag, time_ns, self._texts(record))

    def render_all(self, tag: str, events: Iterable[tuple[int, Record]]) -> Iterator[str]:
        """The paths of many events: each combination of period and fields is rendered once."""
        known: dict[tuple[int, tuple[str, ...]], str] = {}
        period_ns = max(self.period_s, 1) * NANOSECOND
        for time_ns, record in events:
            texts = self._texts(record)
            key = (time_ns // period_ns if self.period_s else 0, texts)
            path = known.get(key)
            if path is None:
                path = known[key] = self._fill(tag, time_ns, texts)
            yield path

    def _texts(self, record: Record) -> tuple[str, ...]:
        return tuple([text_of(path.find(record)) for path in self._paths])

    def _fill(self, tag: str, time_ns: int, texts: tuple[str, ...]) -> str:
        moment = datetime.fromtimestamp(time_ns // NANOSECOND, self._timezone)
        fields = dict(zip(self._fields, texts, strict=True))

        def fill(part: _Part) -> str:
            match part:
                case str():
                    return part
                case _Value(Placeholder("field", name), limit_bytes):
                    return safe_name(fields[name], limit_bytes)
                case _Value(placeholder, limit_bytes):
                    return safe_name(placeholder.of_tag(tag), limit_bytes)
                case Placeholder(_, directive):
                    return moment.strftime(f"%{directive}")

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


def _components(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Split a template at the slashes between its placeholders."""
    components: list[list[Piece]] = [[]]
    for piece in pieces:
        if not isinstance(piece, str):
            components[-1].append(piece)
            continue
        if "\0" in piece:
            raise ValueError("a path cannot contain NUL")
        first, *others = piece.split("/")
        components[-1] += [first] if first else []
        components += [[other] if other else [] for other in others]
    for component in components:
        if all(isinstance(piece, str) for piece in component) and "".join(map(str, component)) == "..":
            raise ValueError("'..' is not allowed in a path")
    return components


def _with_limits(component: Sequence[Piece]) -> list[_Part]:
    """Share what room a file name has among the placeholders of one component."""
    values = sum(isinstance(piece, Placeholder) and piece.kind != "time" for piece in component)
    texts = sum(len(piece.encode()) for piece in component if isinstance(piece, str))
    times = sum(isinstance(piece, Placeholder) and piece.kind == "time" for piece in component)
    limit_bytes = (_NAME_BYTES - texts - _TIME_WIDTH * times) // max(values, 1)
    if limit_bytes < (_LEAST_VALUE_BYTES if values else 0):
        raise ValueError("a part of the path between slashes is too long or has too many placeholders")
    return [
        piece if isinstance(piece, str) or piece.kind == "time" else _Value(piece, limit_bytes)
        for piece in component
    ]
