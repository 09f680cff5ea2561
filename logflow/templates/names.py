"""Names made of a template, an event at a time: of an index, a table, a tenant, a key.

::

    logs-{service}-%Y.%m.%d         see :mod:`logflow.templates.pieces`; times are in UTC

What a placeholder stands for, and nothing (no such field, null, no text) as ``_``, is put in as text; then
``clean`` makes a name of the whole that the store accepts. Events of a chunk have few different names, so
each is made once, and a chunk whose events all have the same name costs one look at its times.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
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
from logflow.templates.pieces import Piece, Placeholder, fields_of, parse, period_of

_TIME_AT = 3
_read_time = struct.Struct(">II").unpack_from
"""A canonical entry has its seconds and nanoseconds there, see :mod:`logflow.batch`."""
_unpack = partial(msgpack.unpackb, strict_map_key=False, unicode_errors="backslashreplace")
_NOTHING = "_"
_MOST_VALUE = 256
"""Characters of a field's text that a name is made of."""


def check_template(text: str) -> str:
    """Check a template of a configuration.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    _parse(text)
    return text


Template = Annotated[str, AfterValidator(check_template)]
"""A template as users write it."""


def _parse(text: str) -> list[Piece]:
    if not text.strip():
        raise ValueError("a name must not be empty")
    return parse(text)


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
        self._pieces = _parse(text)
        self._engine = engine
        self._clean = clean
        self._fields = {name: engine.computation(field_expression(name)) for name in fields_of(self._pieces)}
        self._period_s = period_of(self._pieces)

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

        def fill(piece: Piece) -> str:
            match piece:
                case str():
                    return piece
                case Placeholder("time", directive):
                    return moment.strftime(f"%{directive}")
                case Placeholder("field", name):
                    return texts[name][:_MOST_VALUE] or _NOTHING
                case _:
                    return piece.of_tag(tag) or _NOTHING

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
