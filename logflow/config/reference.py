"""The reference of all configuration keys, written from the models.

``python -m logflow.config.reference > docs/configuration.md`` (``make docs``). A test fails when
the file is stale, or when a key of any component has no description.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from logflow import registry
from logflow.component import Component, ComponentConfig
from logflow.config.fields import ComponentField, Notation, write_address
from logflow.config.models import Settings
from logflow.config.options import OutputConfig

_PLAIN = {
    str: "text", SecretStr: "secret", bool: "`true` or `false`", int: "whole number", float: "number",
    Path: "path", re.Pattern: "regular expression", Any: "anything", NoneType: "`null`",
}  # fmt: skip
_KINDS: dict[registry.Kind, str] = {
    "source": "Sources", "parser": "Parsers", "filter": "Filters", "output": "Outputs",
}  # fmt: skip
_SIZES = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
_DURATIONS = [("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6)]

_INTRODUCTION = """# Configuration reference

Generated from the models by `make docs`; a test fails when this page is stale. `logflow check --schema`
prints the same as a JSON Schema for editors, plugins included.

## Files

- A configuration is YAML, with scalars as in YAML 1.2: only `true` and `false` are booleans.
  `logflow check -c FILE…` finds every mistake at once; each is one line with file, line, path and a hint.
- Several `-c` files are merged in order: mappings key by key, later scalars and lists win, routes are
  joined. A source or an output that is defined twice is an error.
- `-c` also takes a directory, of which `*.yaml` and `*.yml` are read, sorted, and `-`, which is stdin.
- Top-level keys that begin with `x-` mean nothing: they are a place for YAML anchors.
- `include:` takes globs relative to the file, sorted. What a file includes comes before the file itself,
  so the file itself wins and its routes come last.
- `${NAME}` is an environment variable, `${NAME:-default}` the same with a default, `${file:/path}` the
  content of a file without its final newline, `$${` a literal `${`. They are replaced in values, after the
  YAML was parsed, and what they stand for is never shown in a message. Between braces they must be
  quoted: `{key: "${NAME}"}`.
- A number or a boolean where text is expected means its characters: `version: 1.20` is the text `1.20`.

## Types

| type | written |
|---|---|
| size | a number and `B`, `kB`, `KiB`, `MB`, `MiB`, `GB`, `GiB`, `TB` or `TiB`, such as `8MiB`; or bytes |
| duration | numbers with `ms`, `s`, `m`, `h` or `d`, such as `5s` or `1h30m`; or a number of seconds |
| address | `host:port`, such as `127.0.0.1:24224`; an IPv6 host in brackets, such as `[::1]:24224` |
| secret | text that is never shown; best given as `${file:/path}` |
| source, parser, filter, output | a mapping with a `type`; the other keys are those of that type, below |

