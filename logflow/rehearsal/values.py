"""The values that a component has in effect, and where each came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr

from logflow.config.mistakes import holds_secret
from logflow.config.reference import default_text
from logflow.config.secrets import Secret
from logflow.config.tree import Items, Mapping, Node, Scalar, child, scalars, shorten

_HIDDEN = "**********"


class Value(NamedTuple):
    """One value: its path below the component, what it is, and where it was given."""

    path: str
    text: str
    origin: str


def effective_values(config: BaseModel, node: Node | None) -> list[Value]:
    """List every value of a component, secrets masked.

    Args:
        config: the validated configuration.
        node: where it stands in the files; None where nothing was written.
    """
    return list(_values(config, node, "", secret=False))


def _values(value: Any, node: Node | None, path: str, *, secret: bool) -> Iterator[Value]:
    if isinstance(value, BaseModel) and (node is None or isinstance(node, Mapping)):
        for name, field in type(value).model_fields.items():
            key = field.alias or name
            below = child(node, key) if node is not None else None
            hidden = holds_secret(field.annotation) and not _is_group(field.annotation)
            below_path = f"{path}.{key}" if path else key
            given = getattr(value, name)
            if below is None and not isinstance(given, BaseModel):
                text = shorten(default_text(field).strip("`") or _shown(given, None))
                yield Value(below_path, _HIDDEN if hidden and given is not None else text, "default")
            else:
                yield from _values(given, below, below_path, secret=hidden)
    elif isinstance(value, dict) and isinstance(node, Mapping) and value:
        for key, item in value.items():
            yield from _values(item, child(node, str(key)), f"{path}.{key}", secret=secret)
    elif isinstance(value, list) and isinstance(node, Items) and any(isinstance(i, BaseModel) for i in value):
        for index, item in enumerate(value):
            yield from _values(item, child(node, index), f"{path}[{index}]", secret=secret)
    else:
        yield Value(path, _HIDDEN if secret and value is not None else _shown(value, node), _origin(node))


def _is_group(annotation: Any) -> bool:
    return annotation is not None and any(
        isinstance(member, type) and issubclass(member, BaseModel)
        for member in (annotation, *getattr(annotation, "__args__", ()))
    )


def _shown(value: Any, node: Node | None) -> str:
    """The value as it was written, or the default as a user would write it."""
    if isinstance(node, Scalar):
        return node.written if "${file:" in node.written else node.text
    return json.dumps(_plain(value), ensure_ascii=False, default=str)


def _plain(value: Any) -> Any:
    match value:
        case SecretStr() | Secret():
            return _HIDDEN
        case BaseModel():
            return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Path():
            return str(value)
    return value


def _origin(node: Node | None) -> str:
    """The file and line, and the ``${...}`` that stood there."""
    if node is None:
        return "default"
    written = [scalar.written for scalar in scalars(node) if scalar.substituted]
    return f"{node.place}, from {written[0]}" if written else str(node.place)
