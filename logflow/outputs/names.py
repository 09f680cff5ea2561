"""Names made of a template, an event at a time: of an index, a table, a tenant, a key.

::

    logs-{service}-%Y.%m.%d        {tag}  {tag[0]}  {tag[-1]}  {hostname}  {a field's path}  {{ }} for braces
                                   %Y %y %m %d %j %H %M %S of the event's time in UTC, %% for %

What a placeholder stands for, and nothing (no such field, null, no text) as ``_``, is put in as text; then
``clean`` makes a name of the whole that the store accepts. Events of a chunk have few different names, so
each is made once, and a chunk whose events all have the same name costs one look at its times.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import repeat
from typing import Annotated, Any, TypeAlias

import msgpack
from pydantic import AfterValidator

from logflow.encoders import text_of
from logflow.engine.api import Engine
from logflow.event import NANOSECOND
from logflow.expressions import Expression, compile_expression
from logflow.paths import parse_path

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]+)\}|%(?P<time>.?)|[^{}%]+|.", re.DOTALL)
_TAG_PART = re.compile(r"tag\[(-?\d{1,3})\]")
_PERIODS_S = {"S": 1, "M": 60, "H": 3600} | dict.fromkeys("Yymdj", 86400)
_TIME_AT = 3
_read_time = struct.Struct(">II").unpack_from
"""A canonical entry has its seconds and nanoseconds there, see :mod:`logflow.batch`."""
_unpack = partial(msgpack.unpackb, strict_map_key=False, unicode_errors="backslashreplace")
_NOTHING = "_"
_MOST_VALUE = 256
"""Characters of a field's text that a name is made of."""


@dataclass(frozen=True, slots=True)
class _Placeholder:
    """``kind`` is ``time`` (a directive), ``tag`` (the whole, or a part by its number), or ``field``."""

    kind: str
    text: str