## Top level
"""


class ReferenceRow(NamedTuple):
    """One line of a table."""

    key: str
    type: str
    default: str
    meaning: str


def reference() -> str:
    """Write the whole page."""
    parts = [_INTRODUCTION, _table(rows(Settings))]
    for kind, title in _KINDS.items():
        parts.append(f"## {title}\n")
        if kind == "output":
            parts += ["### Every output\n", _table(rows(OutputConfig))]
        parts += [_component(kind, name) for name in registry.built_in(kind)]
    return "\n".join(parts)


def _component(kind: registry.Kind, name: str) -> str:
    component = registry.load(kind, name)
    common = set(OutputConfig.model_fields) if kind == "output" else {"type"}
    own = rows(component.Config, leave_out=common)
    keys = _table(own) if own else "No keys of its own.\n"
    return f"### {kind} `{name}`\n\n{_summary(component)}\n\n{keys}"


def _summary(component: type[Component]) -> str:
    """Return what the module's first line says after its colon; the class's own summary without one."""
    headline = _paragraph(import_module(component.__module__).__doc__)
    text = headline.partition(": ")[2] or _paragraph(component.__doc__)
    return text[:1].upper() + text[1:]


def _paragraph(docstring: str | None) -> str:
    """Return the first paragraph of a docstring, as Markdown."""
    paragraph = inspect.cleandoc(docstring or "").split("\n\n", maxsplit=1)[0]
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", " ".join(paragraph.split()))
    return text.replace("``", "`")


def rows(model: type[BaseModel], prefix: str = "", leave_out: set[str] | None = None) -> list[ReferenceRow]:
    """List a model's keys, those of nested groups after the group's own line."""
    result: list[ReferenceRow] = []
    for name, field in model.model_fields.items():
        if name in (leave_out or {"type"}) and issubclass(model, ComponentConfig):
            continue
        key = f"{prefix}{field.alias or name}"
        result.append(
            ReferenceRow(key, _type(_annotation(field)), default_text(field), field.description or "")
        )
        for nested, infix in _groups(field.annotation, ""):
            result += rows(nested, f"{key}{infix}.")
    return result


def _annotation(field: FieldInfo) -> Any:
    """Put back together what pydantic takes apart."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _groups(annotation: Any, infix: str) -> Iterator[tuple[type[BaseModel], str]]:
    """Yield the nested models of a type, and what stands between the key and their keys."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        for member in arguments:
            yield from _groups(member, infix)
    elif origin is Annotated:
        yield from _groups(arguments[0], infix)
    elif origin is dict:
        yield from _groups(arguments[1], f"{infix}.NAME")
    elif origin in {list, tuple}:
        yield from _groups(arguments[0], f"{infix}[]")
    elif _is_group(annotation):
        yield annotation, infix


def _is_group(annotation: Any) -> bool:
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return is_model and not issubclass(annotation, ComponentConfig)


def _type(annotation: Any) -> str:
    """Name a type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for mark in annotation.__metadata__:
            if isinstance(mark, Notation):
                return mark.name
            if isinstance(mark, ComponentField):
                return mark.kind
        return _type(arguments[0])
    if origin in {Union, UnionType}:
        return " or ".join(dict.fromkeys(_type(member) for member in arguments))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is dict:
        return f"mapping of {_type(arguments[1])}"
    if origin in {list, tuple}:
        return f"list of {_type(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    name: str = getattr(annotation, "__name__", str(annotation))
    return _PLAIN.get(origin or annotation, name.lower())


def default_text(field: FieldInfo) -> str:
    """A field's default as a user would write it, in backquotes; empty where it is described instead."""
    if field.is_required():
        return "required"
    if field.default_factory not in {None, list, dict}:
        return ""  # a group, or a value that depends on the machine and is described
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    return f"`{_write(value, _type(_annotation(field)))}`"


def _write(value: Any, type_name: str) -> str:
    """Write a default as a user would."""
    match value:
        case int() | float() if "size" in type_name and not isinstance(value, bool):
            return _with_unit(value, _SIZES)
        case int() | float() if "duration" in type_name and not isinstance(value, bool):
            return _with_unit(value, _DURATIONS)
        case (str() as host, int() as port) if "address" in type_name:
            return write_address(host, port)
        case Path() | re.Pattern():
            return str(getattr(value, "pattern", value))
        case str() if value.strip() == value and value:
            return value
        case _:
            return json.dumps(value, default=partial(_write, type_name=""))


def _with_unit(value: float, units: list[tuple[str, Any]]) -> str:
    for unit, factor in units:
        number = value / factor
        if number >= 1 and abs(number - round(number)) < 1e-9:
            return f"{round(number)}{unit}"
    return f"{value:g}"


def _table(lines: list[ReferenceRow]) -> str:
    text = "| key | type | default | meaning |\n|---|---|---|---|\n"
    for row in lines:
        cells = (f"`{row.key}`", row.type, row.default, row.meaning)
        text += "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |\n"
    return text


if __name__ == "__main__":
    sys.stdout.write(reference())
