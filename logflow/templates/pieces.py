"""The language of templates, whatever they name: a path, an index, a table, a key.

::

    {tag}  {tag[0]}  {tag[-1]}      the tag, its parts between dots         {{ }}   braces
    {hostname}                      this machine's name                     %%      %
    {a.b}  {a[0]}                   a field, see :mod:`logflow.paths`
    %Y %y %m %d %j %H %M %S         the event's time
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from logflow.paths import parse_path

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]+)\}|%(?P<time>.?)|[^{}%]+|.", re.DOTALL)
_TAG_PART = re.compile(r"tag\[(-?\d{1,3})\]")
_PERIODS_S = {"S": 1, "M": 60, "H": 3600} | dict.fromkeys("Yymdj", 86400)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Something that differs between events, or machines.

    Attributes:
        kind: where it comes from.
        text: a directive such as ``Y``, the number of a part of the tag (none: the whole tag), or a path.
    """

    kind: Literal["time", "tag", "hostname", "field"]
    text: str = ""

    def of_tag(self, tag: str) -> str:
        """What it stands for where that does not depend on single events; empty if there is nothing."""
        if self.kind == "hostname":
            return socket.gethostname()
        if not self.text:
            return tag
        parts, index = tag.split("."), int(self.text)
        return parts[index] if -len(parts) <= index < len(parts) else ""


Piece: TypeAlias = str | Placeholder


def parse(text: str) -> list[Piece]:
    """Read a template.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    return [_piece(token) for token in _TOKEN.finditer(text)]


def fields_of(pieces: Iterable[Piece]) -> Sequence[str]:
    """The paths of the fields that a template uses, in a fixed order."""
    return sorted({p.text for p in pieces if isinstance(p, Placeholder) and p.kind == "field"})


def period_of(pieces: Iterable[Piece]) -> int:
    """For how many seconds since the epoch a template's text stays the same; 0 if it has no time in it."""
    times = (p.text for p in pieces if isinstance(p, Placeholder) and p.kind == "time")
    return min(map(_PERIODS_S.__getitem__, times), default=0)


def _piece(token: re.Match[str]) -> Piece:
    if name := token["name"]:
        return _named(name)
    if (directive := token["time"]) is not None:
        if directive == "%":
            return "%"
        if directive not in _PERIODS_S:
            raise ValueError(f"'%{directive}' is not known; use %Y %y %m %d %j %H %M %S, or %% for %")
        return Placeholder("time", directive)
    if token[0] in ("{", "}"):
        raise ValueError(f"unbalanced {token[0]!r}; write {token[0] * 2} for a brace")
    return token[0][0] if token[0] in ("{{", "}}") else token[0]


def _named(name: str) -> Placeholder:
    if name in ("tag", "hostname"):
        return Placeholder("tag" if name == "tag" else "hostname")
    if name.startswith("tag["):
        if (part := _TAG_PART.fullmatch(name)) is None:
            raise ValueError(f"{{{name}}} is not a part of the tag; write {{tag[0]}} or {{tag[-1]}}")
        return Placeholder("tag", part[1])
    parse_path(name)
    return Placeholder("field", name)