def check_template(text: str) -> str:
    """Check a template of a configuration.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    _pieces(text)
    return text


Template = Annotated[str, AfterValidator(check_template)]
"""A template as users write it."""


def field_expression(path: str) -> Expression:
    """The value at a path, as an expression; any path can be written as one.

    Raises:
        ValueError: it is not a path.
    """
    found = parse_path(path)
    first, *others = found.steps
    text = f"field({first!r})" + "".join(f"[{step!r}]" for step in others)
    if found.exact is not None:
        text = f"coalesce(field({found.exact!r}), {text})"
    return compile_expression(text)


Names: TypeAlias = tuple[list[str], list[int] | None]
"""The different names of some events, and which each of them has; None: all have the first."""


class NameTemplate:
    """A compiled template.

    Args:
        text: as configured.
        engine: looks the fields up.
        clean: makes of any text a name that the store accepts.
    """

    def __init__(self, text: str, engine: Engine, clean: Callable[[str], str] = str) -> None:
        self._pieces = _pieces(text)
        self._engine = engine
        self._clean = clean
        placeholders = [piece for piece in self._pieces if isinstance(piece, _Placeholder)]
        fields = sorted({piece.text for piece in placeholders if piece.kind == "field"})
        self._fields = {name: engine.computation(field_expression(name)) for name in fields}
        self._period_s = min(
            (_PERIODS_S[piece.text] for piece in placeholders if piece.kind == "time"), default=0
        )

    @property
    def by_event(self) -> bool:
        """Whether events of one tag may have different names."""
        return bool(self._fields or self._period_s)

    def of_tag(self, tag: str) -> str:
        """The name for all events of a tag, if the template has nothing of single events in it."""
        return self._name(tag, 0, {})

    def names(self, entries: bytes, tag: str) -> Names:
        """The different names of packed entries, and which each event has (None: all have the first)."""
        if not self._fields:
            if not self._period_s:
                return [self.of_tag(tag)], None
            first_ns, last_ns = self._engine.time_range(entries)
            period_ns = self._period_s * NANOSECOND
            if first_ns // period_ns == last_ns // period_ns:
                return [self._name(tag, first_ns // NANOSECOND, {})], None
        return self._by_event(entries, tag)

    def _by_event(self, entries: bytes, tag: str) -> tuple[list[str], list[int]]:
        columns: list[Sequence[object]] = [
            field.values(entries, tag, None, 0) for field in self._fields.values()
        ]
        if self._period_s:
            columns.append(self._periods(entries))
        known: dict[tuple[object, ...], int] = {}
        numbers: dict[str, int] = {}
        which: list[int] = []
        for key in zip(*columns, strict=True):
            number = known.get(key)
            if number is None:
                name = self._of(key, tag)
                number = known[key] = numbers.setdefault(name, len(numbers))
            which.append(number)
        return list(numbers), which

    def _periods(self, entries: bytes) -> list[int]:
        times = (_read_time(entries, offset + _TIME_AT) for offset in self._engine.offsets(entries))
        return [(seconds + extra // NANOSECOND) // self._period_s for seconds, extra in times]

    def _of(self, key: tuple[object, ...], tag: str) -> str:
        packed = dict(zip(self._fields, key, strict=False))
        texts = {name: text_of(_unpack(value)) for name, value in packed.items()}
        seconds = key[-1] * self._period_s if self._period_s else 0  # type: ignore[operator]
        return self._name(tag, seconds, texts)

    def _name(self, tag: str, seconds: int, texts: dict[str, str]) -> str:
        moment = datetime.fromtimestamp(seconds, UTC)

        def fill(piece: str | _Placeholder) -> str:
            match piece:
                case str():
                    return piece
                case _Placeholder("time", directive):
                    return moment.strftime(f"%{directive}")
                case _Placeholder("tag", ""):
                    return tag
                case _Placeholder("tag", index):
                    parts = tag.split(".")
                    return (parts[int(index)] if -len(parts) <= int(index) < len(parts) else "") or _NOTHING
                case _Placeholder(_, name):
                    return texts[name][:_MOST_VALUE] or _NOTHING

        return self._clean("".join(map(fill, self._pieces)))


def distinct_rows(columns: Sequence[Names]) -> tuple[list[tuple[str, ...]], list[int] | None]:
    """Put the names of several templates together: the different rows, and which each event has."""
    if all(which is None for _, which in columns):
        return [tuple(names[0] for names, _ in columns)], None
    spread = [
        repeat(names[0]) if which is None else [names[number] for number in which] for names, which in columns
    ]
    numbers: dict[tuple[str, ...], int] = {}
    chosen = [numbers.setdefault(row, len(numbers)) for row in zip(*spread, strict=False)]
    return list(numbers), chosen


def field_values(path: str, engine: Engine) -> Callable[[bytes, str], list[Any]]:
    """Compile a path; what is returned gives the value there for each of some packed entries of a tag."""
    computation = engine.computation(field_expression(path))
    return lambda entries, tag: [_unpack(value) for value in computation.values(entries, tag, None, 0)]


def _pieces(text: str) -> list[str | _Placeholder]:
    if not text.strip():
        raise ValueError("a name must not be empty")
    return [_piece(token) for token in _TOKEN.finditer(text)]


def _piece(token: re.Match[str]) -> str | _Placeholder:
    if name := token["name"]:
        if name == "tag":
            return _Placeholder("tag", "")
        if name == "hostname":
            return socket.gethostname()
        if name.startswith("tag["):
            if (part := _TAG_PART.fullmatch(name)) is None:
                raise ValueError(f"{{{name}}} is not a part of the tag; write {{tag[0]}} or {{tag[-1]}}")
            return _Placeholder("tag", part[1])
        parse_path(name)
        return _Placeholder("field", name)
    if (directive := token["time"]) is not None:
        if directive == "%":
            return "%"
        if directive not in _PERIODS_S or not directive:
            raise ValueError(f"'%{directive}' is not known; use %Y %y %m %d %j %H %M %S, or %% for %")
        return _Placeholder("time", directive)
    if token[0] in ("{", "}"):
        raise ValueError(f"unbalanced {token[0]!r}; write {token[0] * 2} for a brace")
    return token[0][0] if token[0] in ("{{", "}}") else token[0]
